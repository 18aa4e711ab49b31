"""How each layer of striate.nn is written as ONNX nodes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from striate import nn
from striate.functional._arguments import four_pads
from striate.functional.convolution import _pads
from striate.onnx import layers as own
from striate.onnx.emitter import Emitter, Pads, exports

Pair = tuple[int, int]


def _simple(kind: type[nn.Layer], operator: str) -> None:
    exports(kind)(lambda layer, to: to.node(operator, *to.inputs))


_simple(nn.ReLU, "Relu")
_simple(nn.Tanh, "Tanh")
_simple(nn.Sigmoid, "Sigmoid")
_simple(nn.Identity, "Identity")
_simple(nn.Add, "Sum")


@exports(nn.Conv2d)
def conv2d(layer: nn.Conv2d, to: Emitter) -> str:
    pads = _pads("Conv2d", layer.padding, layer.weight.data, layer.stride, layer.dilation)
    x, _, more = to.unpadded(0.0)
    weights = [to.parameter("weight")] + ([] if layer.bias is None else [to.parameter("bias")])
    return to.node(
        "Conv",
        x,
        *weights,
        kernel_shape=layer.kernel_size,
        strides=layer.stride,
        pads=[a + b for a, b in zip(pads, more)],
        dilations=layer.dilation,
        group=layer.groups,
    )


@exports(nn.Linear)
def linear(layer: nn.Linear, to: Emitter) -> str:
    weights = [to.parameter("weight")] + ([] if layer.bias is None else [to.parameter("bias")])
    if len(to.shape) == 2:
        return to.node("Gemm", to.inputs[0], *weights, transB=1)
    turned = to.node("Transpose", weights[0], part=".transposed", perm=[1, 0])
    y = to.node("MatMul", to.inputs[0], turned)  # load calls the layer as this node
    return y if layer.bias is None else to.node("Add", y, weights[1], part=".sum")


def _ceil_mode(
    to: Emitter, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair, counted: bool
) -> dict[str, Any]:
    """pads and ceil_mode, the latter 1 only where a window does hang over the padding's end.

    In ceil mode a window that would start in the padding is left out: by torch, by ONNX Runtime,
    and by ONNX since opset 22, but not before. Where one is left out in one direction while one
    hangs over in the other, the overhang is written as padding.
    """
    hangs, ambiguous = [0, 0], False
    for i in range(2):
        size, out = to.shape[2 + i] + pads[i] + pads[i + 2], to.result[2 + i]
        reach = dilation[i] * (kernel[i] - 1) + 1
        hangs[i] = max((out - 1) * stride[i] + reach - size, 0)
        ambiguous |= out < -(-(size - reach) // stride[i]) + 1
    if not any(hangs) or not ambiguous:
        return {"pads": pads, "ceil_mode": int(any(hangs))}
    if counted:
        raise to.refuse(
            f"ceil_mode with stride {stride}, padding {pads} and count_include_pad for an input of "
            f"{to.shape[2:]} has no counterpart in ONNX"
        )
    return {"pads": (*pads[:2], pads[2] + hangs[0], pads[3] + hangs[1]), "ceil_mode": 0}


@exports(nn.MaxPool2d)
def max_pool2d(layer: nn.MaxPool2d, to: Emitter) -> str:
    pads = four_pads(layer.padding, "MaxPool2d")
    for i in range(2):
        starts = np.arange(to.result[2 + i]) * layer.stride[i] - pads[i]
        taps = starts[:, None] + np.arange(layer.kernel_size[i]) * layer.dilation[i]
        if not ((taps >= 0) & (taps < to.shape[2 + i])).any(axis=1).all():
            raise to.refuse("a dilated window steps over the whole input, and ONNX has no -inf")
    window = layer.kernel_size, layer.stride
    options = _ceil_mode(to, *window, pads, layer.dilation, counted=False)
    x = to.inputs[0]
    if not options["ceil_mode"]:
        source, _, more = to.unpadded(-math.inf)
        together = [a + b for a, b in zip(options["pads"], more)]
        if all(pad < size for pad, size in zip(together, layer.kernel_size * 2)):
            x, options["pads"] = source, together  # ONNX Runtime takes no pads beyond that
    return to.node(
        "MaxPool",
        x,
        kernel_shape=layer.kernel_size,
        strides=layer.stride,
        dilations=layer.dilation,
        **options,
    )


@exports(nn.AvgPool2d)
def avg_pool2d(layer: nn.AvgPool2d, to: Emitter) -> str:
    if layer.divisor_override is not None:
        raise to.refuse(f"divisor_override={layer.divisor_override} has no counterpart in ONNX")
    pads = four_pads(layer.padding, "AvgPool2d")
    counted = layer.count_include_pad and any(pads)
    return to.node(
        "AveragePool",
        to.inputs[0],
        kernel_shape=layer.kernel_size,
        strides=layer.stride,
        count_include_pad=int(counted),
        **_ceil_mode(to, layer.kernel_size, layer.stride, pads, (1, 1), counted),
    )


@exports(own.AveragePool)
def average_pool(layer: own.AveragePool, to: Emitter) -> str:
    rows, columns = (layer._axis(i, size) for i, size in enumerate(to.shape[2:]))
    pads = rows[0], columns[0], rows[1], columns[1]
    counted = layer.count_include_pad and any(pads)
    options = _ceil_mode(to, layer.kernel, layer.stride, pads, layer.dilation, counted)
    if layer.dilation != (1, 1):
        to.needs_opset(19)
        options["dilations"] = layer.dilation
    return to.node(
        "AveragePool",
        to.inputs[0],
        kernel_shape=layer.kernel,
        strides=layer.stride,
        count_include_pad=int(counted),
        **options,
    )


@exports(nn.AdaptiveAvgPool2d)
def adaptive_avg_pool2d(layer: nn.AdaptiveAvgPool2d, to: Emitter) -> str:
    """An AveragePool where the sizes divide; else constant matrices on both sides of the plane."""
    (height, width), (p, q) = to.shape[2:], to.result[2:]
    if (p, q) == (1, 1):
        return to.node("GlobalAveragePool", to.inputs[0])
    if height % p == 0 and width % q == 0:
        kernel = [height // p, width // q]
        return to.node("AveragePool", to.inputs[0], kernel_shape=kernel, strides=kernel)
    columns = to.constant("columns", own.pooling_matrix(width, q))
    rows = to.constant("rows", own.pooling_matrix(height, p).T)
    return to.node("MatMul", rows, to.node("MatMul", to.inputs[0], columns, part=".across"))


@exports(nn.LogSoftmax)
@exports(nn.Softmax)
def softmax(layer: nn.Softmax, to: Emitter) -> str:
    axis = layer.dim
    if axis is None:  # torch's implicit choice
        axis = 0 if len(to.shape) in (0, 1, 3) else 1
    return to.node(type(layer).__name__, to.inputs[0], axis=axis)


@exports(own.FlatSoftmax)
def flat_softmax(layer: own.FlatSoftmax, to: Emitter) -> str:
    flat = to.node("Flatten", to.inputs[0], part=".flat", axis=layer.flatten.axis)
    y = to.node(type(layer.softmax).__name__, flat, part=".softmax", axis=1)
    return to.node("Reshape", y, to.constant("shape", (-1, *to.shape[1:]), np.int64))


@exports(nn.LocalResponseNorm)
def local_response_norm(layer: nn.LocalResponseNorm, to: Emitter) -> str:
    if layer.size % 2 == 0:
        raise to.refuse(
            f"size={layer.size} is even: torch's window reaches one channel further down, ONNX's "
            "one further up"
        )
    return _lrn(layer, to)


@exports(own.MirroredLRN)
def _lrn(layer: nn.LocalResponseNorm, to: Emitter) -> str:
    if len(to.shape) != 4:
        raise to.refuse(f"ONNX's LRN takes (N, C, H, W), got {('N', *to.shape[1:])}")
    return to.node(
        "LRN",
        to.inputs[0],
        size=layer.size,
        alpha=float(layer.alpha),
        beta=float(layer.beta),
        bias=float(layer.k),
    )


@exports(nn.Dropout)
def dropout(layer: nn.Dropout, to: Emitter) -> str:
    """It passes everything on in inference; who loads the file to train has it again."""
    if layer.p == 1:  # which ONNX does not allow, and which does nothing in inference either
        return to.node("Identity", to.inputs[0])
    return to.node("Dropout", to.inputs[0], to.constant("ratio", layer.p))


@exports(nn.Flatten)
def flatten(layer: nn.Flatten, to: Emitter) -> str:
    end = layer.end_dim + len(to.shape) if layer.end_dim < 0 else layer.end_dim
    if layer.start_dim == 1 and end == len(to.shape) - 1:
        return to.node("Flatten", to.inputs[0], axis=1)
    start = layer.start_dim + len(to.shape) if layer.start_dim < 0 else layer.start_dim
    batch = 0 if start > 0 or end == 0 else -1
    return to.node("Reshape", to.inputs[0], to.constant("shape", (batch, *to.result[1:]), np.int64))


@exports(own.FlattenAt)
def flatten_at(layer: own.FlattenAt, to: Emitter) -> str:
    return to.node("Flatten", to.inputs[0], axis=layer.axis)


@exports(own.Reshape)
def reshape(layer: own.Reshape, to: Emitter) -> str:
    options: dict[str, Any] = {"allowzero": 1} if layer.allowzero else {}
    shape = to.constant("shape", layer.shape, np.int64)
    return to.node("Reshape", to.inputs[0], shape, **options)


@exports(nn.Concat)
def concat(layer: nn.Concat, to: Emitter) -> str:
    return to.node("Concat", *to.inputs, axis=layer.dim)


@exports(nn.ChannelAffine)
def channel_affine(layer: nn.ChannelAffine, to: Emitter) -> str:
    weights = to.parameter("weight"), to.parameter("bias")
    return to.affine(to.inputs[0], *weights, layer.num_features)


@exports(nn.Bias)
def bias(layer: nn.Bias, to: Emitter) -> str:
    return to.node("Add", to.inputs[0], to.parameter("bias"))


@exports(own.SamePad2d)
@exports(nn.ZeroPad2d)
@exports(nn.ConstantPad2d)
def constant_pad2d(layer: nn.ConstantPad2d, to: Emitter) -> str:
    left, right, top, bottom = layer._pads(to.shape)
    return to.pad((top, left, bottom, right), layer.value)
