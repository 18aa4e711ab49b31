"""The GPU of a benchmark's process: chosen, set to a precision, timed by its own events.

An event is a mark that the GPU passes. Between two of them lie all repetitions of a turn, and where
the host hands out work more slowly than the GPU does it, the GPU's waiting.
"""

from __future__ import annotations

import contextlib
import math
import subprocess
from collections.abc import Callable
from typing import Any

PRECISIONS = ("float32", "tf32", "bf16")
# How far two sides may be apart, relative to the larger number or to a tenth. In float32 they add
# up in different orders, and cuDNN may choose Winograd's; TF32 keeps 10 bits of the factors'
# mantissa, bfloat16 7.
TOLERANCES = {"float32": 5e-4, "tf32": 1e-2, "bf16": 0.1}

_COLD = 256e6  # bytes: several times the L2 cache of any GPU so far
_MOST_SETS = 16
_COPIED = 1 << 28  # bytes: of the copy that memory-bound ops are held against
_COPIES = 8


def start(device: str, precision: str | None = None) -> Any:
    """Makes ``device`` ("cuda:0") the current one; returns CuPy. What a work before held is freed.

    RuntimeError, one sentence, where there is no CUDA.
    """
    from striate import cuda

    cuda.module()
    import cupy

    cupy.cuda.Device(int(device.removeprefix("cuda:"))).use()
    if precision is not None:
        cuda.set_precision(precision)
    cupy.get_default_memory_pool().free_all_blocks()
    return cupy


def sets(nbytes: float) -> int:
    """How many copies of inputs of ``nbytes`` take turns, so that the L2 cache has none of them."""
    return max(1, min(_MOST_SETS, math.ceil(_COLD / max(1.0, nbytes))))


def timed(
    step: Callable[[], Any],
    event: Callable[[], Any],
    elapsed: Callable[[Any, Any], float],
    around: Callable[[], Any] = contextlib.nullcontext,
) -> Callable[[int], float]:
    """The seconds of so many repetitions of ``step``, warmed up by a tenth as many.

    ``event()`` makes an event, ``elapsed`` says the milliseconds between two; ``around`` is a
    context that the steps run in.
    """

    def seconds(repetitions: int) -> float:
        with around():
            for _ in range(max(1, repetitions // 10)):
                step()
            first, last = event(), event()
            first.record()
            for _ in range(repetitions):
                step()
            last.record()
            last.synchronize()
            return elapsed(first, last) / 1e3

    return seconds


def timed_by_cupy(
    step: Callable[[], Any], around: Callable[[], Any] = contextlib.nullcontext
) -> Callable[[int], float]:
    """``timed`` on CuPy's current stream."""
    import cupy

    return timed(step, cupy.cuda.Event, cupy.cuda.get_elapsed_time, around)


def copy_bandwidth(device: str) -> float:
    """GB/s of a copy from one place to another, counting what it reads and what it writes."""
    cupy = start(device)
    source = cupy.zeros(_COPIED, cupy.uint8)
    to = cupy.empty_like(source)
    seconds = timed_by_cupy(lambda: cupy.copyto(to, source))(_COPIES) / _COPIES
    return 2 * _COPIED / seconds / 1e9


def peak_gflops(device: str) -> float | None:
    """What the float32 units could do by their number and their clock, which is not measured."""
    import cupy

    runtime, index = cupy.cuda.runtime, int(device.removeprefix("cuda:"))
    properties = runtime.getDeviceProperties(index)
    capability = properties["major"], properties["minor"]
    lanes = 64 if capability < (8, 6) else 128  # of a multiprocessor
    try:
        kilohertz = runtime.deviceGetAttribute(13, index)  # cudaDevAttrClockRate
    except runtime.CUDARuntimeError:
        return None
    return float(2 * lanes * properties["multiProcessorCount"] * kilohertz / 1e6)


def describe(device: str) -> dict[str, str]:
    """For a heading: the GPU, its driver, the runtime."""
    from striate import cuda

    module, index = cuda.module(), device.removeprefix("cuda:")
    driver = f"for CUDA {module.driver_version()}"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30)
        if told.stdout.strip():
            driver = f"{told.stdout.split()[0]} ({driver})"
    return {
        "name": str(module.device_name(int(index))),
        "capability": str(module.compute_capability(int(index))),
        "driver": driver,
        "runtime": f"CUDA {module.runtime_version()}",
    }
