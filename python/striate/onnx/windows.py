"""Convolution and pooling, from ONNX to layers: kernels, strides, dilations, pads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from striate import nn
from striate.functional._arguments import Array
from striate.onnx.layers import AveragePool, SamePad2d, same_pads
from striate.onnx.operation import Operation

Pair = tuple[int, int]
_SAME = 255  # rows and columns of a pool that pads by itself, at most


class Window(NamedTuple):
    """What Conv and the pools share. ``pads``: (top, left, bottom, right), None where SAME with a
    stride makes them depend on the input's size.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    pads: tuple[int, int, int, int] | None
    upper: bool

    @property
    def padding(self) -> tuple[int, ...]:
        """The pads as nn's layers show them: a pair where that is enough."""
        pads = self.pads or (0, 0, 0, 0)
        return pads[:2] if pads[:2] == pads[2:] else pads


def _window(op: Operation, kernel: Pair, dilation: Pair) -> Window:
    stride = _pair(op, "strides", op.integers("strides", 2, (1, 1)), 1)
    auto = op.text("auto_pad", "NOTSET")
    pads = op.integers("pads", 4, (0, 0, 0, 0))
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        op.refuse(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, got {auto!r}")
    if auto != "NOTSET" and any(pads):
        op.refuse(f"auto_pad={auto} and pads={list(pads)} exclude each other")
    if any(not 0 <= pad < 2**31 for pad in pads):
        op.refuse(f"pads must be between 0 and {2**31 - 1}, got {list(pads)}")
    upper = auto == "SAME_UPPER"
    if not auto.startswith("SAME"):
        top, left, bottom, right = pads
        return Window(kernel, stride, dilation, (top, left, bottom, right), upper)
    if dilation != (1, 1):
        op.refuse(
            f"auto_pad={auto} with dilations={list(dilation)} is not supported: runtimes disagree "
            "on what it means"
        )
    if stride != (1, 1):
        return Window(kernel, stride, dilation, None, upper)
    (top, bottom), (left, right) = (same_pads(n, n, 1, upper) for n in kernel)
    return Window(kernel, stride, dilation, (top, left, bottom, right), upper)


def _pair(op: Operation, name: str, values: tuple[int, ...], least: int) -> Pair:
    if any(not least <= n < 2**31 for n in values):
        op.refuse(f"{name} must be between {least} and {2**31 - 1}, got {list(values)}")
    return values[0], values[1]


def _dilation(op: Operation) -> Pair:
    return _pair(op, "dilations", op.integers("dilations", 2, (1, 1)), 1)


def _kernel(op: Operation) -> Pair:
    return _pair(op, "kernel_shape", op.integers("kernel_shape", 2, None), 1)


def _images(op: Operation) -> None:
    rank = op.rank()
    if rank not in (None, 4):
        op.refuse(f"its input must have 4 dimensions (N, C, H, W), got {rank}")


def conv(op: Operation) -> None:
    _images(op)
    weight = op.weights(1)
    if weight.ndim != 4:
        op.refuse(f"W must have 4 dimensions (images have 2 axes), got shape {weight.shape}")
    outputs, inputs, height, width = weight.shape
    if op.integers("kernel_shape", 2, (height, width)) != (height, width):
        given = op.attribute("kernel_shape", list)
        op.refuse(f"kernel_shape={given} is not that of W, whose shape is {weight.shape}")
    window = _window(op, (height, width), _dilation(op))
    groups = op.integer("group", 1)
    op.expect(1, inputs * groups, f"W of shape {weight.shape} with group={groups}")
    bias = op.weights(2, 1) if op.has(2) else None
    if bias is not None and len(bias) != outputs:
        op.refuse(f"B must have one value for each of the {outputs} outputs, got {bias.shape}")
    value = op.data()
    if window.pads is None:
        value = op.emit(_same(window, 0.0), value, part="_pad")
    with nn.init.skipped():
        layer = nn.Conv2d(
            inputs * max(groups, 1),
            outputs,
            window.kernel,
            window.stride,
            window.padding,
            window.dilation,
            groups,
            bias is not None,
        )
    layer.weight = op.parameter(1, "conv", lambda: weight)
    if bias is not None:
        values: Array = bias
        layer.bias = op.parameter(2, "bias", lambda: values)
    op.write(op.emit(layer, value))


def _same(window: Window, value: float) -> SamePad2d:
    return SamePad2d(window.kernel, window.stride, window.upper, value)


def _pool_window(op: Operation, dilation: Pair) -> Window:
    window = _window(op, _kernel(op), dilation)
    if window.pads is None and max(window.kernel) > _SAME:
        op.refuse(
            f"kernel_shape={list(window.kernel)} with strides and auto_pad=SAME is not supported "
            f"above {_SAME}: the padding would be as large, whatever the image"
        )
    if window.pads is not None and any(p >= n for p, n in zip(window.pads, window.kernel * 2)):
        op.refuse(
            f"pads={list(window.pads)} must be below kernel_shape={list(window.kernel)}, as ONNX "
            "Runtime demands: a window would see nothing but padding"
        )
    return window


def _halves(window: Window) -> bool:
    """Whether no pad is above half of the kernel: what torch's pools, and so nn's, can do."""
    pads, (height, width) = window.pads, window.kernel
    return pads is not None and all(p <= n // 2 for p, n in zip(pads, (height, width) * 2))


def max_pool(op: Operation) -> None:
    _images(op)
    window = _pool_window(op, _dilation(op))
    ceil_mode = op.flag("ceil_mode")
    if op.integer("storage_order", 0):
        op.refuse("storage_order=1 is not supported, nor are the indices that it concerns")
    value, pads = op.data(), window.pads
    if not _halves(window):
        if ceil_mode:
            shown = "auto_pad=SAME" if pads is None else f"pads={list(pads)}"
            op.refuse(
                f"ceil_mode=1 with {shown} above half of kernel_shape={list(window.kernel)} is "
                "not supported"
            )
        if pads is None:
            layer: nn.Layer = _same(window, -np.inf)
        else:
            top, left, bottom, right = pads
            layer = nn.ConstantPad2d((left, right, top, bottom), -np.inf)
        value = op.emit(layer, value, part="_pad")
        window = window._replace(pads=(0, 0, 0, 0))
    pool = nn.MaxPool2d(
        window.kernel, window.stride, window.padding, window.dilation, ceil_mode=ceil_mode
    )
    op.write(op.emit(pool, value))


def average_pool(op: Operation) -> None:
    _images(op)
    dilation = _dilation(op) if op.version >= 19 else (1, 1)
    window = _pool_window(op, dilation)
    ceil_mode, count = op.flag("ceil_mode"), op.flag("count_include_pad")
    if window.pads is None and ceil_mode:
        op.refuse("ceil_mode=1 with auto_pad=SAME is not supported")
    if dilation == (1, 1) and window.pads is not None and _halves(window):
        pool: nn.Layer = nn.AvgPool2d(
            window.kernel, window.stride, window.padding, ceil_mode, count_include_pad=count
        )
    else:
        pool = AveragePool(
            window.kernel, window.stride, window.pads, dilation, window.upper, ceil_mode, count
        )
    op.write(op.emit(pool, op.data()))


def global_average_pool(op: Operation) -> None:
    _images(op)
    op.write(op.emit(nn.AdaptiveAvgPool2d(1), op.data()))


CONVERTERS = {
    "AveragePool": average_pool,
    "Conv": conv,
    "GlobalAveragePool": global_average_pool,
    "MaxPool": max_pool,
}
