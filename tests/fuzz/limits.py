"""One input under its limits: what it may allocate, and that nothing else escapes."""

from __future__ import annotations

import contextlib
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_SLACK = 48 << 20  # what the interpreter, its caches and the allocators' arenas may take
_folder: tempfile.TemporaryDirectory[str] | None = None


class TooMuchMemoryError(AssertionError):
    """An input took more memory than it can justify."""


def folder() -> Path:
    """A temporary folder of this process, the only one that a target writes to."""
    global _folder
    if _folder is None:
        _folder = tempfile.TemporaryDirectory(prefix="striate-fuzz-")
    return Path(_folder.name)


def one_sentence(error: Exception, about: Path) -> None:
    """Refuses a message that does not begin with the file that it is about, or breaks the line."""
    text = str(error)
    assert text.startswith(str(about)), text
    assert "\n" not in text, text


def run(target: ModuleType, data: bytes) -> None:
    """``target.check(data)``; raises TooMuchMemoryError where it took more than ``memory`` says.

    tracemalloc counts what Python and NumPy ask for, touched or not; the process's peak of resident
    memory what native libraries touch. A function that ``check`` returns is called then, without
    that measure.
    """
    allowed = target.memory(data) + _SLACK
    before = _forget_peak()
    with _tracing():
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        rest = target.check(data)
        traced = tracemalloc.get_traced_memory()[1] - held
    resident = _peak() - before
    if max(traced, resident) > allowed:
        raise TooMuchMemoryError(
            f"{len(data)} bytes took {traced >> 20} MiB of Python's and NumPy's memory and "
            f"{resident >> 20} MiB of resident memory, but justify {allowed >> 20}"
        )
    if rest is not None:
        rest()


@contextlib.contextmanager
def _tracing() -> Iterator[None]:
    """Traces memory for a while, or goes on with that."""
    if tracemalloc.is_tracing():
        yield
        return
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


@contextlib.contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """At most so many bytes more than this process has."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + more
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _forget_peak() -> int:
    """Makes the resident memory of now its peak (Linux); returns it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """The process's peak of resident memory since ``_forget_peak``; 0 where nothing tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0
