"""How the layers that models define for themselves are written as ONNX nodes."""

from __future__ import annotations

import numpy as np

from striate.models.lenet import ScaledTanh, Subsampling, TableConv2d
from striate.onnx.emitter import Emitter, exports


@exports(ScaledTanh)
def scaled_tanh(layer: ScaledTanh, to: Emitter) -> str:
    channels = to.shape[1]
    zeros = to.constant("zeros", np.zeros(channels))
    slope = to.constant("slope", np.full(channels, layer.SLOPE))
    amplitude = to.constant("amplitude", np.full(channels, layer.AMPLITUDE))
    x = to.affine(to.inputs[0], slope, zeros, channels, part=".scaled")
    return to.affine(to.node("Tanh", x, part=".tanh"), amplitude, zeros, channels)


@exports(Subsampling)
def subsampling(layer: Subsampling, to: Emitter) -> str:
    mean = to.node("AveragePool", to.inputs[0], part=".mean", kernel_shape=[2, 2], strides=[2, 2])
    weights = to.parameter("coefficient"), to.parameter("bias")
    return to.affine(mean, *weights, to.shape[1])


@exports(TableConv2d)
def table_conv2d(layer: TableConv2d, to: Emitter) -> str:
    """A full convolution whose weight is 0 where the table has no connection."""
    weight = to.weight("weight", layer._dense_weight())
    return to.node("Conv", to.inputs[0], weight, to.parameter("bias"))
