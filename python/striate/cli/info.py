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


def _cuda() -> dict[str, str]:
    """What there is of CUDA, or why it is off."""
    from striate import cuda

    why = cuda.why_unavailable()
    if why:
        return {"CUDA": f"off: {why}"}
    module = cuda.module()
    gpus = [
        f"cuda:{i} {module.device_name(i)}, compute capability {module.compute_capability(i)}"
        for i in range(module.device_count())
    ]
    return {
        "CUDA": f"on, built for {module.architectures()}; products in {module.get_precision()}",
        "GPU": "; ".join(gpus),
        "CUDA driver": f"for CUDA {module.driver_version()}",
        "CUDA runtime": f"{module.runtime_version()}, linked statically",
    }


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
        **_cuda(),
    }
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:{width}}  {fact}")
    return 0
