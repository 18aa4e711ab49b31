"""A process that does one work for one peer: python -m striate.bench.worker WORK PEER ARGUMENTS

It first answers with what `ready` says, and then, for every line on standard input, with the
seconds that one repetition took and the peak of the process' memory. Every answer is a JSON line.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import resource
import sys
import time

from striate.bench.work import Work
from striate.bench.works import WORKS

TURN = 0.1  # seconds of work a turn


def main(work: str, peer: str, arguments: str) -> None:
    if importlib.util.find_spec(peer) is not None:
        importlib.import_module(peer)
    imported = peak_mb()
    made = WORKS[work][peer](**json.loads(arguments))
    step, check, flop = made if isinstance(made, Work) else Work(made)
    repetitions = 1
    while True:  # warm up, and find how many repetitions fill a turn
        seconds = _time(step, repetitions)
        if seconds > TURN / 2:
            break
        repetitions *= 2
    ready = {"check": list(check), "flop": flop, "imported_mb": imported}
    print(json.dumps(ready), flush=True)
    for _ in sys.stdin:
        seconds = _time(step, repetitions) / repetitions
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}), flush=True)


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB (10^6 bytes)."""
    try:  # Linux: getrusage would not say less than what the parent held when it started this one
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if "VmHWM:" in line) * 1024 / 1e6
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _time(step, repetitions: int) -> float:  # type: ignore[no-untyped-def]
    started = time.perf_counter()
    for _ in range(repetitions):
        step()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(*sys.argv[1:])
