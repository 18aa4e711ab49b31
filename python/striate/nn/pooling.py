"""MaxPool2d, AvgPool2d and AdaptiveAvgPool2d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import striate.functional as F
from striate.functional._arguments import (
    Array,
    IntOrPair,
    flag,
    four_pads,
    padding_of,
    pair,
    pair_or_none,
    refuse,
)
from striate.nn.layer import Gradients, Layer, Window
from striate.plan.op import Op


class MaxPool2d(Layer):
    """The largest pixel under each window: see ``striate.functional.max_pool2d``."""

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        dilation: IntOrPair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        refuse("MaxPool2d", return_indices=return_indices)
        self.kernel_size = pair(kernel_size, "MaxPool2d", "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else pair(stride, "MaxPool2d", "stride", 1)
        self.padding = padding_of(padding, "MaxPool2d")
        self.dilation = pair(dilation, "MaxPool2d", "dilation", 1)
        self.ceil_mode = flag(ceil_mode, "MaxPool2d", "ceil_mode")

    def _arguments(self) -> tuple[Any, ...]:
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        if not save:
            return F.max_pool2d(x, *self._arguments()), None
        y, indices = F.max_pool2d(x, *self._arguments(), return_indices=True)
        return y, (indices, x.shape)

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        return F.max_pool2d_backward(dy, *saved, *self._arguments()) if need else None, []

    def op(self, training: bool) -> Op:
        return Op("max_pool2d", _pool("MaxPool2d", self, self.dilation))

    def window(self, input_shape: tuple[int, ...]) -> Window:
        height, width = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size))
        return (height, width), self.stride

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Layer):
    """The mean of the pixels under each window: see ``striate.functional.avg_pool2d``."""

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size, "AvgPool2d", "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else pair(stride, "AvgPool2d", "stride", 1)
        self.padding = padding_of(padding, "AvgPool2d")
        self.ceil_mode = flag(ceil_mode, "AvgPool2d", "ceil_mode")
        self.count_include_pad = flag(count_include_pad, "AvgPool2d", "count_include_pad")
        self.divisor_override = divisor_override

    def _arguments(self) -> tuple[Any, ...]:
        return (
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        return F.avg_pool2d(x, *self._arguments()), x.shape if save else None

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        return F.avg_pool2d_backward(dy, saved, *self._arguments()) if need else None, []

    def op(self, training: bool) -> Op | None:
        if self.divisor_override == 0:
            return None  # which the layer itself refuses
        options = _pool("AvgPool2d", self, (1, 1))
        counted = flag(self.count_include_pad, "AvgPool2d", "count_include_pad")
        options["count_include_pad"] = counted
        options["divisor_override"] = self.divisor_override or 0
        return Op("avg_pool2d", options)

    def window(self, input_shape: tuple[int, ...]) -> Window:
        return self.kernel_size, self.stride

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Layer):
    """The mean of each of ``output_size`` windows: see ``striate.functional.adaptive_avg_pool2d``.

    A plane of any size becomes one of ``output_size``, so that linear layers may follow.
    """

    def __init__(self, output_size: int | Sequence[int | None]) -> None:
        super().__init__()
        self.output_size = pair_or_none(output_size, "AdaptiveAvgPool2d", "output_size", 1)

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        return F.adaptive_avg_pool2d(x, self.output_size), x.shape if save else None

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        return F.adaptive_avg_pool2d_backward(dy, saved, self.output_size) if need else None, []

    def op(self, training: bool) -> Op:
        height, width = self.output_size
        return Op("adaptive_avg_pool2d", {"output_size": (height or 0, width or 0)})

    def window(self, input_shape: tuple[int, ...]) -> Window:
        height, width = (_widest(n, m) for n, m in zip(input_shape[2:], self.output_size))
        return (height[0], width[0]), (height[1], width[1])

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


def _pool(op: str, layer: MaxPool2d | AvgPool2d, dilation: tuple[int, int]) -> dict[str, Any]:
    return {
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "padding": four_pads(layer.padding, op),
        "dilation": dilation,
        "ceil_mode": flag(layer.ceil_mode, op, "ceil_mode"),
    }


def _widest(size: int, windows: int | None) -> tuple[int, int]:
    """(the widest of the windows, the furthest step between two) over ``size`` elements."""
    count = size if windows is None else windows
    starts = [i * size // count for i in range(count)]
    width = max(-(-(i + 1) * size // count) - start for i, start in enumerate(starts))
    return width, -(-size // count)
