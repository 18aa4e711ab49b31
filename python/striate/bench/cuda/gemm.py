"""Square matrix multiplication on a GPU: Striate, and cuBLAS by way of PyTorch.

Striate's factors are float32 arrays in every precision; PyTorch's of bf16 are bfloat16 already,
and so is its product.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from striate.bench import gemm
from striate.bench.cuda import gpu, torch_peer
from striate.bench.work import Peer, Work


def by_striate(size: int, trans_a: bool, trans_b: bool, precision: str, device: str) -> Work:
    from striate import cuda

    cupy = gpu.start(device, precision)
    ops = cuda.module()
    pairs = [[cupy.asarray(m) for m in gemm.matrices(size)]]
    pairs += [[m.copy() for m in pairs[0]] for _ in range(1, _sets(size))]
    turns = itertools.cycle(pairs)

    def step() -> Any:
        return ops.gemm(*next(turns), trans_a, trans_b)

    product = step().ravel()
    return Work(step, _sums(product, size).get().tolist(), 2.0 * size**3,
                time=gpu.timed_by_cupy(step))  # fmt: skip


def by_torch(size: int, trans_a: bool, trans_b: bool, precision: str, device: str) -> Work:
    torch = torch_peer.start(device, precision)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    pairs = [[torch.from_numpy(m).to(device, dtype) for m in gemm.matrices(size)]]
    pairs += [[m.clone() for m in pairs[0]] for _ in range(1, _sets(size))]
    turns = itertools.cycle([(a.T if trans_a else a, b.T if trans_b else b) for a, b in pairs])

    def step() -> Any:
        return torch.mm(*next(turns))

    product = step().float().flatten()
    return Work(step, _sums(product, size).tolist(), 2.0 * size**3,
                time=torch_peer.timer(step, device))  # fmt: skip


def _sets(size: int) -> int:
    return gpu.sets(2 * size**2 * np.dtype(np.float32).itemsize)


def _sums(product: Any, size: int) -> Any:
    """Twenty sums, from all over the product."""
    return product[:: max(1, size**2 // 19)]


GEMM = {"striate": Peer(by_striate), "torch": Peer(by_torch)}
