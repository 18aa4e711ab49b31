"""The speed gate: instructions that each op executes (cpp/bench/instructions.cc, under Valgrind).

    cmake --preset bench && cmake --build --preset bench --target instructions
    python scripts/check_instructions.py              compares with cpp/bench/instructions.json
    python scripts/check_instructions.py --write      renews it, after a change that is meant

Unlike times, these counts repeat from run to run on any machine: on AVX2, with one thread. Fails,
with one line for each such op, where more than ROOM above the kept count are executed. Another
compiler makes other code, so counts are compared with those that its own name and major version
("GNU 12") wrote; where there are none, the script says so and passes. What it cannot see is waiting
for memory: `striate bench` measures that.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "build/bench/cpp/bench/instructions"
KEPT = ROOT / "cpp/bench/instructions.json"
ROOM = 0.05


def count(program: Path) -> tuple[str, dict[str, int]]:
    """(the compiler, instructions of each op)"""
    with tempfile.TemporaryDirectory() as folder:
        answer = subprocess.run(
            [
                *("valgrind", "--tool=callgrind", "--collect-atstart=no"),
                *(f"--callgrind-out-file={folder}/out.%n", str(program)),
            ],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "STRIATE_ISA": "avx2"},
        )
        if answer.returncode != 0:
            sys.exit(f"{program} failed under Valgrind:\n{answer.stderr}")
        counts = {}
        for path in Path(folder).iterdir():
            text = path.read_text(encoding="utf-8")
            name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
            total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
            if name is not None and total is not None:
                counts[name[1]] = int(total[1])
    compiler = re.search(r"^compiler: (\S+ \d+)", answer.stdout, re.MULTILINE)
    assert compiler is not None
    return compiler[1], dict(sorted(counts.items()))


def compare(found: dict[str, int], kept: dict[str, int]) -> tuple[list[str], list[str]]:
    """(what is wrong, what is worth knowing)"""
    wrong = [
        f"{name} executes {found[name] / kept[name] - 1:+.1%} instructions: {found[name]:,}, "
        f"{kept[name]:,} were kept (room for {ROOM:.0%})"
        for name in found
        if name in kept and found[name] > kept[name] * (1 + ROOM)
    ]
    wrong += [f"{name} is no longer counted" for name in kept if name not in found]
    wrong += [f"{name} has no count yet" for name in found if name not in kept]
    notes = [
        f"{name} executes {found[name] / kept[name] - 1:+.1%} instructions: keep that by --write"
        for name in found
        if name in kept and found[name] < kept[name] * (1 - ROOM)
    ]
    return wrong, notes


def main() -> int:
    parser = argparse.ArgumentParser(description="Counts the instructions of each op.")
    parser.add_argument("--program", type=Path, default=PROGRAM, metavar="FILE")
    parser.add_argument("--kept", type=Path, default=KEPT, metavar="FILE")
    parser.add_argument("--write", action="store_true", help="keep what is counted now")
    args = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("instructions were not counted: valgrind is not installed")
        return 0
    if not args.program.exists():
        sys.exit(f"{args.program} is missing: cmake --build --preset bench --target instructions")
    compiler, found = count(args.program)
    kept = json.loads(args.kept.read_text()) if args.kept.exists() else {}
    if args.write:
        kept[compiler] = found
        args.kept.write_text(json.dumps(kept, indent=1) + "\n")
        print(f"kept the counts of {len(found)} ops by {compiler} in {args.kept}")
        return 0
    if compiler not in kept:
        print(f"instructions were not compared: built by {compiler}, but the counts that are kept "
              f"come from {', '.join(kept) or 'nowhere'}; --write adds them")  # fmt: skip
        return 0
    wrong, notes = compare(found, kept[compiler])
    for line in notes:
        print(line)
    for line in wrong:
        print(f"error: {line}")
    if wrong:
        print("a change that is meant: python scripts/check_instructions.py --write")
    else:
        print(f"{len(found)} ops execute as many instructions as before ({compiler})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
