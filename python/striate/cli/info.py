"""striate info"""

from __future__ import annotations

import argparse
import platform
from typing import Any


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "info", help="what runs here, and why", description="Prints what runs here, and why."
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import numpy as np

    from striate import _core

    others = [name for name in _core.supported_isas() if name != _core.isa_name()]
    facts = {
        "striate": f"{_core.__version__} in {__file__.removesuffix('/cli/info.py')}",
        "python": f"{platform.python_version()}, NumPy {np.__version__}, {platform.machine()}",
        "backend": _core.get_backend(),
        "instruction set": f"{_core.isa_name()}: {_core.isa_reason()}"
        + (f" (STRIATE_ISA takes {', '.join(others)}, too)" if others else ""),
        "threads": f"{_core.get_num_threads()}: {_core.num_threads_reason()}",
        "threading runtime": _core.threading_runtime(),
        "CUDA": "off: this version has no CUDA backend",
    }
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:{width}}  {fact}")
    return 0
