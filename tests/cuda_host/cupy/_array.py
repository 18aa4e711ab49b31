"""cupy.ndarray: NumPy's answers over memory of the emulation, with CuPy's refusals.

What an operation reads and writes is decided when it is called; the bytes move in the order of the
current stream, which may be capturing: then they keep what they hold until the graph is launched.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import cuda
from .cuda import runtime
from .cuda import stream as streams
from .cuda.memory import MemoryPointer

_TYPES = "?bhilqBHILQefdFD"
SCALARS = (bool, int, float, complex, np.generic)


def dtype_of(dtype: Any) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype.char not in _TYPES and dtype.name != "bfloat16":
        raise ValueError(f"Unsupported dtype {dtype}")
    return dtype


def check_device(array: ndarray) -> None:
    current = runtime.getDevice()
    if array.data.device_id != current:
        raise ValueError(
            f"The device where the array resides ({array.data.device_id}) is different from the "
            f"current device ({current}). Peer access is unavailable between these devices."
        )


def call(function: Callable[..., Any], *operands: Any, out: ndarray | None = None) -> ndarray:
    """`function` of NumPy arrays, in the stream's order; into `out` it goes as `out=`."""
    for operand in operands if out is None else (*operands, out):
        if isinstance(operand, ndarray):
            check_device(operand)
        elif operand is out or not isinstance(operand, SCALARS):
            raise TypeError(f"Unsupported type {type(operand)}")
    hosts = [x._host if isinstance(x, ndarray) else x for x in operands]
    capturing = runtime.streamIsCapturing(streams.get_current_stream().ptr)
    with np.errstate(all="ignore"):
        if capturing:  # zeros tell the shape, and that the call is one that NumPy accepts
            zeros = [np.zeros_like(x) if isinstance(x, np.ndarray) else x for x in hosts]
            if out is not None:
                function(*zeros, out=np.zeros_like(out._host))
            else:
                out = ndarray_like(function(*zeros))
                host = out._host
                streams.enqueue(lambda: np.copyto(host, function(*hosts)))
                return out
        elif out is None:
            result = np.asarray(function(*hosts))
            out = ndarray_like(result)
            out._host[...] = result
            return out
    host = out._host
    streams.enqueue(lambda: function(*hosts, out=host))
    return out


def ndarray_like(result: Any) -> ndarray:
    result = np.asarray(result)
    return ndarray(result.shape, result.dtype)


class Flags:
    def __init__(self, host: np.ndarray, owns: bool) -> None:
        self.c_contiguous, self.f_contiguous = host.flags.c_contiguous, host.flags.f_contiguous
        self.owndata = owns
        self.fnc, self.forc = host.flags.fnc, host.flags.forc

    def __getitem__(self, name: str) -> bool:
        return getattr(self, name.lower())


class ndarray:
    __slots__ = ("__weakref__", "_base", "_data", "_host")
    __array_priority__ = 100
    __hash__ = None

    def __init__(
        self,
        shape: Any,
        dtype: Any = float,
        memptr: MemoryPointer | None = None,
        strides: Any = None,
        order: str | None = "C",
    ) -> None:
        shape = tuple(shape) if hasattr(shape, "__len__") else (shape,)
        shape = tuple(map(int, shape))
        dtype = dtype_of(dtype)
        if any(size < 0 for size in shape):
            raise ValueError("Negative dimensions are not allowed")
        if memptr is None and strides is not None:
            raise ValueError("memptr is required if strides is given.")
        self._base: ndarray | None = None
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        self._data = cuda.alloc(size) if memptr is None else memptr
        if size == 0:
            self._host = np.empty(shape, dtype, order=order or "C")
            return
        bytes_ = self._data.mem._bytes()
        offset = self._data.ptr - self._data.mem.ptr
        self._host = np.ndarray(shape, dtype, bytes_, offset, strides, order or "C")

    def _view(self, host: np.ndarray) -> ndarray:
        view = object.__new__(ndarray)
        view._base = self if self._base is None else self._base
        view._host = host
        view._data = self._data
        if host.size > 0:
            view._data = MemoryPointer(
                self._data.mem, host.__array_interface__["data"][0] - self._data.mem.ptr
            )
        return view

    data = property(lambda self: self._data)
    base = property(lambda self: self._base)
    dtype = property(lambda self: self._host.dtype)
    size = property(lambda self: self._host.size)
    ndim = property(lambda self: self._host.ndim)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    device = property(lambda self: self._data.device)
    flags = property(lambda self: Flags(self._host, self._base is None))
    T = property(lambda self: self if self.ndim < 2 else self.transpose())
    shape = property(lambda self: self._host.shape)

    @shape.setter
    def shape(self, shape: Any) -> None:
        host = self._host.reshape(shape)
        if not np.may_share_memory(host, self._host) and self.size > 0:
            raise AttributeError("incompatible shape")
        self._host = host

    # To and from the host

    def get(
        self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True
    ) -> np.ndarray:
        stream = streams.get_current_stream() if stream is None else stream
        if out is not None:
            if not isinstance(out, np.ndarray):
                raise TypeError("Only numpy.ndarray can be obtained from cupy.ndarray")
            if out.dtype != self.dtype:
                raise TypeError(f"{out.dtype} array cannot be obtained from {self.dtype} array")
            if out.shape != self.shape:
                raise ValueError(
                    f"Shape mismatch. Expected shape: {self.shape}, actual shape: {out.shape}"
                )
            if not out.flags.forc:
                raise RuntimeError(
                    "`out` cannot be specified when copying to non-contiguous ndarray"
                )
        elif self.size == 0:
            return np.empty(self.shape, self.dtype)
        else:
            if order.upper() == "A":
                order = "F" if self.flags.f_contiguous else "C"
            out = np.empty(self.shape, self.dtype, order=order)
        streams.refuse_transfer(stream.ptr, "D2H")
        if blocking:
            stream.synchronize()
            np.copyto(out, self._host)
        else:  # garbage until somebody waits
            now = self._host.copy()
            out.reshape(-1, order="A").view(np.uint8)[...] = 0xFF
            streams.deliver_later(stream.ptr, lambda: np.copyto(out, now))
        return out

    def set(self, arr: Any, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not self.flags.forc:
            raise RuntimeError("Cannot set to non-contiguous array")
        stream = streams.get_current_stream() if stream is None else stream
        streams.refuse_transfer(stream.ptr, "H2D")
        np.copyto(self._host, arr)

    def item(self) -> Any:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get().tobytes(order)

    def __reduce__(self) -> Any:
        from ._creation import array

        return array, (self.get(),)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        with self.device:
            return self.copy()

    def __bool__(self) -> bool:
        if self.size == 0:
            warnings.warn(
                "The truth value of an empty array is ambiguous.", DeprecationWarning, stacklevel=2
            )
            return False
        if self.size > 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() "
                "or a.all()"
            )
        return bool(self.get())

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[ndarray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # Shapes and copies

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        host = self._host.reshape(*shape, order=order)
        if self.size == 0 or np.may_share_memory(host, self._host):
            return self._view(host)
        return call(lambda x: x.reshape(*shape, order=order), self)

    def ravel(self, order: str = "C") -> ndarray:
        return self.reshape(-1, order=order)

    def flatten(self, order: str = "C") -> ndarray:
        return call(lambda x: x.flatten(order), self)

    def transpose(self, *axes: Any) -> ndarray:
        return self._view(self._host.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return self._view(self._host.swapaxes(axis1, axis2))

    def squeeze(self, axis: Any = None) -> ndarray:
        return self._view(self._host.squeeze(axis))

    def view(self, dtype: Any = None) -> ndarray:
        return self._view(self._host.view() if dtype is None else self._host.view(dtype_of(dtype)))

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: Any = None,
        subok: Any = None,
        copy: bool = True,
    ) -> ndarray:
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported yet")
        dtype = dtype_of(dtype)
        if (
            not copy
            and dtype == self.dtype
            and (order in ("K", "A") or (order == "C" and self.flags.c_contiguous))
        ):
            return self
        check_device(self)
        host = self._host
        # The strides that NumPy gives the copy, over memory of the pool.
        like = np.empty_like(host, dtype, order)
        new = ndarray(self.shape, dtype, cuda.alloc(like.nbytes), like.strides)
        to = new._host
        streams.enqueue(lambda: np.copyto(to, host, casting="unsafe"))
        return new

    def copy(self, order: str = "C") -> ndarray:
        if self.data.device_id == runtime.getDevice():
            return self.astype(self.dtype, order)
        new = ndarray(self.shape, self.dtype)  # on the current device
        host, to = self._host, new._host
        streams.enqueue(lambda: np.copyto(to, host))
        return new

    def fill(self, value: Any) -> None:
        self[...] = value

    # What the host waits for: each of these is a copy to it

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())
