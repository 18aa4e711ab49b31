"""cupy.cuda.runtime over the emulation's runtime, so that kernels and arrays share one state.

The library is libcuda_host.so in the folder that STRIATE_CUDA_HOST names.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_library = ctypes.CDLL(
    str(Path(os.environ["STRIATE_CUDA_HOST"]) / "libcuda_host.so"), mode=ctypes.RTLD_GLOBAL
)
_library.cudaGetErrorName.restype = ctypes.c_char_p
_library.cudaGetErrorString.restype = ctypes.c_char_p

is_hip = False
memcpyHostToHost, memcpyHostToDevice, memcpyDeviceToHost = 0, 1, 2
memcpyDeviceToDevice, memcpyDefault = 3, 4
streamDefault, streamNonBlocking = 0, 1
streamLegacy, streamPerThread = 1, 2
streamCaptureModeGlobal, streamCaptureModeThreadLocal, streamCaptureModeRelaxed = 0, 1, 2
eventDefault, eventBlockingSync, eventDisableTiming, eventInterprocess = 0, 1, 2, 4
_errorMemoryAllocation = 2
_cudaDevAttrMultiProcessorCount = 16
_cudaDevAttrComputeCapabilityMajor, _cudaDevAttrComputeCapabilityMinor = 75, 76


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        name = _library.cudaGetErrorName(status).decode()
        super().__init__(f"{name}: {_library.cudaGetErrorString(status).decode()}")

    def __reduce__(self) -> Any:
        return type(self), (self.status,)


def check_status(status: int) -> None:
    if status != 0:
        _library.cudaGetLastError()  # the next launch does not report it again
        raise CUDARuntimeError(status)


_KINDS = {
    "int": ctypes.c_int,
    "float": ctypes.c_float,
    "size": ctypes.c_size_t,
    "flags": ctypes.c_ulonglong,
    "pointer": ctypes.c_void_p,
    "stream": ctypes.c_void_p,
}


def _call(name: str, takes: str = "", gives: str = "", last: bool = False) -> Callable[..., Any]:
    """cudaName; what it gives is written through its first parameter, or its `last`."""
    function = getattr(_library, "cuda" + name[0].upper() + name[1:])
    kinds = takes.split()

    def call(*args: Any) -> Any:
        if len(args) != len(kinds):
            raise TypeError(f"{name}() takes {len(kinds)} arguments ({len(args)} given)")
        values = [
            _KINDS[kind](0 if kind == "stream" and arg == streamLegacy else arg)
            for kind, arg in zip(kinds, args)
        ]
        if not gives:
            return check_status(function(*values))
        given = _KINDS[gives]()
        values.insert(len(values) if last else 0, ctypes.byref(given))
        check_status(function(*values))
        return given.value or 0

    return call


getDeviceCount = _call("getDeviceCount", gives="int")
getDevice = _call("getDevice", gives="int")
setDevice = _call("setDevice", "int")
deviceGetAttribute = _call("deviceGetAttribute", "int int", gives="int")
deviceSynchronize = _call("deviceSynchronize")
driverGetVersion = _call("driverGetVersion", gives="int")
runtimeGetVersion = _call("runtimeGetVersion", gives="int")
malloc = _call("malloc", "size", gives="pointer")
free = _call("free", "pointer")
memcpyAsync = _call("memcpyAsync", "pointer pointer size int stream")
memsetAsync = _call("memsetAsync", "pointer int size stream")
streamCreateWithFlags = _call("streamCreateWithFlags", "int", gives="stream")
streamDestroy = _call("streamDestroy", "stream")
streamSynchronize = _call("streamSynchronize", "stream")
streamQuery = _call("streamQuery", "stream")
streamWaitEvent = _call("streamWaitEvent", "stream pointer int")
streamBeginCapture = _call("streamBeginCapture", "stream int")
streamEndCapture = _call("streamEndCapture", "stream", gives="pointer", last=True)
_graphInstantiate = _call("graphInstantiate", "pointer flags", gives="pointer")
graphDestroy = _call("graphDestroy", "pointer")
graphExecDestroy = _call("graphExecDestroy", "pointer")
graphLaunch = _call("graphLaunch", "pointer stream")
graphUpload = _call("graphUpload", "pointer stream")
eventCreateWithFlags = _call("eventCreateWithFlags", "int", gives="pointer")
eventDestroy = _call("eventDestroy", "pointer")
eventRecord = _call("eventRecord", "pointer stream")
eventSynchronize = _call("eventSynchronize", "pointer")
eventQuery = _call("eventQuery", "pointer")
eventElapsedTime = _call("eventElapsedTime", "pointer pointer", gives="float")
_streamIsCapturing = _call("streamIsCapturing", "stream", gives="int", last=True)


def streamIsCapturing(stream: int) -> bool:
    status = _streamIsCapturing(stream)
    if status == 2:
        raise RuntimeError(
            "the stream was capturing, but an error has invalidated the capture sequence"
        )
    return status == 1


def memGetInfo() -> tuple[int, int]:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    check_status(_library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)))
    return free.value, total.value


def getDeviceProperties(device: int) -> dict[str, Any]:
    return {
        "name": b"CUDA on the host",  # bytes, as CuPy gives it
        "totalGlobalMem": memGetInfo()[1],
        "major": deviceGetAttribute(_cudaDevAttrComputeCapabilityMajor, device),
        "minor": deviceGetAttribute(_cudaDevAttrComputeCapabilityMinor, device),
        "multiProcessorCount": deviceGetAttribute(_cudaDevAttrMultiProcessorCount, device),
        "warpSize": 32,
    }


def _set_device_count(count: int) -> None:
    """For tests: of the emulated machine."""
    _library.striate_cuda_host_set_device_count(count)


def _set_compute_capability(major: int, minor: int) -> None:
    """For tests, too."""
    _library.striate_cuda_host_set_capability(major, minor)


_Closure = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_failures: list[BaseException] = []  # of closures that a replay ran


def _record(stream: int, work: Callable[[], None]) -> Any:
    """Adds `work` to what `stream` captures; what comes back must live as long as the graph."""

    def run(_: Any) -> None:
        try:
            work()
        except BaseException as error:  # raised again after the launch
            _failures.append(error)

    closure = _Closure(run)
    check_status(_library.striate_cuda_host_record(ctypes.c_void_p(stream), closure, None))
    return closure
