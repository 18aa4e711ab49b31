"""The .xz files in which MNIST travels: one of a small set's is what the fuzzer gives."""

from __future__ import annotations

import functools
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fuzz.limits import folder, one_sentence
from striate.data import packed
from striate.data.idx import DataError

_SIZES = {"train": 20, "test": 4}
_PIXELS = packed.IMAGE_SHAPE[0] * packed.IMAGE_SHAPE[1]


def memory(data: bytes) -> int:
    return packed.MEMORY  # of the decoder; what it may yield is known, and small


def check(data: bytes) -> None:
    for name in ("train-labels", "test-images-1"):
        path = _set(name) / f"{name}.xz"
        path.write_bytes(data)
        try:
            sets = packed.unpack(path.parent, _SIZES)
        except DataError as error:
            one_sentence(error, path)
        else:
            assert [len(split.labels) for split in sets] == list(_SIZES.values())


@functools.cache
def _set(name: str) -> Path:
    """A folder of all files, in which ``name`` is to be replaced."""
    root = folder() / name
    root.mkdir()
    for part, blocks in packed.BLOCKS.items():
        rows = np.array_split(np.zeros(_SIZES[part]), blocks)
        contents = {f"{part}-images-{k}": len(rows[k]) * _PIXELS for k in range(blocks)}
        for file, size in {f"{part}-labels": _SIZES[part], **contents}.items():
            (root / f"{file}.xz").write_bytes(_compress(bytes(size)))
    return root


def _compress(content: bytes) -> bytes:
    return lzma.compress(content, preset=0)


def mutate(data: bytes, generator: random.Random, bend: Callable[[bytes], bytes]) -> bytes:
    """Changes what the file holds, how it is packed, or how often it stands there."""
    try:
        content = lzma.LZMADecompressor(memlimit=1 << 26).decompress(data, 1 << 16)
    except lzma.LZMAError:
        return b""
    way = generator.randrange(5)
    if way == 0:
        return data + _compress(content)
    if way == 1:
        return data + bytes(generator.randrange(9))
    if way == 2:
        content = bytes(generator.choice((20, 4, 2 * _PIXELS, 3 * _PIXELS)))
    filters = [
        {"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << generator.randrange(12, 26)}
    ]
    check = generator.choice((lzma.CHECK_NONE, lzma.CHECK_CRC32, lzma.CHECK_SHA256))
    if way == 3:
        return lzma.compress(bend(content), lzma.FORMAT_ALONE, preset=0)
    return lzma.compress(bend(content), check=check, filters=filters)
