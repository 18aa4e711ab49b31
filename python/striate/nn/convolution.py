"""Conv2d."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import striate.functional as F
from striate.functional._arguments import Array, IntOrPair, integer, padding_of, pair, refuse
from striate.functional.convolution import Padding, geometry
from striate.nn import init
from striate.nn.layer import Gradients, Layer, Parameter, Window
from striate.plan.op import Op


class Conv2d(Layer):
    """Two-dimensional convolution: see ``striate.functional.conv2d``.

    ``weight`` (out_channels, in_channels / groups, height, width) and ``bias`` (out_channels,)
    start as in PyTorch: U(-1/sqrt(n), 1/sqrt(n)), n = in_channels / groups * height * width.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        refuse("Conv2d", device=device, dtype=dtype)
        if padding_mode != "zeros":
            raise ValueError(f"Conv2d: padding_mode must be 'zeros', got {padding_mode!r}")
        self.in_channels = integer(in_channels, "Conv2d", "in_channels", 1)
        self.out_channels = integer(out_channels, "Conv2d", "out_channels", 1)
        self.groups = integer(groups, "Conv2d", "groups", 1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups={groups} must divide in_channels={in_channels} and "
                f"out_channels={out_channels}"
            )
        self.kernel_size = pair(kernel_size, "Conv2d", "kernel_size", 1)
        self.stride = pair(stride, "Conv2d", "stride", 1)
        if padding not in ("same", "valid") and isinstance(padding, str):
            raise ValueError(f"Conv2d: padding must be 'same', 'valid' or numbers, got {padding!r}")
        if padding == "same" and self.stride != (1, 1):
            raise ValueError(f"Conv2d: padding='same' needs stride 1, got stride {self.stride}")
        self.padding = padding if isinstance(padding, str) else padding_of(padding, "Conv2d")
        self.dilation = pair(dilation, "Conv2d", "dilation", 1)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(np.empty(shape, np.float32))
        self.bias = Parameter(np.empty(out_channels, np.float32)) if bias else None
        init.torch_default_(self.weight, self.bias)

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        return F.conv2d(x, self.weight.data, *self._arguments()), x if save else None

    def grad(self, dy: Array, saved: Array, need: bool = True) -> tuple[Array | None, Gradients]:
        wanted = (
            need,
            self.weight.requires_grad,
            self.bias is not None and self.bias.requires_grad,
        )
        dx, dw, db = F.conv2d_backward(dy, saved, self.weight.data, *self._arguments(), need=wanted)
        pairs = ((self.weight, dw), (self.bias, db))
        return dx, [(p, g) for p, g in pairs if p is not None and g is not None]

    def _arguments(self) -> tuple[Any, ...]:
        bias = None if self.bias is None else self.bias.data
        return bias, self.stride, self.padding, self.dilation, self.groups

    def op(self, training: bool) -> Op:
        stride, pads, dilation, groups = geometry(
            "Conv2d", self.weight.data, *self._arguments()[1:]
        )
        options = {
            "in_channels": self.weight.shape[1],  # of a group
            "out_channels": self.weight.shape[0],
            "kernel_size": self.weight.shape[2:],
            "stride": stride,
            "padding": pads,
            "dilation": dilation,
            "groups": groups,
            "bias": self.bias is not None,
            "relu": False,
            "pool": None,
        }
        parameters = (self.weight,) if self.bias is None else (self.weight, self.bias)
        return Op("conv2d", options, parameters)

    def window(self, input_shape: tuple[int, ...]) -> Window:
        height, width = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size))
        return (height, width), self.stride

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        return math.prod(output_shape) * math.prod(self.weight.shape[1:])

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        for name, default in (("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)!r}"
        return text + ("" if self.bias is not None else ", bias=False")
