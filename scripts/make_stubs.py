"""Writes the type stubs of striate._core from the module itself (needs the extra `test`).

    python scripts/make_stubs.py [FOLDER]         default: python/

tests/test_package.py fails where they differ from the module.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pybind11_stubgen", "striate._core", "-o", str(folder)], check=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "python")
