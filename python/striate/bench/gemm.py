"""Square float32 matrix multiplication: Striate, NumPy's OpenBLAS, PyTorch's MKL."""

from __future__ import annotations

from typing import Any

import numpy as np

from striate.bench.work import Peer, Work


def by_striate(size: int, trans_a: bool, trans_b: bool) -> Work:
    from striate import _core

    a, b = matrices(size)
    return _work(size, lambda: _core.gemm(a, b, trans_a, trans_b))


def by_numpy(size: int, trans_a: bool, trans_b: bool) -> Work:
    a, b = matrices(size)
    left, right = (a.T if trans_a else a), (b.T if trans_b else b)
    return _work(size, lambda: left @ right)


def by_torch(size: int, trans_a: bool, trans_b: bool) -> Work:
    import torch

    a, b = map(torch.from_numpy, matrices(size))
    left, right = (a.T if trans_a else a), (b.T if trans_b else b)
    return _work(size, lambda: left @ right)


def matrices(size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Positive, so that sums do not cancel: they are to agree to a few digits less than float32."""
    generator = np.random.default_rng(0)
    a = generator.random((size, size), np.float32)
    return a, generator.random((size, size), np.float32)


def _work(size: int, step: Any) -> Work:
    """The check: twenty sums, from all over the product."""
    product = np.asarray(step())
    check = [float(value) for value in product.ravel()[:: max(1, product.size // 19)]]
    return Work(step, check, 2.0 * size**3)


GEMM = {"striate": Peer(by_striate), "numpy": Peer(by_numpy), "torch": Peer(by_torch)}
