"""ONNX in and out: ``export`` writes a model, ``load`` makes a trainable one of a file.

Needs the package onnx: ``pip install 'striate[onnx]'``. ``striate.onnx.backend`` is the standard
``onnx.backend.base`` interface over the same import. See docs/onnx.md for what is taken.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

try:
    import onnx as _onnx  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "onnx":
        raise
    raise ImportError(
        "striate.onnx needs the package onnx: pip install 'striate[onnx]'", name="onnx"
    ) from None

from striate.onnx.emitter import exports
from striate.onnx.errors import OnnxError
from striate.onnx.exporter import export
from striate.onnx.importer import load

if TYPE_CHECKING:
    from striate.onnx import backend

__all__ = ["OnnxError", "backend", "export", "exports", "load"]


def __getattr__(name: str) -> Any:
    if name == "backend":
        return importlib.import_module("striate.onnx.backend")
    raise AttributeError(f"module 'striate.onnx' has no attribute {name!r}")
