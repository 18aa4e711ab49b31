"""avg_pool2d against PyTorch, the fast one against the reference, and its border."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pools
import striate.functional as F
from backends import FAST, running, threads
from checks import Arrays, assert_close, draw, finite_differences, from_torch
from pools import Pool
from striate import _core

CASES: dict[str, tuple[Pool, dict[str, Any]]] = {
    **{case: (pool, {}) for case, pool in pools.CASES.items()},
    "padded inside": (pools.CASES["padded"], {"count_include_pad": False}),
    "ceil inside": (pools.CASES["ceil"], {"count_include_pad": False}),
    "ceil padded inside": (pools.CASES["ceil padded"], {"count_include_pad": False}),
    "divisor": (pools.CASES["ceil padded"], {"divisor_override": 3}),
    "negative divisor": (pools.CASES["lenet"], {"divisor_override": -5}),
    "large window": (Pool((1, 1, 2, 90), (1, 40), 1, (0, 20)), {}),
}


def torch_run(torch: Any, case: str) -> Arrays:
    pool, options = CASES[case]
    x = torch.tensor(draw(f"avg_pool2d/{case}/x", pool.shape), requires_grad=True)
    y = torch.nn.functional.avg_pool2d(x, **pool.window, **options)
    y.backward(torch.tensor(draw(f"avg_pool2d/{case}/dy", tuple(y.shape))))
    return {"y": y.detach().numpy(), "dx": x.grad.numpy()}


@pytest.mark.parametrize("case", CASES)
def test_equals_torch(implementation: str, case: str) -> None:
    pool, options = CASES[case]
    expected = from_torch("avg_pool2d", case, lambda torch: torch_run(torch, case))
    y = F.avg_pool2d(draw(f"avg_pool2d/{case}/x", pool.shape), **pool.window, **options)
    dy = draw(f"avg_pool2d/{case}/dy", y.shape)
    dx = F.avg_pool2d_backward(dy, pool.shape, **pool.window, **options)
    assert_close(y, expected["y"], depth=1)  # a sum of n, divided by n
    assert_close(dx, expected["dx"], depth=1)


@pytest.mark.parametrize("isa", FAST)
@given(
    pool=pools.pools(dilated=False),
    inside=st.booleans(),
    divisor=st.sampled_from([None, None, 1, -3]),
)
def test_equals_reference(isa: str, pool: Pool, inside: bool, divisor: int | None) -> None:
    x = draw("avg_pool2d/reference/x", pool.shape)
    options = {**pool.window, "count_include_pad": not inside, "divisor_override": divisor}

    def run() -> tuple[np.ndarray, np.ndarray]:
        y = F.avg_pool2d(x, **options)
        dy = draw("avg_pool2d/reference/dy", y.shape)
        return y, F.avg_pool2d_backward(dy, x.shape, **options)

    with running(isa):
        fast = run()
    with running("reference"):
        reference = run()
    for actual, expected in zip(fast, reference):
        assert_close(actual, expected, depth=25)


def test_nan_stays_in_its_windows(implementation: str) -> None:
    x = np.zeros((1, 1, 2, 80), np.float32)
    x[0, 0, 1, 37] = np.nan
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(F.avg_pool2d(x, 2))), [18])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(F.avg_pool2d(x, 2, 1))), [36, 37])
    dy = np.zeros((1, 1, 1, 40), np.float32)
    dy[..., 18] = np.nan
    dx = F.avg_pool2d_backward(dy, x.shape, 2)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(dx)), [36, 37, 116, 117])


def test_window_far_larger_than_input(implementation: str) -> None:
    x = draw("avg_pool2d/far", (1, 2, 3, 4))
    options = {"kernel_size": 2**31 - 1, "padding": 2**30 - 1, "count_include_pad": False}
    y = F.avg_pool2d(x, **options)
    assert_close(y, x.mean(axis=(2, 3), keepdims=True))
    dx = F.avg_pool2d_backward(np.full_like(y, 12), x.shape, **options)
    np.testing.assert_array_equal(dx, np.ones_like(x))


def test_reads_views(implementation: str) -> None:
    x = draw("avg_pool2d/views", (2, 3, 12, 40))[:, ::-1, ::2, 1::2]
    np.testing.assert_array_equal(F.avg_pool2d(x, 2), F.avg_pool2d(np.ascontiguousarray(x), 2))


@pytest.mark.parametrize("isa", _core.supported_isas())
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (5, 3, 2)])
def test_same_bits_for_any_number_of_threads(
    isa: str, kernel: int, stride: int, padding: int
) -> None:
    x = draw("avg_pool2d/threads/x", (33, 6, 28, 28))
    with running(isa):
        results = []
        for count in (1, 2, 3, 5, 8):
            with threads(count):
                y = F.avg_pool2d(x, kernel, stride, padding)
                dy = draw("avg_pool2d/threads/dy", y.shape)
                dx = F.avg_pool2d_backward(dy, x.shape, kernel, stride, padding)
                results.append((y.tobytes(), dx.tobytes()))
        assert all(result == results[0] for result in results)
        # An image's bits do not depend on its place in the batch.
        for n in range(0, len(x), 4):
            alone = F.avg_pool2d(x[n], kernel, stride, padding)
            np.testing.assert_array_equal(alone, y[n])
            back = F.avg_pool2d_backward(dy[n], x[n].shape, kernel, stride, padding)
            np.testing.assert_array_equal(back, dx[n])


@pytest.mark.parametrize("case", ["lenet", "alexnet", "padded inside", "divisor", "unbatched"])
def test_gradient_by_finite_differences(float64: None, case: str) -> None:
    pool, options = CASES[case]
    x = draw(f"avg_pool2d/{case}/x", pool.shape).astype(np.float64)
    y = F.avg_pool2d(x, **pool.window, **options)
    dy = draw(f"avg_pool2d/{case}/dy", y.shape).astype(np.float64)
    dx = F.avg_pool2d_backward(dy, x.shape, **pool.window, **options)
    numeric = finite_differences(
        lambda: float((F.avg_pool2d(x, **pool.window, **options) * dy).sum()), x
    )
    np.testing.assert_allclose(dx, numeric, atol=1e-8)


X = np.zeros((2, 3, 4, 5), np.float32)
DY = np.zeros((2, 3, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.avg_pool2d(X.astype(np.float64), 2), TypeError,
         "avg_pool2d: input must be float32, got float64"),
        (lambda: F.avg_pool2d(X[None], 2), ValueError,
         r"input must have 4 dimensions .* got 5 with shape \(1, 2, 3, 4, 5\)"),
        (lambda: F.avg_pool2d(X, 5), ValueError, r"avg_pool2d: kernel_size \(5, 5\) .* covers "
         r"\(5, 5\), which is larger than the padded input \(4, 5\); input has shape"),
        (lambda: F.avg_pool2d(X, 3, padding=(1, 2)), ValueError, r"padding must be at most half of "
         r"kernel_size, got padding \(1, 2, 1, 2\) \(.*\) and kernel_size \(3, 3\)"),
        (lambda: F.avg_pool2d(X, 2, padding=-1), ValueError, "padding must be between 0 .* got -1"),
        (lambda: F.avg_pool2d(X, 2, (1, 0)), ValueError, "stride must be between 1 .* got 0"),
        (lambda: F.avg_pool2d(X, 2, ceil_mode=2), TypeError,
         "^avg_pool2d: ceil_mode must be True or False, got 2$"),
        (lambda: F.avg_pool2d_backward(DY, X.shape, 2, count_include_pad=[]), TypeError,
         r"^avg_pool2d_backward: count_include_pad must be True or False, got \[\]$"),
        (lambda: F.avg_pool2d(X, 2, divisor_override=0), ValueError,
         "avg_pool2d: divisor_override must not be 0"),
        (lambda: F.avg_pool2d(X, 2, divisor_override=0.5), TypeError,
         "divisor_override must be an integer, got 0.5"),
        (lambda: F.avg_pool2d_backward(DY[:1], X.shape, 2), ValueError,
         r"avg_pool2d_backward: dy must have shape \(2, 3, 2, 2\) \(that of the output for this "
         r"input_shape\), got \(1, 3, 2, 2\)"),
        (lambda: F.avg_pool2d_backward(DY, X.shape, 2, divisor_override=0), ValueError,
         "avg_pool2d_backward: divisor_override must not be 0"),
        (lambda: F.avg_pool2d_backward(DY, (2**31 - 1,) * 4, 2), ValueError,
         r"the sizes \(2147483647, 2147483647\) overflow"),
        (lambda: F.avg_pool2d_backward(DY, (0, 2**31 - 1, 2**16, 2), 2), ValueError,
         r"dy must have shape \(0, 2147483647, 32768, 1\)"),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 0, 4, 5), (0, 4, 5)])
def test_empty(implementation: str, shape: tuple[int, ...]) -> None:
    y = F.avg_pool2d(np.zeros(shape, np.float32), 2)
    assert y.shape == (*shape[:-2], 2, 2)
    assert F.avg_pool2d_backward(y, shape, 2).shape == shape
