"""Device memory: what the emulation's cudaMalloc gives, and CuPy's pool in front of it."""

from __future__ import annotations

import ctypes
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from . import runtime
from .device import Device
from .stream import get_current_stream, refuse_transfer

_UNIT = 512  # what a pool counts in


class OutOfMemoryError(MemoryError):
    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        self._args = size, total, limit
        text = f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes"
        super().__init__(text + (f", limit set to: {limit:,} bytes)." if limit else ")."))

    def __reduce__(self) -> Any:
        return type(self), self._args


class BaseMemory:
    ptr: int
    size: int
    device_id: int

    def __int__(self) -> int:
        return self.ptr

    @property
    def device(self) -> Device:
        return Device(self.device_id)

    def _bytes(self) -> np.ndarray:
        """The memory as NumPy sees it. Does not keep it: a graph does not, either."""
        if self.ptr == 0:
            return np.empty(0, np.uint8)
        return np.frombuffer((ctypes.c_uint8 * self.size).from_address(self.ptr), np.uint8)


class Memory(BaseMemory):
    def __init__(self, size: int) -> None:
        self.size, self.device_id, self.ptr = size, runtime.getDevice(), 0
        if size > 0:
            self.ptr = runtime.malloc(size)

    def __del__(self) -> None:
        if getattr(self, "ptr", 0) and runtime is not None:
            ptr, self.ptr = self.ptr, 0
            runtime.free(ptr)


class UnownedMemory(BaseMemory):
    def __init__(self, ptr: int, size: int, owner: object, device_id: int = -1) -> None:
        self.ptr, self.size, self._owner = ptr, size, owner
        self.device_id = runtime.getDevice() if device_id < 0 else device_id


class PooledMemory(BaseMemory):
    def __init__(self, block: Memory, pool: _DevicePool, stream: int) -> None:
        # CuPy 14.0: the pool owns the block, and an array that outlives its pool dangles.
        self.ptr, self.size, self.device_id = block.ptr, block.size, block.device_id
        self._stream, self.pool = stream, weakref.ref(pool)

    def free(self) -> None:
        """Gives the block back to the stream it was allocated on, as it is."""
        if self.ptr == 0:
            return
        ptr, self.ptr = self.ptr, 0
        pool = self.pool()
        if pool is not None:
            pool.take_back(ptr, self._stream)

    def __del__(self) -> None:
        if getattr(self, "ptr", 0):
            self.free()


class MemoryPointer:
    def __init__(self, mem: BaseMemory, offset: int) -> None:
        self.mem, self.device_id = mem, mem.device_id
        self.ptr = mem.ptr + offset

    def __int__(self) -> int:
        return self.ptr

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    __radd__ = __add__

    def __sub__(self, offset: int) -> MemoryPointer:
        return self + -offset

    @property
    def device(self) -> Device:
        return Device(self.device_id)

    def _copy(self, dst: int, src: int, size: int, kind: int, stream: Any) -> None:
        stream = get_current_stream() if stream is None else stream
        if kind != runtime.memcpyDefault:
            refuse_transfer(stream.ptr, "H2D" if kind == runtime.memcpyHostToDevice else "D2H")
        if size > 0:
            runtime.memcpyAsync(dst, src, size, kind, stream.ptr)

    def copy_from_device_async(self, src: MemoryPointer, size: int, stream: Any = None) -> None:
        self._copy(self.ptr, src.ptr, size, runtime.memcpyDefault, stream)

    def copy_from_host_async(self, mem: int, size: int, stream: Any = None) -> None:
        self._copy(self.ptr, mem, size, runtime.memcpyHostToDevice, stream)

    def copy_to_host_async(self, mem: int, size: int, stream: Any = None) -> None:
        self._copy(mem, self.ptr, size, runtime.memcpyDeviceToHost, stream)

    def memset_async(self, value: int, size: int, stream: Any = None) -> None:
        stream = get_current_stream() if stream is None else stream
        if size > 0:
            runtime.memsetAsync(self.ptr, value, size, stream.ptr)


def _malloc(size: int) -> MemoryPointer:
    return MemoryPointer(Memory(size), 0)


class _DevicePool:
    """Blocks have their exact size, so that a sanitizer sees their ends; counted, they are rounded.

    CuPy also cuts a larger free block; here only a block of the same size is handed out again.
    """

    def __init__(self, allocator: Callable[[int], MemoryPointer]) -> None:
        self._allocator = allocator
        self._lock = threading.RLock()  # a collection may free arrays at any point
        self._free: dict[tuple[int, int], list[Memory]] = {}  # by stream and size
        self._in_use: dict[int, Memory] = {}
        self.used = self.total = self.limit = 0

    def malloc(self, size: int) -> MemoryPointer:
        if size == 0:
            return MemoryPointer(Memory(0), 0)
        stream = get_current_stream().ptr
        with self._lock:
            free = self._free.get((stream, size))
            block = free.pop() if free else self._new(size)
            self.used += _rounded(size)
            self._in_use[block.ptr] = block
        return MemoryPointer(PooledMemory(block, self, stream), 0)

    def take_back(self, ptr: int, stream: int) -> None:
        with self._lock:
            block = self._in_use.pop(ptr)
            self.used -= _rounded(block.size)
            if block.ptr:  # of a cycle, the collector may have finalised the block first
                self._free.setdefault((stream, block.size), []).append(block)

    def _new(self, size: int) -> Memory:
        limit = self.limit
        for attempt in range(3):
            if not limit or self.total + _rounded(size) <= limit:
                try:
                    block = self._allocator(size).mem
                except runtime.CUDARuntimeError as error:
                    if error.status != runtime._errorMemoryAllocation:
                        raise
                else:
                    self.total += _rounded(size)
                    return block
            if attempt == 1:
                gc.collect()
            self.free_all_blocks()
        raise OutOfMemoryError(_rounded(size), self.total, limit)

    def free_all_blocks(self, stream: Any = None) -> None:
        with self._lock:
            for key in list(self._free):
                if stream is None or key[0] == stream.ptr:
                    self.total -= sum(_rounded(block.size) for block in self._free.pop(key))


def _rounded(size: int) -> int:
    return -(-size // _UNIT) * _UNIT


class MemoryPool:
    def __init__(self, allocator: Callable[[int], MemoryPointer] | None = None) -> None:
        self._allocator = allocator or _malloc
        self._pools: dict[int, _DevicePool] = {}

    def _pool(self) -> _DevicePool:
        device = runtime.getDevice()
        if device not in self._pools:
            self._pools.setdefault(device, _DevicePool(self._allocator))
        return self._pools[device]

    def malloc(self, size: int) -> MemoryPointer:
        return self._pool().malloc(size)

    def free_all_blocks(self, stream: Any = None) -> None:
        self._pool().free_all_blocks(stream)

    def n_free_blocks(self) -> int:
        return sum(map(len, self._pool()._free.values()))

    def used_bytes(self) -> int:
        return self._pool().used

    def free_bytes(self) -> int:
        return self.total_bytes() - self.used_bytes()

    def total_bytes(self) -> int:
        return self._pool().total

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        if size is not None and fraction is not None:
            raise ValueError("size and fraction cannot be specified at one time")
        if fraction is not None:
            if not 0 <= fraction <= 1:
                raise ValueError(f"memory limit fraction out of range: {fraction}")
            size = int(fraction * runtime.memGetInfo()[1])
        if (size or 0) < 0:
            raise ValueError(f"memory limit size out of range: {size}")
        self._pool().limit = size or 0

    def get_limit(self) -> int:
        return self._pool().limit


default_pool = MemoryPool()
_allocator: Callable[[int], MemoryPointer] = default_pool.malloc
_local = threading.local()


def get_allocator() -> Callable[[int], MemoryPointer]:
    return getattr(_local, "allocator", None) or _allocator


def _get_thread_local_allocator() -> Callable[[int], MemoryPointer] | None:
    return getattr(_local, "allocator", None)


def _set_thread_local_allocator(allocator: Callable[[int], MemoryPointer] | None) -> None:
    _local.allocator = allocator


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    global _allocator
    if _get_thread_local_allocator() is not None:
        raise ValueError(
            "Can't change the global allocator inside `using_allocator` context manager"
        )
    _allocator = allocator or _malloc


def alloc(size: int) -> MemoryPointer:
    return get_allocator()(size)
