"""Runs a piece of a test on one implementation, for those that compare two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from striate import _core


@contextmanager
def running(name: str) -> Iterator[None]:
    """On "reference" or on an instruction set, as the fixture `implementation`."""
    _core.set_backend("reference" if name == "reference" else "cpu")
    _core.set_isa("auto" if name == "reference" else name)
    try:
        yield
    finally:
        _core.set_backend("cpu")
        _core.set_isa("auto")


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = _core.get_num_threads()
    _core.set_num_threads(count)
    try:
        yield
    finally:
        _core.set_num_threads(before)
