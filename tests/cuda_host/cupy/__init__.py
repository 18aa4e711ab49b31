"""A stand-in for CuPy 14 over the emulation of CUDA (..), for tests where no GPU is.

It refuses what CuPy refuses, with CuPy's texts; a call that it does not know is not there. It also
refuses what CuPy takes with undefined results (an index out of bounds), and its pool never cuts a
larger free block.
"""
# ruff: noqa: F401

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as _np
from numpy import (
    bool_,
    dtype,
    e,
    finfo,
    float16,
    float32,
    float64,
    floating,
    iinfo,
    inf,
    int8,
    int16,
    int32,
    int64,
    integer,
    nan,
    newaxis,
    pi,
    promote_types,
    result_type,
    uint8,
    uint16,
    uint32,
    uint64,
)

from . import _functions, _indexing, cuda, linalg
from ._array import ndarray
from ._creation import (
    arange,
    array,
    asarray,
    ascontiguousarray,
    asnumpy,
    empty,
    empty_like,
    full,
    full_like,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from ._functions import (
    argmax,
    argsort,
    broadcast_to,
    concatenate,
    copyto,
    count_nonzero,
    dot,
    expand_dims,
    may_share_memory,
    pad,
    shares_memory,
    split,
    stack,
    take_along_axis,
    ufunc,
    vdot,
    where,
)
from ._interchange import from_dlpack

__version__ = "14.0.0"

globals().update(_functions.UFUNCS, **_functions.METHODS)
abs = _functions.UFUNCS["absolute"]
ndarray.__module__ = "cupy"


def get_array_module(*args: Any) -> ModuleType:
    import cupy

    return cupy if any(isinstance(arg, ndarray) for arg in args) else _np


def get_default_memory_pool() -> cuda.MemoryPool:
    return cuda.memory.default_pool


def is_available() -> bool:
    return cuda.is_available()
