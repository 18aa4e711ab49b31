"""scripts/report_leaks.py: whose leaks and errors fail a run under AddressSanitizer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts/report_leaks.py"
LEAK = """
=================================================================
==7==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 24 byte(s) in 1 object(s) allocated from:
    #0 0x7f in malloc (/usr/lib/libasan.so.8+0xb9)
    #1 0x7f in {frame}

SUMMARY: AddressSanitizer: 24 byte(s) leaked in 1 allocation(s).
"""
PYTHONS = LEAK.format(frame="PyObject_Malloc (/usr/lib/libpython3.11.so+0x1)")
OURS = LEAK.format(frame="striate::cpu::gemm /src/cpp/cpu/gemm.cc:12")
OVERFLOW = "==7==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x60\n"
CRASHED = """Tracer caught signal 11: addr=0x760 pc=0x7fc5 sp=0x7fc4
==7==LeakSanitizer has encountered a fatal error.
==7==HINT: LeakSanitizer does not work under ptrace (strace, gdb, etc)
"""


def report(folder: Path, *pids: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(folder), *pids]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("logs", "code", "said"),
    [
        ([PYTHONS] * 20, 0, "20 logs, 20 leaks, 0 of them the extension's, 0 other errors"),
        ([PYTHONS] * 19 + [OURS], 1, "1 of them the extension's"),
        ([PYTHONS] * 19 + [OVERFLOW], 1, "1 other errors"),
        ([PYTHONS] * 19 + [CRASHED], 0, "0 other errors, 1 processes not searched"),
        ([PYTHONS] * 18 + [CRASHED] * 2, 1, "2 processes not searched"),
        ([PYTHONS] * 19 + [CRASHED + OVERFLOW], 1, "1 other errors"),
        ([], 1, "0 logs"),  # the sanitizer was not there
    ],
)
def test_what_counts(tmp_path: Path, logs: list[str], code: int, said: str) -> None:
    for number, text in enumerate(logs):
        (tmp_path / f"log.{number}").write_text(text)
    answer = report(tmp_path)
    assert answer.returncode == code
    assert said in answer.stdout


def test_processes_that_matter(tmp_path: Path) -> None:
    """One of them may crash, but not two."""
    for number in range(100):
        (tmp_path / f"log.{number}").write_text(PYTHONS)
    for number in (7, 8):
        (tmp_path / f"log.{number}").write_text(CRASHED.replace("==7==", f"=={number}=="))
    assert [report(tmp_path, *pids).returncode for pids in ("", "79", "78")] == [0, 0, 1]
