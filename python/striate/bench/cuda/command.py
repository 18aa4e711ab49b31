"""What ``striate bench WORK --device cuda`` runs: the jobs of each work, and the run's facts."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from striate.bench import conv, report
from striate.bench.compare import Job
from striate.bench.cuda import gpu, memory
from striate.bench.works import module

WORKS = ("lenet5", "alexnet", "conv", "gemm", "memory", "layers", "digits")
AGAINST = {
    "lenet5": ["striate-eager", "torch", "torch-graph"],
    "alexnet": ["striate-eager", "torch", "torch-graph"],
    "conv": ["torch"],
    "gemm": ["torch"],
    "memory": [],
}
BATCHES = {"lenet5": [64, 512], "alexnet": [128, 512], "conv": [128], "memory": [512],
           "layers": [128]}  # fmt: skip
_SIZES = [1024, 2048, 4096, 8192]
_ORIENTATIONS = ((False, False), (False, True), (True, False))  # those of a linear layer


def jobs(
    work: str,
    device: str,
    precisions: Sequence[str],
    batch_sizes: Sequence[int] | None,
    sizes: Sequence[int] | None,
    names: Sequence[str] | None,
    real: str | None,
) -> list[Job]:
    """``names``: of the layers of conv, or of the ops of memory."""
    name, batches = f"{work} on cuda", batch_sizes or BATCHES.get(work, [])
    if work == "memory":
        asked = [op for op in [*memory.OPS, "sgd"] if op.split()[0] in (names or memory.NAMES)]
        return [
            Job(name, op if op == "sgd" else f"{op}, batch {n}",
                {"op": op, "batch_size": n, "device": device})
            for n in batches for op in asked if op != "sgd" or n == batches[0]
        ]  # fmt: skip
    found = []
    for precision in precisions:
        if work == "gemm":
            told = [
                (f"gemm {size} {'T' if a else 'N'}{'T' if b else 'N'}",
                 {"size": size, "trans_a": a, "trans_b": b})
                for size in sizes or _SIZES for a, b in _ORIENTATIONS
            ]  # fmt: skip
        elif work == "conv":
            told = [
                (f"{layer} {kind}, batch {n}",
                 {"layer": layer, "kind": kind, "batch_size": n, "real": real})
                for n in batches for layer in names or conv.LAYERS for kind in conv.PASSES
            ]  # fmt: skip
        else:
            told = [(f"{work} step, batch {n}", {"batch_size": n}) for n in batches]
        found += [
            Job(name, f"{label}, {precision}",
                {**arguments, "precision": precision, "device": device},
                gpu.TOLERANCES[precision])
            for label, arguments in told
        ]  # fmt: skip
    return found


def facts(device: str, precisions: Sequence[str], peers: Sequence[str]) -> dict[str, Any]:
    """What a heading says of the run."""
    import cupy

    others = [peer for peer in peers if module(peer) != "striate"]
    return {
        "gpu": gpu.describe(device),
        "precision": list(precisions),
        "date": datetime.date.today().isoformat(),
        "machine": report.machine(),
        "versions": {"cupy": cupy.__version__, **report.versions(others)},
    }
