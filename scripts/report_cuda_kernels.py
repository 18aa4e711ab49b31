"""What each CUDA kernel takes of a multiprocessor: registers and spills, from a build's log.

    cmake --preset cuda -DCMAKE_CUDA_FLAGS=-Xptxas=-v
    cmake --build --preset cuda > build.log 2>&1
    python scripts/report_cuda_kernels.py build.log

Prints a line a kernel, the most registers first. A spill is a register that went to memory.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")


class Kernel(NamedTuple):
    name: str
    architecture: str
    stack: int
    spilled: int
    registers: int


def kernels(log: str) -> list[Kernel]:
    """Every kernel whose compilation the log tells of, once for each architecture."""
    found, name, architecture, stack, spilled = set(), "", "", 0, 0
    for line in log.splitlines():
        if entry := _ENTRY.search(line):
            name, architecture = entry.groups()
        elif numbers := _SPILLS.search(line):
            stack, spilled = int(numbers[1]), int(numbers[2]) + int(numbers[3])
        elif (used := _REGISTERS.search(line)) and name:
            found.add(Kernel(name, architecture, stack, spilled, int(used[1])))
            name = ""
    return sorted(found, key=lambda kernel: (-kernel.registers, kernel.name))


def short(names: list[str]) -> list[str]:
    """C++ names for a person, without namespaces and parameters."""
    answer = subprocess.run(
        ["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True
    )
    spoken = answer.stdout.splitlines() if answer.returncode == 0 else names
    return [re.sub(r"striate::cuda::|\(anonymous namespace\)::|\(int\)|\(bool\)", "", n)[:150]
            for n in spoken]  # fmt: skip


def main(path: str) -> int:
    found = kernels(Path(path).read_text(errors="replace"))
    if not found:
        print(f"{path}: tells of no kernel; build it anew with -Xptxas=-v", file=sys.stderr)
        return 1
    print("registers  spilled bytes  for     kernel")
    for kernel, name in zip(found, short([kernel.name for kernel in found])):
        print(f"{kernel.registers:9}  {kernel.spilled:13}  {kernel.architecture:6}  {name}")
    spilling = sum(kernel.spilled > 0 for kernel in found)
    print(f"{len(found)} kernels, {spilling} of them spill")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
