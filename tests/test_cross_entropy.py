"""cross_entropy against PyTorch in all its combinations, finite differences, and its border."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate.functional as F
from backends import here, running
from checks import Arrays, assert_close, draw, finite_differences, from_torch
from striate import _core

SHAPES: dict[str, tuple[int, ...]] = {
    "unbatched": (5,),
    "digits": (17, 5),
    "one": (1, 1),
    "many": (2, 35),
    "pixels": (2, 3, 3, 6),
    "sequence": (2, 5, 3),
    "empty": (0, 4),
    "no pixels": (2, 4, 0),
}
TARGETS = ("labels", "some ignored", "all ignored", "probabilities")
REDUCTIONS = ("mean", "sum", "none")
OPTIONS = list(itertools.product(TARGETS, REDUCTIONS, (False, True), (0.0, 0.2, 1.0)))
CASES = list(SHAPES)  # every case holds all the options


def positions(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if len(shape) == 1 else shape[:1] + shape[2:]


def class_axis(shape: tuple[int, ...]) -> int:
    return 0 if len(shape) == 1 else 1


def arguments(shape: tuple[int, ...], kind: str, reduction: str, weighted: bool) -> dict[str, Any]:
    axis, where = class_axis(shape), positions(shape)
    name = f"cross_entropy/{shape}"
    if kind == "probabilities":
        target = np.abs(draw(f"{name}/q", shape)) + np.float32(0.01)
        target /= target.sum(axis, keepdims=True)
    else:
        target = (np.abs(draw(f"{name}/t", where)) * 1000).astype(np.int64) % shape[axis]
        if kind != "labels":
            below = 0.5 if kind == "some ignored" else 99
            target = np.where(draw(f"{name}/i", where) < below, -100, target)
    weight = np.abs(draw(f"{name}/w", (shape[axis],))) + np.float32(0.1) if weighted else None
    dy = draw(f"{name}/dy", where) if reduction == "none" else 0.7
    return {"x": draw(f"{name}/x", shape), "target": target, "weight": weight, "dy": dy}


def torch_run(torch: Any, case: str) -> Arrays:
    """What scripts/make_golden.py keeps of each case."""
    losses, gradients = [], []
    for kind, reduction, weighted, smoothing in OPTIONS:
        a = arguments(SHAPES[case], kind, reduction, weighted)
        x = torch.tensor(a["x"], requires_grad=True)
        loss = torch.nn.functional.cross_entropy(
            x,
            torch.tensor(a["target"]),
            None if a["weight"] is None else torch.tensor(a["weight"]),
            reduction=reduction,
            label_smoothing=smoothing,
        )
        loss.backward(torch.tensor(a["dy"], dtype=torch.float32))
        losses.append(loss.detach().numpy().ravel())
        gradients.append(x.grad.numpy().ravel())
    return {"loss": np.concatenate(losses), "dx": np.concatenate(gradients)}


@pytest.mark.parametrize("case", CASES)
def test_equals_torch(implementation: str, case: str) -> None:
    shape = SHAPES[case]
    expected = from_torch("cross_entropy", case, lambda torch: torch_run(torch, case))
    losses, gradients = [], []
    for kind, reduction, weighted, smoothing in OPTIONS:
        a = arguments(shape, kind, reduction, weighted)
        options = {"reduction": reduction, "label_smoothing": smoothing}
        loss = F.cross_entropy(a["x"], a["target"], a["weight"], **options)
        dx = F.cross_entropy_backward(a["dy"], a["x"], a["target"], a["weight"], **options)
        assert isinstance(loss, np.ndarray if reduction == "none" else float)
        assert np.shape(loss) == (positions(shape) if reduction == "none" else ())
        assert dx.shape == shape
        losses.append(np.float32(loss).ravel())
        gradients.append(dx.ravel())
    # A sum of the losses of all positions.
    depth = shape[class_axis(shape)] + math.prod(positions(shape))
    assert_close(np.concatenate(losses), expected["loss"], depth, scale=4)
    assert_close(np.concatenate(gradients), expected["dx"], depth)


def test_the_mean_over_nothing_is_nan_and_its_gradient_zero(implementation: str) -> None:
    x, none = draw("cross_entropy/nothing", (4, 3)), np.full(4, -100)
    assert math.isnan(F.cross_entropy(x, none))
    np.testing.assert_array_equal(F.cross_entropy_backward(1.0, x, none), np.zeros_like(x))
    for target in (none[:0], x[:0]):
        assert math.isnan(F.cross_entropy(x[:0], target))
        assert F.cross_entropy(x[:0], target, reduction="sum") == 0
        assert F.cross_entropy_backward(1.0, x[:0], target).shape == (0, 3)


def test_large_infinite_and_nan_logits(implementation: str) -> None:
    inf = np.inf
    x = np.array([[1e4, -1e4, 0], [-inf, 2, 1], [3e38, -3e38, 0], [np.nan, 1, 2]], np.float32)
    loss = F.cross_entropy(x, np.array([1, 0, 0, 1]), reduction="none")
    np.testing.assert_array_equal(loss, np.array([2e4, inf, 0, np.nan], np.float32))
    # A class of probability 0 that is not asked for costs nothing.
    assert F.cross_entropy(x[1:2], np.array([1])) == pytest.approx(math.log(1 + math.exp(-1)))
    assert math.isnan(F.cross_entropy(x, np.array([1, 1, 0, 1])))
    # What is ignored does not spoil the rest.
    ignored = np.array([1, 1, 0, -100])
    assert math.isfinite(F.cross_entropy(x, ignored))
    dx = F.cross_entropy_backward(1.0, x, ignored)
    assert np.isfinite(dx).all()
    np.testing.assert_array_equal(dx[3], np.zeros(3, np.float32))


def test_ignore_index_may_be_a_class_or_not(implementation: str) -> None:
    x = draw("cross_entropy/ignore", (4, 3))
    labels = np.array([0, 1, 2, 1])
    for ignored in (1, 77, -1):
        t = np.where(labels == 1, ignored, labels)
        expected = F.cross_entropy(x[[0, 2]], labels[[0, 2]])
        assert F.cross_entropy(x, t, ignore_index=ignored) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32,
                                   np.int64, np.uint64, ">i4"])  # fmt: skip
def test_labels_of_any_integer_type(dtype: Any) -> None:
    x, labels = draw("cross_entropy/types", (5, 3)), np.array([0, 2, 1, 1, 2])
    strided = np.repeat(labels.astype(dtype), 2)[::2]
    assert F.cross_entropy(x, strided) == F.cross_entropy(x, labels)
    assert F.cross_entropy(x[0], labels.astype(dtype)[1]) == F.cross_entropy(x[0], labels[1])


@given(
    batch=st.integers(0, 40),
    classes=st.integers(1, 50),
    inner=st.sampled_from([(), (1,), (3,), (2, 9), (33,)]),
    options=st.sampled_from(OPTIONS),
)
def test_fast_equals_reference(
    batch: int, classes: int, inner: tuple[int, ...], options: tuple[Any, ...]
) -> None:
    kind, reduction, weighted, smoothing = options
    a = arguments((batch, classes, *inner), kind, reduction, weighted)
    rest = (a["x"], a["target"], a["weight"])
    named = {"reduction": reduction, "label_smoothing": smoothing}
    depth = classes + batch * math.prod(inner)
    with running("reference"):
        loss = np.float32(F.cross_entropy(*rest, **named))
        dx = F.cross_entropy_backward(a["dy"], *rest, **named)
    for name in here():
        with running(name):
            assert_close(np.float32(F.cross_entropy(*rest, **named)), loss, depth, scale=4)
            assert_close(F.cross_entropy_backward(a["dy"], *rest, **named), dx, classes)


@pytest.mark.parametrize("shape", [(2000, 10), (37, 300), (3, 7, 2000)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_same_bits_for_any_number_of_threads(
    implementation: str, shape: tuple[int, ...], smoothing: float
) -> None:
    a = arguments(shape, "some ignored", "mean", True)
    rest = (a["x"], a["target"], a["weight"])
    threads_before = _core.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 5, 8):
            _core.set_num_threads(threads)
            loss = F.cross_entropy(*rest, label_smoothing=smoothing)
            dx = F.cross_entropy_backward(1.0, *rest, label_smoothing=smoothing)
            results.append((loss, dx))
    finally:
        _core.set_num_threads(threads_before)
    for loss, dx in results[1:]:
        assert loss == results[0][0]
        np.testing.assert_array_equal(dx, results[0][1])


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 5)])
@pytest.mark.parametrize("kind", ["labels", "some ignored", "probabilities"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_gradient_by_finite_differences(
    float64: None, shape: tuple[int, ...], kind: str, reduction: str, smoothing: float
) -> None:
    a = arguments(shape, kind, reduction, True)
    x, weight, dy = (np.asarray(a[name], np.float64) for name in ("x", "weight", "dy"))
    target = a["target"].astype(np.float64) if kind == "probabilities" else a["target"]
    named = {"reduction": reduction, "label_smoothing": smoothing}
    if reduction == "mean" and (target == -100).all():
        target = np.zeros_like(target)
    numeric = finite_differences(
        lambda: float((F.cross_entropy(x, target, weight, **named) * dy).sum()), x
    )
    dx = F.cross_entropy_backward(dy if reduction == "none" else float(dy), x, target, weight,
                                  **named)  # fmt: skip
    np.testing.assert_allclose(dx, numeric, atol=1e-8)


X, T = np.zeros((2, 3), np.float32), np.array([0, 2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.cross_entropy(X, np.array([0, 3])), ValueError,
         r"cross_entropy: target\[1\] = 3 is not a class: input has 3 classes, counted from 0, and "
         "ignore_index is -100"),
        (lambda: F.cross_entropy(np.zeros((1, 2, 2, 2), np.float32), np.array([[[0, 1], [-5, 1]]])),
         ValueError, r"target\[0, 1, 0\] = -5 is not a class: input has 2 classes"),
        (lambda: F.cross_entropy(X[0], np.array(9)), ValueError, "target = 9 is not a class"),
        (lambda: F.cross_entropy(X, np.array([0, 2**64 - 100], np.uint64)), ValueError,
         r"target\[1\] = 18446744073709551516 is not a class"),
        (lambda: F.cross_entropy(X, T > 0), TypeError,
         "target must hold integer labels or float32 probabilities, got bool"),
        (lambda: F.cross_entropy(X, X.astype(np.float64)), TypeError,
         "target must be float32, got float64"),
        (lambda: F.cross_entropy(X, [0, 1]), TypeError, "target must be a NumPy array, got list"),
        (lambda: F.cross_entropy(X.astype(np.float64), T), TypeError, "input must be float32, got"),
        (lambda: F.cross_entropy(X, T[:1]), ValueError,
         r"target must have shape \(2,\) \(labels for input's shape \(2, 3\)\), got \(1,\)"),
        (lambda: F.cross_entropy(X, X[:, :2]), ValueError,
         r"target must have shape \(2, 3\) \(that of input, for class probabilities\), got \(2, 2"),
        (lambda: F.cross_entropy(X, X, ignore_index=0), ValueError, "ignore_index=0 needs labels"),
        (lambda: F.cross_entropy(X[0, 0:1].reshape(()), T), ValueError, r"\(N, C, d1, ...\), got \("
         r"\)"),
        (lambda: F.cross_entropy(X[:, :0], T), ValueError, r"has no classes, its shape is \(2, 0"),
        (lambda: F.cross_entropy(X, T, X[0, :2]), ValueError,
         r"weight must have shape \(3,\) \(one weight for each class\), got \(2,\)"),
        (lambda: F.cross_entropy(X, T, reduction="max"), ValueError,
         "reduction must be 'mean', 'sum' or 'none', got 'max'"),
        (lambda: F.cross_entropy(X, T, label_smoothing=1.5), ValueError,
         "label_smoothing must be between 0 and 1, got 1.5"),
        (lambda: F.cross_entropy(X, T, label_smoothing=math.nan), ValueError, "got nan"),
        (lambda: F.cross_entropy(X, T, size_average=False), ValueError, "is not supported"),
        (lambda: F.cross_entropy(X, T, reduce=True), ValueError, "is not supported"),
        (lambda: F.cross_entropy(X, T, ignore_index=0.5), TypeError, "ignore_index must be an int"),
        (lambda: F.cross_entropy_backward("1", X, T), TypeError, "dy must be a number"),
        (lambda: F.cross_entropy_backward(X[:1, 0], X, T, reduction="none"), ValueError,
         r"dy must have shape \(2,\) \(one value for each loss\), got \(1,\)"),
        (lambda: F.cross_entropy_backward(1.0, X, T, reduction="none"), TypeError,
         "cross_entropy_backward: dy must be a NumPy array, got float"),
        (lambda: F.cross_entropy_backward(1.0, X, T + 2), ValueError,
         r"cross_entropy_backward: target\[1\] = 4 is not a class"),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
