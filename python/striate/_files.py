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

    A crash, or an exception in between, leaves the old file whole. What is there and no file, such
    as a pipe or /dev/null, is not replaced but written to; so is /dev/stdout, whatever that is.
    Raises OSError that names ``path``.
    """
    path = Path(path)
    try:
        if _is_special(path):
            with open(path, "wb") as file:
                yield file
        else:
            with _replacing_file(path) as file:
                yield file
    except OSError as error:
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: there is no folder {path.parent}") from None
        raise OSError(f"{path}: cannot be written ({error.strerror or error})") from None


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or _is_descriptor(path)


def _is_descriptor(path: Path) -> bool:
    """Whether this is a file that a process has open, by a name like /dev/stdout or /dev/fd/3: what
    took the place of such a link would be read by nobody, and the link be gone.
    """
    link = path.parent / os.readlink(path) if path.is_symlink() else path
    return any(os.path.realpath(name.parent).startswith("/proc/") for name in (path, link))


@contextlib.contextmanager
def _replacing_file(path: Path) -> Iterator[BinaryIO]:
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
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
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 12}"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes ``data`` to ``path``, whole or not at all. Raises OSError that names ``path``."""
    with replacing(path) as file:
        file.write(data)
