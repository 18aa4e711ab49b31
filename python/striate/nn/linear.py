"""Linear and Flatten."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import striate.functional as F
from striate._device import is_array
from striate.functional._arguments import LARGEST, Array, as_array, integer, refuse
from striate.nn import init
from striate.nn.layer import Gradients, Layer, Parameter, Window
from striate.plan.op import Op


class Linear(Layer):
    """y = x weight^T + bias, for x of shape (..., in_features).

    ``weight`` (out_features, in_features) and ``bias`` (out_features,) start as in PyTorch:
    U(-1/sqrt(in_features), 1/sqrt(in_features)).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        refuse("Linear", device=device, dtype=dtype)
        self.in_features = integer(in_features, "Linear", "in_features", 1)
        self.out_features = integer(out_features, "Linear", "out_features", 1)
        self.weight = Parameter(np.empty((out_features, in_features), np.float32))
        self.bias = Parameter(np.empty(out_features, np.float32)) if bias else None
        init.torch_default_(self.weight, self.bias)

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        bias = None if self.bias is None else self.bias.data
        return F.linear(x, self.weight.data, bias), x if save else None

    def grad(self, dy: Array, saved: Array, need: bool = True) -> tuple[Array | None, Gradients]:
        bias = None if self.bias is None else self.bias.data
        wanted = (
            need,
            self.weight.requires_grad,
            self.bias is not None and self.bias.requires_grad,
        )
        dx, dw, db = F.linear_backward(dy, saved, self.weight.data, bias, need=wanted)
        pairs = ((self.weight, dw), (self.bias, db))
        return dx, [(p, g) for p, g in pairs if p is not None and g is not None]

    def op(self, training: bool) -> Op:
        features, inputs = self.weight.shape
        options = {
            "in_features": inputs,
            "out_features": features,
            "bias": self.bias is not None,
            "relu": False,
        }
        parameters = (self.weight,) if self.bias is None else (self.weight, self.bias)
        return Op("linear", options, parameters)

    def window(self, input_shape: tuple[int, ...]) -> Window:
        return None

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        return math.prod(output_shape) * self.in_features

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Flatten(Layer):
    """Merges the axes start_dim .. end_dim into one; by default all but the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = integer(start_dim, "Flatten", "start_dim", -LARGEST)
        self.end_dim = integer(end_dim, "Flatten", "end_dim", -LARGEST)

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        x = as_array(x)
        if not is_array(x):
            raise TypeError(f"Flatten: input must be a NumPy array, got {type(x).__name__}")
        shape = x.shape
        start, end = (d + len(shape) if d < 0 else d for d in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < len(shape):
            raise ValueError(
                f"Flatten: start_dim={self.start_dim} and end_dim={self.end_dim} do not fit an "
                f"input of shape {shape}"
            )
        merged = math.prod(shape[start : end + 1])
        return x.reshape(*shape[:start], merged, *shape[end + 1 :]), shape if save else None

    def grad(
        self, dy: Array, saved: tuple[int, ...], need: bool = True
    ) -> tuple[Array | None, Gradients]:
        return dy.reshape(saved) if need else None, []

    def op(self, training: bool) -> Op:
        return Op("flatten", {"start_dim": self.start_dim, "end_dim": self.end_dim})

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
