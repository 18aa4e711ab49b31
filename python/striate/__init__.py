"""Striate: the smallest and fastest way to train and run convolutional networks.

NumPy arrays in and out, PyTorch's names::

    import striate
    from striate import nn, optim
    import striate.functional as F

``import striate`` loads the compiled ops; NumPy and everything else is loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from striate import _core, _threadpools
from striate._core import __version__, empty_cache, get_backend, get_num_threads

if TYPE_CHECKING:
    from striate import cuda, data, filters, functional, models, nn, optim, random
    from striate import onnx as onnx
    from striate.checkpoint import load, save
    from striate.cuda import get_precision, set_precision
    from striate.plan.prepared import prepare
    from striate.random import manual_seed
    from striate.trainer import Trainer

_MODULES = (
    "checkpoint",
    "cuda",
    "data",
    "filters",
    "functional",
    "models",
    "nn",
    "onnx",  # not in __all__: it needs the package of that name
    "optim",
    "random",
    "trainer",
)
_NAMES = {
    "Trainer": "striate.trainer",
    "load": "striate.checkpoint",
    "manual_seed": "striate.random",
    "prepare": "striate.plan.prepared",
    "get_precision": "striate.cuda",
    "save": "striate.checkpoint",
    "set_precision": "striate.cuda",
}

__all__ = [
    "Trainer",
    "__version__",
    "cuda",
    "data",
    "empty_cache",
    "filters",
    "functional",
    "get_backend",
    "get_num_threads",
    "get_precision",
    "load",
    "manual_seed",
    "models",
    "nn",
    "optim",
    "prepare",
    "random",
    "save",
    "set_backend",
    "set_num_threads",
    "set_precision",
]

_threadpools.show()


def set_num_threads(threads: int) -> None:
    """Sets the threads of all ops, for the whole process; ValueError outside 1 .. 1024."""
    if isinstance(threads, bool) or not hasattr(threads, "__index__"):
        raise TypeError(f"set_num_threads: threads must be an integer, got {threads!r}")
    if not -(2**31) <= threads < 2**31:  # what the extension takes, to refuse it in these words
        raise ValueError(f"set_num_threads: threads must be between 1 and 1024, got {threads}")
    _core.set_num_threads(threads)


def set_backend(name: str) -> None:
    """Selects the ops: 'cpu', the fast ones, or 'reference', naked loops in double precision."""
    if not isinstance(name, str):
        raise TypeError(f"set_backend: name must be 'cpu' or 'reference', got {name!r}")
    _core.set_backend(name)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"striate.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'striate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "onnx"])
