"""The bars of the CUDA backend beside what was measured: the first table of docs/benchmarks.md's
part on the GPU. `write_benchmarks.py` puts it there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from striate.bench import report
from striate.bench.compare import Row

NOT_MEASURED = "not measured"


class Bar(NamedTuple):
    """``met(folder)`` says in figures what the files there show; "" where there are none."""

    work: str
    bar: str
    command: str
    met: Callable[[Path], str]


def table(folder: Path) -> str:
    lines = ["| work | bar | command | measured |", "|---|---|---|---|"]
    lines += [
        f"| {bar.work} | {bar.bar} | `{bar.command}` | {bar.met(folder) or NOT_MEASURED} |"
        for bar in BARS
    ]
    return "\n".join(lines)


def _rows(folder: Path, *names: str) -> list[Row]:
    files = [folder / f"{name}.json" for name in names]
    return [row for file in files if file.exists() for row in report.read(file)[1]]


def _times(rows: Iterable[Row], what: str) -> str:
    """The least of the ratios: how many times as long the peers take."""
    ratios = [row.ratio for row in rows]
    return f"{min(ratios):.2f} times faster than {what} at least" if ratios else ""


def _lenet5(folder: Path) -> str:
    rows = _rows(folder, "cuda-lenet5", "cuda-lenet5-compile")
    told = [
        _times((row for row in rows if row.peer == "torch"), "eager"),
        _times((row for row in rows if row.peer.startswith("torch-")), "its best"),
    ]
    return ", ".join(filter(None, told))


def _alexnet(folder: Path) -> str:
    rows = _rows(folder, "cuda-alexnet")
    return _times((row for row in rows if row.peer.startswith("torch")), "its best")


def _share(name: str) -> Callable[[Path], str]:
    """Of the peer's speed: the ratio of the times."""

    def met(folder: Path) -> str:
        shares = [row.ratio for row in _rows(folder, name) if row.peer == "torch"]
        return f"{min(shares):.0%} .. {max(shares):.0%}" if shares else ""

    return met


def _memory(folder: Path) -> str:
    rows = _rows(folder, "cuda-memory")
    shares = [row.gbs / row.peak_read for row in rows if row.gbs and row.peak_read]
    return f"{min(shares):.0%} .. {max(shares):.0%}" if shares else ""


def _digits(folder: Path) -> str:
    file = folder / "cuda-digits.json"
    if not file.exists():
        return ""
    facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    runs = facts["runs"]
    reached = sum(run["accuracy"] >= facts["target"] for run in runs)
    mean = sum(run["seconds"] for run in runs) / len(runs)
    return f"{mean:.2f} s, {reached} of {len(runs)} reach it"


def _sanitizer(folder: Path) -> str:
    """``scripts/measure_cuda.sh`` keeps the tools' last lines."""
    file = folder / "cuda-sanitize.json"
    if not file.exists():
        return ""
    told: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return "; ".join(f"{tool}: {line}" for tool, line in told.items())


_ALL = "--precision float32 tf32 bf16"
BARS = (
    Bar("LeNet-5, a training step, batch 64 and 512",
        "5 times faster than PyTorch eager, 1.5 times than PyTorch's best",
        "striate bench lenet5 --device cuda", _lenet5),
    Bar("AlexNet, a training step, batch 128 and 512, in float32, TF32 and bf16",
        "no slower than PyTorch's best",
        f"striate bench alexnet --device cuda {_ALL}", _alexnet),
    Bar("matrices of 1024 to 8192, in float32, TF32 and bf16", "90% of cuBLAS",
        f"striate bench gemm --device cuda {_ALL}", _share("cuda-gemm")),
    Bar("each of AlexNet's convolutions, three passes", "90% of cuDNN",
        f"striate bench conv --device cuda {_ALL}", _share("cuda-conv")),
    Bar("pooling, ReLU, local response normalisation, SGD", "85% of a copy's bandwidth",
        "striate bench memory --device cuda", _memory),
    Bar("LeNet-5 on MNIST to 99.0%, from the first step, mean of 10 seeds", "0.5 s",
        "striate bench digits --device cuda", _digits),
    Bar("compute-sanitizer over tests of ops, memcheck and racecheck", "nothing found",
        "scripts/measure_cuda.sh sanitize", _sanitizer),
)  # fmt: skip

if __name__ == "__main__":  # of a folder of figures, for scripts/measure_cuda.sh
    print(table(Path(sys.argv[1])))
