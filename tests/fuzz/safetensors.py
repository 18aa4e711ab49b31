"""Files of weights: safetensors and .npz, as arrays, as models, into a model."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import striate
from fuzz.limits import folder, one_sentence
from fuzz.tree import mutate_tree
from striate import checkpoint, models, nn
from striate.checkpoint import CheckpointError

_ZIP = b"PK"
_DEFLATE = 1032  # a deflated member cannot hold more than this many times its size
_COPIES = 16  # of a header: bytes, text, objects of JSON


def memory(data: bytes) -> int:
    return len(data) * (_DEFLATE if data[:2] == _ZIP else _COPIES)


def check(data: bytes) -> None:
    path = folder() / ("weights.npz" if data[:2] == _ZIP else "weights.safetensors")
    path.write_bytes(data)
    for read in (striate.load, checkpoint.load_arrays, models.load, _fit):
        try:
            read(path)
        except CheckpointError as error:
            one_sentence(error, path)


def _fit(path: Any) -> None:
    model = nn.Sequential({"conv1": nn.Conv2d(1, 2, 3), "fc": nn.Linear(3, 2)})
    before = {name: array.tobytes() for name, array in model.state_dict().items()}
    try:
        fit = models.load_fitting(model, path)
    except CheckpointError:
        assert before == {name: array.tobytes() for name, array in model.state_dict().items()}
        raise
    assert set(fit.loaded) <= set(before)
    assert len(fit.loaded) + len(fit.missing) + len(fit.misshapen) == len(before)


def mutate(data: bytes, generator: random.Random, bend: Callable[[bytes], bytes]) -> bytes:
    """Changes the header's JSON, and the description in it, or an array in the zip file."""
    return _mutate_npz(data, generator, bend) if data[:2] == _ZIP else _mutate(data, generator)


def _mutate(data: bytes, generator: random.Random) -> bytes:
    try:
        (size,) = struct.unpack("<Q", data[:8])
        header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    except (ValueError, struct.error, RecursionError, OverflowError):
        return b""
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    described = metadata.get("striate") if isinstance(metadata, dict) else None
    if isinstance(described, str) and generator.random() < 0.7:
        try:
            metadata["striate"] = json.dumps(mutate_tree(json.loads(described), generator))
        except (ValueError, RecursionError):
            return b""
    else:
        header = mutate_tree(header, generator)
    text = json.dumps(header).encode()
    return _summed(struct.pack("<Q", len(text)) + text) + rest


def _summed(header: bytes) -> bytes:
    """The header with the checksum that it should have, where it has any."""
    try:
        before, after = checkpoint._around_checksum(header)
    except ValueError:
        return header
    zeros = checkpoint._ZEROS.encode()
    return before + checkpoint._crc(before + zeros + after).encode() + after


def _mutate_npz(data: bytes, generator: random.Random, bend: Callable[[bytes], bytes]) -> bytes:
    packed = io.BytesIO()
    kind = generator.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(packed, "w", kind) as to:
            chosen = generator.randrange(max(1, len(source.namelist())))
            for i, name in enumerate(source.namelist()):
                with source.open(name) as member:
                    content = member.read(1 << 16)
                content = bend(content) if i == chosen else content
                to.writestr(zipfile.ZipInfo(name), content, kind)  # not of the time it is now
    except Exception:  # zipfile raises anything
        return b""
    return packed.getvalue()
