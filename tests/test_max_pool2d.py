"""max_pool2d against PyTorch, the fast one against the reference, and its border."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cuda_backend
import pools
import striate.functional as F
from backends import FAST, running, threads
from checks import Arrays, assert_close, draw, finite_differences, from_torch
from pools import Pool
from striate import _core

NAN, INF = np.nan, np.inf

CASES: dict[str, Pool] = {
    **pools.CASES,
    "dilated": Pool((1, 2, 9, 40), 3, 2, 1, 2),
    "dilated wide": Pool((1, 1, 7, 60), (2, 3), 1, 0, (3, 2)),
    "dilated ceil": Pool((1, 2, 8, 9), 2, 3, 1, 3, True),
}


def inputs(case: str) -> np.ndarray:
    # Rounded, so that many elements are equal.
    return np.round(2 * draw(f"max_pool2d/{case}/x", CASES[case].shape))


def torch_run(torch: Any, case: str) -> Arrays:
    pool = CASES[case]
    x = torch.tensor(inputs(case), requires_grad=True)
    y, indices = torch.nn.functional.max_pool2d(
        x, **pool.window, dilation=pool.dilation, return_indices=True
    )
    y.backward(torch.tensor(draw(f"max_pool2d/{case}/dy", tuple(y.shape))))
    return {
        "y": y.detach().numpy(),
        "indices": indices.numpy().astype(np.int32),
        "dx": x.grad.numpy(),
    }


@pytest.mark.parametrize("case", CASES)
def test_equals_torch(implementation: str, case: str) -> None:
    pool, x = CASES[case], inputs(case)
    expected = from_torch("max_pool2d", case, lambda torch: torch_run(torch, case))
    options = {**pool.window, "dilation": pool.dilation}
    y, indices = F.max_pool2d(x, **options, return_indices=True)
    assert y.dtype == np.float32
    assert indices.dtype == np.int32
    np.testing.assert_array_equal(y, expected["y"])
    np.testing.assert_array_equal(indices, expected["indices"])
    np.testing.assert_array_equal(F.max_pool2d(x, **options), y)
    dy = draw(f"max_pool2d/{case}/dy", y.shape)
    dx = F.max_pool2d_backward(dy, indices, x.shape, **options)
    assert_close(dx, expected["dx"], depth=9)
    as_in_torch = F.max_pool2d_backward(dy, indices.astype(np.int64), x.shape, **options)
    np.testing.assert_array_equal(as_in_torch, dx)


@pytest.mark.parametrize("isa", FAST)
@given(pool=pools.pools(dilated=True), nans=st.booleans())
def test_equals_reference(isa: str, pool: Pool, nans: bool) -> None:
    x = np.round(2 * draw("max_pool2d/reference/x", pool.shape))
    if nans:
        x[x == 2] = NAN
        x[x == 0] = -INF
    options = {**pool.window, "dilation": pool.dilation}

    def run() -> list[np.ndarray]:
        y, indices = F.max_pool2d(x, **options, return_indices=True)
        dy = draw("max_pool2d/reference/dy", y.shape)
        return [
            y,
            indices,
            F.max_pool2d(x, **options),
            F.max_pool2d_backward(dy, indices, x.shape, **options),
        ]

    with running(isa):
        fast = run()
    with running("reference"):
        reference = run()
    for actual, expected in zip(fast[:3], reference[:3]):
        np.testing.assert_array_equal(actual, expected)
    assert_close(fast[3], reference[3], depth=25)


@pytest.mark.parametrize("wide", [0, 40])
def test_first_of_equals_and_last_nan_win(implementation: str, wide: int) -> None:
    x = np.array(
        [
            [1, 1, NAN, 5, -INF, -INF, 0, NAN],
            [1, 1, 7, NAN, -INF, -INF, NAN, 0],
        ],
        np.float32,
    )
    y, indices = F.max_pool2d(np.tile(x, 1 + wide)[None], 2, return_indices=True)
    width = 8 * (1 + wide)
    winners = [0, width + 3, 4, width + 6]
    np.testing.assert_array_equal(y[0, 0], np.tile([1, NAN, -INF, NAN], 1 + wide))
    expected = [w + 8 * i for i in range(1 + wide) for w in winners]
    np.testing.assert_array_equal(indices[0, 0], expected)


def test_padding_never_wins(implementation: str) -> None:
    x = np.full((1, 1, 2, 2), -INF, np.float32)
    y, indices = F.max_pool2d(x, 2, 1, 1, return_indices=True)
    np.testing.assert_array_equal(y, np.full((1, 1, 3, 3), -INF))
    np.testing.assert_array_equal(indices[0, 0], [[0, 0, 1], [0, 0, 1], [2, 2, 3]])


def test_window_without_elements(implementation: str) -> None:
    x = np.full((1, 3, 1, 2), 3, np.float32)
    options = {"kernel_size": 2, "stride": 1, "padding": 1, "dilation": 2}
    y, indices = F.max_pool2d(x, **options, return_indices=True)
    np.testing.assert_array_equal(y, np.full(x.shape, -INF))
    np.testing.assert_array_equal(indices, np.full(x.shape, -1))
    dx = F.max_pool2d_backward(np.ones_like(y), indices, x.shape, **options)
    np.testing.assert_array_equal(dx, np.zeros_like(x))


def test_window_far_larger_than_input(implementation: str) -> None:
    x = draw("max_pool2d/far", (1, 2, 3, 4))
    y = F.max_pool2d(x, 2**31 - 1, 2**31 - 1, 2**30 - 1)
    np.testing.assert_array_equal(y, x.max(axis=(2, 3), keepdims=True))


def test_reads_views(implementation: str) -> None:
    x = draw("max_pool2d/views", (2, 3, 12, 40))[:, ::-1, ::2, 1::2]
    np.testing.assert_array_equal(F.max_pool2d(x, 2), F.max_pool2d(np.ascontiguousarray(x), 2))


@pytest.mark.parametrize("isa", _core.supported_isas())
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1)])
def test_same_bits_for_any_number_of_threads(
    isa: str, kernel: int, stride: int, padding: int
) -> None:
    x = np.round(draw("max_pool2d/threads/x", (33, 6, 28, 28)))
    results = []
    with running(isa):
        for count in (1, 2, 3, 5, 8):
            with threads(count):
                y, indices = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
                dy = draw("max_pool2d/threads/dy", y.shape)
                dx = F.max_pool2d_backward(dy, indices, x.shape, kernel, stride, padding)
                results.append((y.tobytes(), indices.tobytes(), dx.tobytes()))
        assert all(result == results[0] for result in results)
    with running("reference"):
        y, indices = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
    assert results[0][:2] == (y.tobytes(), indices.tobytes())


@pytest.mark.parametrize("case", ["lenet", "alexnet", "padded", "dilated ceil", "unbatched"])
def test_gradient_by_finite_differences(float64: None, case: str) -> None:
    pool = CASES[case]
    options = {**pool.window, "dilation": pool.dilation}
    size = int(np.prod(pool.shape))
    # Distinct elements, further apart than the step of the differences: no kink in reach.
    x = draw(f"max_pool2d/{case}/order", (size,)).argsort().reshape(pool.shape) / size
    y, indices = F.max_pool2d(x, **options, return_indices=True)
    dy = draw(f"max_pool2d/{case}/dy", y.shape).astype(np.float64)
    dx = F.max_pool2d_backward(dy, indices, x.shape, **options)
    numeric = finite_differences(lambda: float((F.max_pool2d(x, **options) * dy).sum()), x)
    np.testing.assert_allclose(dx, numeric, atol=1e-7)


X = np.zeros((2, 3, 4, 5), np.float32)
DY = np.zeros((2, 3, 2, 2), np.float32)
AT = np.zeros((2, 3, 2, 2), np.int32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.max_pool2d(X.astype(np.float64), 2), TypeError,
         r"max_pool2d: input must be float32, got float64"),
        (lambda: F.max_pool2d(X[0, 0], 2), ValueError, r"max_pool2d: input must have 4 dimensions "
         r"\(N, C, H, W\) or 3 \(C, H, W\), got 2 with shape \(4, 5\)"),
        (lambda: F.max_pool2d(X, (5, 2)), ValueError,
         r"kernel_size \(5, 2\) with dilation \(1, 1\) covers \(5, 2\), which is larger than the "
         r"padded input \(4, 5\); input has shape \(2, 3, 4, 5\)"),
        (lambda: F.max_pool2d(X, 3, dilation=2), ValueError, r"kernel_size \(3, 3\) with dilation "
         r"\(2, 2\) covers \(5, 5\), which is larger than the padded input \(4, 5\)"),
        (lambda: F.max_pool2d(X, 3, padding=2), ValueError,
         r"padding must be at most half of kernel_size, got padding \(2, 2, 2, 2\) \(top, left, "
         r"bottom, right\) and kernel_size \(3, 3\)"),
        (lambda: F.max_pool2d(X, 2, padding=-1), ValueError, "padding must be between 0 .* got -1"),
        (lambda: F.max_pool2d(X, 2, 0), ValueError, "stride must be between 1 .* got 0"),
        (lambda: F.max_pool2d(X, 0), ValueError, "kernel_size must be between 1 .* got 0"),
        (lambda: F.max_pool2d(X, 2, dilation=0), ValueError, "dilation must be between 1 .* got 0"),
        (lambda: F.max_pool2d(X, 2**31), ValueError, "kernel_size must be between 1 .* 2147483648"),
        (lambda: F.max_pool2d(X, (2, 2, 2)), ValueError,
         "kernel_size must be an integer or a pair"),
        (lambda: F.max_pool2d(X, 2.0), TypeError, "kernel_size must be an integer, got 2.0"),
        (lambda: F.max_pool2d(X, 2, ceil_mode="no"), TypeError,
         "^max_pool2d: ceil_mode must be True or False, got 'no'$"),
        (lambda: F.max_pool2d_backward(DY, AT, X.shape, 2, ceil_mode=None), TypeError,
         "^max_pool2d_backward: ceil_mode must be True or False, got None$"),
        (lambda: F.max_pool2d(X[:, :, :0], 2), ValueError,
         r"a height and a width of at least 1, got shape \(2, 3, 0, 5\)"),
        (lambda: F.max_pool2d_backward(DY[:1], AT, X.shape, 2), ValueError,
         r"max_pool2d_backward: dy must have shape \(2, 3, 2, 2\) \(that of the output for this "
         r"input_shape\), got \(1, 3, 2, 2\)"),
        (lambda: F.max_pool2d_backward(DY, AT[:1], X.shape, 2), ValueError,
         r"indices must have shape \(2, 3, 2, 2\) .*, got \(1, 3, 2, 2\)"),
        (lambda: F.max_pool2d_backward(DY, AT.astype(np.float32), X.shape, 2), TypeError,
         "indices must be int32, got float32"),
        (lambda: F.max_pool2d_backward(DY, AT, 5, 2), TypeError, "input_shape must be the shape"),
        (lambda: F.max_pool2d_backward(DY, AT, (2, 3, -4, 5), 2), ValueError,
         "input_shape must be between 0 and 2147483647, got -4"),
        (lambda: F.max_pool2d_backward(DY, AT, (2**31 - 1,) * 4, 2), ValueError,
         r"the sizes \(2147483647, 2147483647\) overflow: too many positions in a plane"),
        (lambda: F.max_pool2d_backward(DY, AT, (1, 1, 2**16, 2**16), 2), ValueError,
         r"input_shape must have at most 2\^31 - 1 positions in a plane"),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("index", [-1, 20, 2**31 - 1, -(2**31), 2**32, -(2**40)])
@pytest.mark.parametrize("position", [0, 23])
def test_refuses_indices_outside_the_plane(implementation: str, index: int, position: int) -> None:
    if implementation in cuda_backend.NAMES:
        pytest.skip("to look at every index would mean to wait for the GPU: they add nothing")
    for dtype in (np.int32, np.int64):
        if not np.iinfo(dtype).min <= index <= np.iinfo(dtype).max:
            continue
        indices = AT.astype(dtype)
        indices.flat[position] = index
        with pytest.raises(
            ValueError,
            match=r"indices must be positions in the input plane, "
            rf"0 <= h \* W \+ w < \(4, 5\) = 20, got {index}$",
        ):
            F.max_pool2d_backward(DY, indices, X.shape, 2)


@pytest.mark.parametrize("name", cuda_backend.NAMES)
@pytest.mark.parametrize("index", [-1, 20, 2**31 - 1, -(2**31)])
def test_cuda_adds_nothing_for_indices_outside_the_plane(name: str, index: int) -> None:
    indices = AT.copy()
    indices.flat[5] = index
    rest = DY.copy()
    rest.flat[5] = 0
    with running(name):
        dx = F.max_pool2d_backward(DY, indices, X.shape, 2)
        np.testing.assert_array_equal(dx, F.max_pool2d_backward(rest, AT, X.shape, 2))


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 0, 4, 5), (0, 4, 5)])
def test_empty(implementation: str, shape: tuple[int, ...]) -> None:
    y, indices = F.max_pool2d(np.zeros(shape, np.float32), 2, return_indices=True)
    assert y.shape == indices.shape == (*shape[:-2], 2, 2)
    assert F.max_pool2d_backward(y, indices, shape, 2).shape == shape
