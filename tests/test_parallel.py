"""Regions of chunks on each runtime, and under ThreadSanitizer; compiled from the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")

pytestmark = pytest.mark.skipif(
    COMPILER is None and not os.environ.get("STRIATE_REQUIRE_PARITY"), reason="needs a C++ compiler"
)


def build(program: Path, threads: str, *options: str) -> str:
    sources = ["tests/parallel.cc", "cpp/cpu/parallel.cc", "cpp/cpu/cgroup.cc"]
    sources += [f"cpp/cpu/threads/{threads}.cc"]
    return subprocess.run(
        [str(COMPILER), "-std=c++20", "-O1", "-g", "-Icpp", *options, "-pthread"]
        + [str(ROOT / source) for source in sources]
        + ["-o", str(program)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


def run(program: Path, *arguments: str) -> str:
    answer = subprocess.run(
        [str(program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stdout
    return answer.stdout


@pytest.mark.parametrize(
    ("threads", "name", "options"),
    [("team", "std::thread team", []), ("openmp", "OpenMP", ["-fopenmp"]), ("serial", "none", [])],
)
def test_regions(tmp_path: Path, threads: str, name: str, options: list[str]) -> None:
    output = build(tmp_path / "regions", threads, *options)
    if "omp" in output and threads == "openmp":
        pytest.skip("the compiler has no OpenMP")
    assert not output
    assert run(tmp_path / "regions", "fork").startswith(name)


def test_the_team_has_no_races(tmp_path: Path) -> None:
    """ThreadSanitizer ends the program with an error when two threads race."""
    output = build(tmp_path / "regions", "team", "-fsanitize=thread")
    if "tsan" in output:
        pytest.skip("the compiler has no ThreadSanitizer")
    assert not output
    run(tmp_path / "regions")
