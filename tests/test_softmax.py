"""softmax and log_softmax against PyTorch, against finite differences, and at their border."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate.functional as F
from backends import here, running
from checks import Arrays, assert_close, draw, finite_differences, from_torch
from striate import _core

OPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "softmax": (F.softmax, F.softmax_backward),
    "log_softmax": (F.log_softmax, F.log_softmax_backward),
}
# Few classes and many, in rows and side by side, whole vectors and rests; dim as it is given.
SHAPES: dict[str, tuple[tuple[int, ...], int | None]] = {
    "number": ((), None),
    "vector": ((5,), None),
    "digits": ((19, 10), None),
    "implicit 3d": ((3, 2, 2), None),
    "implicit 4d": ((2, 3, 1, 2), None),
    "many classes": ((3, 75), -1),
    "channels": ((2, 3, 5, 7), 1),
    "columns": ((33, 18), 0),
    "last": ((2, 3, 4), 2),
    "one class": ((3, 1), 1),
    "one": ((1, 1), 1),
    "empty batch": ((0, 4), 1),
    "no classes": ((3, 0), 1),
    "no inner": ((3, 4, 0), 1),
}
SPECIAL = np.array(
    [
        [1, -np.inf, 2],
        [-np.inf, -np.inf, -np.inf],
        [np.inf, 1, 2],
        [np.nan, 1, 2],
        [1e30, -1e30, 3e38],
        [-3e38, 3e38, 0],
        [1e4, 1e4 + 1, 1e4 - 1],
    ],
    np.float32,
)
DRAWN = [f"{op}-{shape}" for op in OPS for shape in SHAPES]
CASES = DRAWN + [f"{op}-special" for op in OPS]


def arguments(case: str) -> tuple[str, np.ndarray, int | None, np.ndarray]:
    op, name = case.split("-", 1)
    shape, dim = SHAPES[name]
    x = draw(f"softmax/{name}/x", shape) * np.float32(4)
    return op, x, dim, draw(f"softmax/{name}/dy", shape)


def torch_run(torch: Any, case: str) -> Arrays:
    """What scripts/make_golden.py keeps of each case."""
    if case.endswith("special"):
        op = case.removesuffix("-special")
        return {"y": getattr(torch.nn.functional, op)(torch.tensor(SPECIAL), 1).numpy()}
    op, x, dim, dy = arguments(case)
    if dim is None:  # torch warns of it
        dim = 0 if x.ndim in (0, 1, 3) else 1
    tx = torch.tensor(x, requires_grad=True)
    y = getattr(torch.nn.functional, op)(tx, dim)
    y.backward(torch.tensor(dy))
    return {"y": y.detach().numpy(), "dx": tx.grad.numpy()}


@pytest.mark.parametrize("case", DRAWN)
def test_equals_torch(implementation: str, case: str) -> None:
    expected = from_torch("softmax", case, lambda torch: torch_run(torch, case))
    op, x, dim, dy = arguments(case)
    forward, backward = OPS[op]
    y = forward(x, dim)
    classes = x.shape[dim] if dim is not None and x.ndim else 10
    assert_close(y, expected["y"], depth=classes)
    assert_close(backward(dy, y, dim), expected["dx"], depth=classes)


@pytest.mark.parametrize("op", OPS)
def test_special_values_as_torch(implementation: str, op: str) -> None:
    expected = from_torch(
        "softmax", f"{op}-special", lambda torch: torch_run(torch, f"{op}-special")
    )
    assert_close(OPS[op][0](SPECIAL, 1), expected["y"], depth=3)
    assert_close(OPS[op][0](SPECIAL.T.copy(), 0), expected["y"].T, depth=3)
    # The same among so many classes that each row is a vector of its own.
    nothing = np.full((len(SPECIAL), 70), -np.inf, np.float32)
    for place in (0, 67):
        x = np.concatenate([nothing[:, :place], SPECIAL, nothing[:, place:]], axis=1)
        y = OPS[op][0](x, 1)
        assert_close(y[:, place : place + 3], expected["y"], depth=3)


def test_log_softmax_is_accurate(implementation: str) -> None:
    """Equal logits leave nothing but the logarithm of how many they are."""
    for classes in (1, 2, 3, 5, 7, 11, 23, 32, 33, 100, 181, 1000, 1449):
        y = F.log_softmax(np.full((2, classes), 3, np.float32), 1)
        np.testing.assert_allclose(y, -np.log(np.float64(classes)), rtol=1.5e-7, atol=0)
    # 1 + exp(-t), from 1 to 2, covers the whole range that the logarithm reduces to.
    t = np.linspace(0, 16, 3001, dtype=np.float32)
    y = F.log_softmax(np.stack([np.zeros_like(t), -t], 1), 1)[:, 0]
    np.testing.assert_allclose(y, -np.log1p(np.exp(-t.astype(np.float64))), rtol=0, atol=1.5e-7)


@given(
    op=st.sampled_from(sorted(OPS)),
    shape=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    dim=st.integers(-3, 2),
)
def test_fast_equals_reference(op: str, shape: list[int], dim: int) -> None:
    dim = dim % len(shape)
    x, dy = draw("softmax/any", tuple(shape)), draw("softmax/any/dy", tuple(shape))
    forward, backward = OPS[op]
    with running("reference"):
        y = forward(x, dim)
        dx = backward(dy, y, dim)
    for name in here():
        with running(name):
            assert_close(forward(x, dim), y, depth=shape[dim])
            assert_close(backward(dy, y, dim), dx, depth=shape[dim])


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("shape", "dim"), [((1111, 10), 1), ((67, 300), 1), ((2, 7, 2000), 1)])
def test_bits_depend_neither_on_place_nor_on_threads(
    implementation: str, op: str, shape: tuple[int, ...], dim: int
) -> None:
    x, dy = draw("softmax/place", shape), draw("softmax/place/dy", shape)
    forward, backward = OPS[op]
    threads_before = _core.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 5, 8):
            _core.set_num_threads(threads)
            y = forward(x, dim)
            dx = backward(dy, y, dim)
            results.append(np.stack([y, dx]))
            part = (slice(1, None),) if len(shape) == 2 else (..., slice(5, None))
            np.testing.assert_array_equal(forward(x[part], dim), y[part])
            np.testing.assert_array_equal(backward(dy[part], y[part], dim), dx[part])
    finally:
        _core.set_num_threads(threads_before)
    for result in results[1:]:
        np.testing.assert_array_equal(results[0], result)


def test_reads_views() -> None:
    x = draw("softmax/views", (12, 14))
    for rows, columns in itertools.product([slice(None, None, -1), slice(1, None, 3)], repeat=2):
        view = x[rows, columns]
        np.testing.assert_array_equal(F.softmax(view, 1), F.softmax(view.copy(), 1))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_gradient_by_finite_differences(float64: None, op: str, dim: int) -> None:
    forward, backward = OPS[op]
    x = draw("softmax/gradient", (3, 4, 2)).astype(np.float64)
    dy = draw("softmax/gradient/dy", x.shape).astype(np.float64)
    numeric = finite_differences(lambda: float((forward(x, dim) * dy).sum()), x)
    np.testing.assert_allclose(backward(dy, forward(x, dim), dim), numeric, atol=1e-8)


def test_takes_torchs_dtype_where_it_changes_nothing() -> None:
    x = draw("softmax/dtype", (2, 3))
    np.testing.assert_array_equal(F.softmax(x, 1, 3, np.float32), F.softmax(x, 1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.softmax(x, 2), ValueError,
         r"softmax: dim must be between -2 and 1 for shape \(2, 3\), got 2"),
        (lambda x: F.log_softmax_backward(x, x, -3), ValueError,
         "log_softmax_backward: dim must be between -2 and 1"),
        (lambda x: F.softmax(x[0, 0:1].reshape(()), 1), ValueError, "dim must be between -1 and 0"),
        (lambda x: F.softmax(x, 1.0), TypeError, "softmax: dim must be an integer, got 1.0"),
        (lambda x: F.softmax(x, 1, dtype=np.float64), ValueError, "dtype must be None or float32"),
        (lambda x: F.log_softmax(x.astype(np.float64), 1), TypeError,
         "log_softmax: input must be float32, got float64"),
        (lambda x: F.softmax([1.0], 0), TypeError, "input must be a NumPy array, got list"),
        (lambda x: F.softmax_backward(x[:1], x, 1), ValueError,
         r"softmax_backward: dy must have shape \(2, 3\) \(that of y\), got \(1, 3\)"),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(np.zeros((2, 3), np.float32))
