"""softmax and log_softmax along one dimension. What forward saves is its result."""

from __future__ import annotations

from typing import Any

import numpy as np

from striate._device import ops
from striate.functional._arguments import Array, integer, ndim

_LOWEST = -(2**31)


def softmax(input: Array, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Array:
    """y = exp(input) / sum(exp(input)), the sum along ``dim``.

    ``input``: float32 of any shape; a negative ``dim`` counts from the end. ``dim=None`` is torch's
    implicit choice: 0 for arrays of 0, 1 or 3 dimensions, else 1. Computed from input - max(input),
    so that large values do not overflow; -inf has probability 0, and where NaN, +inf or nothing
    but -inf stand along ``dim``, all is NaN, as in torch. ``_stacklevel`` is there for torch's
    signature only. Raises ValueError for a ``dim`` that ``input`` does not have and for a ``dtype``
    other than float32, TypeError for another dtype of ``input``.
    """
    return ops(input).softmax_forward(input, _dim("softmax", input, dim, dtype))


def softmax_backward(dy: Array, y: Array, dim: int | None = None) -> Array:
    """Gradient of softmax: y * (dy - sum(dy * y)). ``y`` is what ``softmax`` returned."""
    return ops(dy).softmax_backward(dy, y, _dim("softmax_backward", y, dim, None))


def log_softmax(
    input: Array, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Array:
    """y = input - log(sum(exp(input))), the sum along ``dim``: the logarithm of softmax.

    It does not underflow where softmax does. Arguments, shapes and what is raised are those of
    ``softmax``; so is float32 of the input's shape as the result.
    """
    return ops(input).log_softmax_forward(input, _dim("log_softmax", input, dim, dtype))


def log_softmax_backward(dy: Array, y: Array, dim: int | None = None) -> Array:
    """Gradient of log_softmax: dy - exp(y) * sum(dy). ``y`` is what ``log_softmax`` returned."""
    return ops(dy).log_softmax_backward(dy, y, _dim("log_softmax_backward", y, dim, None))


def _dim(op: str, array: Any, dim: int | None, dtype: Any) -> int:
    if dtype is not None and np.dtype(dtype) != np.float32:
        raise ValueError(f"{op}: dtype must be None or float32, got {dtype!r}")
    if dim is None:
        return 0 if ndim(array) in (0, 1, 3) else 1
    return integer(dim, op, "dim", least=_LOWEST)
