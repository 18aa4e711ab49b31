"""Takes turns between peers, and makes the table."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Threads of OpenMP and OpenBLAS spin for a while after their work, in hope of more: until they
# sleep they would take the other peer's turn.
PAUSE = 0.1

# How far numbers that peers must agree on may lie apart, relative to the larger or to a tenth.
TOLERANCE = 1e-4


class Row(NamedTuple):
    """One work by one peer: median, fastest and slowest turn, in seconds a repetition."""

    work: str
    peer: str
    median: float
    least: float
    most: float
    ratio: float  # median of (this peer's turn / Striate's turn beside it)
    gflops: float | None
    peak_mb: float | None = None  # the most memory that the process held
    imported_mb: float | None = None  # what it held after importing the peer


def compare(
    work: str,
    label: str,
    arguments: Mapping[str, Any],
    peers: Sequence[str],
    threads: int,
    pairs: int,
    flop: float | None = None,
) -> list[Row]:
    """Runs ``work`` for Striate and ``peers`` in turn, ``pairs`` times, each in its own process.

    Works that hand over numbers to check must agree on them first, else RuntimeError.
    """
    names = ["striate", *peers]
    processes = [_start(work, peer, arguments, threads) for peer in names]
    try:
        seconds: list[list[float]] = [[] for _ in names]
        ready = [_answer(process, peer) for process, peer in zip(processes, names)]
        for theirs, peer in zip(ready, names):
            _check(work, peer, theirs["check"], ready[0]["check"])
        memory = [{"imported_mb": theirs["imported_mb"]} for theirs in ready]
        for _ in range(pairs):
            for turns, used, process, peer in zip(seconds, memory, processes, names):
                assert process.stdin is not None
                time.sleep(PAUSE)
                process.stdin.write("go\n")
                process.stdin.flush()
                answer = _answer(process, peer)
                turns.append(answer["seconds"])
                used["peak_mb"] = answer["peak_mb"]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    rows = _rows(label, names, seconds, ready[0]["flop"] if flop is None else flop)
    return [row._replace(**used) for row, used in zip(rows, memory)]


def compare_import(peers: Sequence[str], pairs: int) -> list[Row]:
    """Times imports, each in a new interpreter: ``striate``, which loads nothing else, its layers,
    which load NumPy, and ``peers``.
    """
    names = ["striate", "striate.nn", *peers]
    seconds: list[list[float]] = [[] for _ in names]
    for turn in range(pairs + 1):
        for turns, name in zip(seconds, names):
            code = f"import time; t = time.perf_counter(); import {name}; "
            code += "print(time.perf_counter() - t)"
            answer = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            if turn > 0:  # the first one reads the files from the disk
                turns.append(float(answer.stdout))
    return _rows("import", names, seconds, None)


def missing(peers: Sequence[str]) -> list[str]:
    """Those of ``peers`` that are not installed."""
    return [peer for peer in peers if importlib.util.find_spec(peer) is None]


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| work | by | median | fastest .. slowest | GFLOP/s | peak MB (import) "
        "| time / Striate's |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        gflops = "" if row.gflops is None else f"{row.gflops:.0f}"
        memory = "" if row.peak_mb is None else f"{row.peak_mb:,.0f} ({row.imported_mb:.0f})"
        lines.append(
            f"| {row.work} | {row.peer} | {_time(row.median)} | {_time(row.least)} .. "
            f"{_time(row.most)} | {gflops} | {memory} | {row.ratio:.2f} |"
        )
    return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def _rows(
    label: str, names: Sequence[str], seconds: Sequence[Sequence[float]], flop: float | None
) -> list[Row]:
    rows = []
    for name, turns in zip(names, seconds):
        median = statistics.median(turns)
        ratio = statistics.median(theirs / ours for theirs, ours in zip(turns, seconds[0]))
        gflops = None if flop is None else flop / median / 1e9
        rows.append(Row(label, name, median, min(turns), max(turns), ratio, gflops))
    return rows


def _start(
    work: str, peer: str, arguments: Mapping[str, Any], threads: int
) -> subprocess.Popen[str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return subprocess.Popen(
        [sys.executable, "-m", "striate.bench.worker", work, peer, json.dumps(arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **dict.fromkeys(names, str(threads))},
    )


def _answer(process: subprocess.Popen[str], peer: str) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"bench: the process of {peer} ended, see its message above")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _check(work: str, peer: str, theirs: Sequence[float], ours: Sequence[float]) -> None:
    """RuntimeError unless the numbers agree up to float32 rounding; a NaN agrees with nothing."""
    if len(theirs) != len(ours):
        raise RuntimeError(f"{work}: {peer} gives {len(theirs)} numbers to check, not {len(ours)}")
    for i, (a, b) in enumerate(zip(theirs, ours)):
        if not abs(a - b) <= TOLERANCE * max(abs(a), abs(b), 0.1):
            raise RuntimeError(f"{work}: {peer} computes {a:.7g}, Striate {b:.7g} (number {i})")
