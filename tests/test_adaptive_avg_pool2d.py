"""adaptive_avg_pool2d against PyTorch, the fast one against the reference, and its border."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate.functional as F
from backends import FAST, running, threads
from checks import Arrays, assert_close, draw, finite_differences, from_torch
from striate import _core, nn


class Case(NamedTuple):
    shape: tuple[int, ...]
    output_size: Any


CASES: dict[str, Case] = {
    "one": Case((1, 1, 1, 1), 1),
    "empty": Case((0, 3, 4, 4), 2),
    "unbatched": Case((2, 7, 5), 3),
    "identity": Case((2, 3, 6, 6), 6),
    "alexnet": Case((2, 3, 13, 13), 6),  # windows that overlap
    "alexnet 63": Case((2, 3, 1, 1), 6),  # from 1 x 1: the same element in every window
    "divides": Case((1, 2, 12, 18), (4, 3)),
    "global": Case((2, 3, 6, 5), 1),
    "divides wide": Case((1, 2, 4, 40), (2, 20)),
    "rows alone": Case((1, 2, 9, 40), (4, None)),
    "columns alone": Case((1, 2, 4, 37), (None, 8)),
    "none": Case((1, 2, 4, 5), (None, None)),
    "larger": Case((1, 2, 3, 5), (7, 9)),
    "larger and smaller": Case((1, 2, 3, 50), (7, 9)),
    "multiple": Case((1, 2, 3, 4), (6, 8)),
    "wide": Case((1, 1, 3, 83), (2, 5)),
    "almost all": Case((1, 1, 17, 33), (16, 32)),
}


def torch_run(torch: Any, case: str) -> Arrays:
    shape, output_size = CASES[case]
    x = torch.tensor(draw(f"adaptive_avg_pool2d/{case}/x", shape), requires_grad=True)
    y = torch.nn.functional.adaptive_avg_pool2d(x, output_size)
    y.backward(torch.tensor(draw(f"adaptive_avg_pool2d/{case}/dy", tuple(y.shape))))
    return {"y": y.detach().numpy(), "dx": x.grad.numpy()}


@pytest.mark.parametrize("case", CASES)
def test_equals_torch(implementation: str, case: str) -> None:
    shape, output_size = CASES[case]
    expected = from_torch("adaptive_avg_pool2d", case, lambda torch: torch_run(torch, case))
    y = F.adaptive_avg_pool2d(draw(f"adaptive_avg_pool2d/{case}/x", shape), output_size)
    dy = draw(f"adaptive_avg_pool2d/{case}/dy", y.shape)
    dx = F.adaptive_avg_pool2d_backward(dy, shape, output_size)
    assert_close(y, expected["y"], depth=1)  # a sum of n, divided by n
    assert_close(dx, expected["dx"], depth=36 if case == "alexnet 63" else 4)


sizes = st.integers(1, 9)


@pytest.mark.parametrize("isa", FAST)
@given(
    planes=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    height=st.integers(1, 16),
    width=st.integers(1, 80),
    output_size=st.tuples(sizes, st.one_of(sizes, st.integers(1, 80))),
)
def test_equals_reference(
    isa: str, planes: tuple[int, int], height: int, width: int, output_size: tuple[int, int]
) -> None:
    x = draw("adaptive_avg_pool2d/reference/x", (*planes, height, width))

    def run() -> tuple[np.ndarray, np.ndarray]:
        y = F.adaptive_avg_pool2d(x, output_size)
        dy = draw("adaptive_avg_pool2d/reference/dy", y.shape)
        return y, F.adaptive_avg_pool2d_backward(dy, x.shape, output_size)

    with running(isa):
        fast = run()
    with running("reference"):
        reference = run()
    for actual, expected in zip(fast, reference):
        assert_close(actual, expected, depth=25)


def test_nan_stays_in_its_windows(implementation: str) -> None:
    x = np.zeros((1, 1, 2, 80), np.float32)
    x[0, 0, 1, 37] = np.nan
    y = F.adaptive_avg_pool2d(x, (1, 27))  # window q covers 80 q / 27 ..
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(y)), [12])
    x[0, 0, 1, 37], x[0, 0, 1, 35] = 0, np.nan  # in the overlap of two windows
    y = F.adaptive_avg_pool2d(x, (1, 27))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(y)), [11, 12])
    dx = F.adaptive_avg_pool2d_backward(y, x.shape, (1, 27))
    nan = np.array([*range(32, 39)])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(dx)), [*nan, *(80 + nan)])


def test_identity_keeps_every_bit(implementation: str) -> None:
    x = draw("adaptive_avg_pool2d/identity", (3, 5, 6, 6))
    np.testing.assert_array_equal(F.adaptive_avg_pool2d(x, 6), x)
    assert F.adaptive_avg_pool2d(x, 6) is not x
    np.testing.assert_array_equal(F.adaptive_avg_pool2d_backward(x, x.shape, (None, 6)), x)


def test_dividing_windows_are_avg_pool2d(implementation: str) -> None:
    x = draw("adaptive_avg_pool2d/divides", (2, 3, 12, 40))
    for kernel in [(2, 4), (3, 2), (1, 1), (12, 40)]:
        size = 12 // kernel[0], 40 // kernel[1]
        y = F.adaptive_avg_pool2d(x, size)
        assert_close(y, F.avg_pool2d(x, kernel), depth=kernel[0] * kernel[1])
        dx = F.adaptive_avg_pool2d_backward(y, x.shape, size)
        assert_close(dx, F.avg_pool2d_backward(y, x.shape, kernel))


def test_reads_views(implementation: str) -> None:
    x = draw("adaptive_avg_pool2d/views", (2, 3, 14, 40))[:, ::-1, ::2, 1::2]
    expected = F.adaptive_avg_pool2d(np.ascontiguousarray(x), (3, 6))
    np.testing.assert_array_equal(F.adaptive_avg_pool2d(x, (3, 6)), expected)


@pytest.mark.parametrize("isa", _core.supported_isas())
@pytest.mark.parametrize("size", [6, (28, 5), 14, 28])
def test_same_bits_for_any_number_of_threads(isa: str, size: Any) -> None:
    x = draw("adaptive_avg_pool2d/threads/x", (33, 6, 28, 28))
    with running(isa):
        results = []
        for count in (1, 2, 3, 5, 8):
            with threads(count):
                y = F.adaptive_avg_pool2d(x, size)
                dy = draw("adaptive_avg_pool2d/threads/dy", y.shape)
                dx = F.adaptive_avg_pool2d_backward(dy, x.shape, size)
                results.append((y.tobytes(), dx.tobytes()))
        assert all(result == results[0] for result in results)
        # An image's bits do not depend on its place in the batch.
        for n in range(0, len(x), 4):
            np.testing.assert_array_equal(F.adaptive_avg_pool2d(x[n], size), y[n])
            back = F.adaptive_avg_pool2d_backward(dy[n], x[n].shape, size)
            np.testing.assert_array_equal(back, dx[n])


@pytest.mark.parametrize("case", ["unbatched", "alexnet", "divides", "larger", "rows alone"])
def test_gradient_by_finite_differences(float64: None, case: str) -> None:
    shape, output_size = CASES[case]
    x = draw(f"adaptive_avg_pool2d/{case}/x", shape).astype(np.float64)
    y = F.adaptive_avg_pool2d(x, output_size)
    dy = draw(f"adaptive_avg_pool2d/{case}/dy", y.shape).astype(np.float64)
    dx = F.adaptive_avg_pool2d_backward(dy, x.shape, output_size)
    numeric = finite_differences(
        lambda: float((F.adaptive_avg_pool2d(x, output_size) * dy).sum()), x
    )
    np.testing.assert_allclose(dx, numeric, atol=1e-8)


X = np.zeros((2, 3, 4, 5), np.float32)
DY = np.zeros((2, 3, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.adaptive_avg_pool2d(X.astype(np.float64), 2), TypeError,
         "adaptive_avg_pool2d: input must be float32, got float64"),
        (lambda: F.adaptive_avg_pool2d([1.0], 2), TypeError, "adaptive_avg_pool2d: input must be"),
        (lambda: F.adaptive_avg_pool2d(X[None], 2), ValueError,
         r"input must have 4 dimensions .* got 5 with shape \(1, 2, 3, 4, 5\)"),
        (lambda: F.adaptive_avg_pool2d(X[..., :0], (None, None)), ValueError,
         r"input must have a height and a width of at least 1, got shape \(2, 3, 4, 0\)"),
        (lambda: F.adaptive_avg_pool2d(X, 0), ValueError,
         "adaptive_avg_pool2d: output_size must be between 1 .* got 0"),
        (lambda: F.adaptive_avg_pool2d(X, (None, -1)), ValueError, "output_size .* got -1"),
        (lambda: F.adaptive_avg_pool2d(X, None), TypeError,
         "output_size must be an integer, got None"),
        (lambda: F.adaptive_avg_pool2d(X, (2, 0.5)), TypeError,
         "output_size must be an integer, got 0.5"),
        (lambda: F.adaptive_avg_pool2d(X, (None, True)), TypeError,
         "output_size must be an integer, got True"),
        (lambda: F.adaptive_avg_pool2d(X, (1, 2, None)), ValueError,
         r"output_size must be an integer or a pair \(height, width\), got \(1, 2, None\)"),
        (lambda: F.adaptive_avg_pool2d(X, 2**31 - 1), ValueError,
         r"the sizes \(2147483647, 2147483647\) overflow"),
        (lambda: F.adaptive_avg_pool2d_backward(DY[:1], X.shape, 2), ValueError,
         r"adaptive_avg_pool2d_backward: dy must have shape \(2, 3, 2, 2\) \(that of the output "
         r"for this input_shape\), got \(1, 3, 2, 2\)"),
        (lambda: F.adaptive_avg_pool2d_backward(DY, (2, 3), 2), ValueError,
         r"input_shape must have 4 dimensions .* got 2 with shape \(2, 3\)"),
        (lambda: F.adaptive_avg_pool2d_backward(DY, (2**31 - 1,) * 4, 2), ValueError,
         r"the sizes \(2147483647, 2147483647\) overflow"),
        (lambda: nn.AdaptiveAvgPool2d(0), ValueError,
         "AdaptiveAvgPool2d: output_size must be between 1"),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 0, 4, 5), (0, 4, 5)])
@pytest.mark.parametrize("size", [(2, 3), (4, 5), 1])
def test_empty(implementation: str, shape: tuple[int, ...], size: Any) -> None:
    y = F.adaptive_avg_pool2d(np.zeros(shape, np.float32), size)
    assert y.shape == (*shape[:-2], *((1, 1) if size == 1 else size))
    assert F.adaptive_avg_pool2d_backward(y, shape, size).shape == shape


def test_layer_says_its_size() -> None:
    assert repr(nn.AdaptiveAvgPool2d(6)) == "AdaptiveAvgPool2d(output_size=(6, 6))"
    assert nn.AdaptiveAvgPool2d([None, 7]).output_size == (None, 7)
