"""AlexNet's five convolutions on a GPU, each of the three passes: Striate, and cuDNN by PyTorch.

As in gemm.py, Striate's arrays are float32 in every precision, and PyTorch's of bf16 are bfloat16.
"""

from __future__ import annotations

import itertools
from typing import Any

from striate.bench import conv
from striate.bench.cuda import gpu, torch_peer
from striate.bench.work import Peer, Work

Array = Any
# The largest error against double precision, relative to the output's root mean square: above it
# something else is wrong than the rounding.
_LIMITS = {"float32": 1e-3, "tf32": 2e-2, "bf16": 0.1}


def by_striate(
    layer: str, kind: str, batch_size: int, precision: str, device: str, real: str | None = None
) -> Work:
    from striate import cuda

    cupy = gpu.start(device, precision)
    ops, l = cuda.module(), conv.LAYERS[layer]  # noqa: E741
    arrays = conv.arrays(layer, batch_size, real)
    moved = [[cupy.asarray(array) for array in arrays]]
    moved += [[array.copy() for array in moved[0]] for _ in range(1, _sets(arrays))]
    turns = itertools.cycle(moved)
    sizes = (l.stride,) * 2, (l.padding,) * 4, (1, 1), 1
    need = (kind == "backward_data", kind == "backward_weight", False)

    def step() -> Array:
        x, w, b, dy = next(turns)
        if kind == "forward":
            return ops.conv2d_forward(x, w, b, *sizes)
        return ops.conv2d_backward(dy, x, w, *sizes, need)[need.index(True)]

    error = conv.error(layer, kind, batch_size, real, step().get(), _LIMITS[precision])
    return Work(step, flop=l.flop(batch_size), facts=error, time=gpu.timed_by_cupy(step))


def by_torch(
    layer: str,
    kind: str,
    batch_size: int,
    precision: str,
    device: str,
    real: str | None = None,
    layout: str = "NCHW",
) -> Work:
    torch = torch_peer.start(device, precision)
    l, arrays = conv.LAYERS[layer], conv.arrays(layer, batch_size, real)  # noqa: E741
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    first = [torch.from_numpy(array).to(device, dtype) for array in arrays]
    if layout == "channels_last":
        first = [
            part.to(memory_format=torch.channels_last) if part.ndim == 4 else part for part in first
        ]
    moved = [first, *([part.clone() for part in first] for _ in range(1, _sets(arrays)))]
    turns = itertools.cycle(moved)
    stride, padding = (l.stride,) * 2, (l.padding,) * 2
    need = (kind == "backward_data", kind == "backward_weight", False)

    def step() -> Any:
        x, w, b, dy = next(turns)
        with torch.inference_mode():
            if kind == "forward":
                return torch.nn.functional.conv2d(x, w, b, stride, padding)
            return torch.ops.aten.convolution_backward(
                dy, x, w, None, stride, padding, (1, 1), False, (0, 0), 1, need
            )[need.index(True)]

    found = step().float().contiguous().cpu().numpy()
    error = conv.error(layer, kind, batch_size, real, found, _LIMITS[precision])
    return Work(step, flop=l.flop(batch_size), facts=error, time=torch_peer.timer(step, device))


def _sets(arrays: Any) -> int:
    return gpu.sets(sum(array.nbytes for array in arrays))


CONV = {
    "striate": Peer(by_striate),
    "torch": Peer(by_torch, [{"layout": "NCHW"}, {"layout": "channels_last"}]),
}
