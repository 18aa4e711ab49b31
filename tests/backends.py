"""Runs a piece of a test on one implementation, for those that compare two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cuda_backend
from striate import _core

# The reference, each instruction set of this machine, and CUDA on a GPU or on the host.
FAST = [*_core.supported_isas(), *cuda_backend.NAMES]
IMPLEMENTATIONS = ["reference", *FAST]


@contextmanager
def running(name: str) -> Iterator[Any]:
    """On "reference", on an instruction set or on CUDA, as the fixture `implementation`.

    Gives the module of compiled ops. Skips the test where there is no such machine.
    """
    if name in cuda_backend.NAMES:
        with cuda_backend.replacing_ops(name) as ops:
            yield ops
        return
    _core.set_backend("reference" if name == "reference" else "cpu")
    _core.set_isa("auto" if name == "reference" else name)
    try:
        yield _core
    finally:
        _core.set_backend("cpu")
        _core.set_isa("auto")


def here() -> list[str]:
    """Of FAST, those that this process can run, for tests that compare all in one."""
    return [*_core.supported_isas(), *cuda_backend.available()]


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = _core.get_num_threads()
    _core.set_num_threads(count)
    try:
        yield
    finally:
        _core.set_num_threads(before)
