"""The work ``layers`` on a GPU: AlexNet's, each timed over many repetitions.

LeNet-5's are left out: launching one from Python takes longer than running it, which is why its
step is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from striate.bench import alexnet, layers
from striate.bench.cuda import gpu

NETWORKS = {"AlexNet": alexnet.NETWORK}
_REPETITIONS = 20


def measure(
    batch_size: int, repetitions: int, device: str
) -> tuple[list[layers.Layer], float | None, float]:
    """(the layers, the peak in GFLOP/s by the GPU's clock, the bandwidth of a copy in GB/s)"""
    gpu.start(device)
    found: list[layers.Layer] = []
    for title, network in NETWORKS.items():
        found += layers.measure_network(title, network, batch_size, repetitions, clock, device)
    return found, gpu.peak_gflops(device), gpu.copy_bandwidth(device)


def clock(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call, and what it returned."""
    result = call()
    return gpu.timed_by_cupy(call)(_REPETITIONS) / _REPETITIONS, result
