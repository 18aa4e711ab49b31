"""striate._cuda for tests: on a GPU, or compiled for the host by the emulation in tests/cuda_host.

"cuda" is the installed extension with CuPy and a GPU; "cuda_host" the same sources over the
emulation, with the stand-in for CuPy. A process has one of them: both are called cupy.
STRIATE_TEST_CUDA=host chooses the emulation on a machine with a GPU, =off neither.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import cuda_host_build
import striate.cuda
from striate import nn

NAMES = ("cuda", "cuda_host")


@functools.cache
def why_no_gpu() -> str:
    if "STRIATE_TEST_CUDA" in os.environ:
        return f"STRIATE_TEST_CUDA={os.environ['STRIATE_TEST_CUDA']}"
    return striate.cuda.why_unavailable() if "cupy" not in sys.modules else _loaded_why()


def _loaded_why() -> str:
    """Once a cupy is imported, it is the right one or the stand-in."""
    stand_in = str(cuda_host_build.SOURCE) in str(sys.modules["cupy"].__file__)
    return "the emulation is loaded" if stand_in else striate.cuda.why_unavailable()


def available() -> list[str]:
    """The one that this process can test, or nothing."""
    if _is_off():
        return []
    return ["cuda_host" if why_no_gpu() else "cuda"]


def _is_off() -> bool:
    return os.environ.get("STRIATE_TEST_CUDA") == "off"


def load(name: str) -> tuple[ModuleType, Any]:
    """(striate._cuda, cupy); skips the test that asks for the one that is not here."""
    if name == "cuda":
        if why_no_gpu():
            pytest.skip(f"needs a GPU: {why_no_gpu()}")
    elif not why_no_gpu():
        pytest.skip("runs on the GPU instead of the emulation")
    elif _is_off():
        pytest.skip(why_no_gpu())
    else:
        _load_emulation()
    import cupy

    return striate.cuda.module(), cupy


@functools.cache
def _load_emulation() -> None:
    folder = cuda_host_build.build("_cuda")
    cuda_host_build.import_cupy()
    (path,) = folder.glob("_cuda.*.so")
    spec = importlib.util.spec_from_file_location("striate._cuda", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["striate._cuda"] = module
    striate.cuda._loaded = None


@contextlib.contextmanager
def ordered(order: int) -> Iterator[None]:
    """Threads run forward (0), reversed (1) or shuffled (2), in the emulation."""
    from cupy.cuda import runtime

    runtime._library.striate_cuda_host_set_order(order, 1234)
    try:
        yield
    finally:
        runtime._library.striate_cuda_host_set_order(0, 0)


class OnDevice:
    """The compiled ops over NumPy arrays, which go to the device and come back.

    So the op tests of the CPU are those of CUDA. In the emulation every call runs three times, its
    threads forward, reversed and shuffled, and must give equal bits: a missing barrier does not.
    """

    def __init__(self, name: str) -> None:
        self._module, self._cupy = load(name)
        self._orders = (1, 2) if name == "cuda_host" else ()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._module, name)

        def call(*args: Any, **options: Any) -> Any:
            result, arrays, changed = self._call(function, args, options)
            for order in self._orders:
                with ordered(order):
                    other, _, also = self._call(function, args, options)
                _assert_same_bits((other, also), (result, changed))
            if name == "sgd_step":  # in place
                for array, values in zip(arrays, changed):
                    array[...] = values
            return result

        return call

    def _call(self, function: Any, args: Any, options: Any) -> tuple[Any, list[Any], list[Any]]:
        """(the result, the arrays among the arguments, what the op left in them)"""
        up: list[tuple[Any, Any]] = []
        moved = self._up(args, up)
        named = {key: self._up(value, up) for key, value in options.items()}
        result = self._down(function(*moved, **named))
        return result, [here for here, _ in up], [there.get() for _, there in up]

    def _up(self, value: Any, up: list[tuple[Any, Any]]) -> Any:
        if isinstance(value, (np.ndarray, np.generic)):
            there = self._cupy.asarray(value)
            up.append((value, there))
            return there
        if isinstance(value, (list, tuple)):
            return type(value)(self._up(entry, up) for entry in value) if type(value) in (
                list, tuple) else value  # fmt: skip
        return value

    def _down(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self._down(entry) for entry in value)
        if not isinstance(value, self._cupy.ndarray):
            return value
        array = value.get()
        return float(array) if array.dtype == np.float64 else array


def _assert_same_bits(got: Any, wanted: Any) -> None:
    if isinstance(wanted, (tuple, list)):
        for a, b in zip(got, wanted):
            _assert_same_bits(a, b)
    elif isinstance(wanted, np.ndarray):
        assert got.tobytes() == wanted.tobytes(), "the order of threads changes the bits"
    elif isinstance(wanted, float):
        assert np.float64(got).tobytes() == np.float64(wanted).tobytes()


@contextlib.contextmanager
def replacing_ops(name: str) -> Iterator[OnDevice]:
    """striate.functional and optim over the device, on NumPy arrays."""
    import striate.optim.sgd  # noqa: F401

    proxy = OnDevice(name)
    patch = pytest.MonkeyPatch()
    prefixes = ("striate.functional.", "striate.optim.")
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(prefixes) and hasattr(module, "ops"):
            patch.setattr(module, "ops", lambda array: proxy)
    try:
        yield proxy
    finally:
        patch.undo()


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )
