"""Takes turns between peers, each in a process of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from striate.bench.works import WORKS, module

# Threads of OpenMP and OpenBLAS spin for a while after their work, in hope of more: until they
# sleep they would take the other peer's turn.
PAUSE = 0.05

# What pins every side to AVX2. (ONNX Runtime knows no such thing.)
AVX2 = {
    "STRIATE_ISA": "avx2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}


class Settings(NamedTuple):
    """How all processes run: ``turn`` is how many seconds of work make a turn; ``isa``: "avx2" to
    pin every side to it; ``device``: "cpu" or "cuda:<index>".
    """

    threads: int
    pairs: int
    turn: float = 0.1
    isa: str | None = None
    device: str = "cpu"


class Job(NamedTuple):
    """A row of each peer: ``work`` of WORKS with its arguments, ``label`` for the table;
    ``tolerance`` in place of the peers' own.
    """

    work: str
    label: str
    arguments: Mapping[str, Any]
    tolerance: float | None = None


class Row(NamedTuple):
    """One work by one peer: median, fastest and slowest turn, in seconds a repetition.

    ``flop`` and ``read`` as in Work; the peaks are the run's medians, taken between the turns. On a
    GPU ``peak_read`` is what a copy reads and writes.
    """

    work: str
    peer: str
    median: float
    least: float
    most: float
    ratio: float  # median of (this peer's turn / Striate's turn beside it)
    variant: str = ""
    flop: float | None = None
    read: float | None = None
    peak_gflops: float | None = None
    peak_read: float | None = None  # GB/s
    peak_mb: float | None = None  # the most memory that the process held
    imported_mb: float | None = None  # what it held after importing the peer
    facts: Mapping[str, float] = {}
    turns: Sequence[float] = ()
    device: str = "cpu"

    @property
    def gflops(self) -> float | None:
        return None if self.flop is None else self.flop / self.median / 1e9

    @property
    def gbs(self) -> float | None:
        return None if self.read is None else self.read / self.median / 1e9


def compare(
    jobs: Sequence[Job],
    peers: Sequence[str],
    settings: Settings,
    refused: dict[str, str] | None = None,
) -> list[Row]:
    """Runs each job for Striate and ``peers`` in turn, ``settings.pairs`` times.

    Of peers with variants, the fastest for the job was chosen before. Works that hand over numbers
    to check must agree on them first, else RuntimeError. A peer that cannot do a job is left out of
    it, and its message put into ``refused``.
    """
    refused = {} if refused is None else refused
    variants: dict[str, list[Mapping[str, str]]] = {}
    for peer in peers:
        tried = [job for job in jobs if WORKS[job.work][peer].variants]
        if tried:
            with _Process(peer, settings) as process:
                found = [process.ask(choose=job.work, arguments=job.arguments) for job in tried]
            variants[peer] = [answer.get("variant", {}) for answer in found]
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        machine = stack.enter_context(_Process("striate", settings))
        processes = {
            peer: stack.enter_context(_Process(peer, settings)) for peer in ["striate", *peers]
        }
        for number, job in enumerate(jobs):
            chosen = {peer: kept[number] for peer, kept in variants.items()}
            rows += _take_turns(job, processes, chosen, machine, settings, refused)
    if len(jobs) > 1 or settings.device != "cpu":  # a later job would show what an earlier one held
        rows = [row._replace(peak_mb=None, imported_mb=None) for row in rows]
    return rows


def missing(peers: Sequence[str]) -> list[str]:
    """Those of ``peers`` that are not installed."""
    return [peer for peer in peers if importlib.util.find_spec(module(peer)) is None]


def make_rows(label: str, names: Sequence[str], seconds: Sequence[Sequence[float]]) -> list[Row]:
    """Rows from the turns of each, the first being Striate's."""
    rows = []
    for name, turns in zip(names, seconds):
        ratio = statistics.median(theirs / ours for theirs, ours in zip(turns, seconds[0]))
        row = Row(label, name, statistics.median(turns), min(turns), max(turns), ratio)
        rows.append(row._replace(turns=list(turns)))
    return rows


def _take_turns(
    job: Job,
    processes: Mapping[str, _Process],
    variants: Mapping[str, Mapping[str, str]],
    machine: _Process,
    settings: Settings,
    refused: dict[str, str],
) -> list[Row]:
    ready: dict[str, dict[str, Any]] = {}
    for peer, process in processes.items():
        variant = dict(variants.get(peer, {}))
        answer = process.ask(make=job.work, arguments=job.arguments, variant=variant)
        if "error" in answer and peer == "striate":
            raise RuntimeError(f"{job.label}: {answer['error']}")
        if "error" in answer:
            refused[peer] = f"{job.label}: {answer['error']}"
            continue
        ready[peer] = answer
        tolerance = job.tolerance or WORKS[job.work][peer].tolerance
        check(job.label, peer, answer["check"], ready["striate"]["check"], tolerance)
    seconds: dict[str, list[float]] = {peer: [] for peer in ready}
    memory, peaks = dict.fromkeys(ready, 0.0), []
    for pair in range(settings.pairs):
        time.sleep(PAUSE)
        peaks.append(machine.ask(peaks=True, device=settings.device))
        for peer in list(ready)[:: -1 if pair % 2 else 1]:  # who is first does not matter, then
            time.sleep(PAUSE)
            answer = processes[peer].ask(turn=True)
            if "error" in answer:
                raise RuntimeError(f"{job.label}: {peer}: {answer['error']}")
            seconds[peer].append(answer["seconds"])
            memory[peer] = answer["peak_mb"]
    ours = ready["striate"]
    return [
        row._replace(
            variant=", ".join(variants.get(row.peer, {}).values()),
            flop=ours["flop"],
            read=ours["read"],
            peak_gflops=_median(peaks, "gflops"),
            peak_read=_median(peaks, "read"),
            peak_mb=memory[row.peer],
            imported_mb=ready[row.peer]["imported_mb"],
            facts=ready[row.peer]["facts"],
            device=settings.device,
        )
        for row in make_rows(job.label, list(ready), list(seconds.values()))
    ]


def _median(peaks: Sequence[Mapping[str, float]], name: str) -> float | None:
    return statistics.median(peak[name] for peak in peaks) if name in peaks[0] else None


class _Process:
    """A worker (worker.py) that ends with the block."""

    def __init__(self, peer: str, settings: Settings) -> None:
        self.peer = peer
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
        pinned = AVX2 if settings.isa == "avx2" else {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "striate.bench.worker", peer, str(settings.turn)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **dict.fromkeys(names, str(settings.threads)),
                "JAX_PLATFORMS": "cpu",
                "CI": "true",  # OpenVINO's telemetry stays off: it forks, and outlives its worker
                **pinned,
            },
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """The worker's answer; RuntimeError if its process ended."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"bench: the process of {self.peer} ended, see its message above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def check(
    work: str, peer: str, theirs: Sequence[float], ours: Sequence[float], tolerance: float
) -> None:
    """RuntimeError unless the numbers agree up to ``tolerance``, relative to the larger or to a
    tenth; a NaN agrees with nothing.
    """
    if len(theirs) != len(ours):
        raise RuntimeError(f"{work}: {peer} gives {len(theirs)} numbers to check, not {len(ours)}")
    for i, (a, b) in enumerate(zip(theirs, ours)):
        if not abs(a - b) <= tolerance * max(abs(a), abs(b), 0.1):
            raise RuntimeError(f"{work}: {peer} computes {a:.7g}, Striate {b:.7g} (number {i})")
