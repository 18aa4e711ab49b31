"""Layers for what ONNX defines and torch does not: only an import makes them."""

from __future__ import annotations

from typing import Any

import numpy as np

import striate.functional as F
from striate import nn
from striate.functional._arguments import Array, Pads, as_array
from striate.nn.layer import Gradients, Layer, Window

Pair = tuple[int, int]


class Reshape(Layer):
    """ONNX's Reshape to a constant shape: 0 keeps an axis (without ``allowzero``), -1 is open."""

    def __init__(self, shape: tuple[int, ...], allowzero: bool = False) -> None:
        super().__init__()
        self.shape, self.allowzero = shape, allowzero

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        wanted = list(self.shape)
        if not self.allowzero:
            if any(n == 0 and i >= x.ndim for i, n in enumerate(wanted)):
                raise ValueError(f"Reshape: {self.shape} keeps an axis that {x.shape} lacks")
            wanted = [n or x.shape[i] for i, n in enumerate(wanted)]
        try:
            return x.reshape(wanted), x.shape if save else None
        except ValueError:
            raise ValueError(
                f"Reshape: an input of shape {x.shape} cannot take the shape {self.shape}"
            ) from None

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        return dy.reshape(saved) if need else None, []

    def extra_repr(self) -> str:
        return f"{self.shape}"


class FlattenAt(Layer):
    """ONNX's Flatten: the axes before ``axis`` become the first of two, the others the second."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        if not -x.ndim <= self.axis <= x.ndim:
            raise ValueError(f"Flatten: axis={self.axis} is none of an input of shape {x.shape}")
        axis = self.axis + x.ndim if self.axis < 0 else self.axis
        y = x.reshape(int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])))
        return y, x.shape if save else None

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        return dy.reshape(saved) if need else None, []

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class FlatSoftmax(Layer):
    """Softmax, or its logarithm, as before opset 13: over all axes from ``axis`` on, together."""

    def __init__(self, axis: int, log: bool) -> None:
        super().__init__()
        self.flatten = FlattenAt(axis)
        self.softmax = nn.LogSoftmax(1) if log else nn.Softmax(1)

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        flat, _ = self.flatten.apply(x, training, False)
        y, saved = self.softmax.apply(flat, training, save)
        return y.reshape(x.shape), saved

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        if not need:
            return None, []
        dx, _ = self.softmax.grad(dy.reshape(saved.shape), saved)
        assert dx is not None
        return dx.reshape(dy.shape), []


class MirroredLRN(nn.LocalResponseNorm):
    """LocalResponseNorm whose window of even size reaches one channel further up, as in ONNX.

    torch's reaches further down: this is torch's over the channels in reverse order.
    """

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        y, saved = super().apply(_mirrored(x), training, save)
        return _mirrored(y), saved

    def grad(self, dy: Array, saved: Array, need: bool = True) -> tuple[Array | None, Gradients]:
        dx, gradients = super().grad(_mirrored(dy), saved, need)
        return dx if dx is None else _mirrored(dx), gradients


def _mirrored(x: Array) -> Array:
    return np.ascontiguousarray(x[:, ::-1]) if x.ndim > 1 else x  # which the op then refuses


def same_pads(size: int, kernel: int, stride: int, upper: bool) -> Pair:
    """(before, after) so that ceil(size / stride) windows fit; ``upper``: the odd one after."""
    windows = -(-size // stride)
    total = max((windows - 1) * stride + kernel - size, 0)
    less = total // 2
    return (less, total - less) if upper else (total - less, less)


class SamePad2d(nn.ConstantPad2d):
    """Pads for auto_pad=SAME_UPPER or SAME_LOWER: with a stride they depend on the input's size."""

    def __init__(self, kernel: Pair, stride: Pair, upper: bool, value: float) -> None:
        super().__init__(0, value)
        self.axes = tuple(zip(kernel, stride))
        self.upper = upper

    def _pads(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        (top, bottom), (left, right) = (
            same_pads(size, *axis, self.upper) for size, axis in zip(shape[-2:], self.axes)
        )
        return left, right, top, bottom


class AveragePool(Layer):
    """ONNX's AveragePool where AvgPool2d ends: dilations, pads above half of the kernel, SAME.

    A convolution with ones, divided by the number of elements that count: those inside the input,
    or inside its padding, too (``count_include_pad``). ``pads``: (top, left, bottom, right), or
    None for SAME, ``upper`` or lower.
    """

    def __init__(
        self,
        kernel: Pair,
        stride: Pair,
        pads: Pads | None,
        dilation: Pair,
        upper: bool,
        ceil_mode: bool,
        count_include_pad: bool,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.pads, self.dilation = kernel, stride, pads, dilation
        self.upper, self.ceil_mode, self.count_include_pad = upper, ceil_mode, count_include_pad

    def _axis(self, axis: int, size: int) -> tuple[int, int, int]:
        """Pads before and after, and how far the last window hangs over them in ceil mode."""
        kernel, stride, dilation = self.kernel[axis], self.stride[axis], self.dilation[axis]
        if self.pads is None:
            return *same_pads(size, kernel, stride, self.upper), 0
        before, after = self.pads[axis], self.pads[axis + 2]
        room = size + before + after - (dilation * (kernel - 1) + 1)
        if room < 0:
            raise ValueError(
                f"AveragePool: kernel={self.kernel} with dilation={self.dilation} does not fit an "
                f"image with {size} elements along axis {axis + 2}, padded by {before} and {after}"
            )
        if not self.ceil_mode or room % stride == 0:
            return before, after, 0
        windows = -(-room // stride) + 1
        if (windows - 1) * stride >= size + before:  # a window must start inside
            return before, after, 0
        return before, after, (windows - 1) * stride - room

    def _geometry(
        self, shape: tuple[int, ...], dtype: Any
    ) -> tuple[tuple[int, int, int, int], Array]:
        """The convolution's pads, and how many elements count in each window."""
        rows, columns = (self._axis(i, size) for i, size in enumerate(shape[2:]))
        pads = rows[0], columns[0], rows[1] + rows[2], columns[1] + columns[2]
        height, width = shape[2:]
        if self.count_include_pad:
            height, width = height + rows[0] + rows[1], width + columns[0] + columns[1]
            counted = 0, 0, rows[2], columns[2]
        else:
            counted = pads
        counts = self._sum(np.ones((1, 1, height, width), dtype), counted)
        return pads, counts

    def _sum(self, x: Array, pads: Pads) -> Array:
        return F.conv2d(x, self._ones(x), None, self.stride, pads, self.dilation)

    def _ones(self, x: Array) -> Array:
        return np.ones((1, 1, *self.kernel), x.dtype)

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        x = _planes("AveragePool", x)
        pads, counts = self._geometry(x.shape, x.dtype)
        y = self._sum(x.reshape(-1, 1, *x.shape[2:]), pads)
        y /= counts
        return y.reshape(*x.shape[:2], *y.shape[2:]), x.shape if save else None

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        if not need:
            return None, []
        pads, counts = self._geometry(saved, dy.dtype)
        scaled = (dy / counts).reshape(-1, 1, *dy.shape[2:])
        plane = np.empty((scaled.shape[0], 1, *saved[2:]), dy.dtype)  # only its shape is read
        dx, _, _ = F.conv2d_backward(
            scaled, plane, self._ones(dy), None, self.stride, pads, self.dilation,
            need=(True, False, False),
        )  # fmt: skip
        assert dx is not None
        return dx.reshape(saved), []

    def window(self, input_shape: tuple[int, ...]) -> Window:
        height, width = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel))
        return (height, width), self.stride

    def extra_repr(self) -> str:
        pads = "same" if self.pads is None else self.pads
        return f"kernel={self.kernel}, stride={self.stride}, pads={pads}, dilation={self.dilation}"


def pooling_matrix(size: int, windows: int) -> Array:
    """(size, windows): adaptive pooling along one axis, as a product from the right.

    Column p averages the elements from floor(p size / windows) up to ceil((p + 1) size / windows).
    """
    p, i = np.arange(windows), np.arange(size)[:, np.newaxis]
    begin, end = p * size // windows, -(-(p + 1) * size // windows)
    return np.where((begin <= i) & (i < end), 1 / (end - begin), 0).astype(np.float32)


def _planes(op: str, x: Any) -> Array:
    x = as_array(x)
    if np.ndim(x) != 4:
        raise ValueError(f"{op}: input must be (N, C, H, W), got shape {np.shape(x)}")
    return x  # type: ignore[no-any-return]
