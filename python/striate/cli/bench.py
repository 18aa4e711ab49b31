"""striate bench WORK"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from striate.cli._common import add_device, add_threads, integer, number, use_device

WORKS = ("lenet5", "alexnet", "conv", "gemm", "import", "pipeline", "digits", "layers", "memory",
         "size")  # fmt: skip

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
_BATCH = 64
_SIZES = [512, 1024, 2048, 4096]  # of gemm
_PRECISIONS = ("float32", "tf32", "bf16")


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
        "installed package, or of a wheel. With --device cuda, lenet5 and alexnet (a training step, "
        "recorded and eager), conv, gemm, layers, digits (seconds from the first step, the digits "
        "on the GPU before), and memory: the ops that wait for memory, against a copy; each turn "
        "timed by the GPU's events.",
    )
    parser.add_argument("work", choices=sorted(WORKS))
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--train", action="store_true", help="a training step (the default)")
    mode.add_argument("--infer", action="store_true", help="forward alone, in eval mode")
    parser.add_argument(
        "--against",
        metavar="PEER[,PEER]",
        help="torch, jax, onnxruntime, openvino, openvino-bf16, numpy, PIL; on a GPU "
        "striate-eager, torch, torch-graph, torch-compile; none for no peer",
    )
    add_device(parser)
    parser.add_argument(
        "--precision",
        choices=_PRECISIONS,
        nargs="+",
        help="of products on a GPU, on every side (default: float32)",
    )
    parser.add_argument(
        "--batch-size", type=integer(1), nargs="+", metavar="N",
        help="default: 64; on a GPU of lenet5 64 and 512, alexnet 128 and 512, conv and layers 128, "
        "memory 512",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=integer(1), nargs="+", metavar="N", help="of gemm (default: 512 to 4096)"
    )
    parser.add_argument(
        "--layers", nargs="+", metavar="NAME",
        help="of conv: conv1 to conv5; of memory: relu, max_pool2d, avg_pool2d, "
        "local_response_norm, sgd (default: all)",
    )  # fmt: skip
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
    if args.device != "cpu":
        return _on_gpu(args, threads)
    if args.precision is not None:
        raise ValueError("--precision: of products on a GPU, it needs --device cuda")
    if work == "memory":
        raise ValueError("memory: is measured on a GPU, it needs --device cuda")
    if work == "size":
        return _size(args)
    if work == "digits":
        from striate.bench import digits, report

        facts = {"command": _command(args), "threads": threads, "machine": report.machine()}
        return _digits(args, digits.runs(range(args.seeds), threads), facts)
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
    _show(args, facts, rows, missing)
    return 0


def _show(
    args: argparse.Namespace, facts: dict[str, Any], rows: list[Any], said: list[str]
) -> None:
    """Prints the rows and what was left out, but for the peers of which it was ``said``."""
    from striate.bench import report

    print(report.heading(facts) + "\n")
    print(report.table(rows))
    for peer, why in facts["left_out"].items():
        if peer not in said:
            print(f"{peer} is left out: {why}", file=sys.stderr)
    if args.json:
        report.write(args.json, facts, rows)


def _on_gpu(args: argparse.Namespace, threads: int) -> int:
    from striate.bench import compare, report
    from striate.bench.cuda import command

    if args.work not in command.WORKS:
        raise ValueError(f"--device: {args.work} is measured on the CPU alone; on a GPU are "
                         f"{', '.join(command.WORKS)}")  # fmt: skip
    if args.infer or args.isa:
        option = "--infer" if args.infer else "--isa"
        raise ValueError(f"{option}: of the CPU, it cannot stand beside --device {args.device}")
    if args.precision is not None and args.work in ("memory", "layers"):
        raise ValueError(f"--precision: {args.work} computes in float32 alone")
    if args.batch_size is not None and len(args.batch_size) > 1 and args.work in (
        "digits", "layers"):  # fmt: skip
        raise ValueError(f"--batch-size: of {args.work} it is one, got {args.batch_size}")
    precisions = args.precision or ["float32"]
    with use_device(args) as device:
        if args.work == "digits":
            return _digits_on_gpu(args, device, precisions)
        if args.work == "layers":
            return _layers_on_gpu(args, device)
        peers, missing = _peers(args, f"{args.work} on cuda", command.AGAINST[args.work])
        facts = command.facts(device, precisions, peers)
        pairs = args.pairs or _PAIRS
        settings = compare.Settings(threads, pairs, args.turn, device=device)
        refused = dict.fromkeys(missing, "not installed")
        with tempfile.TemporaryDirectory() as folder:
            names = _layer_names(args)
            real = _real(args, Path(folder)) if args.work == "conv" else None
            jobs = command.jobs(
                args.work, device, precisions, args.batch_size, args.size, names, real
            )
            rows = compare.compare(jobs, peers, settings, refused)
    told = {"command": _command(args), "pairs": pairs, "left_out": refused, **facts}
    _show(args, told, rows, missing)
    return 0


def _digits_on_gpu(args: argparse.Namespace, device: str, precisions: list[str]) -> int:
    from striate.bench.cuda import command, digits

    if len(precisions) > 1:
        raise ValueError(f"--precision: of digits it is one, got {' '.join(precisions)}")
    facts = {"command": _command(args), **command.facts(device, precisions, [])}
    batch_size = args.batch_size[0] if args.batch_size else None
    return _digits(args, digits.runs(range(args.seeds), device, precisions[0], batch_size), facts)


def _layers_on_gpu(args: argparse.Namespace, device: str) -> int:
    from striate.bench.cuda import command, layers

    batch_size = (args.batch_size or command.BATCHES["layers"])[0]
    measured = layers.measure(batch_size, args.pairs or _PAIRS, device)
    facts = {"command": _command(args), **command.facts(device, ["float32"], [])}
    return _show_layers(args, measured, facts)


def _peers(
    args: argparse.Namespace, work: str, default: list[str] | None = None
) -> tuple[list[str], list[str]]:
    """Those to compare with, and those that are not installed: one line is printed for each."""
    from striate.bench import compare
    from striate.bench.works import WORKS as KNOWN

    known = _IMPORTS if work == "import" else [peer for peer in KNOWN[work] if peer != "striate"]
    asked = default or _DEFAULT.get(work, []) if args.against is None else args.against.split(",")
    peers = [] if asked == ["none"] else asked
    for peer in peers:
        if peer not in known:
            raise ValueError(f"--against: {work} knows {', '.join(known) or 'none'}, got {peer!r}")
    missing = compare.missing(peers)
    for peer in missing:
        print(f"{peer} is not installed, so it is left out", file=sys.stderr)
    return [peer for peer in peers if peer not in missing], missing


def _jobs(args: argparse.Namespace, work: str, folder: Path) -> list[Any]:
    from striate.bench import conv
    from striate.bench.compare import Job

    batches = args.batch_size or [_BATCH]
    if work == "gemm":
        return [
            Job(work, f"gemm {size} {'T' if a else 'N'}{'T' if b else 'N'}",
                {"size": size, "trans_a": a, "trans_b": b})
            for size in args.size or _SIZES
            for a in (False, True) for b in (False, True)
        ]  # fmt: skip
    if work == "conv":
        layers = _layer_names(args) or list(conv.LAYERS)
        real = _real(args, folder)
        return [
            Job(work, f"{layer} {kind}, batch {n}",
                {"layer": layer, "kind": kind, "batch_size": n, "real": real})
            for n in batches for layer in layers for kind in conv.PASSES
        ]  # fmt: skip
    what = "inference" if args.infer else "step"
    return [Job(work, f"{args.work} {what}, batch {n}", {"batch_size": n}) for n in batches]


def _layer_names(args: argparse.Namespace) -> list[str] | None:
    """--layers, checked."""
    from striate.bench import conv
    from striate.bench.cuda import memory

    known = memory.NAMES if args.work == "memory" else tuple(conv.LAYERS)
    names: list[str] | None = args.layers
    for name in names or ():
        if name not in known:
            raise ValueError(f"--layers: knows {', '.join(known)}, got {name!r}")
    return names


def _real(args: argparse.Namespace, folder: Path) -> str | None:
    """The file with what --real and --data make, in ``folder``."""
    from striate.bench import conv

    if args.real is None:
        return None
    if args.data is None:
        raise ValueError("--real: needs the pictures' folder, --data")
    real = str(folder / "activations.npz")
    conv.activations(args.real, args.data, real)
    return real


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


def _digits(args: argparse.Namespace, runs: Iterable[Any], facts: dict[str, Any]) -> int:
    import json

    from striate.bench import digits, report

    if "gpu" in facts:
        print(report.on_gpu(facts) + "\n")
    found = []
    for done in runs:
        found.append(done)
        print(f"seed {done.seed}: {done.seconds:.2f} s, {done.accuracy:.2%}", file=sys.stderr)
    print(digits.table(found, args.target))
    if args.json:
        facts = {**facts, "target": args.target, "runs": [run._asdict() for run in found]}
        Path(args.json).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return 0


def _layers(args: argparse.Namespace, threads: int) -> int:
    import striate
    from striate.bench import layers, report

    striate.set_num_threads(threads)
    batch_size = (args.batch_size or [_BATCH])[0]
    measured = layers.measure(batch_size, args.pairs or _PAIRS)
    facts = {"command": _command(args), "threads": threads, "machine": report.machine()}
    return _show_layers(args, measured, facts)


def _show_layers(args: argparse.Namespace, measured: Any, facts: dict[str, Any]) -> int:
    import json

    from striate.bench import layers, report

    found, peak, bandwidth = measured
    if "gpu" in facts:
        print(report.on_gpu(facts) + "\n")
    print(layers.table(found, peak, bandwidth))
    if args.json:
        facts = {**facts, "peak_gflops": peak, "bandwidth": bandwidth,
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
    words += [] if args.device == "cpu" else ["--device", args.device]
    for name in ("batch_size", "size", "layers", "precision"):
        option, value = "--" + name.replace("_", "-"), getattr(args, name)
        words += [option, *map(str, value)] if value else []
    for name in ("against", "threads", "pairs", "isa", "real", "data"):
        value = getattr(args, name)
        words += [] if value is None else [f"--{name}", str(value)]
    return " ".join(words)
