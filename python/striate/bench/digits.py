"""The work ``digits``: from the start of a process to a LeNet-5 that reads MNIST's test digits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """``seconds`` from the start of ``striate train lenet5`` to its end, evaluation and all."""

    seed: int
    seconds: float
    accuracy: float


def runs(seeds: Sequence[int], threads: int, options: Sequence[str] = ()) -> Iterator[Run]:
    """One training after the other, with the recipe's settings but for ``options``."""
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            answer = subprocess.run(
                [
                    *(sys.executable, "-m", "striate", "train", "lenet5"),
                    *("--seed", str(seed), "--out", os.path.join(folder, "run"), *options),
                ],
                capture_output=True,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            )
            seconds = time.perf_counter() - started
        found = re.search(r"^test accuracy ([\d.]+)%", answer.stdout, re.MULTILINE)
        if answer.returncode != 0 or found is None:
            raise RuntimeError(f"striate train lenet5 --seed {seed}: {answer.stderr.strip()}")
        yield Run(seed, seconds, float(found[1]) / 100)


def table(found: Sequence[Run], target: float) -> str:
    """A Markdown table of the runs, and one line that says whether every one reached ``target``."""
    lines = ["| seed | seconds | test accuracy |", "|---|---:|---:|"]
    lines += [f"| {run.seed} | {run.seconds:.2f} | {run.accuracy:.2%} |" for run in found]
    reached = sum(run.accuracy >= target for run in found)
    seconds = [run.seconds for run in found]
    least = min(run.accuracy for run in found)
    lines += ["", f"{reached} of {len(found)} reach {target:.1%} (the least {least:.2%}); "
              f"seconds {min(seconds):.2f} .. {max(seconds):.2f}, "
              f"mean {sum(seconds) / len(seconds):.2f}"]  # fmt: skip
    return "\n".join(lines)
