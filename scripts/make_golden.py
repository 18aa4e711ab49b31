"""Makes tests/golden/<op>.npz: PyTorch's answers to the cases of each tests/test_<op>.py.

    python scripts/make_golden.py [OP ...]        (needs the extra `parity`)

A test module takes part by having CASES (names) and torch_run(torch, case) -> named arrays.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import torch

TESTS = Path(__file__).parents[1] / "tests"


def main(ops: list[str]) -> None:
    sys.path.insert(0, str(TESTS))
    for path in sorted(TESTS.glob("test_*.py")):
        op = path.stem.removeprefix("test_")
        if (ops and op not in ops) or "def torch_run(" not in path.read_text():
            continue
        module = importlib.import_module(path.stem)
        arrays = {
            f"{case}/{name}": array
            for case in module.CASES
            for name, array in module.torch_run(torch, case).items()
        }
        target = TESTS / "golden" / f"{op}.npz"
        np.savez_compressed(target, **arrays)
        print(f"{target}: {len(arrays)} arrays, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
