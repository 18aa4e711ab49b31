"""linear and gemm: against PyTorch, NumPy in double precision, finite differences; their border."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate.functional as F
from backends import here, running
from checks import Arrays, assert_close, draw, finite_differences, from_torch
from striate import _core

# Leading axes of the input, features in, features out.
CASES: dict[str, tuple[tuple[int, ...], int, int]] = {
    "wide": ((8,), 130, 41),
    "lenet_fc3": ((20,), 84, 10),
    "one": ((1,), 1, 1),
    "one_image": ((1,), 300, 70),
    "few_images": ((4,), 33, 17),
    "empty_batch": ((0,), 5, 3),
    "unbatched": ((), 7, 5),
    "sequence": ((2, 3), 6, 4),
}


def arrays(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    lead, features_in, features_out = CASES[name]
    shapes = {"x": (*lead, features_in), "w": (features_out, features_in), "b": (features_out,),
              "dy": (*lead, features_out)}  # fmt: skip
    x, w, b, dy = (draw(f"linear/{name}/{k}", shape) for k, shape in shapes.items())
    return x, w, b, dy


def torch_run(torch: Any, name: str) -> Arrays:
    x, w, b, dy = arrays(name)
    x, w, b = (torch.tensor(a, requires_grad=True) for a in (x, w, b))
    y = torch.nn.functional.linear(x, w, b)
    y.backward(torch.tensor(dy))
    return {"y": y.detach().numpy(), **{f"d{k}": v.grad.numpy() for k, v in zip("xwb", (x, w, b))}}


@pytest.mark.parametrize("name", CASES)
def test_equals_torch(implementation: str, name: str) -> None:
    expected = from_torch("linear", name, lambda torch: torch_run(torch, name))
    x, w, b, dy = arrays(name)
    lead, features_in, features_out = CASES[name]
    assert_close(F.linear(x, w, b), expected["y"], depth=features_in)
    dx, dw, db = F.linear_backward(dy, x, w, b)
    assert_close(dx, expected["dx"], depth=features_out)
    assert_close(dw, expected["dw"], depth=int(np.prod(lead)))
    assert_close(db, expected["db"], depth=int(np.prod(lead)))
    assert F.linear_backward(dy, x, w)[2] is None


def test_empty_batches_of_any_rank(implementation: str) -> None:
    assert F.linear(f32(2, 0, 3), f32(5, 3)).shape == (2, 0, 5)
    assert F.linear(f32(0, 4, 3), f32(5, 3)).shape == (0, 4, 5)
    dx, dw, _ = F.linear_backward(f32(0, 4, 5), f32(0, 4, 3), f32(5, 3))
    assert (dx.shape, dw.any()) == ((0, 4, 3), False)


def test_gradients_by_finite_differences(float64: None) -> None:
    x, w, b, dy = (a.astype(np.float64) for a in arrays("sequence"))
    for array, gradient in zip((x, w, b), F.linear_backward(dy, x, w, b)):
        numeric = finite_differences(lambda: float((F.linear(x, w, b) * dy).sum()), array)
        np.testing.assert_allclose(gradient, numeric, atol=1e-7)


SIZES = st.integers(0, 70) | st.sampled_from([97, 256, 257, 530])


@given(m=SIZES, n=SIZES, k=SIZES, trans=st.tuples(st.booleans(), st.booleans()),
       alpha=st.sampled_from([1.0, -0.5]), beta=st.sampled_from([0.0, 1.0, 2.0]))  # fmt: skip
def test_gemm_on_drawn_shapes(
    m: int, n: int, k: int, trans: tuple[bool, bool], alpha: float, beta: float
) -> None:
    a = draw("gemm/a", (k, m) if trans[0] else (m, k))
    b = draw("gemm/b", (n, k) if trans[1] else (k, n))
    c = draw("gemm/c", (m, n))
    left, right = (a.T if trans[0] else a), (b.T if trans[1] else b)
    product = left.astype(np.float64) @ right.astype(np.float64)
    expected = (alpha * product + beta * c).astype(np.float32)
    for name in ["reference", *here()]:
        if name == "reference" and m * n * k > 10**6:
            continue
        with running(name) as ops:
            got = ops.gemm(a, b, *trans, alpha, beta, c if beta else None)
        assert_close(got, expected, depth=k)


def test_gemm_same_bits_for_any_number_of_threads() -> None:
    a, b = draw("gemm/a", (200, 300)), draw("gemm/b", (300, 400))
    threads = _core.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3, 5, 8):
            _core.set_num_threads(count)
            results.append(_core.gemm(a, b))
    finally:
        _core.set_num_threads(threads)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def f32(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.linear(f32(2, 3), f32(4, 5)),
         r"weight takes 5 features, but input has 3; input \(2, 3\), weight \(4, 5\)"),
        (lambda: F.linear(f32(2, 3), f32(3)), r"weight must have 2 dimensions \(out_features"),
        (lambda: F.linear(f32(2, 3), f32(4, 3), f32(3)), r"bias must have shape \(4,\)"),
        (lambda: F.linear(np.float32(3), f32(4, 3)), "input must have 2 dimensions"),
        (lambda: F.linear_backward(f32(2, 3), f32(2, 3), f32(4, 3)),
         r"dy must have shape \(2, 4\) \(that of linear's result\), got \(2, 3\)"),
        (lambda: F.linear_backward(f32(2, 4), f32(1, 2, 3), f32(4, 3)),
         r"dy must have the leading axes of input, got dy \(2, 4\), input \(1, 2, 3\)"),
        (lambda: F.linear_backward(f32(2, 4), None, f32(4, 3)),
         "^linear_backward: input must be a NumPy array, got NoneType$"),
        (lambda: F.linear_backward([1.0], f32(1, 2, 3), f32(4, 3)),
         "^linear_backward: dy must be a NumPy array, got list$"),
        (lambda: _core.gemm(f32(2, 3), f32(4, 5)), r"differ in depth: a \(2, 3\), b \(4, 5\)"),
        (lambda: _core.gemm(f32(2, 3), f32(3, 5), beta=1.0), r"needs c, got None"),
    ],
)  # fmt: skip
def test_refuses(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()
