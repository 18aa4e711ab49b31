"""What `striate bench` prints of a run and writes to --json."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from striate._files import write_atomically
from striate.bench import digits, layers, report
from striate.bench.compare import Row


def show(facts: Mapping[str, Any], rows: Sequence[Row], said: Sequence[str], file: Any) -> None:
    """The rows and what was left out, but for the peers of which it was ``said``."""
    print(report.heading(facts) + "\n")
    print(report.table(rows))
    for peer, why in facts["left_out"].items():
        if peer not in said:
            print(f"{peer} is left out: {why}", file=sys.stderr)
    if file:
        report.write(file, facts, rows)


def show_digits(
    facts: Mapping[str, Any], runs: Iterable[digits.Run], target: float, file: Any
) -> None:
    """The runs, each as soon as it is done."""
    _head(facts)
    found = []
    for done in runs:
        found.append(done)
        print(f"seed {done.seed}: {done.seconds:.2f} s, {done.accuracy:.2%}", file=sys.stderr)
    print(digits.table(found, target))
    write({**facts, "target": target, "runs": [run._asdict() for run in found]}, file)


def show_layers(
    facts: Mapping[str, Any],
    measured: tuple[list[layers.Layer], float | None, float],
    file: Any,
) -> None:
    found, peak, bandwidth = measured
    _head(facts)
    print(layers.table(found, peak, bandwidth))
    told = [layer._asdict() for layer in found]
    write({**facts, "peak_gflops": peak, "bandwidth": bandwidth, "layers": told}, file)


def write(facts: Mapping[str, Any], file: Any) -> None:
    """As JSON, where a file was asked for."""
    if file:
        write_atomically(file, json.dumps(facts, indent=1).encode())


def _head(facts: Mapping[str, Any]) -> None:
    if "gpu" in facts:
        print(report.on_gpu(facts) + "\n")
