"""CUDA: whether it can be used, and why not. The names are those of ``torch.cuda``.

The ops themselves are a second extension module over CuPy arrays, which is loaded when the first
array or model goes to a GPU: ``import striate`` needs neither a driver nor CuPy.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

from striate import _core

_loaded: ModuleType | None = None
_used = False  # this process has spoken to a GPU's driver
_lost = False  # its parent had, and what a driver knows does not outlive a fork


def _after_fork() -> None:
    global _loaded, _lost
    _loaded, _lost = None, _lost or _used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _load() -> tuple[ModuleType | None, str]:
    """(the extension, ""), or (None, one clause that says what is missing and what to do)."""
    global _used
    if _lost:
        return None, (
            "this process was forked from one that had used it, and CUDA does not survive a fork; "
            "start processes by multiprocessing.get_context('spawn')"
        )
    try:
        module = importlib.import_module("striate._cuda")
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError):
            return None, f"its extension cannot be loaded ({error})"
        why = _core.cuda_decision().removeprefix("off: ")
        return None, (
            f"Striate was installed without it ({why}); install it again from its sources, where "
            "nvcc and a GPU are or with STRIATE_CUDA=ON in the environment, as '.[cuda13]'"
        )
    if module.__version__ != _core.__version__:
        return None, (
            f"its extension is of version {module.__version__}, the rest of Striate of "
            f"{_core.__version__}; install it again"
        )
    why = module.why_unavailable()
    if why:
        return None, why
    _used = True
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        return None, f"CuPy cannot be imported ({error}); install it with: pip install cupy-cuda13x"
    try:
        device = cupy.cuda.Device().id
    except RuntimeError as error:  # its runtime wants a newer driver than this extension's
        return None, f"CuPy cannot use the GPU ({error})"
    capability = module.compute_capability(device)
    if not _has_code(capability, module.architectures()):
        return None, (
            f"this build has code for the architectures {module.architectures()}, and "
            f"{module.device_name(device)} has {capability}; install Striate from its sources on "
            "this machine"
        )
    return module, ""


def _has_code(capability: str, architectures: str) -> bool:
    """Whether a GPU of ``capability``, "8.6", runs what was built for CMake's ``architectures``.

    Machine code runs on later GPUs of the same generation, PTX on all later ones.
    """
    gpu = int(capability.replace(".", ""))
    for architecture in architectures.split(", "):
        number, _, kind = architecture.partition("-")
        if not number.rstrip("af").isdigit():  # "native", "all-major": CMake's choice
            return True
        built = int(number.rstrip("af"))
        machine = kind != "virtual" and built // 10 == gpu // 10
        if built <= gpu and (machine or kind != "real"):
            return True
    return False


def module() -> Any:
    """``striate._cuda``. Raises RuntimeError, one sentence, where CUDA cannot be used."""
    global _loaded
    if _loaded is None:
        found, why = _load()
        if found is None:
            raise RuntimeError(f"CUDA cannot be used: {why}")
        _loaded = found
    return _loaded


def is_available() -> bool:
    """Whether models and arrays can be moved to a GPU; ``why_unavailable`` says why not."""
    return why_unavailable() == ""


def why_unavailable() -> str:
    """One clause on what is missing and what to install, or "" where CUDA can be used."""
    return "" if _loaded is not None else _load()[1]


def device_count() -> int:
    """The GPUs that can be used: 0 where CUDA cannot."""
    return int(module().device_count()) if is_available() else 0


def synchronize() -> None:
    """Waits until the current GPU has done all that it was given."""
    module()
    importlib.import_module("cupy").cuda.Device().synchronize()


def set_precision(precision: str) -> None:
    """In which arithmetic convolutions and matrices are multiplied on the GPU.

    'float32', the default, is float32 throughout, without TF32. 'tf32' rounds the factors to 10
    bits of mantissa, 'bf16' to bfloat16 (7 bits), for tensor cores that add up in float32; arrays
    and weights stay float32. On the CPU nothing changes. Raises ValueError for another name, and
    RuntimeError where there is no CUDA or a GPU older than compute capability 8.0.
    """
    if not isinstance(precision, str):
        raise TypeError(
            f"set_precision: precision must be 'float32', 'tf32' or 'bf16', got {precision!r}"
        )
    if precision == "float32" and _loaded is None:
        return
    module().set_precision(precision)


def get_precision() -> str:
    """'float32', 'tf32' or 'bf16': what ``set_precision`` chose."""
    return "float32" if _loaded is None else str(_loaded.get_precision())
