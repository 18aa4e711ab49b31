"""The work ``layers``: each layer of LeNet-5 and AlexNet in a training step, beside its roof.

Roof: Williams, Waterman, Patterson: Roofline, an insightful visual performance model, 2009. A layer
that makes ``flop`` of ``bytes`` can run no faster than the smaller of the multiply-add peak and
flop / bytes * the bandwidth of memory, each array read or written once. One that finds its arrays
in a cache may be above that.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from striate._device import namespace, to
from striate.bench import alexnet, lenet5
from striate.bench.networks import Network, filled, images
from striate.bench.report import duration

_NETWORKS = {"LeNet-5": lenet5.NETWORK, "AlexNet": alexnet.NETWORK}
_SHORT = {"Conv2d": "conv", "Linear": "fc", "MaxPool2d": "pool", "ReLU": "relu"}


class Layer(NamedTuple):
    """One pass of one layer; a comparison of ReLU or of a pooling counts as one operation."""

    network: str
    name: str
    direction: str  # "forward", "backward"
    seconds: float
    flop: float
    bytes: float

    @property
    def gflops(self) -> float:
        return self.flop / self.seconds / 1e9

    @property
    def intensity(self) -> float:
        return self.flop / self.bytes


def measure(batch_size: int, repetitions: int) -> tuple[list[Layer], float, float]:
    """(the layers of both networks, the peak in GFLOP/s, the bandwidth in GB/s)"""
    from striate import _core

    found: list[Layer] = []
    peaks, bandwidths = [], []
    for title, network in _NETWORKS.items():
        found += measure_network(title, network, batch_size, repetitions, _clock)
        peaks.append(_core.peak_gflops(0.1))
        bandwidths.append(_core.peak_bandwidth(5)[0])
    return found, max(peaks), max(bandwidths)


def table(found: list[Layer], peak: float | None, bandwidth: float) -> str:
    """A Markdown table; "roof" is what bounds the layer: memory alone, where no peak is known."""
    known = "unknown" if peak is None else f"{peak:.0f} GFLOP/s"
    lines = [f"multiply-add peak {known}, memory {bandwidth:.1f} GB/s", ""]
    lines.append("| layer | pass | median | GFLOP/s | FLOP a byte | roof | of it |")
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for layer in found:
        roof = min(peak or math.inf, layer.intensity * bandwidth)
        lines.append(
            f"| {layer.network} {layer.name} | {layer.direction} | {duration(layer.seconds)} "
            f"| {layer.gflops:.1f} | {layer.intensity:.3g} | {roof:.0f} "
            f"| {layer.gflops / roof:.0%} |"
        )
    return "\n".join(lines)


def _clock(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def measure_network(
    title: str,
    network: Network,
    batch_size: int,
    repetitions: int,
    clock: Callable[[Callable[[], Any]], tuple[float, Any]],
    device: str = "cpu",
) -> list[Layer]:
    """The layers of a network; ``clock(call)`` gives the seconds of a call and what it returned."""
    model = filled(network)
    model.to(device)
    layers = list(_leaves(model))
    x = to(images(network, batch_size)[0], device)
    seconds: dict[tuple[int, str], list[float]] = {}
    work: dict[tuple[int, str], tuple[float, float]] = {}
    for repetition in range(repetitions + 1):  # the first one warms up
        y, kept = x, []
        for i, layer in enumerate(layers):
            taken, (y_next, saved) = clock(partial(layer.apply, y, training=True))
            kept.append(saved)
            if repetition > 0:
                seconds.setdefault((i, "forward"), []).append(taken)
            work[i, "forward"] = _work(layer, y, y_next)
            y = y_next
        dy = namespace(y).ones_like(y)
        for i, layer in reversed(list(enumerate(layers))):
            taken, (dx, gradients) = clock(partial(layer.grad, dy, kept.pop(), need=i > 0))
            if repetition > 0:
                seconds.setdefault((i, "backward"), []).append(taken)
            flop, size = work[i, "forward"]
            if gradients:
                # The gradients of x and of the weights cost as much as forward each, and read and
                # write as much; the first layer needs none of x.
                passes = 2 if i > 0 else 1
                work[i, "backward"] = (passes * flop, passes * size)
            else:  # of a ReLU: dy, y and dx
                relu = type(layer).__name__ == "ReLU"
                work[i, "backward"] = (flop, 1.5 * size if relu else size)
            dy = dy if dx is None else dx
    found, counts = [], dict.fromkeys(_SHORT, 0)
    for i, layer in enumerate(layers):
        kind = type(layer).__name__
        if kind not in _SHORT:
            continue
        counts[kind] += 1
        name = f"{_SHORT[kind]}{counts[kind]}"
        for direction in ("forward", "backward"):
            median = statistics.median(seconds[i, direction])
            found.append(Layer(title, name, direction, median, *work[i, direction]))
    return found


def _leaves(model: Any) -> Iterator[Any]:
    from striate import nn

    for layer in model:
        if isinstance(layer, nn.Sequential):
            yield from _leaves(layer)
        else:
            yield layer


def _work(layer: Any, x: Any, y: Any) -> tuple[float, float]:
    """Operations and bytes of the forward pass."""
    weights = sum(parameter.data.nbytes for parameter in layer.parameters())
    size = float(x.nbytes + y.nbytes + weights)
    kind = type(layer).__name__
    if kind in ("Conv2d", "Linear"):
        return 2.0 * layer.multiply_adds(y.shape), size
    if kind == "MaxPool2d":
        rows, columns = layer.window(x.shape[1:])[0]
        return float(y.size * rows * columns), size + y.size * 4  # and its indices
    return float(y.size), size
