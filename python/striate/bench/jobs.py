"""From the options of `striate bench` to peers and jobs, for the CPU; bench/cuda/command.py has
those of a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from striate.bench import compare, conv
from striate.bench.compare import Job
from striate.bench.works import WORKS

_IMPORTS = ["numpy", "torch", "jax", "onnxruntime", "openvino"]
_BATCH = 64
_SIZES = [512, 1024, 2048, 4096]  # of gemm


def chosen_peers(work: str, asked: str | None, default: list[str]) -> tuple[list[str], list[str]]:
    """Those to compare with, and those that are not installed: one line is printed for each."""
    known = _IMPORTS if work == "import" else [peer for peer in WORKS[work] if peer != "striate"]
    peers = default if asked is None else [] if asked == "none" else asked.split(",")
    for peer in peers:
        if peer not in known:
            raise ValueError(f"--against: {work} knows {', '.join(known) or 'none'}, got {peer!r}")
    missing = compare.missing(peers)
    for peer in missing:
        print(f"{peer} is not installed, so it is left out", file=sys.stderr)
    return [peer for peer in peers if peer not in missing], missing


def jobs(args: Any, work: str, folder: Path) -> list[Job]:
    """``folder`` takes what is made for the run."""
    batches = args.batch_size or [_BATCH]
    if work == "gemm":
        return [
            Job(work, f"gemm {size} {'T' if a else 'N'}{'T' if b else 'N'}",
                {"size": size, "trans_a": a, "trans_b": b})
            for size in args.size or _SIZES
            for a in (False, True) for b in (False, True)
        ]  # fmt: skip
    if work == "conv":
        layers = names(args.layers, list(conv.LAYERS))
        real = activations(args, folder)
        return [
            Job(work, f"{layer} {kind}, batch {n}",
                {"layer": layer, "kind": kind, "batch_size": n, "real": real})
            for n in batches for layer in layers for kind in conv.PASSES
        ]  # fmt: skip
    what = "inference" if args.infer else "step"
    return [Job(work, f"{args.work} {what}, batch {n}", {"batch_size": n}) for n in batches]


def names(asked: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """--layers: all that are known where none is asked for."""
    for name in asked or ():
        if name not in known:
            raise ValueError(f"--layers: knows {', '.join(known)}, got {name!r}")
    return list(asked or known)


def activations(args: Any, folder: Path) -> str | None:
    """The file with what --real and --data make, in ``folder``."""
    if args.real is None:
        return None
    if args.data is None:
        raise ValueError("--real: needs the pictures' folder, --data")
    real = str(folder / "activations.npz")
    conv.activations(args.real, args.data, real)
    return real
