"""A process that does one work for one peer: python -m striate.bench.worker WORK PEER ARGUMENTS

For every line on standard input it answers with the seconds that one repetition took.
"""

from __future__ import annotations

import json
import sys
import time

from striate.bench.works import WORKS

TURN = 0.1  # seconds of work a turn


def main(work: str, peer: str, arguments: str) -> None:
    step = WORKS[work][peer](**json.loads(arguments))
    repetitions = 1
    while True:  # warm up, and find how many repetitions fill a turn
        seconds = _time(step, repetitions)
        if seconds > TURN / 2:
            break
        repetitions *= 2
    print("ready", flush=True)
    for _ in sys.stdin:
        print(_time(step, repetitions) / repetitions, flush=True)


def _time(step, repetitions: int) -> float:  # type: ignore[no-untyped-def]
    started = time.perf_counter()
    for _ in range(repetitions):
        step()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(*sys.argv[1:])
