#!/usr/bin/env python3
"""Kills a training by SIGKILL at random moments and resumes it, and compares with one undisturbed.

    python scripts/kill_training.py --times 100 --seed 0

`striate train` runs in a process group of its own, writes a checkpoint after each of its short
epochs, and is killed, half of the times at any moment and half of them while a file is being
written. What is left must load, resume (to be killed again, sometimes) and end with the bytes of
the undisturbed run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import striate
from striate import data

STRIATE = [sys.executable, "-c", "import sys; from striate.cli import main; sys.exit(main())"]
EPOCHS, IMAGES = 30, 200
TIMES = {"seconds", "data_seconds", "images_per_second"}  # of an object of metrics: never equal
LONGEST = 120.0  # seconds for one process, before it counts as hung


def write_digits(folder: Path) -> None:
    """A folder of IDX files: a few of the MNIST digits."""
    for name, split in zip(("train", "t10k"), data.mnist()):
        for kind, array in (("images-idx3", split.images), ("labels-idx1", split.labels)):
            few = array[:IMAGES]
            head = bytes([0, 0, 8, few.ndim]) + struct.pack(f">{few.ndim}I", *few.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + few.tobytes())


class Killer:
    """Trains in ``out``, and kills."""

    def __init__(self, digits: Path, out: Path, draws: np.random.Generator) -> None:
        self.digits, self.out, self.draws = digits, out, draws

    def train(self) -> subprocess.Popen[bytes]:
        """Starts a run, or goes on with the one that ``out`` holds."""
        if (self.out / "checkpoint.safetensors").exists():
            how = ["--resume", str(self.out)]
        else:
            how = ["--data", str(self.digits), "--epochs", str(EPOCHS), "--batch-size", "16",
                   "--seed", "1", "--out", str(self.out)]  # fmt: skip
        command = [*STRIATE, "train", "lenet5", *how]
        return subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )

    def finish(self) -> None:
        """Trains to the end."""
        with self.train() as process:
            _, error = process.communicate(timeout=LONGEST)
        if process.returncode != 0:
            raise AssertionError(f"exit code {process.returncode}: {error.decode()}")

    def kill(self, seconds: float) -> str | None:
        """Kills a run that would take ``seconds``; says at what moment, or None: after its end."""
        in_a_write = bool(self.draws.integers(2))
        wait = float(self.draws.uniform(0, seconds))
        lag = float(self.draws.choice([0, self.draws.uniform(0, 0.002)]))
        process, started = self.train(), time.perf_counter()
        while time.perf_counter() < started + wait and process.poll() is None:
            time.sleep(0.001)
        while in_a_write and process.poll() is None and not self.writing():
            pass
        time.sleep(lag)
        over = process.poll() is not None
        if not over:
            os.killpg(process.pid, signal.SIGKILL)
        _, error = process.communicate()
        if over and process.returncode != 0:
            raise AssertionError(f"exit code {process.returncode}: {error.decode()}")
        if over:
            return None
        return "with a temporary file left" if self.writing() else "between writes"

    def writing(self) -> bool:
        """Whether a temporary file is there."""
        return self.out.is_dir() and any(name.startswith(".") for name in os.listdir(self.out))

    def result(self) -> dict[str, Any]:
        """All that a run leaves, but for times; checks that there is nothing else."""
        files = sorted(os.listdir(self.out))
        if files != ["checkpoint.safetensors", "metrics.jsonl", "model.safetensors"]:
            raise AssertionError(f"the run left {files}")
        arrays, description = striate.load(self.out / "checkpoint.safetensors")
        training = description["training"]
        training["history"] = [_timeless(metrics) for metrics in training["history"]]
        lines = (self.out / "metrics.jsonl").read_text().splitlines()
        return {
            "model": (self.out / "model.safetensors").read_bytes(),
            "arrays": {name: array.tobytes() for name, array in arrays.items()},
            "description": description,
            "metrics": [_timeless(json.loads(line)) for line in lines],
        }


def _timeless(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name not in TIMES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args()
    draws, began = np.random.default_rng(args.seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        digits = Path(folder, "digits")
        digits.mkdir()
        write_digits(digits)
        whole = Killer(digits, Path(folder, "whole"), draws)
        started = time.perf_counter()
        whole.finish()
        seconds, expected = time.perf_counter() - started, whole.result()
        print(f"undisturbed: {EPOCHS} epochs in {seconds:.1f} s", flush=True)
        moments: Counter[str] = Counter()
        runs = 0
        while moments.total() < args.times:
            runs += 1
            run = Killer(digits, Path(folder, f"killed-{runs}"), draws)
            while (moment := run.kill(seconds)) is not None:
                moments[moment] += 1
                if (run.out / "checkpoint.safetensors").exists():
                    striate.load(run.out / "checkpoint.safetensors")  # whole
                if draws.integers(3) > 0:
                    break
            run.finish()
            found = run.result()
            different = [part for part in expected if found[part] != expected[part]]
            if different:
                raise AssertionError(f"run {runs} differs in {', '.join(different)}")
    told = ", ".join(f"{count} {moment}" for moment, count in moments.most_common())
    print(f"seed {args.seed}: {moments.total()} kills ({told}) of {runs} runs, each of which ended "
          "with the bytes of the undisturbed one; "
          f"{time.perf_counter() - began:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
