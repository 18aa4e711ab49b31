"""striate bench WORK"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from striate.cli._common import add_threads, integer, number

WORKS = ("lenet5", "alexnet", "conv", "gemm", "import", "pipeline", "digits", "layers", "size")

# What each work is compared with when --against is not given.
_DEFAULT = {
    "lenet5 --train": ["torch", "jax"],
    "lenet5 --infer": ["onnxruntime", "openvino", "openvino-bf16", "torch"],
    "alexnet --train": ["torch"],
    "alexnet --infer": ["onnxruntime", "openvino", "openvino-bf16", "torch"],
    "conv": ["torch"],
    "gemm": ["numpy", "torch"],
    "import": ["numpy"],
    "pipeline": ["PIL"],
    "digits": [],
    "size": [],
}
_IMPORTS = ["numpy", "torch", "jax", "onnxruntime", "openvino"]
_PAIRS = 9
_SIZES = [512, 1024, 2048, 4096]  # of gemm


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "bench",
        help="measure against peers, taking turns",
        description="Runs a work in Striate and in its peers, each in a process of its own, turn "
        "by turn, and prints medians, the median of the pairs' ratios, and the share of the "
        "multiply-add peak that was measured between the turns. lenet5, alexnet: a training step "
        "(--train), or inference (--infer), after all have computed the same logits, losses and "
        "gradients from the same weights; conv: AlexNet's convolutions, each of the three passes, "
        "with the error against double precision; gemm: float32 matrix multiplication; import: the "
        "import alone; pipeline: 64 JPEGs to a batch, augmented, on one core; digits: seconds from "
        "the start of a process to a trained LeNet-5, for each seed; layers: each layer of a "
        "training step beside what arithmetic and memory allow it (a roofline); size: of the "
        "installed package, or of a wheel.",
    )
    parser.add_argument("work", choices=sorted(WORKS))
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--train", action="store_true", help="a training step (the default)")
    mode.add_argument("--infer", action="store_true", help="forward alone, in eval mode")
    parser.add_argument(
        "--against",
        metavar="PEER[,PEER]",
        help="torch, jax, onnxruntime, openvino, openvino-bf16, numpy, PIL; none for no peer",
    )
    parser.add_argument(
        "--batch-size", type=integer(1), nargs="+", default=[64], metavar="N", help="default: 64"
    )
    parser.add_argument(
        "--size", type=integer(1), nargs="+", metavar="N", help="of gemm (default: 512 to 4096)"
    )
    parser.add_argument(
        "--layers", nargs="+", metavar="NAME", help="of conv: conv1 to conv5 (default: all)"
    )
    parser.add_argument(
        "--pairs", type=integer(1), metavar="N", help=f"turns of each (default: {_PAIRS})"
    )
    parser.add_argument(
        "--isa", choices=("avx2",), help="pin Striate and its peers to this instruction set"
    )
    parser.add_argument(
        "--turn", type=number(0, 60), default=0.1, metavar="S", help="seconds of a turn: 0.1"
    )
    parser.add_argument(
        "--real",
        metavar="MODEL",
        help="of conv: the weights of a trained alexnet and what they make of the pictures in "
        "--data, instead of drawn numbers",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="class folders: of pipeline (default: 500x375, made anew), of conv --real",
    )
    parser.add_argument("--seeds", type=integer(1), default=10, metavar="N",
                        help="of digits: 0 to N - 1 (default: 10)")  # fmt: skip
    parser.add_argument("--target", type=number(0, 1), default=0.99, metavar="X",
                        help="of digits: the accuracy to reach (default: 0.99)")  # fmt: skip
    parser.add_argument("--wheel", metavar="FILE", help="of size: the wheel to look into")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE, too")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import striate

    trains = args.work in ("lenet5", "alexnet")
    if (args.infer or args.train) and not trains:
        option = "--infer" if args.infer else "--train"
        raise ValueError(f"{option}: only lenet5 and alexnet have it, got {args.work!r}")
    work = f"{args.work} {'--infer' if args.infer else '--train'}" if trains else args.work
    threads = 1 if work == "pipeline" else args.threads or striate.get_num_threads()
    if work == "size":
        return _size(args)
    if work == "digits":
        return _digits(args, threads)
    if work == "layers":
        return _layers(args, threads)
    return _compare(args, work, threads)


def _compare(args: argparse.Namespace, work: str, threads: int) -> int:
    from striate import _core
    from striate.bench import compare, imports, report

    peers, missing = _peers(args, work)
    pairs = args.pairs or _PAIRS
    settings = compare.Settings(threads, pairs, args.turn, args.isa)
    refused = dict.fromkeys(missing, "not installed")
    if work == "import":
        rows = imports.compare_import(peers, pairs)
    elif work == "pipeline":
        rows = _pipeline(args.data, peers, settings)
    else:
        with tempfile.TemporaryDirectory() as folder:
            jobs = _jobs(args, work, Path(folder))
            rows = compare.compare(jobs, peers, settings, refused)
    facts = {
        "command": _command(args),
        "isa": args.isa or _core.isa_name(),
        "threads": threads,
        "pairs": pairs,
        "machine": report.machine(),
        "versions": report.versions([peer for peer in peers if peer != "numpy"]),
        "left_out": refused,
    }
    print(report.heading(facts) + "\n")
    print(report.table(rows))
    for peer, why in refused.items():
        if peer not in missing:
            print(f"{peer} is left out: {why}", file=sys.stderr)
    if args.json:
        report.write(args.json, facts, rows)
    return 0


def _peers(args: argparse.Namespace, work: str) -> tuple[list[str], list[str]]:
    """Those to compare with, and those that are not installed: one line is printed for each."""
    from striate.bench import compare
    from striate.bench.works import WORKS as KNOWN

    known = _IMPORTS if work == "import" else [peer for peer in KNOWN[work] if peer != "striate"]
    asked = _DEFAULT[work] if args.against is None else args.against.split(",")
    peers = [] if asked == ["none"] else asked
    for peer in peers:
        if peer not in known:
            raise ValueError(f"--against: {work} knows {', '.join(known)}, got {peer!r}")
    missing = compare.missing(peers)
    for peer in missing:
        print(f"{peer} is not installed, so it is left out", file=sys.stderr)
    return [peer for peer in peers if peer not in missing], missing


def _jobs(args: argparse.Namespace, work: str, folder: Path) -> list[Any]:
    from striate.bench import conv
    from striate.bench.compare import Job

    batches = args.batch_size
    if work == "gemm":
        return [
            Job(work, f"gemm {size} {'T' if a else 'N'}{'T' if b else 'N'}",
                {"size": size, "trans_a": a, "trans_b": b})
            for size in args.size or _SIZES
            for a in (False, True) for b in (False, True)
        ]  # fmt: skip
    if work == "conv":
        layers = args.layers or list(conv.LAYERS)
        for layer in layers:
            if layer not in conv.LAYERS:
                raise ValueError(f"--layers: knows {', '.join(conv.LAYERS)}, got {layer!r}")
        real = {}
        if args.real is not None:
            if args.data is None:
                raise ValueError("--real: needs the pictures' folder, --data")
            real = {"real": str(folder / "activations.npz")}
            conv.activations(args.real, args.data, real["real"])
        return [
            Job(work, f"{layer} {kind}, batch {n}",
                {"layer": layer, "kind": kind, "batch_size": n, **real})
            for n in batches for layer in layers for kind in conv.PASSES
        ]  # fmt: skip
    what = "inference" if args.infer else "step"
    return [Job(work, f"{args.work} {what}, batch {n}", {"batch_size": n}) for n in batches]


def _pipeline(folder: str | None, peers: list[str], settings: Any) -> list[Any]:
    """Rows of seconds a picture, and images a second printed."""
    from striate.bench import compare, pipeline

    with tempfile.TemporaryDirectory() as temporary:
        data = folder or str(pipeline.make_pictures(Path(temporary)))
        what = "500x375" if folder is None else folder
        job = compare.Job("pipeline", f"a JPEG, {what} to 224x224", {"folder": data})
        rows = compare.compare([job], peers, settings)
    each = pipeline.PICTURES
    rows = [
        row._replace(
            median=row.median / each,
            least=row.least / each,
            most=row.most / each,
            turns=[seconds / each for seconds in row.turns],
        )
        for row in rows
    ]
    for row in rows:
        print(f"{row.peer}: {1 / row.median:,.0f} images/s on one core")
    return rows


def _digits(args: argparse.Namespace, threads: int) -> int:
    import json

    from striate.bench import digits, report

    found = []
    for done in digits.runs(range(args.seeds), threads):
        found.append(done)
        print(f"seed {done.seed}: {done.seconds:.2f} s, {done.accuracy:.2%}", file=sys.stderr)
    print(digits.table(found, args.target))
    if args.json:
        facts = {"command": _command(args), "threads": threads, "target": args.target,
                 "machine": report.machine(), "runs": [run._asdict() for run in found]}  # fmt: skip
        Path(args.json).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return 0


def _layers(args: argparse.Namespace, threads: int) -> int:
    import json

    import striate
    from striate.bench import layers, report

    striate.set_num_threads(threads)
    batch_size = args.batch_size[0]
    found, peak, bandwidth = layers.measure(batch_size, args.pairs or _PAIRS)
    print(layers.table(found, peak, bandwidth))
    if args.json:
        facts = {"command": _command(args), "threads": threads, "machine": report.machine(),
                 "peak_gflops": peak, "bandwidth": bandwidth,
                 "layers": [layer._asdict() for layer in found]}  # fmt: skip
        Path(args.json).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return 0


def _size(args: argparse.Namespace) -> int:
    import json

    from striate.bench import size

    found = size.sizes(args.wheel)
    print(size.table(found))
    if args.json:
        facts = {"command": _command(args), **found}
        Path(args.json).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return 0


def _command(args: argparse.Namespace) -> str:
    """The options that make the figures what they are, as they are typed."""
    words = ["striate", "bench", args.work, *(["--infer"] if args.infer else [])]
    if args.work in ("lenet5", "alexnet", "conv", "layers") and args.batch_size != [64]:
        words += ["--batch-size", *map(str, args.batch_size)]
    for name in ("size", "layers"):
        words += [f"--{name}", *map(str, getattr(args, name))] if getattr(args, name) else []
    for name in ("against", "threads", "pairs", "isa", "real", "data"):
        value = getattr(args, name)
        words += [] if value is None else [f"--{name}", str(value)]
    return " ".join(words)
