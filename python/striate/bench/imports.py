"""The work ``import``: how long it takes a new interpreter."""

from __future__ import annotations

import compileall
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from striate.bench.compare import Row, make_rows


def compare_import(peers: Sequence[str], pairs: int) -> list[Row]:
    """``striate``, which loads nothing else, its layers, which load NumPy, and ``peers``."""
    compileall.compile_dir(
        Path(__file__).parents[1], quiet=2
    )  # as pip does; a checkout may lack it
    names = ["striate", "striate.nn", *peers]
    seconds: list[list[float]] = [[] for _ in names]
    for turn in range(pairs + 1):
        for turns, name in zip(seconds, names):
            code = f"import time; t = time.perf_counter(); import {name}; "
            code += "print(time.perf_counter() - t)"
            answer = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            if turn > 0:  # the first one reads the files from the disk
                turns.append(float(answer.stdout))
    return make_rows("import", names, seconds)
