"""Builds what tests/cuda_host makes of the CUDA sources, once for all tests of a session."""

from __future__ import annotations

import fcntl
import functools
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "tests/cuda_host"
# A build that somebody else makes, one with sanitizers say; it has all targets.
NAMED = os.environ.get("STRIATE_CUDA_HOST")
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")


def run(*command: object, timeout: float = 1200) -> str:
    answer = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert answer.returncode == 0, answer.stdout
    return answer.stdout


@functools.cache
def build(target: str, sanitize: bool = False) -> Path:
    """The folder with the built target: build/cuda_host, or its twin with sanitizers.

    STRIATE_CUDA_HOST names another one, for those who do not ask for the twin.
    Skips the test that asks where nothing can be built, unless STRIATE_REQUIRE_PARITY is set.
    """
    if NAMED and not sanitize:
        return Path(NAMED)
    if shutil.which("cmake") is None or COMPILER is None:
        assert not os.environ.get("STRIATE_REQUIRE_PARITY"), "needs cmake and a C++ compiler"
        pytest.skip("needs cmake and a C++ compiler")
    folder = ROOT / "build" / ("cuda_host_sanitized" if sanitize else "cuda_host")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another pytest may be at it; closing the file lets go
        generator = []
        if shutil.which("ninja") and not (folder / "CMakeCache.txt").exists():
            generator = ["-G", "Ninja"]
        options = [f"-DPython_EXECUTABLE={sys.executable}"]
        options += [f"-DSTRIATE_SANITIZE={'ON' if sanitize else 'OFF'}"]
        run("cmake", "-S", SOURCE, "-B", folder, *generator, *options)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        run("cmake", "--build", folder, "--parallel", cores, "--target", target)
    return folder


def import_cupy() -> ModuleType:
    """The stand-in for CuPy in tests/cuda_host, over the emulation that is built for it."""
    if "STRIATE_CUDA_HOST" not in os.environ:
        os.environ["STRIATE_CUDA_HOST"] = str(build("cuda_host"))
    if str(SOURCE) not in sys.path:
        sys.path.insert(0, str(SOURCE))
    cupy = importlib.import_module("cupy")
    assert Path(str(cupy.__file__)).is_relative_to(SOURCE), "another cupy was imported before"
    return cupy
