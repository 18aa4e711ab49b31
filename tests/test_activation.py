"""tanh and sigmoid against PyTorch, against double precision, and at their border."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate.functional as F
from checks import Arrays, assert_close, draw, finite_differences, from_torch
from striate import _core

OPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "tanh": (F.tanh, F.tanh_backward),
    "sigmoid": (F.sigmoid, F.sigmoid_backward),
}
SHAPES: dict[str, tuple[int, ...]] = {
    "empty": (0, 3),
    "one": (1,),
    "number": (),
    "odd": (3, 5, 7),
    "long": (2, 7, 131),
}
CASES = [f"{op}-{shape}" for op in OPS for shape in SHAPES]
TINY = float(np.finfo(np.float32).tiny)


def exact(op: str, x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.tanh(x) if op == "tanh" else 1 / (1 + np.exp(-x))


def arguments(case: str) -> tuple[str, np.ndarray, np.ndarray]:
    op, shape = case.split("-")
    x = draw(f"{op}/{shape}/x", SHAPES[shape]) * np.float32(3)
    return op, x, draw(f"{op}/{shape}/dy", SHAPES[shape])


def torch_run(torch: Any, case: str) -> Arrays:
    """What scripts/make_golden.py keeps of each case."""
    op, x, dy = arguments(case)
    tx = torch.tensor(x, requires_grad=True)
    y = getattr(torch, op)(tx)
    y.backward(torch.tensor(dy))
    return {"y": y.detach().numpy(), "dx": tx.grad.numpy()}


@pytest.mark.parametrize("case", CASES)
def test_equals_torch(implementation: str, case: str) -> None:
    expected = from_torch("activation", case, lambda torch: torch_run(torch, case))
    op, x, dy = arguments(case)
    forward, backward = OPS[op]
    y = forward(x)
    assert_close(y, expected["y"], depth=0)
    assert_close(backward(dy, y), expected["dx"], depth=0)


@pytest.mark.parametrize(("op", "ulps"), [("tanh", 2), ("sigmoid", 3)])
def test_accurate_over_the_whole_range(implementation: str, op: str, ulps: int) -> None:
    """Every exponent and both signs, relative to what the result can represent."""
    bits = np.arange(0, 2**32, 40_009, dtype=np.uint64).astype(np.uint32)
    x = bits.view(np.float32)
    x = x[~np.isnan(x)]
    y, expected = OPS[op][0](x), exact(op, x)
    assert np.isfinite(y).all()
    # Denormals may become zeros.
    unit = np.maximum(np.spacing(np.abs(expected).astype(np.float32)), TINY / ulps)
    assert (np.abs(y - expected) / unit).max() <= ulps


def test_special_values(implementation: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-20, -1e-20, 3e38, -3e38], np.float32)
    tanh = np.array([np.nan, 1, -1, 0.0, -0.0, 1e-20, -1e-20, 1, -1], np.float32)
    sigmoid = np.array([np.nan, 1, 0, 0.5, 0.5, 0.5, 0.5, 1, 0], np.float32)
    np.testing.assert_array_equal(F.tanh(x), tanh)
    np.testing.assert_array_equal(np.signbit(F.tanh(x))[1:], np.signbit(x)[1:])
    np.testing.assert_array_equal(F.sigmoid(x), sigmoid)
    assert np.isnan(F.tanh_backward(x, np.ones_like(x))[:3]).all()  # NaN, and infinity times 0


@pytest.mark.parametrize("op", OPS)
def test_bits_depend_neither_on_place_nor_on_threads(implementation: str, op: str) -> None:
    x, dy = draw("activation/place", (20_011,)), draw("activation/place/dy", (20_011,))
    forward, backward = OPS[op]
    threads_before = _core.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 5, 8):
            _core.set_num_threads(threads)
            y = forward(x)
            results.append(np.concatenate([y, backward(dy, y)]))
            np.testing.assert_array_equal(forward(x[3:]), y[3:])
            np.testing.assert_array_equal(backward(dy[3:], y[3:]), results[-1][x.size + 3 :])
    finally:
        _core.set_num_threads(threads_before)
    for result in results[1:]:
        np.testing.assert_array_equal(results[0], result)


@given(
    op=st.sampled_from(sorted(OPS)),
    size=st.integers(0, 200),
    start=st.integers(0, 5),
    step=st.sampled_from([1, 2, -1, -3]),
)
def test_reads_views(op: str, size: int, start: int, step: int) -> None:
    x = draw("activation/views", (size + 5,))[start::step]
    assert_close(OPS[op][0](x), exact(op, x).astype(np.float32), depth=0)


@pytest.mark.parametrize("op", OPS)
def test_gradient_by_finite_differences(float64: None, op: str) -> None:
    forward, backward = OPS[op]
    x = draw(f"{op}/gradient", (40,)).astype(np.float64)
    dy = draw(f"{op}/gradient/dy", x.shape).astype(np.float64)
    numeric = finite_differences(lambda: float((forward(x) * dy).sum()), x)
    np.testing.assert_allclose(backward(dy, forward(x)), numeric, atol=1e-8)


@pytest.mark.parametrize("op", OPS)
def test_refuses(op: str) -> None:
    forward, backward = OPS[op]
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match=f"{op}: input must be float32, got float64; cast it"):
        forward(x.astype(np.float64))
    with pytest.raises(TypeError, match=f"{op}: input must be a NumPy array, got list"):
        forward([1.0])
    message = rf"{op}_backward: dy must have shape \(1, 3\) \(that of y\), got \(2, 3\)"
    with pytest.raises(ValueError, match=message):
        backward(x, x[:1])
