"""conv2d, its three gradients: against PyTorch, the reference, finite differences; its border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate.functional as F
from backends import here, running
from checks import Arrays, assert_close, draw, finite_differences, from_torch
from striate import _core


@dataclass(frozen=True)
class Case:
    x: tuple[int, ...]
    w: tuple[int, ...]
    bias: bool = True
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    @property
    def arguments(self) -> tuple[Any, Any, Any, int]:
        return self.stride, self.padding, self.dilation, self.groups

    @property
    def depth(self) -> int:
        return int(np.prod(self.w[1:]))


CASES = {
    "lenet_conv1": Case((2, 1, 28, 28), (6, 1, 5, 5), padding=2),
    "lenet_conv2": Case((3, 6, 14, 14), (16, 6, 5, 5)),
    "one_by_one_kernel": Case((2, 7, 5, 3), (20, 7, 1, 1)),
    "one_pixel": Case((1, 3, 1, 1), (2, 3, 1, 1)),
    "one_pixel_padded": Case((1, 3, 1, 1), (2, 3, 3, 3), padding=1),
    "no_bias": Case((2, 3, 6, 6), (4, 3, 3, 3), bias=False),
    "empty_batch": Case((0, 3, 6, 6), (4, 3, 3, 3)),
    "unbatched": Case((3, 6, 7), (4, 3, 3, 2)),
    "odd": Case((1, 5, 9, 11), (7, 5, 2, 4), stride=(2, 3), padding=(1, 2)),
    "dilated": Case((2, 2, 12, 10), (3, 2, 3, 3), dilation=(2, 3), padding=(2, 1)),
    "grouped": Case((2, 8, 7, 7), (12, 4, 3, 3), groups=2, padding=1),
    "depthwise": Case((2, 9, 8, 8), (18, 1, 3, 3), groups=9, stride=2, padding=1),
    "alexnet_conv1": Case((1, 3, 35, 35), (16, 3, 11, 11), stride=4, padding=2),
    "same": Case((2, 3, 6, 7), (4, 3, 4, 3), padding="same"),
    "same_dilated": Case((1, 2, 9, 9), (3, 2, 2, 3), padding="same", dilation=(3, 2)),
    "valid": Case((1, 2, 5, 5), (3, 2, 3, 3), padding="valid", stride=2),
    "padding_beyond_the_image": Case((1, 1, 2, 3), (2, 1, 3, 3), padding=4),
    "stride_beyond_the_kernel": Case((1, 2, 11, 11), (3, 2, 2, 2), stride=4),
    "deep": Case((1, 70, 5, 5), (19, 70, 3, 3), padding=1),
    "wide_row": Case((1, 1, 3, 70), (15, 1, 3, 3), padding=1),
    "many_small_images": Case((96, 3, 7, 7), (36, 3, 3, 3), padding=1),
    "many_small_images_grouped": Case((48, 6, 7, 5), (70, 3, 3, 3), padding=1, groups=2),
    "slices_of_pixels": Case((2, 4, 20, 21), (33, 4, 3, 3), padding=1),
    "many_channels_dilated": Case((2, 5, 12, 11), (34, 5, 3, 3), dilation=2, padding=2),
    "many_channels_strided": Case((3, 3, 24, 23), (40, 3, 5, 5), stride=(3, 2), padding=(1, 2)),
}


def arrays(name: str, case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Weights are scaled so that every output is about 1: the tolerance is that of a unit sum."""
    w = draw(f"conv2d/{name}/w", case.w)
    b = draw(f"conv2d/{name}/b", case.w[:1]) if case.bias else None
    return draw(f"conv2d/{name}/x", case.x), w, b


def torch_run(torch: Any, name: str) -> Arrays:
    case = CASES[name]
    x, w, b = (
        None if a is None else torch.tensor(a, requires_grad=True) for a in arrays(name, case)
    )
    y = torch.nn.functional.conv2d(x, w, b, *case.arguments)
    y.backward(torch.tensor(draw(f"conv2d/{name}/dy", tuple(y.shape))))
    result = {"y": y.detach().numpy(), "dx": x.grad.numpy(), "dw": w.grad.numpy()}
    return result if b is None else result | {"db": b.grad.numpy()}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", CASES)
def test_equals_torch(implementation: str, name: str) -> None:
    case = CASES[name]
    expected = from_torch("conv2d", name, lambda torch: torch_run(torch, name))
    x, w, b = arrays(name, case)
    y = F.conv2d(x, w, b, *case.arguments)
    assert_close(y, expected["y"], depth=case.depth)
    dy = draw(f"conv2d/{name}/dy", y.shape)
    dx, dw, db = F.conv2d_backward(dy, x, w, b, *case.arguments)
    outputs = y.size // case.w[0]
    assert_close(dx, expected["dx"], depth=case.w[0] * case.w[2] * case.w[3])
    assert_close(dw, expected["dw"], depth=outputs)
    if b is None:
        assert db is None
    else:
        assert_close(db, expected["db"], depth=outputs)


@st.composite
def geometries(draw_from: st.DrawFn) -> tuple[Case, int]:
    integers = lambda low, high: draw_from(st.integers(low, high))  # noqa: E731
    groups = integers(1, 3)
    r, s = integers(1, 4), integers(1, 4)
    stride, dilation = (integers(1, 3), integers(1, 3)), (integers(1, 2), integers(1, 2))
    padding = (integers(0, 3), integers(0, 3))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, (r, s), padding)]
    c = integers(1, 5)
    n = draw_from(st.sampled_from([0, 1, 2, 3, 3, 70]))  # 70: small images side by side
    x = (n, c * groups, least[0] + integers(0, 9), least[1] + integers(0, 20))
    k = draw_from(st.sampled_from([*range(1, 10), 35]))  # 35: weights' gradients by tiles
    w = (k * groups, c, r, s)
    return Case(x, w, draw_from(st.booleans()), stride, padding, dilation, groups), integers(0, 99)


@given(geometry=geometries())
def test_equals_reference_on_drawn_shapes(geometry: tuple[Case, int]) -> None:
    case, seed = geometry
    x, w, b = arrays(f"drawn/{seed}", case)

    def run() -> list[np.ndarray | None]:
        y = F.conv2d(x, w, b, *case.arguments)
        dy = draw(f"conv2d/drawn/{seed}/dy", y.shape)
        return [y, *F.conv2d_backward(dy, x, w, b, *case.arguments)]

    with running("reference"):
        expected = run()
    for name in here():
        with running(name):
            for got, wanted in zip(run(), expected):
                if wanted is not None:
                    assert_close(got, wanted, depth=max(case.depth, expected[0].size))


def test_four_pads_in_the_kernel_contract(implementation: str) -> None:
    """ONNX pads each side on its own: the same as padding the image first."""
    x, w = draw("conv2d/pads/x", (2, 3, 6, 5)), draw("conv2d/pads/w", (4, 3, 3, 3))
    top, left, bottom, right = 0, 2, 3, 1
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    y = F.convolution.ops(x).conv2d_forward(
        x, w, None, (2, 1), (top, left, bottom, right), (1, 1), 1
    )
    assert_close(y, F.conv2d(padded, w, stride=(2, 1)), depth=27)
    dy = draw("conv2d/pads/dy", y.shape)
    pads = (top, left, bottom, right)
    ops = F.convolution.ops(x)
    dx, dw, _ = ops.conv2d_backward(dy, x, w, (2, 1), pads, (1, 1), 1, (True, True, False))
    wide, dw_wide, _ = F.conv2d_backward(dy, padded, w, stride=(2, 1))
    assert_close(dx, wide[:, :, top:-bottom, left:-right], depth=36)
    assert_close(dw, dw_wide, depth=y.size)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5])
def test_a_stride_steps_over_outputs(implementation: str, stride: int) -> None:
    """On rows of many vectors; the last image's last row ends where the array does."""
    x, w = draw("conv2d/stride/x", (2, 2, 4, 151)), draw("conv2d/stride/w", (33, 2, 2, 5))
    dense = F.conv2d(x, w, padding=(0, 2))
    y = F.conv2d(x, w, stride=(1, stride), padding=(0, 2))
    assert_close(y, dense[..., ::stride], depth=20)
    dy = draw("conv2d/stride/dy", y.shape)
    apart = np.zeros_like(dense)
    apart[..., ::stride] = dy
    gradients = F.conv2d_backward(dy, x, w, stride=(1, stride), padding=(0, 2))
    wide = F.conv2d_backward(apart, x, w, padding=(0, 2))
    assert_close(gradients[0], wide[0], depth=330)
    assert_close(gradients[1], wide[1], depth=900)


@pytest.mark.parametrize("name", ["odd", "grouped", "same_dilated", "padding_beyond_the_image"])
def test_gradients_by_finite_differences(float64: None, name: str) -> None:
    case = CASES[name]
    x, w, b = (a.astype(np.float64) for a in arrays(name, case))
    y = F.conv2d(x, w, b, *case.arguments)
    dy = draw(f"conv2d/{name}/dy", y.shape).astype(np.float64)
    gradients = F.conv2d_backward(dy, x, w, b, *case.arguments)
    for array, gradient in zip((x, w, b), gradients):
        numeric = finite_differences(
            lambda: float((F.conv2d(x, w, b, *case.arguments) * dy).sum()), array
        )
        np.testing.assert_allclose(gradient, numeric, atol=2e-7, rtol=1e-7)


@pytest.mark.parametrize(
    "case",
    [
        Case((13, 6, 14, 14), (16, 6, 5, 5)),
        Case((70, 4, 7, 7), (80, 2, 3, 3), padding=1, groups=2),  # side by side; by tiles
        Case((5, 40, 11, 9), (33, 40, 3, 3), stride=2),  # no convolution's gradient by another
    ],
)
def test_same_bits_for_any_number_of_threads(case: Case) -> None:
    x, w, b = arrays("threads", case)
    dy = draw("conv2d/threads/dy", F.conv2d(x, w, b, *case.arguments).shape)
    threads = _core.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 5, 8):
            _core.set_num_threads(count)
            y = F.conv2d(x, w, b, *case.arguments)
            results.append([y, *F.conv2d_backward(dy, x, w, b, *case.arguments)])
    finally:
        _core.set_num_threads(threads)
    for result in results[1:]:
        for got, wanted in zip(result, results[0]):
            np.testing.assert_array_equal(got, wanted)


def test_need_computes_only_what_is_asked() -> None:
    x, w, b = arrays("need", CASES["grouped"])
    dy = draw("conv2d/need/dy", (2, 12, 7, 7))
    got = F.conv2d_backward(dy, x, w, b, padding=1, groups=2, need=(False, True, False))
    assert [g is None for g in got] == [True, False, True]


def test_strided_and_foreign_arrays_are_read() -> None:
    x, w, _ = arrays("views", CASES["no_bias"])
    expected = F.conv2d(np.ascontiguousarray(x[:, :, ::-1, ::2]), w)
    np.testing.assert_array_equal(F.conv2d(x[:, :, ::-1, ::2], w), expected)
    np.testing.assert_array_equal(
        F.conv2d(memoryview(x), w),
        F.conv2d(x, w),  # type: ignore[arg-type]
    )


def f32(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


X, W = (2, 4, 5, 6), (8, 4, 3, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.conv2d(f32(*X).astype("f8"), f32(*W)), TypeError,
         r"conv2d: input must be float32, got float64; cast it with input.astype"),
        (lambda: F.conv2d(f32(*X), f32(*W).astype("f2")), TypeError,
         r"conv2d: weight must be float32, got float16"),
        (lambda: F.conv2d(f32(4, 5), f32(*W)), ValueError,
         r"input must have 4 dimensions \(N, C, H, W\), got 2 with shape \(4, 5\)"),
        (lambda: F.conv2d(f32(*X), f32(8, 4, 3)), ValueError, r"weight must have 4 dimensions"),
        (lambda: F.conv2d(f32(*X), f32(8, 3, 3, 3)), ValueError,
         r"weight has 3 input channels a group, but input has 4 channels in groups=1; "
         r"input \(2, 4, 5, 6\), weight \(8, 3, 3, 3\)"),
        (lambda: F.conv2d(f32(*X), f32(*W), groups=3), ValueError,
         r"groups=3 must divide the input's 4 channels and the weight's 8 output channels"),
        (lambda: F.conv2d(f32(*X), f32(*W), f32(7)), ValueError,
         r"bias must have shape \(8,\) \(one for each output channel of weight\), got \(7,\)"),
        (lambda: F.conv2d(f32(*X), f32(8, 4, 6, 3)), ValueError,
         r"the kernel \(6, 3\) \(with dilation\) is larger than the padded input \(5, 6\)"),
        (lambda: F.conv2d(f32(*X), f32(*W), stride=0), ValueError, "stride must be between 1"),
        (lambda: F.conv2d(f32(*X), f32(*W), padding=-1), ValueError, "padding must be between 0"),
        (lambda: F.conv2d(f32(*X), f32(*W), stride=1.5), TypeError,
         "stride must be an integer, got 1.5"),
        (lambda: F.conv2d(f32(*X), f32(*W), stride=(1, 2, 3)), ValueError, "stride must be an int"),
        (lambda: F.conv2d(f32(*X), f32(*W), padding="full"), ValueError, "'same' or 'valid'"),
        (lambda: F.conv2d(f32(*X), f32(*W), padding="same", stride=2), ValueError,
         r"padding='same' needs stride 1, got stride \(2, 2\)"),
        (lambda: F.conv2d(f32(*X), f32(*W), padding=2**31 - 1), ValueError, "overflow"),
        (lambda: F.conv2d(f32(2, 4, 5, 0), f32(*W), padding=(3, 1, 7, 2)), ValueError,
         r"input must have a height and a width of at least 1, got shape \(2, 4, 5, 0\)"),
        (lambda: F.conv2d(f32(2, 4, 0, 6), f32(*W), padding=3), ValueError,
         r"input must have a height and a width of at least 1, got shape \(2, 4, 0, 6\)"),
        (lambda: F.conv2d(f32(2, 0, 5, 6), f32(8, 0, 3, 3)), ValueError,
         "weight must not be empty"),
        (lambda: F.conv2d_backward(f32(2, 8, 3, 3), f32(*X), f32(*W)), ValueError,
         r"dy must have shape \(2, 8, 3, 4\) \(that of conv2d's result\), got \(2, 8, 3, 3\)"),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
