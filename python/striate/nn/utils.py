"""torch.nn.utils: clip_grad_norm_."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from striate._device import is_cuda, namespace
from striate.functional._arguments import number
from striate.nn.layer import Parameter


def clip_grad_norm_(parameters: Iterable[Parameter], max_norm: float) -> Any:
    """Scales all gradients by max_norm / norm if their joint 2-norm is larger; returns that norm.

    Pascanu, Mikolov, Bengio 2013, algorithm 1. The norm is a float, on a GPU a CuPy array ().
    ``max_norm`` may be infinite, to measure only. Raises TypeError for one that is no number,
    ValueError for one that is negative or NaN.
    """
    max_norm = number(max_norm, "clip_grad_norm_", "max_norm")
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must be at least 0, got {max_norm}")
    gradients = [p.grad for p in parameters if p.grad is not None]
    if any(is_cuda(g) for g in gradients):
        return _clip_on_gpu(gradients, max_norm)
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    scale = np.float32(max_norm / (norm + 1e-6))  # as torch
    if scale < 1:
        for gradient in gradients:
            gradient *= scale
    return norm


def _clip_on_gpu(gradients: list[Any], max_norm: float) -> Any:
    """The same without waiting: the norm stays on the GPU, and a scale of 1 multiplies, too."""
    xp = namespace(gradients[0])
    squares = [xp.sum(xp.square(g), dtype=np.float64) for g in gradients]
    norm = xp.sqrt(functools.reduce(xp.add, squares))
    scale = xp.minimum(max_norm / (norm + 1e-6), 1.0).astype(np.float32)
    for gradient in gradients:
        gradient *= scale
    return norm
