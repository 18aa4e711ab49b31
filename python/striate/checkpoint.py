"""Named arrays and a description in one file: safetensors, never pickle, whole or not at all.

What Striate writes carries a CRC-32 of every array and one of the header, which finds any single
changed byte. They stand in the header's metadata, which maps strings to strings, under "striate"::

    {"crc32": "<the header's>", "arrays": {"<name>": "<its bytes'>", ...}, "description": {...}}

The header's own is of all bytes before the arrays, its length and padding included, with zeros
where it stands itself. A file of another program has none and is read without.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from striate._device import to_host
from striate._files import replacing
from striate._text import printable
from striate.functional._arguments import Array

_KEY = "striate"
_START = '{"crc32": "'  # of the text under it
_MARK = json.dumps(_START)[1:-1].encode()  # the same inside the header: its checksum follows
_ZEROS = "0" * 8
_LARGEST_HEADER = 100_000_000  # safetensors' own limit
_DEEPEST = 100  # lists and objects within each other in a description
NO_MEMORY = "there is not enough to read it"  # where a MemoryError has no text of its own
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8", "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip


class CheckpointError(ValueError):
    """A file that cannot be read as what it should be; the message names it.

    One line: what it quotes comes from the file, and may be anything.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def save(
    path: str | Path, arrays: Mapping[str, Array], description: Mapping[str, Any] | None = None
) -> None:
    """Writes float32 ``arrays`` to ``path`` in the safetensors format, atomically.

    ``description``, JSON-able, goes into the header; ``load`` returns it, others skip it. What
    ``model.state_dict()`` gives, PyTorch reads by ``safetensors.torch.load_file``. Raises TypeError
    for an array that is not float32, ValueError for a description that could not be loaded
    (infinity, NaN, over a hundred lists and objects within each other, 100 MB), OSError that names
    ``path``.
    """
    for what, given in (("arrays", arrays), ("description", description or {})):
        if not isinstance(given, Mapping):
            raise TypeError(f"save: {what} must be a dict, got {type(given).__name__}")
    for name, array in arrays.items():
        if getattr(array, "dtype", None) != np.float32:
            kind = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"save: {name} must be a float32 array, got {kind}")
    if "__metadata__" in arrays:
        raise ValueError("save: no array can be called __metadata__, the format has that name")
    described = dict(description or {})
    if trouble := _not_json(described):
        raise ValueError(f"save: the description {trouble}")
    # safetensors' own writer goes by way of a temporary file whose name nobody knows after a crash.
    ordered = {name: np.asarray(to_host(arrays[name]), "<f4", order="C") for name in sorted(arrays)}
    header = _header(ordered, described)
    with replacing(path) as file:
        file.write(header)
        for array in ordered.values():
            file.write(_bytes_of(array))


def _header(arrays: Mapping[str, npt.NDArray[Any]], description: dict[str, Any]) -> bytes:
    """All that stands before the arrays of a safetensors file."""
    sums = {name: _crc(_bytes_of(array)) for name, array in arrays.items()}
    text = json.dumps(
        {"crc32": _ZEROS, "arrays": sums, "description": description}, allow_nan=False
    )
    entries: dict[str, Any] = {"__metadata__": {_KEY: text}}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        shape = list(array.shape)
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    body = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    body += b" " * (-len(body) % 8)
    if len(body) > _LARGEST_HEADER:
        raise ValueError(
            f"save: the names and the description take {len(body):,} bytes, a safetensors file has "
            f"room for {_LARGEST_HEADER:,}"
        )
    header = struct.pack("<Q", len(body)) + body
    before, after = _around_checksum(header)
    return before + _crc(header).encode() + after


def _not_json(description: Any) -> str:
    """What is in ``description`` that JSON's readers and writers do not agree on; or nothing.

    Python reads NaN and 1e999, which others do not. How deep it can read and write depends on how
    deep in calls it is: what was read could not be written again.
    """
    level: dict[int, Any] = {0: description}  # by identity: a list may hold itself
    for _ in range(_DEEPEST):
        inner: dict[int, Any] = {}
        for outer in level.values():
            for value in outer.values() if isinstance(outer, Mapping) else outer:
                if isinstance(value, float) and not math.isfinite(value):
                    return f"holds {value}, which JSON has not"
                if isinstance(value, (Mapping, list, tuple)):
                    inner[id(value)] = value
        if not inner:
            return ""
        level = inner
    return f"is nested deeper than {_DEEPEST} levels"


def _around_checksum(header: bytes) -> tuple[bytes, bytes]:
    """What stands before and after the header's own checksum; ValueError if it has none."""
    begin = header.index(_MARK) + len(_MARK)
    return header[:begin], header[begin + len(_ZEROS) :]


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _crc(data: bytes | memoryview) -> str:
    return f"{zlib.crc32(data):08x}"


def load(path: str | Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays, description) of a safetensors file: what ``save`` was given.

    A file that another program wrote, such as torchvision's weights saved by safetensors, has the
    description {}. Raises CheckpointError for a file that is truncated, is no safetensors file,
    lies in its header, was changed since Striate wrote it (it says which array) or holds anything
    but float32, FileNotFoundError for one that is not there.
    """
    arrays, description = _load_safetensors(Path(path))
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise CheckpointError(f"{path}: {name} must be float32, got {array.dtype}")
    return arrays, description


def _load_safetensors(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with open(path, "rb") as file:
            metadata = _metadata(path)
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return _load_safetensors(path)  # a training has put a newer one in its place
            header = file.read(8)
            header += file.read(struct.unpack("<Q", header)[0])
            arrays = _read_arrays(path, file, header)
    except MemoryError as error:
        raise MemoryError(f"{path}: {str(error) or NO_MEMORY}") from None
    except OSError as error:
        raise OSError(f"{path}: cannot be read ({error.strerror or error})") from None
    # Whoever changed one byte of the key left the text, or the other way round.
    if _KEY not in metadata and not any(text.startswith(_START) for text in metadata.values()):
        return arrays, {}
    return arrays, _checked_description(path, header, metadata.get(_KEY, ""), arrays)


def _metadata(path: Path) -> dict[str, str]:
    """That of a file whose header is what the format allows, and its length what that says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (SafetensorError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from None


def _read_arrays(path: Path, file: BufferedReader, header: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays behind the ``header``. (safetensors' own reader panics where memory ends.)"""
    arrays: dict[str, npt.NDArray[Any]] = {}
    entries = json.loads(header[8:])
    for name in sorted(entries.keys() - {"__metadata__"}):
        array, begin = _room(path, name, entries[name])
        file.seek(len(header) + begin)
        if file.readinto(_bytes_of(array)) != array.nbytes:
            raise CheckpointError(f"{path}: not a whole safetensors file ({name} is cut off)")
        arrays[name] = array
    return arrays


def _room(path: Path, name: str, entry: Any) -> tuple[npt.NDArray[Any], int]:
    """(the array that an entry of the header describes, unfilled; where its bytes begin)."""
    try:
        kind, shape, (begin, _) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if kind in _DTYPES:
            return np.empty(shape, _DTYPES[kind]), begin
    except (TypeError, ValueError) as error:
        # safetensors also takes lists and objects for what its format names, and what holds no
        # element may be of any size.
        raise CheckpointError(f"{path}: {name} cannot be an array ({error})") from None
    raise CheckpointError(f"{path}: {name} is {kind}, of which NumPy has none")


def _checked_description(
    path: Path, header: bytes, text: str, arrays: Mapping[str, npt.NDArray[Any]]
) -> dict[str, Any]:
    """The description in a file of Striate's, after a look at every byte of that."""
    try:
        before, after = _around_checksum(header)
    except ValueError:
        raise CheckpointError(
            f"{path}: its header has no checksum: it is damaged, or an older Striate wrote it"
        ) from None
    said = header[len(before) : len(header) - len(after)].decode(errors="replace")
    found = _crc(before + _ZEROS.encode() + after)
    if said != found:
        raise CheckpointError(
            f"{path}: its header is damaged: its CRC-32 is {found}, the file says {said}"
        )
    try:
        parts = json.loads(text)
        sums, description = parts["arrays"], parts["description"]
        said_of = {name: str(sums[name]) for name in arrays}
    except (ValueError, RecursionError, TypeError, KeyError):
        raise CheckpointError(f"{path}: its description is not what Striate writes") from None
    for name, array in arrays.items():
        if (found := _crc(_bytes_of(array))) != said_of[name]:
            raise CheckpointError(
                f"{path}: {name} is damaged: its CRC-32 is {found}, the file says {said_of[name]}"
            )
    if not isinstance(description, dict):
        raise CheckpointError(f"{path}: its description is not a JSON object")
    if trouble := _not_json(description):
        raise CheckpointError(f"{path}: its description {trouble}")
    return description


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
    from striate._npz import read_npz

    try:
        return read_npz(path)
    except MemoryError as error:
        raise MemoryError(f"{path}: {str(error) or NO_MEMORY}") from None
    except Exception as error:  # zipfile, zlib and NumPy's header parser raise anything
        raise CheckpointError(f"{path}: not a whole .npz file ({error})") from None
