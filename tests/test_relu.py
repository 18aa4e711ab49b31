"""relu against PyTorch, against finite differences, and at its border."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate.functional as F
from checks import Arrays, assert_close, draw, finite_differences, from_torch

CASES: dict[str, tuple[int, ...]] = {
    "empty": (0, 3),
    "one": (1,),
    "odd": (3, 5, 7),
    "long": (2, 7, 131),
}


def torch_run(torch: Any, case: str) -> Arrays:
    """What scripts/make_golden.py keeps of each case."""
    x = torch.tensor(draw(f"relu/{case}/x", CASES[case]), requires_grad=True)
    y = torch.nn.functional.relu(x)
    y.backward(torch.tensor(draw(f"relu/{case}/dy", CASES[case])))
    return {"y": y.detach().numpy(), "dx": x.grad.numpy()}


@pytest.mark.parametrize("case", CASES)
def test_equals_torch(implementation: str, case: str) -> None:
    expected = from_torch("relu", case, lambda torch: torch_run(torch, case))
    y = F.relu(draw(f"relu/{case}/x", CASES[case]))
    dx = F.relu_backward(draw(f"relu/{case}/dy", CASES[case]), y)
    assert_close(y, expected["y"], depth=0)
    assert_close(dx, expected["dx"], depth=0)


def test_nan_stays_and_zero_has_no_gradient(implementation: str) -> None:
    x = np.array([np.nan, -0.0, 0.0, -1, np.inf, -np.inf, 2], np.float32)
    y = F.relu(x)
    np.testing.assert_array_equal(y, np.array([np.nan, 0, 0, 0, np.inf, 0, 2], np.float32))
    dx = F.relu_backward(np.full_like(x, 3), y)
    np.testing.assert_array_equal(dx, np.array([3, 0, 0, 0, 3, 0, 3], np.float32))


@given(size=st.integers(0, 200), start=st.integers(0, 5), step=st.sampled_from([1, 2, -1, -3]))
def test_reads_views(size: int, start: int, step: int) -> None:
    x = draw("relu/views", (size + 5,))[start::step]
    np.testing.assert_array_equal(F.relu(x), np.maximum(x, 0))


def test_gradient_by_finite_differences(float64: None) -> None:
    x = draw("relu/gradient", (40,)).astype(np.float64)
    x = x[np.abs(x) > 1e-3]  # not at the kink
    dy = draw("relu/gradient/dy", x.shape).astype(np.float64)
    numeric = finite_differences(lambda: float((F.relu(x) * dy).sum()), x)
    np.testing.assert_allclose(F.relu_backward(dy, F.relu(x)), numeric, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.relu(x.astype(np.float64)), TypeError, r"relu: input must be float32, got floa"
         r"t64; cast it with input.astype\(numpy.float32\)"),
        (lambda x: F.relu([1.0]), TypeError, "relu: input must be a NumPy array, got list"),
        (lambda x: F.relu(x, inplace=True), ValueError, "relu: inplace=True is not supported"),
        (lambda x: F.relu_backward(x, x[:1]), ValueError,
         r"relu_backward: dy must have shape \(1, 3\) \(that of y\), got \(2, 3\)"),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(np.zeros((2, 3), np.float32))
