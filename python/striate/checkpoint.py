"""Named arrays and a description in one file: safetensors, never pickle, whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from striate._device import to_host
from striate.functional._arguments import Array

_KEY = "striate"  # of the safetensors metadata, which maps strings to strings


class CheckpointError(ValueError):
    """A file that cannot be read as what it should be; the message names it."""


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; afterwards it is synced and takes its place.

    A crash, or an exception in between, leaves the old file whole. Raises OSError that names
    ``path``.
    """
    path = Path(path)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}"
    try:
        with open(temporary, "xb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
        yield temporary
        os.chmod(temporary, mode)  # what the umask leaves; safetensors makes files private
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            if not path.parent.is_dir():
                raise FileNotFoundError(f"{path}: there is no folder {path.parent}") from None
            raise OSError(f"{path}: cannot be written ({error.strerror or error})") from None
        raise
    with contextlib.suppress(OSError):  # the name itself; not every file system can
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(path: str | Path) -> None:
    """Removes the temporary files that killed processes left beside ``path``."""
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes ``data`` to ``path``, whole or not at all. Raises OSError that names ``path``."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def save(
    path: str | Path, arrays: Mapping[str, Array], description: Mapping[str, Any] | None = None
) -> None:
    """Writes float32 ``arrays`` to ``path`` in the safetensors format, atomically.

    ``description``, JSON-able, goes into the header; ``load`` returns it, others skip it. What
    ``model.state_dict()`` gives, PyTorch reads by ``safetensors.torch.load_file``. Raises TypeError
    for an array that is not float32, OSError that names ``path``.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    for name, array in arrays.items():
        if getattr(array, "dtype", None) != np.float32:
            kind = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"save: {name} must be a float32 array, got {kind}")
    text = json.dumps(dict(description or {}), sort_keys=True, allow_nan=False)
    contiguous = {name: np.asarray(to_host(array), order="C") for name, array in arrays.items()}
    with replacing(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata={_KEY: text})
        except SafetensorError as error:  # it wraps what the file system said
            raise OSError(str(error)) from None


def load(path: str | Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays, description) of a safetensors file: what ``save`` was given.

    A file that another program wrote, such as torchvision's weights saved by safetensors, has the
    description {}. Raises CheckpointError for a file that is truncated, is no safetensors file,
    lies in its header or holds anything but float32, FileNotFoundError for one that is not there.
    """
    arrays, description = _load_safetensors(Path(path))
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise CheckpointError(f"{path}: {name} must be float32, got {array.dtype}")
    return arrays, description


def _load_safetensors(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from None
    try:
        description = json.loads(metadata.get(_KEY, "{}"))
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path}: its description is not JSON") from None
    if not isinstance(description, dict):
        raise CheckpointError(f"{path}: its description is not a JSON object")
    return arrays, description


def load_arrays(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays in a file of any origin, by name: .safetensors, or NumPy's .npz, of any dtype.

    Of a checkpoint of Striate's trainer these are the model's, without the momentum. Raises
    CheckpointError for a file that is not whole or holds anything but arrays.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        return _load_npz(path)
    arrays, description = _load_safetensors(path)
    return model_arrays(arrays, description)


def model_arrays(arrays: dict[str, Array], description: Mapping[str, Any]) -> dict[str, Array]:
    """The model's own among the arrays of a file: a trainer's checkpoint has others, too."""
    if "training" not in description:
        return arrays
    prefix = "model/"
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _load_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib and NumPy's header parser raise anything
        raise CheckpointError(f"{path}: not a whole .npz file ({error})") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # an .npz is a zip file, and may hold any other
            raise CheckpointError(f"{path}: {name} must be an array, got {type(array).__name__}")
    return arrays
