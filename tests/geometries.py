"""Random geometries of the ops, drawn by number from a seed: each kernel against the reference.

Geometry ``index`` of ``seed`` is the same on every machine, so a failure is named by two numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import striate.functional as F
from backends import running
from checks import EPSILON
from striate import _core

Draw = np.random.Generator
WINOGRAD_LARGEST = 5e-5  # of the root mean square: what striate/conv2d.h promises
WORK = 200_000  # multiplications of most geometries' reference; of one in fifty, thirty times more


@dataclass(frozen=True)
class Result:
    """What an op returned, and how far from the reference it may be (None: not at all)."""

    name: str
    array: np.ndarray
    tolerance: float | None


@dataclass(frozen=True)
class Geometry:
    """An op with its arguments; ``run`` computes forward and backward on what is set."""

    text: str
    run: Callable[[], list[Result]]


def of_sum(depth: int, scale: float = 1.0) -> float:
    """What float32 may lose in a sum of ``depth`` products of unit normals: checks.assert_close."""
    return 4 * EPSILON * (depth + 2) * scale


def size(rng: Draw, most: int, least: int = 1) -> int:
    """From ``least`` to ``most``, as often between 1 and 2 as between 32 and 64."""
    return min(most, int(least * math.exp(rng.random() * math.log((most + 1) / least))))


def pair(rng: Draw, most: int, least: int = 1) -> tuple[int, int]:
    """Two sizes; every other time the same, as in most networks."""
    first = int(rng.integers(least, most + 1))
    return first, first if rng.random() < 0.5 else int(rng.integers(least, most + 1))


def chance(rng: Draw, *choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def normal(rng: Draw, *shape: int) -> np.ndarray:
    """Standard normal float32 that begins anywhere, as a view of a user's array may."""
    count, start = math.prod(shape), int(rng.integers(16))
    return rng.standard_normal(start + count, np.float32)[start:].reshape(shape)


def _conv2d(rng: Draw) -> Geometry:
    groups = chance(rng, 1, 1, 1, 2, 3, size(rng, 16))
    c, k = size(rng, 40 // groups + 1), size(rng, 70 // groups + 1)
    if rng.random() < 0.1:  # depthwise
        groups, c, k = size(rng, 70), 1, int(rng.integers(1, 3))
    r, s = pair(rng, 5) if rng.random() < 0.9 else pair(rng, 11)
    stride = (1, 1) if rng.random() < 0.5 else pair(rng, 4)
    dilation = (1, 1) if rng.random() < 0.75 else pair(rng, 3)
    low = [chance(rng, 0, 0, d * (n - 1) // 2, int(rng.integers(6)))
           for d, n in zip(dilation, (r, s))]  # fmt: skip
    high = [p if rng.random() < 0.7 else int(rng.integers(6)) for p in low]
    pads = (low[0], low[1], high[0], high[1])
    least = [max(1, d * (n - 1) + 1 - a - b) for d, n, a, b in zip(dilation, (r, s), low, high)]
    h, w = (n - 1 + size(rng, most) for n, most in zip(least, (30, 120)))
    n = size(rng, 70)
    limit = WORK * (30 if rng.random() < 0.02 else 1)
    p = (h + pads[0] + pads[2] - dilation[0] * (r - 1) - 1) // stride[0] + 1
    q = (w + pads[1] + pads[3] - dilation[1] * (s - 1) - 1) // stride[1] + 1
    n = max(1, min(n, limit // (groups * k * c * r * s * p * q)))
    if rng.random() < 0.01:
        n = 0
    algorithm = chance(rng, "auto", "auto", "gemm", "direct", "winograd")
    x, weight = normal(rng, n, c * groups, h, w), normal(rng, k * groups, c, r, s)
    bias = normal(rng, k * groups) if rng.random() < 0.7 else None
    dy = normal(rng, n, k * groups, p, q)
    geometry = (stride, pads, dilation, groups)
    # What the direct algorithm cannot run is chosen for as by "auto".
    winograd = algorithm != "gemm" and stride == dilation == (1, 1) and {r, s} <= {3, 5}

    def tolerance(depth: int, count: int) -> float:
        if not winograd:
            return of_sum(depth)
        room = 1 + 20 / math.sqrt(max(1, count))  # a few numbers have no root mean square
        return of_sum(depth) + WINOGRAD_LARGEST * room * math.sqrt(depth)

    def run() -> list[Result]:
        _core.set_conv2d_algorithm(algorithm)
        try:
            y = F.conv2d(x, weight, bias, *geometry)
            gradients = F.conv2d_backward(dy, x, weight, bias, *geometry)
        finally:
            _core.set_conv2d_algorithm("auto")
        outputs = n * p * q
        depths = (c * r * s, k * r * s, outputs, outputs)
        return [
            Result(name, array, tolerance(depth, array.size))
            for name, array, depth in zip(("y", "dx", "dw", "db"), (y, *gradients), depths)
            if array is not None
        ]

    return Geometry(
        f"conv2d x{x.shape} w{weight.shape} bias={bias is not None} stride={stride} pads={pads} "
        f"dilation={dilation} groups={groups} algorithm={algorithm}",
        run,
    )


def _window(rng: Draw, dilated: bool) -> tuple[tuple[int, ...], dict[str, Any]]:
    """(input shape, the arguments that both pools have)."""
    kernel = pair(rng, 5) if rng.random() < 0.9 else pair(rng, 12)
    dilation = (1, 1) if not dilated or rng.random() < 0.6 else pair(rng, 3)
    padding = [0 if rng.random() < 0.4 else int(rng.integers(n // 2 + 1)) for n in kernel]
    least = [max(1, d * (n - 1) + 1 - 2 * p) for d, n, p in zip(dilation, kernel, padding)]
    shape = (
        size(rng, 4),
        size(rng, 20),
        least[0] - 1 + size(rng, 20),
        least[1] - 1 + size(rng, 120),
    )
    window: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": kernel if rng.random() < 0.3 else pair(rng, 4),
        "padding": tuple(padding),
        "ceil_mode": bool(rng.random() < 0.4),
    }
    return shape, window | ({"dilation": dilation} if dilated else {})


def _max_pool2d(rng: Draw) -> Geometry:
    shape, window = _window(rng, dilated=True)
    x = normal(rng, *shape)
    if rng.random() < 0.3:  # equal elements, infinities, NaN
        np.round(2 * x, out=x)
        x[x == 2] = chance(rng, 2, np.nan, np.inf)
        x[x == 0] = chance(rng, 0, -np.inf)
    values = normal(rng, 4096)

    def run() -> list[Result]:
        y, indices = F.max_pool2d(x, **window, return_indices=True)
        dy = np.resize(values, y.shape)
        dx = F.max_pool2d_backward(dy, indices, x.shape, **window)
        windows = math.prod(window["kernel_size"])
        return [
            Result("y", y, None),
            Result("indices", indices, None),
            Result("y without indices", F.max_pool2d(x, **window), None),
            Result("dx", dx, of_sum(windows)),
        ]

    return Geometry(f"max_pool2d x{shape} {window}", run)


def _avg_pool2d(rng: Draw) -> Geometry:
    shape, window = _window(rng, dilated=False)
    window |= {
        "count_include_pad": bool(rng.random() < 0.5),
        "divisor_override": chance(rng, None, None, 1, -3),
    }
    return _pool_and_back(rng, F.avg_pool2d, F.avg_pool2d_backward, shape, window)


def _adaptive_avg_pool2d(rng: Draw) -> Geometry:
    shape = (size(rng, 4), size(rng, 20), size(rng, 40), size(rng, 120))
    window = {"output_size": (size(rng, 40), size(rng, 120))}
    return _pool_and_back(rng, F.adaptive_avg_pool2d, F.adaptive_avg_pool2d_backward, shape, window)


def _pool_and_back(
    rng: Draw, forward: Any, backward: Any, shape: tuple[int, ...], window: dict[str, Any]
) -> Geometry:
    x, values = normal(rng, *shape), normal(rng, 4096)

    def run() -> list[Result]:
        y = forward(x, **window)
        dx = backward(np.resize(values, y.shape), x.shape, **window)
        shared = 4 * max(1, math.ceil(y.size / max(1, x.size)))  # windows on one element, at least
        depth = math.prod(window.get("kernel_size", (4, 4)))
        return [Result("y", y, of_sum(depth)), Result("dx", dx, of_sum(depth + shared))]

    return Geometry(f"{forward.__name__} x{shape} {window}", run)


def _linear(rng: Draw) -> Geometry:
    n, c, k = (size(rng, 300) for _ in range(3))
    n = max(0 if rng.random() < 0.02 else 1, min(n, 30 * WORK // (c * k)))
    x, weight, dy = normal(rng, n, c), normal(rng, k, c), normal(rng, n, k)
    bias = normal(rng, k) if rng.random() < 0.7 else None

    def run() -> list[Result]:
        arrays = (F.linear(x, weight, bias), *F.linear_backward(dy, x, weight, bias))
        return [
            Result(name, array, of_sum(depth))
            for name, array, depth in zip(("y", "dx", "dw", "db"), arrays, (c, k, n, n))
            if array is not None
        ]

    return Geometry(f"linear x{x.shape} w{weight.shape} bias={bias is not None}", run)


def _softmax(rng: Draw) -> Geometry:
    shape = tuple(size(rng, 100 // 3**i + 8) for i in range(int(rng.integers(1, 5))))
    dim = int(rng.integers(len(shape)))
    x, dy = normal(rng, *shape) * np.float32(chance(rng, 1, 4, 30)), normal(rng, *shape)
    if rng.random() < 0.1:
        x[rng.random(shape) < 0.1] = chance(rng, -np.inf, np.inf, np.nan)
    forward, backward = chance(
        rng, (F.softmax, F.softmax_backward), (F.log_softmax, F.log_softmax_backward)
    )
    logarithms = float(np.abs(x[np.isfinite(x)]).max(initial=1))  # a difference of such numbers
    with running("reference"):  # both take the gradient at the same place
        saved = forward(x, dim)

    def run() -> list[Result]:
        depth = of_sum(shape[dim], logarithms if forward is F.log_softmax else 1.0)
        return [Result("y", forward(x, dim), depth),
                Result("dx", backward(dy, saved, dim), of_sum(shape[dim]))]  # fmt: skip

    return Geometry(f"{forward.__name__} x{shape} dim={dim}", run)


def _local_response_norm(rng: Draw) -> Geometry:
    shape = (size(rng, 4), size(rng, 60), *(size(rng, 40) for _ in range(int(rng.integers(1, 3)))))
    options = (size(rng, 20), chance(rng, 1e-4, 0.7, 2.0), chance(rng, 0.75, 0.5, 1.0, 0.6),
               chance(rng, 1.0, 2.0))  # fmt: skip
    x, dy = normal(rng, *shape), normal(rng, *shape)

    def run() -> list[Result]:
        y = F.local_response_norm(x, *options)
        dx = F.local_response_norm_backward(dy, x, *options)
        return [Result("y", y, of_sum(options[0])), Result("dx", dx, of_sum(2 * options[0]))]

    return Geometry(f"local_response_norm x{shape} {options}", run)


# What of a long run each op has, in hundredths.
OPS: dict[str, tuple[Callable[[Draw], Geometry], int]] = {
    "conv2d": (_conv2d, 40),
    "max_pool2d": (_max_pool2d, 15),
    "avg_pool2d": (_avg_pool2d, 13),
    "adaptive_avg_pool2d": (_adaptive_avg_pool2d, 5),
    "linear": (_linear, 10),
    "softmax": (_softmax, 9),
    "local_response_norm": (_local_response_norm, 8),
}


def draw(op: str, seed: int, index: int) -> Geometry:
    key = np.array([seed, index], np.uint64)
    return OPS[op][0](np.random.Generator(np.random.Philox(key=key)))


def distance(got: Result, wanted: Result) -> float:
    """The largest difference as a part of what is allowed; more than 1 is wrong."""
    a, b = got.array, wanted.array
    if a.shape != b.shape or a.dtype != b.dtype:
        return math.inf
    if wanted.tolerance is None:
        return 0.0 if np.array_equal(a, b, equal_nan=a.dtype.kind == "f") else math.inf
    if not a.size:
        return 0.0
    with np.errstate(all="ignore"):
        parts = np.abs(a - b) / (wanted.tolerance + 8 * EPSILON * np.abs(b))
    parts[(a == b) | (np.isnan(a) & np.isnan(b))] = 0
    worst = float(parts.max())
    return math.inf if math.isnan(worst) else worst


def check(op: str, seed: int, index: int) -> float:
    """Geometry ``index`` on every instruction set; its distance. AssertionError says where."""
    geometry = draw(op, seed, index)
    with running("reference"):
        expected = geometry.run()
    largest = 0.0
    for isa in _core.supported_isas():
        with running(isa):
            results = geometry.run()
        for got, wanted in zip(results, expected, strict=True):
            part = distance(got, wanted)
            assert part <= 1, (
                f"{geometry.text}: {got.name} on {isa} is {part:.3g} times as far from the "
                f"reference as it may be (op {op}, seed {seed}, geometry {index})"
            )
            largest = max(largest, part)
    return largest
