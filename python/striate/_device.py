"""Where arrays lie, and the glue that is the same for NumPy's and CuPy's."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from striate import _core, cuda

_CUDA_MEMORY = (2, 13)  # DLPack's numbers for memory that a GPU reads


def is_cuda(array: Any) -> bool:
    """Whether ``array`` lies on a GPU: CuPy's, or anything with DLPack."""
    if isinstance(array, np.ndarray):
        return False
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        return True
    ask = getattr(array, "__dlpack_device__", None)
    return ask is not None and ask()[0] in _CUDA_MEMORY


def ops(array: Any) -> Any:
    """The compiled ops for what lies where ``array`` does: ``_core``, or ``_cuda`` for a GPU."""
    if type(array) is np.ndarray or not is_cuda(array):
        return _core
    return cuda.module()


def namespace(array: Any) -> Any:
    """The module whose functions take ``array``: NumPy, or CuPy."""
    return _cupy() if is_cuda(array) else np


def is_array(value: Any) -> bool:
    """Whether ``value`` is a NumPy or a CuPy array."""
    if isinstance(value, np.ndarray):
        return True
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(value, cupy.ndarray)


def _cupy() -> Any:
    cuda.module()  # says what is missing
    import cupy

    return cupy


def device_of(array: Any) -> str:
    """ "cpu" or "cuda:0"."""
    return f"cuda:{array.device.id}" if is_cuda(array) else "cpu"


def parse(device: Any, who: str) -> str:
    """``device`` ("cpu", "cuda", "cuda:1", or what prints so, as torch.device does) checked:
    "cpu" or "cuda:<index>", of a GPU that is there.
    """
    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", str(device))
    if found is None:
        raise ValueError(f"{who}: device must be 'cpu', 'cuda' or 'cuda:<index>', got {device!r}")
    if found[0] == "cpu":
        return "cpu"
    cupy = _cupy()
    index = cupy.cuda.Device().id if found[1] is None else int(found[1])
    count = cupy.cuda.runtime.getDeviceCount()
    if index >= count:
        raise ValueError(f"{who}: there is no device cuda:{index}, only {count} GPU"
                         f"{'' if count == 1 else 's'}")  # fmt: skip
    return f"cuda:{index}"


def of_model(model: Any) -> str:
    """Where the parameters of ``model`` are; "cpu" for one without any.

    Raises ValueError where they are on several devices.
    """
    devices = sorted({device_of(p.data) for p in model.parameters()}) or ["cpu"]
    if len(devices) > 1:
        raise ValueError(f"{type(model).__name__}: the parameters are on {' and '.join(devices)}; "
                         "model.to(device) brings them together")  # fmt: skip
    return devices[0]


@contextlib.contextmanager
def use(device: str) -> Iterator[None]:
    """Makes a GPU the current one, where ops run, for a while; nothing for the CPU."""
    if device == "cpu":
        yield
        return
    with _cupy().cuda.Device(int(device.removeprefix("cuda:"))):
        yield


@contextlib.contextmanager
def telling_of_gpu_memory() -> Iterator[None]:
    """Makes CuPy's error, where the GPU's memory is at its end, one that says what is free."""
    cupy = _cupy()
    try:
        yield
    except cupy.cuda.memory.OutOfMemoryError as error:
        free, total = cupy.cuda.runtime.memGetInfo()
        raise MemoryError(f"{error} {free:,} of {total:,} bytes are free on the GPU") from None


def to(array: Any, device: str) -> Any:
    """``array``, a copy of it where it lies on another device than ``device`` ("cuda:0")."""
    if device_of(array) == device:
        return array
    if device == "cpu":
        return array.get()
    if is_cuda(array):  # from another GPU, whose work under way may still write it
        with use(device_of(array)):
            _cupy().cuda.get_current_stream().synchronize()
    with use(device), telling_of_gpu_memory():
        return _cupy().asarray(array)


def empty_like(array: Any) -> Any:
    """Uninitialised memory of ``array``'s shape and dtype, where it lies."""
    if not is_cuda(array):
        return np.empty(np.shape(array), array.dtype)
    with use(device_of(array)), telling_of_gpu_memory():
        return _cupy().empty(array.shape, array.dtype)


def to_host(array: Any) -> Any:
    """A NumPy array of ``array``'s values: itself on the CPU, a copy of it from a GPU."""
    return array.get() if is_cuda(array) else array


def copy_into(destination: Any, source: Any) -> None:
    """Writes ``source``, an array anywhere of the same shape and dtype, into ``destination``."""
    if is_cuda(destination):
        with use(device_of(destination)):
            if is_cuda(source):
                destination[...] = to(source, device_of(destination))
            else:
                destination.set(np.asarray(source, order="C"))
    else:
        destination[...] = to_host(source)
