"""striate bench WORK"""

from __future__ import annotations

import argparse
import tempfile
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
_PAIRS = 9
_BATCH = 64  # of layers
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
        "installed package, or of a wheel. With --device cuda, lenet5 and alexnet (a training "
        "step, recorded and eager), conv, gemm, layers, digits (seconds from the first step, the "
        "digits on the GPU before), and memory: the ops that wait for memory, against a copy; each "
        "turn timed by the GPU's events.",
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
        help="default: 64; on a GPU of lenet5 64 and 512, alexnet 128 and 512, conv and layers "
        "128, memory 512",
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
    pairs = args.pairs or _PAIRS
    if args.device != "cpu":
        from striate.bench.cuda import command

        command.check(args)
        with use_device(args) as device:
            command.run(args, {"command": _command(args)}, threads, pairs, device)
        return 0
    if args.precision is not None:
        raise ValueError("--precision: of products on a GPU, it needs --device cuda")
    if work == "memory":
        raise ValueError("memory: is measured on a GPU, it needs --device cuda")
    if work == "size":
        _size(args)
    elif work == "digits":
        _digits(args, threads)
    elif work == "layers":
        _layers(args, threads, pairs)
    else:
        _compare(args, work, threads, pairs)
    return 0


def _compare(args: argparse.Namespace, work: str, threads: int, pairs: int) -> None:
    from striate import _core
    from striate.bench import compare, imports, jobs, output, report

    peers, missing = jobs.chosen_peers(work, args.against, _DEFAULT[work])
    settings = compare.Settings(threads, pairs, args.turn, args.isa)
    refused = dict.fromkeys(missing, "not installed")
    if work == "import":
        rows = imports.compare_import(peers, pairs)
    elif work == "pipeline":
        rows = _pipeline(args.data, peers, settings)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = jobs.jobs(args, work, Path(folder))
            rows = compare.compare(found, peers, settings, refused)
    facts = {
        "command": _command(args),
        "isa": args.isa or _core.isa_name(),
        "threads": threads,
        "pairs": pairs,
        "machine": report.machine(),
        "versions": report.versions([peer for peer in peers if peer != "numpy"]),
        "left_out": refused,
    }
    output.show(facts, rows, missing, args.json)


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


def _digits(args: argparse.Namespace, threads: int) -> None:
    from striate.bench import digits, output, report

    facts = {"command": _command(args), "threads": threads, "machine": report.machine()}
    output.show_digits(facts, digits.runs(range(args.seeds), threads), args.target, args.json)


def _layers(args: argparse.Namespace, threads: int, pairs: int) -> None:
    import striate
    from striate.bench import layers, output, report

    striate.set_num_threads(threads)
    batch_size = args.batch_size[0] if args.batch_size else _BATCH
    facts = {"command": _command(args), "threads": threads, "machine": report.machine()}
    output.show_layers(facts, layers.measure(batch_size, pairs), args.json)


def _size(args: argparse.Namespace) -> None:
    from striate.bench import output, size

    found = size.sizes(args.wheel)
    print(size.table(found))
    output.write({"command": _command(args), **found}, args.json)


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
