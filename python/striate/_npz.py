"""NumPy's .npz files, of which nothing is unpacked before it is known to fit what the file says.

``numpy.load`` believes the header of every array, and unpacks as much as there is; a megabyte can
hold a gigabyte, and many members the same bytes.
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_DEFLATE = 1032  # a deflated member cannot hold more than this many times its size
_CHUNK = 1 << 20  # zipfile hands over a copy of all that it is asked for
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_MAGIC = b"\x93NUMPY"


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays in the file at ``path``, by name. No more memory is taken than they need.

    Raises ValueError for a file whose headers do not agree with its size, or that holds anything
    but plain arrays, and whatever zipfile and zlib raise for one that is damaged.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
        packed = sum(member.compress_size for member in members)
        if packed > os.stat(path).st_size:
            raise ValueError(f"its members are {packed} bytes, more than the file")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise ValueError(f"it holds {name} twice")
            try:
                arrays[name] = _read_member(file, member)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    return arrays


def _read_member(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    ratios = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: _DEFLATE}
    if member.compress_type not in ratios:
        raise ValueError("it is neither stored nor deflated, as NumPy's members are")
    if member.file_size > member.compress_size * ratios[member.compress_type]:
        raise ValueError(f"{member.compress_size} bytes cannot hold {member.file_size}")
    stream: Any
    with file.open(member) as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it is no array")
        version = (*stream.read(2),)
        if version not in _HEADERS:
            raise ValueError(f"it is an array in an unknown version of the format, {version}")
        shape, fortran, dtype = _HEADERS[version](stream)
        if dtype.hasobject or dtype.subdtype or not dtype.itemsize:
            raise ValueError(f"its elements are {dtype}, not plain values")
        size = math.prod(shape) * dtype.itemsize
        left = member.file_size - stream.tell()
        if min(shape, default=0) < 0 or size != left:
            raise ValueError(f"{shape} of {dtype} needs {size} bytes, but it has {left}")
        content = np.empty(size, np.uint8)
        filled = 0
        while filled < size:
            filled += (step := stream.readinto(content.data[filled : filled + _CHUNK]))
            if not step:
                raise ValueError(f"it has only {filled} of its {size} bytes")
        stream.read(1)  # at the end it compares the checksum
    return content.view(dtype).reshape(shape, order="F" if fortran else "C")
