"""The lecture's worked examples (docs/lecture.md), number by number."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import striate.functional as F

ROOT = Path(__file__).parents[1]


def picture(rows: str) -> np.ndarray:
    return np.array([[int(pixel) for pixel in row] for row in rows.split("/")], np.float32)


def table(rows: str) -> np.ndarray:
    return np.array([row.split() for row in rows.split("/")]).astype(np.float32)


IMAGE_7X7 = picture("0000000/0111110/0100100/0101000/0110000/0100000/0000000")
IMAGE_6X6 = picture("111110/100100/101000/110000/100000/000000")
CORNER = table("0 0 0 / 0 1 1 / 0 1 0")
IDENTITY = table("0 0 0 / 0 1 0 / 0 0 0")
BLUR = table(".1 .1 .1 / .1 .2 .1 / .1 .1 .1")

EXAMPLES = {
    "corner": (
        (IMAGE_7X7, CORNER, 1),
        "3 2 2 3 1 / 2 0 2 1 0 / 2 2 1 0 0 / 3 1 0 0 0 / 1 0 0 0 0",
    ),
    "ones with stride 2": ((IMAGE_6X6, table("1 1 / 1 1"), 2), "3 3 1 / 3 1 0 / 1 0 0"),
    "quarters with stride 2": (
        (IMAGE_6X6, table(".25 .25 / .25 .25"), 2),
        ".75 .75 .25 / .75 .25 0 / .25 0 0",
    ),
    "identity": (
        (IMAGE_7X7, IDENTITY, 1),
        "1 1 1 1 1 / 1 0 0 1 0 / 1 0 1 0 0 / 1 1 0 0 0 / 1 0 0 0 0",
    ),
    "blur": (
        (IMAGE_7X7, BLUR, 1),
        ".4 .5 .5 .5 .4 / .5 .6 .5 .6 .3 / .5 .5 .4 .2 .1 / .5 .6 .2 .1 0 / .4 .3 .1 0 0",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_example(implementation: str, name: str) -> None:
    (image, kernel, stride), expected = EXAMPLES[name]
    # The printed tenths are not exact in binary: nine of them summed err by less than 1e-6.
    tolerance = 1e-6 if name == "blur" else 0
    y = F.conv2d(image[None, None], kernel[None, None], stride=stride)
    assert y.shape[:2] == (1, 1)
    np.testing.assert_allclose(y[0, 0], table(expected), rtol=0, atol=tolerance, strict=True)


def test_identity_returns_the_interior() -> None:
    y = F.conv2d(IMAGE_7X7[None, None], IDENTITY[None, None])
    np.testing.assert_array_equal(y[0, 0], IMAGE_7X7[1:-1, 1:-1])


def test_average_pooling_is_the_convolution_with_quarters() -> None:
    x = IMAGE_6X6[None, None]
    quarters = np.full((1, 1, 2, 2), 0.25, np.float32)
    np.testing.assert_array_equal(F.avg_pool2d(x, 2), F.conv2d(x, quarters, stride=2))


def test_the_page_shows_these_numbers() -> None:
    """Every table and picture above stands in docs/lecture.md, and the page's code runs."""
    page = (ROOT / "docs" / "lecture.md").read_text(encoding="utf-8")
    numbers = re.sub(r"\s+", " ", page)
    for (image, kernel, _), expected in EXAMPLES.values():
        assert " ".join("".join(str(int(v)) for v in row) for row in image) in numbers
        for rows in (kernel, table(expected)):
            text = " ".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in rows.ravel())
            text = re.sub(r"\b0\.", ".", text)
            assert text in numbers, text
    namespace: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(code, namespace)


def test_learn_blur(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("learn_blur", ROOT / "examples" / "learn_blur.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    np.testing.assert_array_equal(example.BLUR, BLUR)

    far, near = example.main(["--steps", "2"]), example.main(["--steps", "120"])
    assert near < 0.02 < far
    printed = capsys.readouterr().out
    assert "the kernel it learned:" in printed
    rows = [line.split() for line in printed.splitlines() if line.startswith("   ")][-3:]
    np.testing.assert_allclose(np.array(rows, np.float64), BLUR, rtol=0, atol=0.02)
