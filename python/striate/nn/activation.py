"""ReLU, Tanh, Sigmoid, Softmax, LogSoftmax: what forward saves is the result."""

from __future__ import annotations

from typing import Any

import striate.functional as F
from striate.functional._arguments import Array
from striate.nn.layer import Gradients, Layer
from striate.plan.op import Op


class ReLU(Layer):
    """max(x, 0). ``inplace`` is accepted for torch's sake; no layer writes into its input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        y = F.relu(x)
        return y, y if save else None

    def grad(self, dy: Array, saved: Array, need: bool = True) -> tuple[Array | None, Gradients]:
        return F.relu_backward(dy, saved) if need else None, []

    def op(self, training: bool) -> Op:
        return Op("relu", {})


class Tanh(Layer):
    """tanh(x)."""

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        y = F.tanh(x)
        return y, y if save else None

    def grad(self, dy: Array, saved: Array, need: bool = True) -> tuple[Array | None, Gradients]:
        return F.tanh_backward(dy, saved) if need else None, []

    def op(self, training: bool) -> Op:
        return Op("tanh", {})


class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        y = F.sigmoid(x)
        return y, y if save else None

    def grad(self, dy: Array, saved: Array, need: bool = True) -> tuple[Array | None, Gradients]:
        return F.sigmoid_backward(dy, saved) if need else None, []

    def op(self, training: bool) -> Op:
        return Op("sigmoid", {})


class Softmax(Layer):
    """exp(x) / sum of exp(x) along ``dim``. To train a classifier: CrossEntropyLoss on logits."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        y = F.softmax(x, self.dim)
        return y, y if save else None

    def grad(self, dy: Array, saved: Array, need: bool = True) -> tuple[Array | None, Gradients]:
        return F.softmax_backward(dy, saved, self.dim) if need else None, []

    def op(self, training: bool) -> Op:
        return Op("softmax", {"dim": self.dim})

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """log of Softmax, computed without underflow."""

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        y = F.log_softmax(x, self.dim)
        return y, y if save else None

    def grad(self, dy: Array, saved: Array, need: bool = True) -> tuple[Array | None, Gradients]:
        return F.log_softmax_backward(dy, saved, self.dim) if need else None, []

    def op(self, training: bool) -> Op:
        return Op("log_softmax", {"dim": self.dim})
