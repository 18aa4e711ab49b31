"""ConstantPad2d and ZeroPad2d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from striate._device import is_array, namespace
from striate.functional._arguments import Array, as_array, integer, number
from striate.nn.layer import Gradients, Layer
from striate.plan.op import Op


class ConstantPad2d(Layer):
    """Puts ``value`` around the last two axes: ``padding`` on all sides, or torch's
    (left, right, top, bottom). Negative paddings, which crop in torch, are refused.
    """

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__()
        name = type(self).__name__
        if isinstance(padding, Sequence) and not isinstance(padding, (str, bytes)):
            if len(padding) != 4:
                raise ValueError(
                    f"{name}: padding must be an integer or (left, right, top, bottom), got "
                    f"{padding!r}"
                )
            left, right, top, bottom = (integer(n, name, "padding") for n in padding)
        else:
            left = right = top = bottom = integer(padding, name, "padding")
        self.padding = left, right, top, bottom
        self.value = number(value, name, "value")

    def _pads(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        return self.padding

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        x = as_array(x)
        if not is_array(x):
            name = type(self).__name__
            raise TypeError(f"{name}: input must be a NumPy array, got {type(x).__name__}")
        if x.ndim < 2:
            raise ValueError(
                f"{type(self).__name__}: input must have 2 or more dimensions, got shape {x.shape}"
            )
        xp = namespace(x)
        left, right, top, bottom = self._pads(x.shape)
        *leading, height, width = x.shape
        y = xp.full((*leading, height + top + bottom, width + left + right), self.value, x.dtype)
        y[..., top : top + height, left : left + width] = x
        return y, x.shape if save else None

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        if not need:
            return None, []
        left, _, top, _ = self._pads(saved)
        height, width = saved[-2:]
        inner = dy[..., top : top + height, left : left + width]
        return namespace(dy).ascontiguousarray(inner), []

    def op(self, training: bool) -> Op:
        left, right, top, bottom = self.padding
        return Op("pad", {"padding": (top, left, bottom, right), "value": self.value})

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPad2d(ConstantPad2d):
    """ConstantPad2d with 0."""

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"padding={self.padding}"
