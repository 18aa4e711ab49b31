"""Checks random geometries of every op, on every instruction set here, against the reference.

    python scripts/check_geometries.py --count 1000000 --seed 1

Prints, for each op, how many were checked and the largest difference as a part of what is allowed,
with its geometry's number; fails at a difference beyond that. The draws are tests/geometries.py.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes are enough
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import geometries
from striate import _core

CHUNK = 500
NAMED = 20  # of an op's failures


def check_chunk(op: str, seed: int, indices: range) -> tuple[tuple[float, int], list[str]]:
    """((largest distance, its number), failures) of some geometries."""
    largest, failures = (0.0, 0), []
    for index in indices:
        try:
            largest = max(largest, (geometries.check(op, seed, index), index))
        except Exception as error:  # also one that an op raised
            failures.append(f"{type(error).__name__}: {error} ({op}, seed {seed}, number {index})")
    return largest, failures


def chunks(count: int) -> Iterator[range]:
    return (range(start, min(count, start + CHUNK)) for start in range(0, count, CHUNK))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="geometries in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--op", choices=geometries.OPS, action="append", help="only this one")
    options = parser.parse_args()
    print(f"seed {options.seed}, instruction sets: {', '.join(_core.supported_isas())}")
    ops = options.op or list(geometries.OPS)
    shares = {op: geometries.OPS[op][1] for op in ops}
    wrong = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for op in ops:
            started = time.perf_counter()
            count = options.count * shares[op] // sum(shares.values())
            results = pool.map(check_chunk, repeat(op), repeat(options.seed), chunks(count))
            largest, failures = (0.0, 0), []
            for chunk_largest, chunk_failures in results:
                largest = max(largest, chunk_largest)
                failures += chunk_failures
            print(
                f"{op:22} {count:>9,} geometries, {len(failures)} wrong, largest difference "
                f"{largest[0]:.2f} of what is allowed (number {largest[1]}), "
                f"{time.perf_counter() - started:.0f} s",
                flush=True,
            )
            print(*failures[:NAMED], sep="\n", end="\n" if failures else "")
            wrong += len(failures)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
