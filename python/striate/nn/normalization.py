"""LocalResponseNorm."""

from __future__ import annotations

from typing import Any

import striate.functional as F
from striate.functional._arguments import Array, integer, number
from striate.nn.layer import Gradients, Layer
from striate.plan.op import Op


class LocalResponseNorm(Layer):
    """x / (k + alpha / size * sum of squares over ``size`` channels)^beta: see
    ``striate.functional.local_response_norm``.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = integer(size, "LocalResponseNorm", "size", 1)
        self.alpha = number(alpha, "LocalResponseNorm", "alpha")
        self.beta = number(beta, "LocalResponseNorm", "beta")
        self.k = number(k, "LocalResponseNorm", "k")

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        y = F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)
        return y, x if save else None

    def grad(self, dy: Array, saved: Array, need: bool = True) -> tuple[Array | None, Gradients]:
        if not need:
            return None, []
        arguments = self.size, self.alpha, self.beta, self.k
        return F.local_response_norm_backward(dy, saved, *arguments), []

    def op(self, training: bool) -> Op:
        options = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}
        return Op("local_response_norm", options)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
