"""What Striate uses of cupy.linalg."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._array import call, ndarray


def norm(x: ndarray, ord: Any = None, axis: Any = None, keepdims: bool = False) -> ndarray:
    if not isinstance(x, ndarray):
        raise TypeError(f"the argument must be cupy.ndarray, not {type(x)}")
    return call(lambda host: np.linalg.norm(host, ord, axis, keepdims), x)
