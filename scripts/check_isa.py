"""The instruction sets keep apart: what was compiled for every CPU runs on every CPU.

    python scripts/check_isa.py BUILD_FOLDER

Looks at every object of a build, by GNU nm and objdump. Fails, with a line for each fault, where

* the micro-kernels of an instruction set show the linker more than their table: it could merge a
  helper with another set's copy, and an old CPU would meet an AVX-512 instruction;
* an x86-64 object has an instruction that its CPU may lack: AVX-512 in AVX2's kernels, or, in
  everything but the kernels of AVX2 and AVX-512, anything beyond SSE2.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# By an instruction's first bytes: what VEX encodes (AVX, FMA, BMI), what EVEX does (AVX-512), and
# the two opcode maps in which nothing is older than SSSE3. Prefixes may stand before them.
PREFIXES = r"(?:(?:2e|36|3e|26|6[4-7]|f[023]) )*"
VEX, EVEX = rf"{PREFIXES}c[45] ", rf"{PREFIXES}62 "
YOUNGER_MAPS = rf"{PREFIXES}(?:4[0-9a-f] )?0f 3[8a] "

# By name: those that stand between older ones, and those that no kernel's CPU is asked for. tzcnt
# is neither: where it is missing its bytes are bsf, and GCC writes it for that.
SSE3 = r"addsubp[sd]|h(?:add|sub)p[sd]|lddqu|mov(?:ddup|s[hl]dup)|fisttp\w*"
SYSTEM = r"cmpxchg16b|rdrand|rdseed|xgetbv|prefetchw"
BMI = r"lzcnt\w*|andn|bextr|bls(?:i|r|msk)|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx"
UNASKED = rf"{BMI}|movbe|vcvtph2ps|vcvtps2ph"
MASKS = r"k(?:mov|and|or|x|not|unpck|add|shift|test)\w+"

# What the objects of an instruction set may not have: bytes, names.
REFUSED = {
    "baseline": (rf"{VEX}|{EVEX}|{YOUNGER_MAPS}", rf"popcnt\w*|{SSE3}|{SYSTEM}|{UNASKED}"),
    "avx2": (EVEX, rf"{MASKS}|{UNASKED}"),
    "avx512": (r"(?!)", UNASKED),  # no bytes
}


def output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def kernels_of(path: Path) -> str | None:
    """The instruction set whose micro-kernels an object holds."""
    found = re.search(r"striate_kernels_(\w+)\.dir", str(path))
    return found[1] if found else None


def foreign_instructions(path: Path) -> Iterator[str]:
    """The first one in each function of an x86-64 object."""
    isa = kernels_of(path) or "baseline"
    bytes_, names = (re.compile(pattern) for pattern in REFUSED[isa])
    function, reported = "", ""
    for line in output("objdump", "--disassemble", "--wide", "--demangle", path).splitlines():
        if label := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            function = label[1]
        _, *parts = line.split("\t")
        if len(parts) != 2 or function == reported:
            continue
        code, instruction = parts
        if bytes_.match(code) or any(map(names.fullmatch, instruction.split()[:2])):
            reported = function
            yield f"not {isa}'s: {' '.join(instruction.split())} in {function}"


def shown_symbols(path: Path) -> Iterator[str]:
    """What the micro-kernels of an instruction set show besides their table."""
    isa = kernels_of(path)
    for line in output("nm", "--defined-only", "--extern-only", "--demangle", path).splitlines():
        symbol = line.split(maxsplit=2)[-1]
        if isa is not None and symbol != f"striate::cpu::{isa}::kernels":
            yield f"shows more than its table: {symbol}"


def faults(build: Path) -> Iterator[str]:
    objects = sorted(build.rglob("*.o"))
    if not any(map(kernels_of, objects)):
        sys.exit(f"{build}: there are no objects of micro-kernels; build first")
    for path in objects:
        found = [*shown_symbols(path)]
        if "elf64-x86-64" in output("objdump", "--file-headers", path):
            found += foreign_instructions(path)
        yield from (f"{path.relative_to(build)}: {fault}" for fault in found)
    print(f"{len(objects)} objects were looked at")


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    status = 0
    for fault in faults(Path(sys.argv[1])):
        print(f"error: {fault}")
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
