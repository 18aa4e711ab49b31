"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A temporary file beside ``path`` to write to; afterwards it is synced and takes its place.

    A crash, or an exception in between, leaves the old file whole. Raises OSError that names
    ``path``.
    """
    path = Path(path)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}"
    try:
        _check_replaceable(path)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
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


def _check_replaceable(path: Path) -> None:
    """OSError for what is there and no file: root could put one in the place of /dev/null."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError("it is there, and is no file")


def remove_leftovers(path: str | Path) -> None:
    """Removes the temporary files that killed processes left beside ``path``."""
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 12}"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes ``data`` to ``path``, whole or not at all. Raises OSError that names ``path``."""
    with replacing(path) as file:
        file.write(data)
