"""Arrays from shapes, from the host and from other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import cuda
from ._array import call, dtype_of, ndarray
from ._interchange import from_interface
from .cuda import runtime


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, dtype, order=order)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    if dtype is None:
        dtype = fill_value.dtype if hasattr(fill_value, "dtype") else np.array(fill_value).dtype
    made = empty(shape, dtype, order)
    made.fill(fill_value)
    return made


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 0, dtype, order)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 1, dtype, order)


def empty_like(
    prototype: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    if not isinstance(prototype, ndarray) or subok is not None:
        raise TypeError(f"Unsupported type {type(prototype)}")
    like = np.empty_like(prototype._host, dtype, order, shape=shape)
    return ndarray(like.shape, dtype_of(like.dtype), cuda.alloc(like.nbytes), like.strides)


def full_like(a: ndarray, fill_value: Any, *args: Any, **kwargs: Any) -> ndarray:
    made = empty_like(a, *args, **kwargs)
    made.fill(fill_value)
    return made


def zeros_like(a: ndarray, *args: Any, **kwargs: Any) -> ndarray:
    return full_like(a, 0, *args, **kwargs)


def ones_like(a: ndarray, *args: Any, **kwargs: Any) -> ndarray:
    return full_like(a, 1, *args, **kwargs)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    if stop is None:
        start, stop = 0, start
    return call(lambda: np.arange(start, stop, step, dtype))


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool | None = True,
    order: str | None = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> ndarray:
    order = order or "K"
    if subok:
        raise NotImplementedError
    if not isinstance(obj, ndarray) and hasattr(obj, "__cuda_array_interface__"):
        obj = from_interface(obj.__cuda_array_interface__, obj)
    if isinstance(obj, ndarray):
        moved = obj.data.device_id != runtime.getDevice()
        made = obj.copy() if moved else obj
        made = made.astype(dtype or obj.dtype, order, copy=bool(copy) and not moved)
        if copy is False and made is not obj:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
    elif isinstance(obj, (list, tuple)) and obj and all(isinstance(x, ndarray) for x in obj):
        made = call(lambda *hosts: np.stack(hosts), *obj)
        made = made if dtype is None else made.astype(dtype, copy=False)
    else:
        made = _from_host(obj, dtype, "C" if order in "KA" else order)
    if made.ndim < ndmin:
        made = made.reshape((1,) * (ndmin - made.ndim) + made.shape)
    return made


def _from_host(obj: Any, dtype: Any, order: str) -> ndarray:
    host = np.array(obj, dtype)
    if isinstance(obj, np.ndarray) and obj.flags.fnc:
        order = "F"
    made = empty(host.shape, dtype_of(host.dtype), order)
    if host.ndim == 0:
        made.fill(host)  # by a kernel that has the value, so that a capture takes it
    elif host.size > 0:
        made.set(host)
    return made


def asarray(
    a: Any, dtype: Any = None, order: str | None = None, *, copy: Any = None, blocking: bool = False
) -> ndarray:
    return array(a, dtype, copy, order, blocking=blocking)


def ascontiguousarray(a: ndarray, dtype: Any = None) -> ndarray:
    if not isinstance(a, ndarray):
        raise TypeError(f"Argument 'a' has incorrect type (expected cupy.ndarray, got {type(a)})")
    made = a.astype(dtype or a.dtype, "C", copy=False)
    return made.reshape(1) if made.ndim == 0 else made


def asnumpy(
    a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> np.ndarray:
    if isinstance(a, ndarray):
        return a.get(stream=stream, order=order, out=out, blocking=blocking)
    made = np.asarray(a, order=order)
    if out is None:
        return made
    out[...] = made
    return out
