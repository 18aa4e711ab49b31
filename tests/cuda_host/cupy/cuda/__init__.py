# ruff: noqa: F401
"""What Striate uses of cupy.cuda."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import device, memory, pinned_memory, runtime, stream
from .device import Device, get_device_id
from .memory import (
    BaseMemory,
    Memory,
    MemoryPointer,
    MemoryPool,
    UnownedMemory,
    alloc,
    get_allocator,
    set_allocator,
)
from .pinned_memory import alloc_pinned_memory
from .stream import Event, ExternalStream, Graph, Stream, get_current_stream, get_elapsed_time


@contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    before = memory._get_thread_local_allocator()
    memory._set_thread_local_allocator(allocator or memory._malloc)
    try:
        yield
    finally:
        memory._set_thread_local_allocator(before)


def is_available() -> bool:
    try:
        return runtime.getDeviceCount() > 0
    except runtime.CUDARuntimeError:
        return False
