"""local_response_norm against PyTorch, the fast one against the reference, and its border."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate.functional as F
from backends import FAST, running, threads
from checks import Arrays, assert_close, draw, finite_differences, from_torch
from striate import _core


class Norm(NamedTuple):
    shape: tuple[int, ...]
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0


# alpha near 1, where the torch default would hide the sum behind k.
CASES: dict[str, Norm] = {
    "defaults": Norm((2, 7, 3, 3), 5),
    "one": Norm((1, 1, 1), 1, 0.7),
    "odd size": Norm((1, 9, 5, 7), 5, 0.7, 0.75, 2.0),
    "even size": Norm((1, 9, 5, 7), 4, 0.7),
    "size 2": Norm((2, 3, 5), 2, 0.7),
    "larger than C": Norm((2, 3, 2, 2), 9, 0.7),
    "three dimensions": Norm((2, 5, 19), 3, 0.7),
    "five dimensions": Norm((1, 4, 2, 3, 5), 3, 0.7),
    "beta": Norm((2, 5, 3, 3), 3, 0.7, 0.6),
    "beta 1": Norm((2, 5, 3, 3), 3, 0.7, 1.0),
    "no k": Norm((1, 5, 3, 3), 3, 0.7, 0.75, 0.0),
    "negative alpha": Norm((1, 5, 3, 3), 3, -0.01),
    "wide": Norm((1, 5, 13, 13), 5, 0.7),
}


def torch_run(torch: Any, case: str) -> Arrays:
    shape, *options = CASES[case]
    x = torch.tensor(draw(f"local_response_norm/{case}/x", shape), requires_grad=True)
    y = torch.nn.functional.local_response_norm(x, *options)
    y.backward(torch.tensor(draw(f"local_response_norm/{case}/dy", shape)))
    return {"y": y.detach().numpy(), "dx": x.grad.numpy()}


@pytest.mark.parametrize("case", CASES)
def test_equals_torch(implementation: str, case: str) -> None:
    shape, *options = CASES[case]
    expected = from_torch("local_response_norm", case, lambda torch: torch_run(torch, case))
    x = draw(f"local_response_norm/{case}/x", shape)
    dy = draw(f"local_response_norm/{case}/dy", shape)
    y = F.local_response_norm(x, *options)
    dx = F.local_response_norm_backward(dy, x, *options)
    assert_close(y, expected["y"], depth=options[0])
    # Where k is 0 a small energy makes large terms that cancel.
    scale = max(1.0, float(np.abs(expected["dx"]).max()))
    assert_close(dx, expected["dx"], depth=2 * options[0], scale=scale)


@pytest.mark.parametrize("isa", FAST)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 150)),
    size=st.integers(1, 14),
    beta=st.sampled_from([0.75, 0.75, 0.5]),
)
def test_equals_reference(isa: str, shape: tuple[int, ...], size: int, beta: float) -> None:
    x = draw("local_response_norm/reference/x", shape)
    dy = draw("local_response_norm/reference/dy", shape)
    options = (size, 0.7, beta, 2.0)
    with running(isa):
        y = F.local_response_norm(x, *options)
        dx = F.local_response_norm_backward(dy, x, *options)
    with running("reference"):
        assert_close(y, F.local_response_norm(x, *options), depth=size)
        assert_close(dx, F.local_response_norm_backward(dy, x, *options), depth=2 * size)


def test_nan_reaches_its_neighbours_only(implementation: str) -> None:
    x = np.ones((1, 9, 70), np.float32)
    x[0, 4, 66] = np.nan
    y = F.local_response_norm(x, 4)
    assert sorted(zip(*np.nonzero(np.isnan(y[0])))) == [(c, 66) for c in (3, 4, 5, 6)]
    dx = F.local_response_norm_backward(np.ones_like(x), x, 4)
    # Channels 3 to 6 have a NaN base, and are in the windows of the channels 1 to 7.
    assert sorted(zip(*np.nonzero(np.isnan(dx[0])))) == [(c, 66) for c in range(1, 8)]


def test_no_energy_and_no_k(implementation: str) -> None:
    y = F.local_response_norm(np.zeros((1, 2, 3), np.float32), 2, k=0.0)
    np.testing.assert_array_equal(y, np.full_like(y, np.nan))  # 0 / 0, as in torch


def test_reads_views(implementation: str) -> None:
    x = draw("local_response_norm/views", (2, 12, 40))[:, ::-2, 1::2]
    y = F.local_response_norm(np.ascontiguousarray(x), 3, 0.7)
    np.testing.assert_array_equal(F.local_response_norm(x, 3, 0.7), y)


@pytest.mark.parametrize("isa", _core.supported_isas())
@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_same_bits_for_any_number_of_threads(isa: str, beta: float) -> None:
    x = draw("local_response_norm/threads/x", (5, 24, 13, 13))
    dy = draw("local_response_norm/threads/dy", x.shape)
    options = (5, 0.7, beta, 2.0)
    with running(isa):
        results = []
        for count in (1, 2, 3, 5, 8):
            with threads(count):
                y = F.local_response_norm(x, *options)
                dx = F.local_response_norm_backward(dy, x, *options)
                results.append((y.tobytes(), dx.tobytes()))
        assert all(result == results[0] for result in results)
        # An element's bits depend on neither its image's nor its own place.
        moved = F.local_response_norm(np.ascontiguousarray(x[3:, :, 1:]), *options)
        np.testing.assert_array_equal(moved, y[3:, :, 1:])


@pytest.mark.parametrize("case", ["odd size", "even size", "larger than C", "beta", "defaults"])
def test_gradient_by_finite_differences(float64: None, case: str) -> None:
    shape, *options = CASES[case]
    x = draw(f"local_response_norm/{case}/x", shape).astype(np.float64)
    dy = draw(f"local_response_norm/{case}/dy", shape).astype(np.float64)
    dx = F.local_response_norm_backward(dy, x, *options)
    numeric = finite_differences(lambda: float((F.local_response_norm(x, *options) * dy).sum()), x)
    np.testing.assert_allclose(dx, numeric, atol=1e-7)


X = np.zeros((2, 3, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.local_response_norm(X.astype(np.float64), 2), TypeError,
         "local_response_norm: input must be float32, got float64"),
        (lambda: F.local_response_norm(X[0], 2), ValueError, r"local_response_norm: input must have"
         r" 3 or more dimensions \(N, C, ...\), got 2 with shape \(3, 4\)"),
        (lambda: F.local_response_norm(X, 0), ValueError, "size must be between 1 .* got 0"),
        (lambda: F.local_response_norm(X, 2.0), TypeError, "size must be an integer, got 2.0"),
        (lambda: F.local_response_norm(X, 2, beta="1"), TypeError,
         "beta must be a number, got '1'"),
        (lambda: F.local_response_norm_backward(X[:1], X, 2), ValueError,
         r"local_response_norm_backward: dy must have shape \(2, 3, 4\) \(that of input\), "
         r"got \(1, 3, 4\)"),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4), (2, 3, 0)])
def test_empty(implementation: str, shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, np.float32)
    assert F.local_response_norm(x, 5).shape == shape
    assert F.local_response_norm_backward(x, x, 5).shape == shape


def test_size_far_larger_than_channels(implementation: str) -> None:
    x = np.ones((1, 3, 4), np.float32)
    y = F.local_response_norm(x, 2**31 - 1, alpha=2.0**31, beta=1.0)
    assert_close(y, x / 4)
