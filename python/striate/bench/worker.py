"""A process that works for one peer: python -m striate.bench.worker PEER TURN

TURN is how many seconds of work make a turn. It takes JSON lines from standard input and answers
each with one:

    {"make": WORK, "arguments": {...}, "variant": {...}}   what `Work` says of it, but the step
    {"choose": WORK, "arguments": {...}}                    {"variant": the fastest}
    {"turn": true}                                          {"seconds": of one repetition, ...}
    {"peaks": true, "device": DEVICE}                       what the machine could do at best

An answer {"error": ...} says that the peer cannot do it.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import resource
import sys
import time
from typing import Any

from striate.bench.work import Work
from striate.bench.works import WORKS, module


class Worker:
    """Answers for ``peer``, in turns of ``turn`` seconds."""

    def __init__(self, peer: str, turn: float) -> None:
        self.peer, self.turn = peer, turn
        if importlib.util.find_spec(module(peer)) is not None:
            importlib.import_module(module(peer))
        self.imported = peak_mb()
        self.work: Work | None = None
        self.repetitions = 1

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if "peaks" in request:
            return _peaks(request.get("device", "cpu"))
        if "turn" in request:
            assert self.work is not None
            seconds = _time(self.work, self.repetitions) / self.repetitions
            return {"seconds": seconds, "peak_mb": peak_mb()}
        if "choose" in request:
            variants = WORKS[request["choose"]][self.peer].variants
            taken = [self._try(request["choose"], request["arguments"], v) for v in variants]
            return {"variant": variants[taken.index(min(taken))]}
        work = self._make(request["make"], request["arguments"], request["variant"])
        facts = {"flop": work.flop, "read": work.read, "facts": dict(work.facts)}
        return {"check": list(work.check), "imported_mb": self.imported, **facts}

    def _make(self, name: str, arguments: dict[str, Any], variant: dict[str, str]) -> Work:
        self.work = None  # its memory goes before there is another's
        gc.collect()
        self.work = WORKS[name][self.peer].make(**arguments, **variant)
        self.repetitions = 1
        self.work.step()
        # Warm up, and find how many repetitions fill a turn.
        while _time(self.work, self.repetitions) < self.turn / 2:
            self.repetitions *= 2
        return self.work

    def _try(self, name: str, arguments: dict[str, Any], variant: Any) -> float:
        work = self._make(name, arguments, variant)
        seconds = [_time(work, self.repetitions) / self.repetitions for _ in range(2)]
        return min(seconds)


def _peaks(device: str) -> dict[str, float]:
    if device != "cpu":
        from striate.bench.cuda import gpu

        return {"read": gpu.copy_bandwidth(device)}
    from striate import _core

    read, update = _core.peak_bandwidth(3)
    return {"gflops": _core.peak_gflops(0.02), "read": read, "update": update}


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB (10^6 bytes)."""
    try:  # Linux: getrusage would not say less than what the parent held when it started this one
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if "VmHWM:" in line) * 1024 / 1e6
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _time(work: Work, repetitions: int) -> float:
    if work.time is not None:
        return work.time(repetitions)
    step, started = work.step, time.perf_counter()
    for _ in range(repetitions):
        step()
    return time.perf_counter() - started


def main(peer: str, turn: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    worker = Worker(peer, float(turn))
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:  # whatever a peer raises is its answer
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
