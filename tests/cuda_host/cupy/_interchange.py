"""What other libraries see of an array, and what an array sees of theirs.

DLPack: NumPy writes and reads the tensor's struct; here its device is set.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from . import cuda
from ._array import SCALARS, ndarray
from .cuda import runtime
from .cuda import stream as streams
from .cuda.memory import MemoryPointer, UnownedMemory

CPU, CUDA = 1, 2

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_named = ctypes.pythonapi.PyCapsule_IsValid
_named.restype, _named.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]


def _device(capsule: Any) -> Any:
    """DLDevice: type and number. The first field of a tensor is its data pointer."""
    if _named(capsule, b"dltensor"):
        tensor = _pointer(capsule, b"dltensor")
    else:  # version, manager, deleter, flags
        tensor = _pointer(capsule, b"dltensor_versioned") + 32
    return (ctypes.c_int32 * 2).from_address(tensor + 8)


class _Owner:
    """NumPy's way to an array over memory that another object keeps."""

    def __init__(self, owner: Any, host: np.ndarray) -> None:
        self.owner = owner
        self.__array_interface__ = host.__array_interface__


def capsule(owner: Any, host: np.ndarray, device: int, versioned: bool) -> Any:
    """A capsule over `host`, which lives in `owner`'s memory, as one of the device's."""
    kept = np.asarray(_Owner(owner, host))
    made = kept.__dlpack__(**({"max_version": (1, 0)} if versioned else {}))
    _device(made)[:] = CUDA, device
    return made


class _AsHost:
    def __init__(self, made: Any) -> None:
        self.made = made

    def __dlpack__(self, **_: Any) -> Any:
        return self.made

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0


def host_of(made: Any) -> tuple[np.ndarray, int]:
    """NumPy's array over a capsule of a device, which it owns from now on; and the device."""
    device = _device(made)
    number = device[1]
    device[:] = CPU, 0
    return np.from_dlpack(_AsHost(made)), number


def _interface(self: ndarray) -> dict[str, Any]:
    return {
        "shape": self.shape,
        "typestr": self.dtype.str,
        "descr": self.dtype.descr,
        "stream": streams.get_current_stream().ptr or runtime.streamLegacy,
        "version": 3,
        "strides": None if self.flags.c_contiguous else self.strides,
        "data": (self.data.ptr if self.size > 0 else 0, False),
    }


def _to_dlpack(
    self: ndarray,
    *,
    stream: Any = None,
    max_version: Any = None,
    dl_device: Any = None,
    copy: Any = None,
) -> Any:
    if dl_device not in (None, _dlpack_device(self)):
        raise BufferError("unsupported device requested.")
    if copy:
        raise BufferError("copy=True only supported for copy to CPU.")
    if stream is not None and (not isinstance(stream, int) or stream < -1 or stream == 0):
        raise ValueError(
            "On CUDA, the valid stream for the DLPack protocol is -1, 1, 2, or any larger "
            f"value, but {stream} was provided"
        )
    current = streams.get_current_stream()
    consumer = runtime.streamLegacy if stream is None else stream
    if consumer >= 0 and consumer != (current.ptr or runtime.streamLegacy):
        cuda.ExternalStream(consumer).wait_event(current.record())
    versioned = max_version is not None and max_version[0] >= 1
    return capsule(self, self._host, self.data.device_id, versioned)


def _dlpack_device(self: ndarray) -> tuple[int, int]:
    return CUDA, self.data.device_id


def _to_numpy(self: ndarray, dtype: Any = None, copy: Any = None) -> np.ndarray:
    raise TypeError(
        "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to "
        "construct a NumPy array explicitly."
    )


def _of_ufunc(self: ndarray, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    import cupy

    function = getattr(cupy, ufunc.__name__, None)
    known = (ndarray, np.ndarray, *SCALARS)
    if method != "__call__" or function is None:
        return NotImplemented
    if "out" in kwargs:
        (kwargs["out"],) = kwargs["out"]
    if not all(isinstance(x, known) for x in (*inputs, kwargs.get("out", 0))):
        return NotImplemented
    return function(*inputs, **kwargs)


def _of_function(self: ndarray, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    import cupy

    module = cupy.linalg if func.__module__ == "numpy.linalg" else cupy
    function = getattr(module, func.__name__, func)
    if function is func or not all(issubclass(t, (ndarray, np.ndarray)) for t in types):
        return NotImplemented
    return function(*args, **kwargs)


def from_interface(interface: dict[str, Any], owner: Any) -> ndarray:
    if interface.get("mask") is not None:
        raise ValueError("CuPy currently does not support masked arrays.")
    if interface.get("stream") is not None:
        runtime.streamSynchronize(interface["stream"])
    dtype, shape = np.dtype(interface["typestr"]), interface["shape"]
    strides = interface.get("strides")
    span = int(np.prod(shape)) * dtype.itemsize
    if strides is not None and span > 0:
        span = sum((n - 1) * s for n, s in zip(shape, strides)) + dtype.itemsize
    memory = UnownedMemory(interface["data"][0], span, owner)
    return ndarray(shape, dtype, MemoryPointer(memory, 0), strides)


def from_dlpack(array: Any, *, device: Any = None, copy: bool | None = None) -> ndarray:
    if array.__dlpack_device__()[0] != CUDA:
        raise TypeError("Unsupported dlpack device: the array is not on a CUDA device")
    stream = streams.get_current_stream().ptr or runtime.streamLegacy
    try:
        capsule = array.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:
        capsule = array.__dlpack__(stream=stream)
    host, number = host_of(capsule)
    memory = UnownedMemory(host.__array_interface__["data"][0], host.nbytes, host, number)
    if host.size > 0 and not host.flags.forc:
        memory.size = sum((n - 1) * s for n, s in zip(host.shape, host.strides)) + host.itemsize
    made = ndarray(host.shape, host.dtype, MemoryPointer(memory, 0), host.strides)
    return made.copy() if copy else made


ndarray.__cuda_array_interface__ = property(_interface)
ndarray.__dlpack__ = _to_dlpack
ndarray.__dlpack_device__ = _dlpack_device
ndarray.__array__ = _to_numpy
ndarray.__array_ufunc__ = _of_ufunc
ndarray.__array_function__ = _of_function
