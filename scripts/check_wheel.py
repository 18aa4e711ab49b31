"""What is in a wheel, what it weighs, and how long it takes to import; run where it is installed.

    python scripts/check_wheel.py WHEEL [--threads team|openmp]

Fails, with a line for each fault, where the repaired wheel holds a file that it should not, or not
exactly the OpenMP runtime that its threads need (none, or one by a name of its own); where it is
more than 3 MB without MNIST's digits; where `import striate` loads more than NumPy, or takes more
than 1.2 times as long. What `import striate.nn` takes, which loads NumPy itself, is printed.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import zipfile
from collections.abc import Iterator

MOST_BYTES = 3_000_000
MOST_TIME, PAIRS = 1.2, 9  # of NumPy's; turns of each, alternating
DIGITS = "striate/data/mnist_xz/"
WANTED = (
    r"striate/(\w+/)*\w+\.pyi?|striate/py\.typed|striate/_core\.[\w-]+\.so"
    rf"|{DIGITS}[\w.-]+|striate-[\d.]+\.dist-info/.+"
)
RUNTIME = r"striate\.libs/libgomp-[0-9a-f]{8}\.so[\d.]*"  # auditwheel's name: it meets no other


def content_faults(wheel: zipfile.ZipFile, threads: str) -> Iterator[str]:
    names = [entry.filename for entry in wheel.infolist() if not entry.is_dir()]
    runtimes = [name for name in names if re.fullmatch(RUNTIME, name)]
    for name in names:
        if not re.fullmatch(WANTED, name) and name not in runtimes:
            yield f"holds {name}"
    if len(runtimes) != (threads == "openmp"):
        yield f"holds {len(runtimes)} OpenMP runtimes, and its threads are of {threads}"
    for needed in (f"{DIGITS}SOURCE.md", "striate/py.typed", "LICENSE", "CC-BY-SA-3.0.txt"):
        if not any(name.endswith(needed) for name in names):
            yield f"lacks {needed}"


def size_faults(wheel: zipfile.ZipFile) -> Iterator[str]:
    packed = {entry.filename: entry.compress_size for entry in wheel.infolist()}
    own = sum(size for name, size in packed.items() if not name.startswith(DIGITS))
    print(f"{own / 1e6:.2f} MB and {(sum(packed.values()) - own) / 1e6:.2f} MB of MNIST's digits")
    if own > MOST_BYTES:
        yield f"weighs {own:,} bytes without MNIST's digits, more than {MOST_BYTES:,}"


def import_faults() -> Iterator[str]:
    from striate.bench.imports import compare_import

    loaded = "import striate, sys; print(*{name.split('.')[0] for name in sys.modules})"
    answer = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    foreign = set(answer.stdout.split()) - sys.stdlib_module_names - {"striate", "numpy"}
    # What the environment itself loads before any program, such as an editable install's finder.
    yield from (f"loads {name}" for name in sorted(foreign) if not name.startswith("_"))
    turns = {row.peer: row.turns for row in compare_import(["numpy"], PAIRS)}
    for name in ("striate", "striate.nn"):
        ratio = statistics.median(a / b for a, b in zip(turns[name], turns["numpy"]))
        print(f"import {name}: {ratio:.2f} times NumPy's {statistics.median(turns['numpy']):.3f} s")
        if name == "striate" and ratio > MOST_TIME:
            yield f"takes {ratio:.2f} times as long to import as NumPy, more than {MOST_TIME}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks a wheel that is installed here.")
    parser.add_argument("wheel", metavar="WHEEL")
    parser.add_argument("--threads", choices=("team", "openmp"), default="team")
    args = parser.parse_args()
    with zipfile.ZipFile(args.wheel) as wheel:
        faults = [*content_faults(wheel, args.threads), *size_faults(wheel), *import_faults()]
    for fault in faults:
        print(f"error: {args.wheel} {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
