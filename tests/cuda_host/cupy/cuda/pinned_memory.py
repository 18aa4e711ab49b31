"""Pinned memory, which on the host is memory."""

from __future__ import annotations

import ctypes
from typing import Any


def alloc_pinned_memory(size: int) -> Any:
    """Of CuPy's size: NumPy reads it as a buffer, and `ptr` is its address."""

    class PinnedMemoryPointer(ctypes.c_uint8 * max(size, 1)):
        @property
        def ptr(self) -> int:
            return ctypes.addressof(self)

        @property
        def mem(self) -> Any:
            return self

    memory = PinnedMemoryPointer()
    ctypes.memset(memory, 0xFF, size)
    return memory
