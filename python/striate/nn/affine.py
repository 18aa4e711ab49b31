"""ChannelAffine and Bias: a scale and a shift for each channel, and a constant that is added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from striate.functional._arguments import Array, as_array, expect_together, float32_array, integer
from striate.nn.layer import Gradients, Layer, Parameter
from striate.plan.op import Op


class ChannelAffine(Layer):
    """y[:, c] = weight[c] * x[:, c] + bias[c]: what batch normalisation is in inference.

    ``weight`` and ``bias`` (num_features,) start at 1 and 0, and are frozen until
    ``requires_grad_()``. Input (N, C, ...). torch has no such layer; torchvision's
    FrozenBatchNorm2d computes the same from four arrays (Ioffe, Szegedy 2015, algorithm 2):
    weight / sqrt(running_var + eps) is the weight here, bias - running_mean times it the bias.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = integer(num_features, "ChannelAffine", "num_features", 1)
        self.weight = Parameter(np.ones(num_features, np.float32), requires_grad=False)
        self.bias = Parameter(np.zeros(num_features, np.float32), requires_grad=False)

    def _shaped(self, parameter: Parameter, ndim: int) -> Array:
        return parameter.data.reshape(-1, *(1,) * (ndim - 2))

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        x = as_array(x)
        if getattr(x, "dtype", None) != self.weight.data.dtype:
            x = float32_array(x, "ChannelAffine", "input")
        expect_together("ChannelAffine", (x, self.weight.data), ("input", "weight"))
        shape = x.shape
        if len(shape) < 2 or shape[1] != self.num_features:
            raise ValueError(
                f"ChannelAffine: input must be (N, {self.num_features}, ...), got shape {shape}"
            )
        y = x * self._shaped(self.weight, x.ndim)
        y += self._shaped(self.bias, x.ndim)
        return y, x if save and self.weight.requires_grad else None

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        axes = (0, *range(2, dy.ndim))
        gradients: Gradients = []
        if self.weight.requires_grad:
            gradients.append((self.weight, (dy * saved).sum(axis=axes)))
        if self.bias.requires_grad:
            gradients.append((self.bias, dy.sum(axis=axes)))
        return dy * self._shaped(self.weight, dy.ndim) if need else None, gradients

    def op(self, training: bool) -> Op:
        options = {"channels": self.num_features, "relu": False}
        return Op("channel_affine", options, (self.weight, self.bias))

    def extra_repr(self) -> str:
        return f"{self.num_features}"


class Bias(Layer):
    """y = x + bias, where ``bias`` of the given ``shape`` is broadcast to x, never x to it.

    A Parameter that starts at 0. (Not in torch; a fully connected layer has its own.) Raises
    ValueError for an input that ``shape`` does not fit.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        sizes = tuple(integer(n, "Bias", "shape") for n in shape)
        self.bias = Parameter(np.zeros(sizes, np.float32))

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        x = as_array(x)
        if getattr(x, "dtype", None) != self.bias.data.dtype:
            x = float32_array(x, "Bias", "input")
        expect_together("Bias", (x, self.bias.data), ("input", "bias"))
        own, given = self.bias.shape, x.shape
        ends = zip(reversed(own), reversed(given))
        if len(own) > len(given) or any(n not in (1, size) for n, size in ends):
            raise ValueError(f"Bias: bias {own} cannot be added to an input of shape {given}")
        return x + self.bias.data, None

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        gradients: Gradients = []
        if self.bias.requires_grad:
            padded = (1,) * (dy.ndim - len(self.bias.shape)) + self.bias.shape
            axes = tuple(axis for axis, n in enumerate(padded) if n == 1)
            total = dy.sum(axis=axes, keepdims=True)
            gradients.append((self.bias, total.reshape(self.bias.shape)))
        return dy if need else None, gradients

    def op(self, training: bool) -> Op:
        return Op("bias", {"shape": self.bias.shape}, (self.bias,))

    def extra_repr(self) -> str:
        return f"{self.bias.shape}"
