"""conv2d by Winograd's minimal filtering: every pass against double precision, and its choice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate.functional as F
import test_conv2d
from checks import draw
from striate import _core

# Of the output's root mean square: what striate/conv2d.h promises.
RMS, LARGEST = 4e-6, 5e-5

Pads = tuple[int, int, int, int]


@pytest.fixture(autouse=True)
def winograd() -> Iterator[None]:
    _core.set_conv2d_algorithm("winograd")
    yield
    _core.set_conv2d_algorithm("auto")
    _core.set_isa("auto")


def run(core: Any, x: Any, w: Any, b: Any, dy: Any, pads: Pads, groups: int) -> list[np.ndarray]:
    geometry = ((1, 1), pads, (1, 1), groups)
    return [
        core.conv2d_forward(x, w, b, *geometry),
        *core.conv2d_backward(dy, x, w, *geometry, (True, True, False))[:2],
    ]


def in_double(x: Any, w: Any, b: Any, dy: Any, pads: Pads, groups: int) -> list[np.ndarray]:
    _core.set_backend("reference")
    try:
        return run(_core.float64, *(a.astype("f8") for a in (x, w, b, dy)), pads, groups)
    finally:
        _core.set_backend("cpu")


def assert_within_bounds(actual: np.ndarray, expected: np.ndarray, name: str) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    if expected.size == 0:
        return
    error, size = actual - expected, np.sqrt(np.mean(expected**2))
    rms, largest = np.sqrt(np.mean(error**2)), np.abs(error).max()
    # A few numbers have no root mean square worth the name.
    room = 1 + 20 / np.sqrt(expected.size)
    assert rms <= RMS * room * size, (name, rms, size)
    assert largest <= LARGEST * room * size, (name, largest, size)


def arrays(
    name: str, n: int, c: int, size: tuple[int, int], k: int, kernel: tuple[int, int], pads: Pads,
    groups: int,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    (height, width), (r, s) = size, kernel
    p, q = height + pads[0] + pads[2] - r + 1, width + pads[1] + pads[3] - s + 1
    x = np.maximum(draw(f"{name}/x", (n, c * groups, height, width)), 0)  # as after a ReLU
    w = draw(f"{name}/w", (k * groups, c, r, s))
    return x, w, draw(f"{name}/b", (k * groups,)), draw(f"{name}/dy", (n, k * groups, p, q))


@st.composite
def shapes(draw_from: st.DrawFn) -> dict[str, Any]:
    integers = lambda low, high: draw_from(st.integers(low, high))  # noqa: E731
    kernel = tuple(draw_from(st.sampled_from([3, 5])) for _ in range(2))
    pads = tuple(integers(0, 6) for _ in range(4))  # beyond the kernel: negative ones for dx
    least = [max(1, kernel[i] - pads[i] - pads[i + 2]) for i in range(2)]
    channels = st.sampled_from([1, 2, 3, 5, 15, 16, 17, 33, 40, 70])
    return {
        "n": draw_from(st.sampled_from([0, 1, 1, 2, 5, 9])),
        "c": draw_from(channels),
        "size": (least[0] + integers(0, 16), least[1] + integers(0, 16)),
        "k": draw_from(channels),
        "kernel": kernel,
        "pads": pads,
        "groups": draw_from(st.sampled_from([1, 1, 2, 3])),
    }


@given(shape=shapes())
def test_every_pass_is_near_double_precision(shape: dict[str, Any]) -> None:
    x, w, b, dy = arrays("winograd", **shape)
    expected = in_double(x, w, b, dy, shape["pads"], shape["groups"])
    for isa in _core.supported_isas():
        _core.set_isa(isa)
        got = run(_core, x, w, b, dy, shape["pads"], shape["groups"])
        for name, actual, wanted in zip(("y", "dx", "dw"), got, expected):
            assert_within_bounds(actual, wanted, f"{name} {isa}")


@pytest.mark.parametrize("name", [n for n, c in test_conv2d.CASES.items() if len(c.x) == 4])
@pytest.mark.parametrize("isa", _core.supported_isas())
def test_forced_on_the_cases_of_conv2d(name: str, isa: str) -> None:
    """Those with a stride, a dilation or another kernel are gemm's all the same."""
    case = test_conv2d.CASES[name]
    x, w, b = test_conv2d.arrays(name, case)
    _core.set_isa(isa)
    y = F.conv2d(x, w, b, *case.arguments)
    dy = draw(f"conv2d/{name}/dy", y.shape)
    got = [y, *F.conv2d_backward(dy, x, w, b, *case.arguments)[:2]]
    _core.set_conv2d_algorithm("gemm")
    expected = [
        F.conv2d(x, w, b, *case.arguments),
        *F.conv2d_backward(dy, x, w, b, *case.arguments)[:2],
    ]
    for what, actual, wanted in zip(("y", "dx", "dw"), got, expected):
        assert_within_bounds(actual, wanted.astype(np.float64), what)


# More than one block of tiles and of channels; whole images and parts of one; a batch in blocks.
LAYERS = {
    "alexnet_conv2": (2, 64, (27, 27), 96, (5, 5), (2, 2, 2, 2), 1),
    "alexnet_conv3": (6, 192, (13, 13), 80, (3, 3), (1, 1, 1, 1), 1),
    "wide": (1, 40, (9, 61), 70, (3, 3), (0, 3, 1, 0), 2),
    "large_blocks": (3, 70, (40, 40), 33, (3, 5), (1, 2, 1, 2), 1),
    "gradient_in_blocks": (2, 16, (269, 268), 16, (3, 3), (1, 1, 1, 1), 1),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("isa", _core.supported_isas())
def test_layers_are_near_double_precision(layer: str, isa: str) -> None:
    shape = LAYERS[layer]
    x, w, b, dy = arrays(layer, *shape)
    _core.set_isa(isa)
    got = run(_core, x, w, b, dy, *shape[-2:])
    assert_gemm_agrees(got, x, w, b, dy, *shape[-2:])


def assert_gemm_agrees(got: list[np.ndarray], *arguments: Any) -> None:
    """The other algorithm's sums are exact enough, and the reference in double is slow."""
    _core.set_conv2d_algorithm("gemm")
    for name, actual, wanted in zip(("y", "dx", "dw"), got, run(_core, *arguments)):
        assert_within_bounds(actual, wanted.astype(np.float64), name)
        assert not np.array_equal(actual, wanted), f"{name}: both by the same algorithm"


@pytest.mark.parametrize("layer", LAYERS)
def test_same_bits_for_any_number_of_threads(layer: str) -> None:
    shape = LAYERS[layer]
    x, w, b, dy = arrays(layer, *shape)
    threads = _core.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 8):
            _core.set_num_threads(count)
            results.append(run(_core, x, w, b, dy, *shape[-2:]))
    finally:
        _core.set_num_threads(threads)
    for result in results[1:]:
        for got, wanted in zip(result, results[0]):
            np.testing.assert_array_equal(got, wanted)


def test_an_image_has_the_same_bits_in_any_batch_of_whole_blocks() -> None:
    """What a tile's sums are does not depend on its neighbours."""
    n, *shape = LAYERS["alexnet_conv3"]
    x, w, b, _ = arrays("batch", n, *shape)
    together = F.conv2d(x, w, b, padding=1)
    for i in range(n):
        np.testing.assert_array_equal(F.conv2d(x[i : i + 1], w, b, padding=1)[0], together[i])


def test_a_constant_image_and_kernel_are_near_their_product() -> None:
    """Data far from zero: the points' differences cancel."""
    x, w = np.full((1, 32, 13, 13), 3, np.float32), np.full((32, 32, 3, 3), 0.5, np.float32)
    np.testing.assert_allclose(F.conv2d(x, w), np.float32(32 * 9 * 1.5), rtol=1e-5)


def test_nan_spreads_within_its_tile_only() -> None:
    x, w, b, _ = arrays("nan", 1, 16, (30, 30), 16, (3, 3), (1, 1, 1, 1), 1)
    x[0, 3, 2, 2] = np.nan
    y = F.conv2d(x, w, b, padding=1)
    assert np.isnan(y[..., 1:4, 1:4]).all()
    assert np.isfinite(y[..., 5:, :]).all()
    assert np.isfinite(y[..., 5:]).all()


ALEXNET = {
    "conv2": ((1, 64, 27, 27), (192, 64, 5, 5), 2),
    "conv3": ((1, 192, 13, 13), (384, 192, 3, 3), 1),
    "conv4": ((1, 384, 13, 13), (256, 384, 3, 3), 1),
    "conv5": ((1, 256, 13, 13), (256, 256, 3, 3), 1),
}


@pytest.mark.parametrize("pass_", ["forward", "backward_data", "backward_weight"])
@pytest.mark.parametrize("layer", ALEXNET)
def test_alexnet_takes_winograd(layer: str, pass_: str) -> None:
    _core.set_conv2d_algorithm("auto")
    x, w, pad = ALEXNET[layer]
    for n in (1, 64):  # the batch has no say
        chosen = _core.conv2d_algorithm(pass_, (n, *x[1:]), w, (1, 1), (pad,) * 4, (1, 1), 1)
        assert chosen == "winograd"


def algorithm(
    pass_: str = "forward",
    x: tuple[int, int, int, int] = (1, 64, 27, 27),
    w: tuple[int, int, int, int] = (64, 64, 3, 3),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> str:
    return _core.conv2d_algorithm(pass_, x, w, stride, (1, 1, 1, 1), dilation, 1)


def test_what_winograd_cannot_run_is_not_forced() -> None:
    assert algorithm() == "winograd"
    assert algorithm(stride=(1, 2)) == algorithm(dilation=(2, 1)) == "gemm"
    assert algorithm(w=(64, 64, 1, 1)) == algorithm(w=(64, 64, 3, 7)) == "gemm"


def test_few_channels_do_not_pay_for_transforms() -> None:
    _core.set_conv2d_algorithm("auto")
    assert algorithm() == "winograd"
    assert algorithm(x=(1, 3, 224, 224), w=(64, 3, 3, 3)) != "winograd"
    assert algorithm(x=(1, 6, 14, 14), w=(16, 6, 5, 5)) != "winograd"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _core.set_conv2d_algorithm("fft"), "set_conv2d_algorithm: must be one of .*'fft'"),
        (lambda: algorithm(pass_="back"), "pass must be 'forward', .*, got 'back'"),
        (lambda: algorithm(w=(64, 5, 3, 3)), r"no convolution of input \(1, 64, 27, 27\) by"),
    ],
)
def test_refuses(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_environment_forces_an_algorithm() -> None:
    call = "('forward', (1, 64, 27, 27), (64, 64, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1)"
    code = f"from striate import _core; print(_core.conv2d_algorithm{call})"
    for forced in ("gemm", "winograd"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "STRIATE_CONV": forced, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )  # fmt: skip
        assert done.stdout.strip() == forced
