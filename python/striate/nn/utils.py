"""torch.nn.utils: clip_grad_norm_."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from striate.nn.layer import Parameter


def clip_grad_norm_(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scales all gradients by max_norm / norm if their joint 2-norm is larger; returns that norm.

    Pascanu, Mikolov, Bengio 2013, algorithm 1.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    scale = np.float32(max_norm / (norm + 1e-6))  # as torch
    if scale < 1:
        for gradient in gradients:
            gradient *= scale
    return norm
