"""CUDA's execution model on the host: what the tests of CUDA's kernels rely on, checked itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import cuda_host_build


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    answer = subprocess.run(
        [folder / "cuda_host_selftest", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return answer.returncode, answer.stdout


@pytest.fixture(scope="module")
def plain() -> Path:
    return cuda_host_build.build("cuda_host_selftest")


@pytest.fixture(scope="module")
def sanitized() -> Path:
    return cuda_host_build.build("cuda_host_selftest", sanitize=True)


def test_the_machine(plain: Path) -> None:
    failed, output = run(plain)
    assert failed == 0, output
    assert output.count("ok  ") >= 29, output


def test_a_failed_check_is_told(plain: Path) -> None:
    failed, output = run(plain, "a check that fails")
    assert failed == 1
    assert "FAILED  a check that fails: as it should" in output
    assert run(plain, "no such check")[0] == 125


@pytest.mark.slow  # compiles the machine with sanitizers
def test_the_machine_under_sanitizers(sanitized: Path) -> None:
    """No false alarm when fibres switch and when a fault ends some of them; no leak."""
    failed, output = run(sanitized)
    assert failed == 0, output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("check", "report"),
    [
        ("sanitizer: a read past the end of global memory", "heap-buffer-overflow"),
        ("sanitizer: a read past the end of shared memory", "heap-buffer-overflow"),
        ("sanitizer: a vector that is not aligned", "which requires 16 byte alignment"),
        ("a stack that overflows", "stack-overflow"),
    ],
)
def test_what_sanitizers_find(sanitized: Path, check: str, report: str) -> None:
    failed, output = run(sanitized, check)
    assert failed != 0, output
    assert report in output
    assert "cuda_host/selftest/" in output  # where
