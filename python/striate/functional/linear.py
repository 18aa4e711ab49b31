"""linear: the fully connected layer, y = x w^T + b."""

from __future__ import annotations

from striate._device import ops
from striate.functional._arguments import Array, as_array, ndim, needed


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """y = input @ weight.T + bias.

    ``input``: float32 (..., C); ``weight``: (K, C); ``bias``: (K,) or None. Returns (..., K).
    Raises TypeError for other dtypes, ValueError for sizes that do not fit.
    """
    input = as_array(input)
    if ndim(input) == 2:
        return ops(input).linear_forward(input, weight, bias)
    y = ops(input).linear_forward(_rows(input), weight, bias)
    return y.reshape(*input.shape[:-1], y.shape[1])


def linear_backward(
    dy: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    need: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of linear for (input, weight, bias), given ``dy`` of its result's shape.

    ``need`` says which of the three to compute; the others, and that of a bias which is None, are
    None.
    """
    dy, input = as_array(dy), as_array(input)
    wanted = needed("linear_backward", need, bias)
    if ndim(input) == 2 or ndim(input) < 1 or ndim(dy) < 1:  # the op says what is wrong
        return ops(dy).linear_backward(dy, input, weight, wanted)
    if ndim(dy) != ndim(input) or dy.shape[:-1] != input.shape[:-1]:
        raise ValueError(
            f"linear_backward: dy must have the leading axes of input, got dy {dy.shape}, "
            f"input {input.shape}"
        )
    dx, dw, db = ops(dy).linear_backward(_rows(dy), _rows(input), weight, wanted)
    return dx if dx is None else dx.reshape(input.shape), dw, db


def _rows(array: Array) -> Array:
    """(..., C) as (rows, C); what has no such axes goes on to the op, which refuses it."""
    if ndim(array) < 1:
        return array
    rows = 1
    for size in array.shape[:-1]:
        rows *= size
    return array.reshape(rows, array.shape[-1])
