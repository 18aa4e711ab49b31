"""striate bench WORK"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from striate.cli._common import add_threads, integer

# What each work is compared with when --against is not given.
_DEFAULT = {
    "lenet5": ["torch"],
    "alexnet": ["torch"],
    "gemm": ["numpy"],
    "import": ["numpy"],
    "pipeline": ["PIL"],
}
_KNOWN = {
    "lenet5": ["torch"],
    "alexnet": ["torch"],
    "gemm": ["numpy", "torch"],
    "import": ["numpy", "torch"],
    "pipeline": ["PIL"],
}
_PAIRS = {"alexnet": 7}  # a turn takes seconds there


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "bench",
        help="measure against peers, taking turns",
        description="Runs a work in Striate and in its peers, each in a process of its own, turn "
        "by turn, and prints medians and the median of the turns' ratios. lenet5: a training step; "
        "alexnet: a training step, or inference (--infer), after the peers have computed the same "
        "logits, losses and gradients from the same weights; "
        "gemm: float32 matrix multiplication; import: the import alone; pipeline: 64 JPEGs to a "
        "batch, augmented, on one core, against a plain loop over Pillow and NumPy.",
    )
    parser.add_argument("work", choices=sorted(_DEFAULT))
    parser.add_argument("--against", metavar="PEER[,PEER]", help="torch, numpy, PIL")
    parser.add_argument(
        "--data", metavar="DIR", help="of pipeline: class folders (default: 500x375, made anew)"
    )
    parser.add_argument(
        "--batch-size", type=integer(1), default=64, metavar="N", help="of a network"
    )
    parser.add_argument("--infer", action="store_true", help="alexnet: forward alone, in eval mode")
    parser.add_argument("--size", type=integer(1), default=1024, metavar="N", help="of gemm")
    parser.add_argument(
        "--pairs", type=integer(1), metavar="N", help="turns of each (default: 15, for alexnet 7)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE, too")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import striate
    from striate import _core
    from striate.bench import compare

    known = _KNOWN[args.work]
    peers = args.against.split(",") if args.against else _DEFAULT[args.work]
    for peer in peers:
        if peer not in known:
            raise ValueError(f"--against: {args.work} knows {', '.join(known)}, got {peer!r}")
    for peer in compare.missing(peers):
        print(f"{peer} is not installed, so it is left out", file=sys.stderr)
    peers = [peer for peer in peers if peer not in compare.missing(peers)]

    if args.infer and args.work != "alexnet":
        raise ValueError(f"--infer: only alexnet has it, got {args.work!r}")
    pairs = args.pairs or _PAIRS.get(args.work, 15)
    threads = args.threads or striate.get_num_threads()
    rows: list[Any] = []
    if args.work == "import":
        rows = compare.compare_import(peers, pairs)
    elif args.work == "lenet5":
        label = f"lenet5 step, batch {args.batch_size}"
        arguments = {"batch_size": args.batch_size}
        rows = compare.compare("lenet5", label, arguments, peers, threads, pairs)
    elif args.work == "alexnet":
        label = f"alexnet {'inference' if args.infer else 'step'}, batch {args.batch_size}"
        arguments = {"batch_size": args.batch_size, "infer": args.infer}
        rows = compare.compare("alexnet", label, arguments, peers, threads, pairs)
    elif args.work == "pipeline":
        threads = 1
        rows = _pipeline(args.data, peers, pairs)
    else:
        for trans_a, trans_b in ((False, False), (False, True), (True, False), (True, True)):
            label = f"gemm {args.size} {'T' if trans_a else 'N'}{'T' if trans_b else 'N'}"
            arguments = {"size": args.size, "trans_a": trans_a, "trans_b": trans_b}
            flop = 2.0 * args.size**3
            rows += compare.compare("gemm", label, arguments, peers, threads, pairs, flop)
    where = f"striate {striate.__version__}, {_core.isa_name()}, {threads} threads, "
    where += f"{pairs} turns, Python {platform.python_version()} on {platform.machine()}"
    print(where + "\n")
    print(compare.table(rows))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"where": where, "rows": [row._asdict() for row in rows]}, file, indent=1)
    return 0


def _pipeline(folder: str | None, peers: list[str], pairs: int) -> list[Any]:
    """Rows of seconds a picture, and images a second printed."""
    from striate.bench import compare, pipeline

    with tempfile.TemporaryDirectory() as temporary:
        data = folder or str(pipeline.make_pictures(Path(temporary)))
        what = "500x375" if folder is None else folder
        rows = compare.compare(
            "pipeline", f"a JPEG, {what} to 224x224", {"folder": data}, peers, 1, pairs
        )
    each = pipeline.PICTURES
    rows = [
        row._replace(median=row.median / each, least=row.least / each, most=row.most / each)
        for row in rows
    ]
    for row in rows:
        print(f"{row.peer}: {1 / row.median:,.0f} images/s on one core")
    return rows
