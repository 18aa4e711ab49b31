"""Named kernels and apply_filter against OpenCV's filter2D; the command ``striate filter``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from checks import GOLDEN
from striate.cli import main
from striate.filters import KERNELS, apply_filter

try:
    import cv2
except ImportError:  # tests/golden/filter2d.npz, which was made with it, takes its place
    if os.environ.get("STRIATE_REQUIRE_PARITY"):  # set where all peers are installed
        raise
    cv2 = None


def by_definition(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """filter2D of one grey picture, in double precision and as plainly as it can be said."""
    (height, width), (rows, columns) = image.shape, kernel.shape

    def mirror(i: int, n: int) -> int:
        while not 0 <= i < n:
            i = -i if i < 0 else 2 * (n - 1) - i
            i = 0 if n == 1 else i
        return i

    y = np.zeros(image.shape)
    for h in range(height):
        for w in range(width):
            for r in range(rows):
                for s in range(columns):
                    source = mirror(h + r - rows // 2, height), mirror(w + s - columns // 2, width)
                    y[h, w] += float(kernel[r, s]) * image[source]
    return np.clip(np.rint(y), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", KERNELS)
def test_equals_opencv_golden(name: str) -> None:
    with np.load(GOLDEN / "filter2d.npz") as golden:
        count = sum(key.startswith("picture/") for key in golden.files)
        assert count == 8
        for i in range(count):
            filtered = apply_filter(golden[f"picture/{i}"], KERNELS[name])
            np.testing.assert_array_equal(filtered, golden[f"{name}/{i}"], strict=True)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([None, 3]),
    name=st.sampled_from(sorted(KERNELS)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size(height: int, width: int, channels: int | None, name: str, seed: int) -> None:
    shape = (height, width) if channels is None else (height, width, channels)
    image = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    kernel = KERNELS[name]
    filtered = apply_filter(image, kernel)
    if cv2 is not None:
        np.testing.assert_array_equal(filtered, cv2.filter2D(image, -1, kernel), strict=True)
    # The definition is slow: it gets the upper left corner, with what the kernel reaches from it.
    first, filtered = (x if channels is None else x[..., 0] for x in (image, filtered))
    expected = by_definition(first[:8, :8], kernel)
    np.testing.assert_array_equal(filtered[:6, :6], expected[:6, :6])


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (4, 3), (1, 5), (6, 1), (7, 7)])
def test_any_kernel(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    # Eighths: every product and sum is exact, and halves to round are frequent.
    kernel = (rng.integers(-4, 9, shape) / 8).astype(np.float32)
    image = rng.integers(0, 256, (9, 8), np.uint8)
    np.testing.assert_array_equal(apply_filter(image, kernel), by_definition(image, kernel))
    if cv2 is not None:
        np.testing.assert_array_equal(apply_filter(image, kernel), cv2.filter2D(image, -1, kernel))


def test_kernels() -> None:
    assert list(KERNELS) == [
        "identity",
        "edge_4",
        "edge_8",
        "sharpen",
        "box_blur",
        "gaussian_3x3",
        "gaussian_5x5",
        "unsharp_masking",
    ]
    for name, kernel in KERNELS.items():
        assert kernel.dtype == np.float32
        assert kernel.shape == ((5, 5) if name in ("gaussian_5x5", "unsharp_masking") else (3, 3))
        np.testing.assert_array_equal(kernel, kernel[::-1, ::-1].T)
        assert kernel.sum(dtype=np.float64) == pytest.approx(0 if "edge" in name else 1)
        with pytest.raises(ValueError, match="read-only"):
            kernel[0, 0] = 1
    with pytest.raises(TypeError):
        KERNELS["identity"] = KERNELS["edge_4"]  # type: ignore[index]


def test_halves_go_to_the_even_side() -> None:
    half = np.array([[0.5]], np.float32)
    image = np.array([[1, 3, 5, 7, 255]], np.uint8)
    np.testing.assert_array_equal(apply_filter(image, half), [[0, 2, 2, 4, 128]])


def test_alpha_is_kept() -> None:
    rng = np.random.default_rng(0)
    for channels in (2, 4):
        image = rng.integers(0, 256, (7, 6, channels), np.uint8)
        filtered = apply_filter(image, KERNELS["box_blur"])
        np.testing.assert_array_equal(filtered[..., -1], image[..., -1])
        for c in range(channels - 1):
            expected = apply_filter(image[..., c], KERNELS["box_blur"])
            np.testing.assert_array_equal(filtered[..., c], expected)


def test_views_and_empty_pictures() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    view, kernel = image[::-2, 3::3, ::-1], KERNELS["sharpen"]
    np.testing.assert_array_equal(apply_filter(view, kernel), apply_filter(view.copy(), kernel))
    assert apply_filter(np.zeros((0, 5, 3), np.uint8), kernel).shape == (0, 5, 3)


@pytest.mark.parametrize(
    ("image", "kernel", "error", "sentence"),
    [
        (np.zeros((4, 4)), np.ones((3, 3), np.float32), TypeError, "image is float64, expected"),
        ([[1]], np.ones((3, 3), np.float32), TypeError, "image is list"),
        (np.zeros((4, 4), np.uint8), np.ones((3, 3)), TypeError, r"np.asarray\(kernel, np.float32"),
        (np.zeros(4, np.uint8), np.ones((3, 3), np.float32), ValueError, r"shape \(4,\)"),
        (np.zeros((4, 4, 5), np.uint8), np.ones((3, 3), np.float32), ValueError, r"\(4, 4, 5\)"),
        (
            np.zeros((4, 4), np.uint8),
            np.ones(3, np.float32),
            ValueError,
            r"kernel has shape \(3,\)",
        ),
        (np.zeros((4, 4), np.uint8), np.ones((0, 3), np.float32), ValueError, r"shape \(0, 3\)"),
        (np.zeros((4, 4), np.uint8), np.full((1, 1), np.nan, np.float32), ValueError, "not finite"),
    ],
)
def test_bad_arguments(image: object, kernel: object, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        apply_filter(image, kernel)  # type: ignore[arg-type]


# --- striate filter --------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    return path


def test_command(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = photo.with_name("out.png")
    assert main(["filter", str(photo), "--kernel", "sharpen", "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 30x20 RGB, sharpen\n"
    expected = apply_filter(np.asarray(Image.open(photo)), KERNELS["sharpen"])
    np.testing.assert_array_equal(np.asarray(Image.open(out)), expected)

    rows = "[[0, -1, 0], [-1, 5, -1], [0, -1, 0]]"
    assert main(["filter", str(photo), "--kernel", rows, "-o", str(out)]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(out)), expected)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("1", "L"), ("L", "L"), ("LA", "LA"), ("P", "RGB"), ("RGBA", "RGBA"), ("CMYK", "RGB")],
)
def test_command_on_every_mode(photo: Path, mode: str, expected: str) -> None:
    path, out = photo.with_suffix(".tiff"), photo.with_name("out.png")
    with Image.open(photo) as image:
        image.convert("RGB" if mode in ("RGB", "P", "CMYK") else mode).convert(mode).save(path)
    assert main(["filter", str(path), "--kernel", "identity", "-o", str(out)]) == 0
    with Image.open(path) as before, Image.open(out) as after:
        assert after.mode == expected
        np.testing.assert_array_equal(np.asarray(after), np.asarray(before.convert(expected)))


def test_command_turns_the_picture_upright(photo: Path) -> None:
    lying, out = photo.with_name("lying.png"), photo.with_name("out.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photo) as image:
        upright = np.asarray(image)
        image.transpose(Image.Transpose.ROTATE_90).save(lying, exif=exif)
    assert main(["filter", str(lying), "--kernel", "identity", "-o", str(out)]) == 0
    with Image.open(out) as turned:
        np.testing.assert_array_equal(np.asarray(turned), upright)


def test_command_lists_the_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filter", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(KERNELS)
    assert lines[lines.index("sharpen") + 2].split() == ["-1", "5", "-1"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["IN"], "--kernel is missing"),
        (["--kernel", "sharpen"], "IMAGE is missing"),
        (["IN", "--kernel", "sharpen"], "-o OUT is missing"),
        (["IN", "--kernel", "sharp", "-o", "OUT.png"], "no kernel 'sharp'; there are identity, "),
        (["IN", "--kernel", "[[1, 2], [3]]", "-o", "OUT.png"], "rows of numbers of one length"),
        (["IN", "--kernel", "[1, 2]", "-o", "OUT.png"], "expected rows of numbers, got"),
        (["IN", "--kernel", "[[1", "-o", "OUT.png"], "expected rows of numbers"),
        (["IN", "--kernel", "[[1e99]]", "-o", "OUT.png"], "not finite"),
        (
            ["IN", "--kernel", "sharpen", "-o", "OUT.what"],
            "the suffix '.what' names no picture format",
        ),
        (["IN", "--kernel", "sharpen", "-o", "OUT/a.png"], "there is no folder"),
        (["IN.no", "--kernel", "sharpen", "-o", "OUT.png"], "photo.png.no: there is no such file"),
        (["DEEP", "--kernel", "sharpen", "-o", "OUT.png"], "I;16, more than 8 bits a channel"),
    ],
)
def test_command_errors(
    photo: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = photo.with_name("deep.png")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(deep)
    places = {"IN": str(photo), "OUT": str(photo.with_name("OUT")), "DEEP": str(deep)}
    for key, place in places.items():
        arguments = [place + a[len(key) :] if a.startswith(key) else a for a in arguments]
    assert main(["filter", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("striate: error: ")
    assert sentence in error
    assert error.count("\n") == 1


def test_a_failed_write_leaves_what_stood_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, kept = tmp_path / "clear.png", tmp_path / "kept.jpg"
    Image.new("RGBA", (8, 8), (1, 2, 3, 4)).save(source)
    kept.write_bytes(b"a good picture")
    assert main(["filter", str(source), "--kernel", "sharpen", "-o", str(kept)]) == 2
    assert f"{kept}: the picture cannot be written" in capsys.readouterr().err
    assert kept.read_bytes() == b"a good picture"
