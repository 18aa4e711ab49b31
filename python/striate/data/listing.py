"""Which pictures a folder of class folders holds: listed, not opened, and kept compactly."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from striate.data.idx import DataError, DataNotFoundError

# torchvision's; in any case.
IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class Paths(Sequence[str]):
    """Many paths below ``root``, kept as one run of bytes: about a third of a list of strings."""

    def __init__(self, root: Path, relative: list[str]) -> None:
        self._root = os.fspath(root)
        self.blob = b"".join(os.fsencode(path) + b"\0" for path in relative)
        self._ends = np.flatnonzero(np.frombuffer(self.blob, np.uint8) == 0)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"path {index} of {len(self)}")
        index %= len(self)
        start = int(self._ends[index - 1]) + 1 if index else 0
        return os.path.join(self._root, os.fsdecode(self.blob[start : int(self._ends[index])]))


def is_image_folder(folder: str | os.PathLike[str]) -> bool:
    """Whether ``folder`` directly holds class folders, at least one of them with a picture."""
    try:
        return any(files for _, files in scan(Path(folder)))
    except DataError:
        return False


def scan(root: Path) -> list[tuple[str, list[str]]]:
    """(class, its pictures' paths below its folder) in order, without opening or stating a file."""
    try:
        with os.scandir(root) as entries:
            names = [e.name for e in entries if not e.name.startswith(".") and _is_folder(e)]
        return [(name, _files(root / name)) for name in sorted(names)]
    except FileNotFoundError:
        raise DataNotFoundError(f"{root}: there is no such folder") from None
    except OSError as error:
        raise DataError(f"{error.filename or root}: cannot be listed ({error.strerror})") from None


def _files(folder: Path) -> list[str]:
    """The pictures below ``folder``, sorted by folder, then by name; as torchvision has them."""
    found: list[tuple[str, list[str]]] = []
    # Links may lead to a folder in many ways, or into one that it lies in: each is listed once, by
    # the shortest way and of those the first.
    seen: set[tuple[int, int]] = set()
    todo = deque([""])
    while todo:
        inner = todo.popleft()
        path = folder / inner
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        names, folders = [], []
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                elif entry.name.lower().endswith(IMG_EXTENSIONS):
                    names.append(entry.name)
        todo += [f"{inner}{name}/" for name in sorted(folders)]
        found.append((inner, sorted(names)))
    return [inner + name for inner, names in sorted(found) for name in names]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; not where a link leads nowhere or to itself."""
    try:
        return entry.is_dir()
    except OSError:  # reading it will say what is wrong with it
        return False
