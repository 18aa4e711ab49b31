"""Named arrays and a description in one file: safetensors, never pickle, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from striate.functional._arguments import Array

_KEY = "striate"  # of the safetensors metadata, which maps strings to strings


class CheckpointError(ValueError):
    """A file that cannot be read as what it should be; the message names it."""


def write_atomically(path: Path, data: bytes) -> None:
    """Writes ``data`` beside ``path``, syncs and renames: a crash leaves the old file whole.

    Raises OSError that names ``path``.
    """
    path = Path(path)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(f"{path}: there is no folder {path.parent}") from None
        if isinstance(error, OSError):
            raise OSError(f"{path}: cannot be written ({error.strerror or error})") from None
        raise
    with contextlib.suppress(OSError):  # the name itself; not every file system can
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save(path: str | Path, arrays: Mapping[str, Array], description: Mapping[str, Any]) -> None:
    """Writes float32 ``arrays`` and the JSON-able ``description`` to ``path``, atomically.

    Raises TypeError for an array that is not float32, OSError that names ``path``.
    """
    from safetensors.numpy import save as to_bytes

    for name, array in arrays.items():
        if getattr(array, "dtype", None) != np.float32:
            kind = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"save: {name} must be a float32 array, got {kind}")
    text = json.dumps(dict(description), sort_keys=True, allow_nan=False)
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_atomically(Path(path), to_bytes(contiguous, metadata={_KEY: text}))


def load(path: str | Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays, description) of a file written by ``save``.

    Raises CheckpointError for a file that is truncated, is no safetensors file, lies in its header
    or was not written by Striate, FileNotFoundError for one that is not there.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from None
    try:
        description = json.loads(metadata[_KEY])
    except (KeyError, ValueError, RecursionError):
        raise CheckpointError(
            f"{path}: a safetensors file, but not one that Striate wrote (no description)"
        ) from None
    if not isinstance(description, dict):
        raise CheckpointError(f"{path}: its description is not a JSON object")
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise CheckpointError(f"{path}: {name} must be float32, got {array.dtype}")
    return arrays, description
