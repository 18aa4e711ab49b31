"""The IDX file format, in which MNIST and its kin are published.

A file is four bytes (0, 0, element type, number of dimensions), one big-endian uint32 per
dimension, and the elements in C order, big-endian. It may be gzipped as a whole.
Source: Yann LeCun's MNIST page, section "FILE FORMATS FOR THE MNIST DATABASE".
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_ELEMENTS = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DIMENSIONS = 32  # the most that every supported NumPy can hold
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_MAX_RATIO = 1032  # deflate cannot expand further than this
_CHUNK = 1 << 20


class DataError(ValueError):
    """A data file that is corrupt, truncated, mislabelled or missing; the text names its path."""


class DataNotFoundError(DataError, FileNotFoundError):
    """A data file or folder that is not there: both a DataError and a FileNotFoundError."""


class Split(NamedTuple):
    """One part of a data set: ``images`` uint8 (n, H, W) and ``labels`` uint8 (n,)."""

    images: np.ndarray
    labels: np.ndarray


class Dataset(NamedTuple):
    """A data set as it was published: ``train`` and ``test``, both a ``Split``."""

    train: Split
    test: Split


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an IDX file, plain or gzipped (told by its first bytes, not by its name).

    Returns a new array in native byte order, with the dtype and shape the header gives.
    Raises DataError if the file is not IDX, is corrupt, or holds fewer or more bytes than its
    header says (found out before the array is allocated); DataNotFoundError if it is missing.
    """
    path = Path(path)
    try:
        with open_file(path) as file:
            is_gzip = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            size = os.fstat(file.fileno()).st_size
            if not is_gzip:
                return _read_stream(file, path, size, exact=True)
            return _read_gzip(file, path, size)
    except FileNotFoundError:
        raise DataNotFoundError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a folder, expected an IDX file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def open_file(path: str | os.PathLike[str]) -> io.BufferedReader:
    """The file at ``path``; opening a pipe or a device could wait for ever, so DataError then."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{path}: not a regular file")
    return _Reader(open(path, "rb", buffering=0))


class _Reader(io.BufferedReader):
    """A file of which no more is asked than there is: Python allocates first, and then reads."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _CHUNK:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def _read_gzip(file: io.BufferedReader, path: Path, size: int) -> np.ndarray:
    import gzip
    import zlib

    try:
        with gzip.GzipFile(fileobj=file) as stream:
            return _read_stream(stream, path, size * _GZIP_MAX_RATIO, exact=False)
    except EOFError:
        raise DataError(f"{path}: the gzip file is truncated") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is corrupt ({error})") from None


def _read_stream(stream: Any, path: Path, limit: int, *, exact: bool) -> np.ndarray:
    """Reads one IDX array from ``stream``, which holds ``limit`` bytes, or at most so many."""
    dtype, shape = _read_header(stream, path)
    header = 4 + 4 * len(shape)
    count = math.prod(shape)
    expected = count * dtype.itemsize
    # A header may claim exabytes: believe it only as far as the file can hold them. Zero times a
    # huge dimension needs no bytes, but NumPy cannot express it either.
    impossible = math.prod(max(n, 1) for n in shape) * dtype.itemsize > np.iinfo(np.intp).max
    if impossible or header + expected > limit:
        bound = "" if exact else "at most "
        raise DataError(
            f"{path}: truncated, or its header lies: {shape} of {dtype.name} needs {expected} "
            f"bytes, the file holds {bound}{max(limit - header, 0)}"
        )
    array = np.empty(shape, dtype)
    buffer = array.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < expected:
        step = stream.readinto(buffer[filled : filled + _CHUNK])
        if not step:
            raise DataError(
                f"{path}: truncated: its header gives {shape} of {dtype.name}, {expected} bytes, "
                f"but it holds {filled}"
            )
        filled += step
    # For gzip, reading on to the end is also what verifies the checksum.
    if stream.read(1):
        raise DataError(f"{path}: bytes follow the {expected} that its header {shape} announces")
    if not array.dtype.isnative:  # in place: a second copy may be what memory has no room for
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return array


def _read_header(stream: Any, path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    head = stream.read(4)
    if len(head) < 4:
        raise DataError(f"{path}: truncated: {len(head)} bytes are too few for an IDX header")
    element, rank = head[2], head[3]
    if head[:2] != b"\0\0" or element not in _ELEMENTS:
        raise DataError(f"{path}: not an IDX file: it begins with the bytes {head.hex(' ')}")
    if not 1 <= rank <= _MAX_DIMENSIONS:
        raise DataError(
            f"{path}: its header gives {rank} dimensions, expected 1 to {_MAX_DIMENSIONS}"
        )
    sizes = stream.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DataError(f"{path}: truncated inside its header of {4 + 4 * rank} bytes")
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * rank, 4))
    return np.dtype(_ELEMENTS[element]), shape


# `train-images-idx3-ubyte`, `train-images.idx3-ubyte.gz`, `emnist-letters-test-labels-idx1-ubyte`
_NAME = re.compile(
    r"(?P<prefix>.*?)(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx\d-ubyte(\.gz)?"
)
_PARTS = {"train": "train", "t10k": "test", "test": "test"}


def load_idx_folder(folder: str | os.PathLike[str]) -> Dataset:
    """The data set whose four IDX files (plain or gzipped) lie in ``folder``.

    MNIST, Fashion-MNIST and KMNIST name them ``train-images-idx3-ubyte``,
    ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``;
    ``.idx3``, ``test`` for ``t10k``, ``.gz`` and a common prefix (``emnist-letters-``) are
    understood too. Of a file that is there both plain and gzipped, the plain one is read. Images
    come as they are stored: EMNIST's are transposed.

    Returns a ``Dataset`` of uint8 arrays. Raises DataError as ``read_idx`` does, and if the files
    are not uint8 images (n, H, W) of one size and uint8 labels (n,) of the same number;
    DataNotFoundError if the folder or one of the four is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        if folder.exists():
            raise DataError(f"{folder}: this is a file, expected a folder of IDX files")
        raise DataNotFoundError(f"{folder}: there is no such folder")
    paths = _find(folder)
    train = _read_split(paths["train", "images"], paths["train", "labels"])
    test = _read_split(paths["test", "images"], paths["test", "labels"])
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{paths['test', 'images']}: its images are {test.images.shape[1:]}, but those of "
            f"{paths['train', 'images'].name} are {train.images.shape[1:]}"
        )
    return Dataset(train, test)


def is_idx_folder(folder: str | os.PathLike[str]) -> bool:
    """Whether ``folder`` holds any file with the name of an IDX file that load_idx_folder reads."""
    return Path(folder).is_dir() and any(_NAME.fullmatch(name) for name in os.listdir(folder))


def _find(folder: Path) -> dict[tuple[str, str], Path]:
    """The four files, by (part, kind): ("train", "images") and so on."""
    found: dict[tuple[str, str], Path] = {}
    prefixes = set()
    for path in sorted(folder.iterdir(), reverse=True):  # so that a plain file replaces its .gz
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            prefixes.add(match["prefix"])
            found[_PARTS[match["part"]], match["kind"]] = path
    if len(prefixes) > 1:
        names = ", ".join(repr(prefix) for prefix in sorted(prefixes))
        raise DataError(f"{folder}: holds several data sets, with the prefixes {names}; keep one")
    for part, usual in (("train", "train"), ("test", "t10k")):
        for kind, rank in (("images", 3), ("labels", 1)):
            if (part, kind) not in found:
                name = f"{usual}-{kind}-idx{rank}-ubyte"
                raise DataNotFoundError(f"{folder}: there is no {name} or {name}.gz in it")
    return found


def _read_split(images_path: Path, labels_path: Path) -> Split:
    images, labels = read_idx(images_path), read_idx(labels_path)
    for path, array, kind, rank in (
        (images_path, images, "images", 3),
        (labels_path, labels, "labels", 1),
    ):
        if array.dtype != np.uint8 or array.ndim != rank:
            raise DataError(
                f"{path}: expected {kind}, a uint8 array of {rank} dimension{'s'[: rank - 1]}, "
                f"but it holds {array.dtype} of shape {array.shape}"
            )
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path}: {len(labels)} labels, but {images_path.name} holds "
            f"{len(images)} images"
        )
    return Split(images, labels)
