"""Measures what docs/benchmarks.md shows, and writes its tables.

    python scripts/write_benchmarks.py                     measures what is missing, then writes
    python scripts/write_benchmarks.py --only conv gemm    measures these again
    python scripts/write_benchmarks.py --write             writes what there is, measures nothing
    python scripts/write_benchmarks.py --device cuda       the same for the part on the GPU

Each section is one run of `striate bench`, whose figures are kept as a JSON file of their own in
--folder (default: build/benchmarks): a run that was stopped goes on where it stood. The tables go
between <!-- NAME --> and <!-- end --> in the document; the machine, the versions and the command
stand above each. All sections take about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cuda_bars

from striate.bench import digits, layers, report, size

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/benchmarks.md"
BATCHES = "--batch-size 1 64 512"
SECTIONS = {
    "lenet5-train": f"lenet5 {BATCHES}",
    "lenet5-infer": f"lenet5 --infer {BATCHES}",
    "alexnet-train": "alexnet",
    "alexnet-infer": "alexnet --infer --batch-size 1 64",
    "conv": "conv",
    "gemm": "gemm",
    "lenet5-train-avx2": f"lenet5 {BATCHES} --against torch --isa avx2",
    "alexnet-train-avx2": "alexnet --isa avx2",
    "digits": "digits",
    "import": "import --against numpy,torch",
    "pipeline": "pipeline",
    "size": "size",
    "layers": "layers",
}
_ALL = "--precision float32 tf32 bf16 --pairs 5"
CUDA_SECTIONS = {
    "cuda-lenet5": "lenet5 --device cuda",
    "cuda-lenet5-compile": "lenet5 --device cuda --against torch-compile",
    "cuda-alexnet": f"alexnet --device cuda {_ALL}",
    "cuda-gemm": f"gemm --device cuda {_ALL}",
    "cuda-conv": f"conv --device cuda {_ALL}",
    "cuda-memory": "memory --device cuda",
    "cuda-digits": "digits --device cuda",
    "cuda-layers": "layers --device cuda",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures and writes docs/benchmarks.md.")
    known = {**SECTIONS, **CUDA_SECTIONS}
    parser.add_argument("--only", nargs="+", choices=known, metavar="NAME",
                        help=f"of {', '.join(known)}")  # fmt: skip
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu",
                        help="what is measured without --only")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="measure nothing")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/benchmarks", metavar="DIR")
    parser.add_argument("--document", type=Path, default=DOCUMENT, metavar="FILE")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="whose size to show")
    parser.add_argument("--limit", type=float, metavar="S", help="seconds that a section may take")
    parser.add_argument("--options", default="", help="more for striate bench: '--pairs 1'")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    sections = args.only or (SECTIONS if args.device == "cpu" else CUDA_SECTIONS)
    for name in [] if args.write else sections:
        kept = args.folder / f"{name}.json"
        if args.only or not kept.exists():
            words = [*known[name].split(), *args.options.split()]
            if name == "size" and args.wheel is not None:
                words += ["--wheel", str(args.wheel)]
            if args.limit is None:
                measure(name, words, kept)
            else:
                failed += not measured(name, words, kept, args.limit)
    text = args.document.read_text(encoding="utf-8")
    for name in known:
        kept = args.folder / f"{name}.json"
        if kept.exists():
            text = put(text, name, section(name, kept))
    if any(args.folder.glob("cuda-*.json")):
        text = put(text, "cuda-bars", cuda_bars.table(args.folder))
    args.document.write_text(text, encoding="utf-8")
    if (args.folder / "layers.json").exists():
        picture = args.document.parent / "roofline.png"
        script = ROOT / "scripts/plot_roofline.py"
        plot = [sys.executable, script, args.folder / "layers.json", "-o", picture]
        subprocess.run([str(part) for part in plot], check=True)
    return 1 if failed else 0


def measured(name: str, words: list[str], kept: Path, limit: float) -> bool:
    """Whether ``measure`` ends well within ``limit`` seconds; the others go on if it does not."""
    try:
        measure(name, words, kept, timeout=limit)
    except subprocess.SubprocessError as error:
        print(f"{name}: {error}\n", flush=True)
        return False
    return True


def measure(name: str, words: list[str], kept: Path, **options: Any) -> None:
    """Runs `striate bench`; its file appears when it is whole."""
    started, part = time.perf_counter(), kept.with_suffix(".part")
    command = [sys.executable, "-m", "striate", "bench", *words, "--json", str(part)]
    print(f"{name}: striate bench {' '.join(words)}", flush=True)
    subprocess.run(command, check=True, **options)
    part.replace(kept)
    print(f"{name}: {time.perf_counter() - started:.0f} s\n", flush=True)


def put(text: str, name: str, body: str) -> str:
    """``text`` with ``body`` between the section's markers; ValueError if it has none."""
    found = re.search(rf"<!-- {name} -->\n.*?<!-- end -->", text, re.DOTALL)
    if found is None:
        raise ValueError(f"{DOCUMENT.name} has no <!-- {name} --> ... <!-- end -->")
    return f"{text[: found.start()]}<!-- {name} -->\n\n{body}\n\n<!-- end -->{text[found.end() :]}"


def section(name: str, kept: Path) -> str:
    """The command, what ran it, and the table."""
    facts: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    command = f"    {facts['command']}"
    if name == "size":
        return f"{command}\n\n{size.table(facts)}"
    if name.endswith("digits"):
        runs = [digits.Run(**run) for run in facts["runs"]]
        return f"{command}\n\n{about(facts)}.\n\n{digits.table(runs, facts['target'])}"
    if name.endswith("layers"):
        found = [layers.Layer(**layer) for layer in facts["layers"]]
        table = layers.table(found, facts["peak_gflops"], facts["bandwidth"])
        return f"{command}\n\n{about(facts)}; {table}"
    facts, rows = report.read(kept)
    missing = "".join(f"\n\nLeft out: {peer} ({why})." for peer, why in facts["left_out"].items())
    return f"{command}\n\n{report.heading(facts)}.\n\n{report.table(rows)}{missing}"


def about(facts: dict[str, Any]) -> str:
    machine = facts["machine"]
    if "gpu" in facts:
        return report.on_gpu(facts)
    return (
        f"striate {machine['striate']}, {facts['threads']} threads; {machine['processor']}, "
        f"{machine['cores']} cores, Python {machine['python']}, numpy {machine['numpy']}"
    )


if __name__ == "__main__":
    sys.exit(main())
