"""Pinned host arrays, as cupyx makes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from cupy.cuda import alloc_pinned_memory


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, alloc_pinned_memory(size), order=order)


def zeros_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    array = empty_pinned(shape, dtype, order)
    array[...] = 0
    return array
