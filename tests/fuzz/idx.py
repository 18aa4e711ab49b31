"""IDX files, plain and gzipped: alone, and as one of a folder's four."""

from __future__ import annotations

import functools
import gzip
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fuzz.limits import folder, one_sentence
from striate.data.idx import DataError, load_idx_folder, read_idx

_MAGIC = b"\x1f\x8b"
_DEFLATE = 1032  # a deflated file cannot hold more than this many times its size
_MOST = 1 << 16


def memory(data: bytes) -> int:
    return len(data) * (_DEFLATE if data[:2] == _MAGIC else 1)


def check(data: bytes) -> None:
    path = folder() / "images.idx"
    path.write_bytes(data)
    try:
        array = read_idx(path)
    except DataError as error:
        one_sentence(error, path)
    else:
        assert array.dtype.isnative
        assert array.flags.writeable
        if data[:2] != _MAGIC:
            assert array.nbytes == len(data) - 4 - 4 * array.ndim
    for name in ("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        _check_folder(_set(name), name, data)


def _check_folder(root: Path, name: str, data: bytes) -> None:
    (root / name).write_bytes(data)
    try:
        train, test = load_idx_folder(root)
    except DataError as error:
        one_sentence(error, root)
    else:
        for split in (train, test):
            assert len(split.images) == len(split.labels)
            assert split.images.dtype == split.labels.dtype == np.uint8


@functools.cache
def _set(name: str) -> Path:
    """A folder of the four files, in which ``name`` is to be replaced."""
    root = folder() / name
    root.mkdir()
    for part, count in (("train", 2), ("t10k", 1)):
        (root / f"{part}-images-idx3-ubyte").write_bytes(idx(np.zeros((count, 2, 3), np.uint8)))
        (root / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.ones(count, np.uint8)))
    return root


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def mutate(data: bytes, generator: random.Random, bend: Callable[[bytes], bytes]) -> bytes:
    """Changes what a gzip file holds, or zips what is plain."""
    if data[:2] != _MAGIC:
        return gzip.compress(data, generator.randrange(10), mtime=0)
    try:
        content = zlib.decompressobj(31).decompress(data, _MOST)
    except zlib.error:
        return b""
    content = bend(content)
    return content if generator.random() < 0.2 else gzip.compress(content, mtime=0)
