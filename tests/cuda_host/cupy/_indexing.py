"""Indexing: views for slices and numbers, copies for arrays, which are those of the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._array import call, check_device, ndarray
from ._creation import array
from .cuda import stream as streams


def _key(self: ndarray, key: Any) -> tuple[Callable[[list[Any]], tuple[Any, ...]], list[ndarray]]:
    """How to make NumPy's key of host arrays, and the arrays on the device that stand in it."""
    items = list(key) if isinstance(key, tuple) else [key]
    for i, item in enumerate(items):
        if isinstance(item, (list, np.ndarray)):
            items[i] = array(item)  # a copy to the device, which a capture refuses
        elif isinstance(item, ndarray):
            check_device(item)
        elif item is not None and not isinstance(item, (int, np.integer, slice, type(...))):
            raise IndexError(f"Unsupported type {type(item)}")
    where = [i for i, item in enumerate(items) if isinstance(item, ndarray)]

    def key_of(arrays: list[Any]) -> tuple[Any, ...]:
        made = list(items)
        for i, array_ in zip(where, arrays):
            made[i] = array_
        if not any(item is ... for item in made):
            made.append(...)  # so that NumPy gives an array of no dimensions, not a scalar
        return tuple(made)

    return key_of, [items[i] for i in where]


def _get(self: ndarray, key: Any) -> ndarray:
    key_of, arrays = _key(self, key)
    if not arrays:
        return self._view(self._host[key_of([])])
    if any(array.dtype == bool for array in arrays):
        streams.refuse_transfer(streams.get_current_stream().ptr, "D2H")  # to count them
    return call(lambda host, *hosts: host[key_of(list(hosts))], self, *arrays)


def _set(self: ndarray, key: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        if value.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        value = value.item()
    key_of, arrays = _key(self, key)
    if isinstance(value, ndarray) and not arrays:
        view = self._host[key_of([])]
        if view.__array_interface__["data"] == value._host.__array_interface__["data"] and (
            (view.shape, view.strides) == (value.shape, value.strides)
        ):
            return  # x[i] += y ends with this

    def assign(value: Any, *hosts: Any, out: np.ndarray) -> None:
        out[key_of(list(hosts))] = value

    call(assign, value, *arrays, out=self)


def _take(self: ndarray, indices: Any, axis: Any = None, out: ndarray | None = None) -> ndarray:
    if not isinstance(indices, (ndarray, int, np.integer)):
        indices = array(indices)

    def take(x: Any, i: Any, **kwargs: Any) -> Any:
        return np.take(x, i, axis, mode="wrap", **kwargs)  # CuPy does not look at the bounds

    return call(take, self, indices, out=out)


ndarray.__getitem__ = _get
ndarray.__setitem__ = _set
ndarray.take = _take
