"""``striate bench WORK --device cuda``: its options, the jobs of each work, the run's facts."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from striate.bench import compare, conv, output, report
from striate.bench import jobs as on_cpu
from striate.bench.compare import Job
from striate.bench.cuda import digits, gpu, layers, memory
from striate.bench.works import module

WORKS = ("lenet5", "alexnet", "conv", "gemm", "memory", "layers", "digits")
_STEPS = ["striate-eager", "torch", "torch-graph"]
_AGAINST = {"lenet5": _STEPS, "alexnet": _STEPS, "conv": ["torch"], "gemm": ["torch"]}
_BATCHES: dict[str, list[Any]] = {
    "lenet5": [64, 512],
    "alexnet": [128, 512],
    "conv": [128],
    "gemm": [],
    "memory": [512],
    "layers": [128],
    "digits": [None],  # the recipe's
}
_SIZES = [1024, 2048, 4096, 8192]
_ORIENTATIONS = ((False, False), (False, True), (True, False))  # those of a linear layer


def check(args: Any) -> None:
    """Raises ValueError for what cannot be measured on a GPU."""
    if args.work not in WORKS:
        raise ValueError(
            f"--device: {args.work} is measured on the CPU alone, a GPU has {', '.join(WORKS)}"
        )
    for option in ("infer", "isa"):
        if getattr(args, option):
            raise ValueError(f"--{option}: is of the CPU, got --device {args.device} beside it")
    precisions, batches = args.precision or [], args.batch_size or []
    if precisions and args.work in ("memory", "layers"):
        raise ValueError(f"--precision: {args.work} is measured in float32 alone")
    if len(precisions) > 1 and args.work == "digits":
        raise ValueError(f"--precision: of digits it is one, got {' '.join(precisions)}")
    if len(batches) > 1 and args.work in ("digits", "layers"):
        raise ValueError(f"--batch-size: of {args.work} it is one, got {len(batches)}")


def run(args: Any, told: dict[str, Any], threads: int, pairs: int, device: str) -> None:
    """Runs what ``check`` has checked. ``told`` stands before the run's other facts."""
    precisions = args.precision or ["float32"]
    batches = args.batch_size or _BATCHES[args.work]
    if args.work == "digits":
        facts = {**told, **_facts(device, precisions, [])}
        runs = digits.runs(range(args.seeds), device, precisions[0], batches[0])
        output.show_digits(facts, runs, args.target, args.json)
        return
    if args.work == "layers":
        measured = layers.measure(batches[0], pairs, device)
        output.show_layers({**told, **_facts(device, precisions, [])}, measured, args.json)
        return
    against = _AGAINST.get(args.work, [])
    peers, missing = on_cpu.chosen_peers(f"{args.work} on cuda", args.against, against)
    refused = dict.fromkeys(missing, "not installed")
    settings = compare.Settings(threads, pairs, args.turn, device=device)
    with tempfile.TemporaryDirectory() as folder:
        found = jobs(args, batches, precisions, device, Path(folder))
        rows = compare.compare(found, peers, settings, refused)
    facts = {**told, **_facts(device, precisions, peers), "pairs": pairs, "left_out": refused}
    output.show(facts, rows, missing, args.json)


def jobs(
    args: Any, batches: Sequence[int], precisions: Sequence[str], device: str, folder: Path
) -> list[Job]:
    """``folder`` takes what is made for the run."""
    work = f"{args.work} on cuda"
    if args.work == "memory":
        asked = on_cpu.names(args.layers, memory.NAMES)
        ops = [op for op in memory.OPS if op.split()[0] in asked]
        found = [
            Job(work, f"{op}, batch {n}", {"op": op, "batch_size": n, "device": device})
            for n in batches for op in ops
        ]  # fmt: skip
        if "sgd" in asked:
            found.append(Job(work, "sgd", {"op": "sgd", "batch_size": 0, "device": device}))
        return found
    told: list[tuple[str, dict[str, Any]]] = []
    if args.work == "gemm":
        told += [
            (f"gemm {size} {'T' if a else 'N'}{'T' if b else 'N'}",
             {"size": size, "trans_a": a, "trans_b": b})
            for size in args.size or _SIZES for a, b in _ORIENTATIONS
        ]  # fmt: skip
    elif args.work == "conv":
        chosen = on_cpu.names(args.layers, list(conv.LAYERS))
        real = on_cpu.activations(args, folder)
        told += [
            (f"{layer} {kind}, batch {n}",
             {"layer": layer, "kind": kind, "batch_size": n, "real": real})
            for n in batches for layer in chosen for kind in conv.PASSES
        ]  # fmt: skip
    else:
        told += [(f"{args.work} step, batch {n}", {"batch_size": n}) for n in batches]
    return [
        Job(work, f"{label}, {precision}",
            {**arguments, "precision": precision, "device": device}, gpu.TOLERANCES[precision])
        for precision in precisions for label, arguments in told
    ]  # fmt: skip


def _facts(device: str, precisions: Sequence[str], peers: Sequence[str]) -> dict[str, Any]:
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
