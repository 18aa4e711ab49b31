"""The ops that wait for memory on a GPU, against a copy that is measured between the turns.

Bytes are those of each array that the op reads and of each that it writes, once. The arrays are
those of AlexNet: its first activations, and for SGD all its weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from striate.bench.cuda import gpu
from striate.bench.work import Peer, Work

Arrays = list[Any]
PLANES = (64, 55, 55)  # of the first convolution's output
WEIGHTS = 61_100_840
_CHECKED = 2  # images, against the CPU


class Op(NamedTuple):
    """``reads(ops, x, dy)`` gives the arrays that are read, ``run(ops, *them)`` those written."""

    reads: Callable[..., Arrays]
    run: Callable[..., Any]
    pooled: bool = False  # dy has the size of a pooled plane


_WINDOW: Any = ((3, 3), (2, 2), (0, 0, 0, 0), (1, 1), False)
_MEANS: Any = ((3, 3), (2, 2), (0, 0, 0, 0), False, True, None)
_NORM: Any = (5, 1e-4, 0.75, 2.0)


def _pool(ops: Any, x: Any) -> Any:
    return ops.max_pool2d_forward(x, *_WINDOW, True)


OPS: dict[str, Op] = {
    "relu forward": Op(lambda ops, x, dy: [x], lambda ops, x: ops.relu_forward(x)),
    "relu backward": Op(
        lambda ops, x, dy: [dy, ops.relu_forward(x)], lambda ops, dy, y: ops.relu_backward(dy, y)
    ),
    "max_pool2d forward": Op(lambda ops, x, dy: [x], _pool, True),
    "max_pool2d backward": Op(
        lambda ops, x, dy: [dy, _pool(ops, x)[1]],
        lambda ops, dy, at: ops.max_pool2d_backward(dy, at, (len(dy), *PLANES), *_WINDOW),
        True,
    ),
    "avg_pool2d forward": Op(
        lambda ops, x, dy: [x], lambda ops, x: ops.avg_pool2d_forward(x, *_MEANS), True
    ),
    "avg_pool2d backward": Op(
        lambda ops, x, dy: [dy],
        lambda ops, dy: ops.avg_pool2d_backward(dy, (len(dy), *PLANES), *_MEANS),
        True,
    ),
    "local_response_norm forward": Op(
        lambda ops, x, dy: [x], lambda ops, x: ops.local_response_norm_forward(x, *_NORM)
    ),
    "local_response_norm backward": Op(
        lambda ops, x, dy: [dy, x],
        lambda ops, dy, x: ops.local_response_norm_backward(dy, x, *_NORM),
    ),
}
NAMES = ("relu", "max_pool2d", "avg_pool2d", "local_response_norm", "sgd")


def by_striate(op: str, batch_size: int, device: str) -> Work:
    from striate import _core, cuda

    cupy = gpu.start(device)
    ops, (reads, run, pooled) = cuda.module(), OPS[op]
    generator = np.random.default_rng(0)
    C, H, W = PLANES
    x = generator.standard_normal((batch_size, C, H, W), np.float32)
    plane = ((H - 3) // 2 + 1, (W - 3) // 2 + 1) if pooled else (H, W)
    dy = generator.standard_normal((batch_size, C, *plane), np.float32)

    first = reads(ops, cupy.asarray(x), cupy.asarray(dy))
    results = _several(run(ops, *first))
    few = min(batch_size, _CHECKED)
    expected = _several(run(_core, *reads(_core, x[:few], dy[:few])))
    for ours, theirs in zip(results, expected):
        np.testing.assert_allclose(ours[:few].get(), theirs, rtol=1e-5, atol=1e-5)
    nbytes = sum(array.nbytes for array in [*first, *results])
    del results
    turns = itertools.cycle(
        [first, *([array.copy() for array in first] for _ in range(1, gpu.sets(nbytes)))]
    )

    def step() -> Any:
        return run(ops, *next(turns))

    return Work(step, read=nbytes, time=gpu.timed_by_cupy(step))


def sgd(device: str) -> Work:
    """Weights and velocities are read and written, gradients read."""
    from striate import _core, cuda

    cupy = gpu.start(device)
    ops, generator = cuda.module(), np.random.default_rng(0)
    rates = (False,), 0.01, 0.9, 0.0, 5e-4
    arrays = [generator.standard_normal(WEIGHTS, np.float32) for _ in range(3)]
    w, g, v = (cupy.asarray(array) for array in arrays)
    ops.sgd_step([w], [g], [v], *rates)
    few = [array[:1000].copy() for array in arrays]
    _core.sgd_step([few[0]], [few[1]], [few[2]], *rates)
    np.testing.assert_allclose(w[:1000].get(), few[0], rtol=1e-5, atol=1e-6)

    def step() -> None:
        ops.sgd_step([w], [g], [v], *rates)

    return Work(step, read=5 * w.nbytes, time=gpu.timed_by_cupy(step))


def _several(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def work(op: str, batch_size: int, device: str) -> Work:
    """``op``: a key of OPS, or "sgd"."""
    return sgd(device) if op == "sgd" else by_striate(op, batch_size, device)


MEMORY = {"striate": Peer(work)}
