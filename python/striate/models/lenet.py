"""LeNet-5: today's usual form, and the paper's (LeCun, Bottou, Bengio, Haffner 1998, II.B)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import striate.functional as F
from striate import nn
from striate._device import device_of, namespace
from striate._device import to as to_device
from striate.functional._arguments import Array
from striate.nn import init
from striate.nn.layer import Gradients, Window
from striate.plan.op import Op


def lenet5(num_classes: int = 10) -> nn.Sequential:
    """LeNet-5 with ReLU and max pooling, for (N, 1, 28, 28) images: 61,706 parameters.

    layer               output    sees   parameters  multiply-adds
    input               1x28x28
    conv1    Conv2d     6x28x28   5x5           156        117,600
    relu1    ReLU       6x28x28   5x5
    pool1    MaxPool2d  6x14x14   6x6
    conv2    Conv2d     16x10x10  14x14       2,416        240,000
    relu2    ReLU       16x10x10  14x14
    pool2    MaxPool2d  16x5x5    16x16
    flatten  Flatten    400       16x16
    fc1      Linear     120       all        48,120         48,000
    relu3    ReLU       120       all
    fc2      Linear     84        all        10,164         10,080
    relu4    ReLU       84        all
    fc3      Linear     10        all           850            840
    total                                    61,706        416,520
    """
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(1, 6, 5, padding=2),  # 28x28
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),  # 14x14
            "conv2": nn.Conv2d(6, 16, 5),  # 10x10
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),  # 5x5
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(400, 120),
            "relu3": nn.ReLU(),
            "fc2": nn.Linear(120, 84),
            "relu4": nn.ReLU(),
            "fc3": nn.Linear(84, num_classes),
        }
    )


def lenet5_1998(num_classes: int = 10) -> nn.Sequential:
    """LeNet-5 as near to the 1998 paper as its text allows, for (N, 1, 32, 32) images.

    Scaled hyperbolic tangents A tanh(S a) with A = 1.7159 and S = 2/3 (appendix A), trainable
    sub-sampling (the mean of 2x2 pixels times a coefficient plus a bias, then the squashing
    function), C3 connected to S2 by the paper's table I, C5 a convolution that covers its whole
    input. C1 to F6 have the paper's 60,000 trainable parameters; weights start uniformly within
    2.4 / fan in (appendix A).

    Where it departs: the paper's output layer measures the distance of F6 to ten fixed 7x12
    bitmaps (Euclidean RBF units) and trains by a maximum a posteriori criterion. Here the output is
    ``Linear(84, num_classes)`` trained by cross-entropy, which adds 850 parameters.

    layer                   output    sees   parameters  multiply-adds
    input                   1x32x32
    c1         Conv2d       6x28x28   5x5           156        117,600
    c1_squash  ScaledTanh   6x28x28   5x5
    s2         Subsampling  6x14x14   6x6            12          1,176
    s2_squash  ScaledTanh   6x14x14   6x6
    c3         TableConv2d  16x10x10  14x14       1,516        150,000
    c3_squash  ScaledTanh   16x10x10  14x14
    s4         Subsampling  16x5x5    16x16          32            400
    s4_squash  ScaledTanh   16x5x5    16x16
    c5         Conv2d       120x1x1   32x32      48,120         48,000
    c5_squash  ScaledTanh   120x1x1   32x32
    flatten    Flatten      120       32x32
    f6         Linear       84        all        10,164         10,080
    f6_squash  ScaledTanh   84        all
    output     Linear       10        all           850            840
    total                                        60,850        328,096
    """
    model = nn.Sequential(
        {
            "c1": nn.Conv2d(1, 6, 5),  # 28x28
            "c1_squash": ScaledTanh(),
            "s2": Subsampling(6),  # 14x14
            "s2_squash": ScaledTanh(),
            "c3": TableConv2d(TABLE_I, 5),  # 10x10
            "c3_squash": ScaledTanh(),
            "s4": Subsampling(16),  # 5x5
            "s4_squash": ScaledTanh(),
            "c5": nn.Conv2d(16, 120, 5),  # 1x1
            "c5_squash": ScaledTanh(),
            "flatten": nn.Flatten(),
            "f6": nn.Linear(120, 84),
            "f6_squash": ScaledTanh(),
            "output": nn.Linear(84, num_classes),
        }
    )
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = 2.4 / int(np.prod(layer.weight.shape[1:]))
            init.uniform_(layer.weight, -bound, bound)
            if layer.bias is not None:
                init.uniform_(layer.bias, -bound, bound)
    return model


# Table I: which maps of S2 (columns of the paper's table: maps of C3) feed each map of C3.
TABLE_I: tuple[tuple[int, ...], ...] = (
    *(tuple((i + j) % 6 for j in range(3)) for i in range(6)),
    *(tuple((i + j) % 6 for j in range(4)) for i in range(6)),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)


class ScaledTanh(nn.Layer):
    """1.7159 tanh(2/3 x): f(1) = 1 and f(-1) = -1 (appendix A)."""

    AMPLITUDE, SLOPE = np.float32(1.7159), np.float32(2 / 3)

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        y = F.tanh(self.SLOPE * x)
        return self.AMPLITUDE * y, y if save else None

    def grad(self, dy: Array, saved: Array, need: bool = True) -> tuple[Array | None, Gradients]:
        if not need:
            return None, []
        return F.tanh_backward((self.AMPLITUDE * self.SLOPE) * dy, saved), []

    def op(self, training: bool) -> tuple[Op, ...]:
        inner, outer = ({"factor": float(f)} for f in (self.SLOPE, self.AMPLITUDE))
        return Op("scale", inner), Op("tanh", {}), Op("scale", outer)


class Subsampling(nn.Layer):
    """y[c] = coefficient[c] * (mean of each 2x2 window of x[c]) + bias[c], both trainable.

    The paper adds the four pixels; the mean only rescales the coefficient, which starts at 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(np.ones(channels, np.float32))
        self.bias = nn.Parameter(np.zeros(channels, np.float32))

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        mean = F.avg_pool2d(x, 2)
        y = mean * self.coefficient.data[:, None, None] + self.bias.data[:, None, None]
        return y, (mean, x.shape) if save else None

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        mean, shape = saved
        gradients = []
        if self.coefficient.requires_grad:
            gradients.append((self.coefficient, (dy * mean).sum(axis=(0, 2, 3))))
        if self.bias.requires_grad:
            gradients.append((self.bias, dy.sum(axis=(0, 2, 3))))
        dx = None
        if need:
            dx = F.avg_pool2d_backward(dy * self.coefficient.data[:, None, None], shape, 2)
        return dx, gradients

    def op(self, training: bool) -> tuple[Op, ...] | None:
        if training:
            return None  # a plan has no gradient for the coefficients
        channels = {"channels": self.bias.data.size, "relu": False}
        mean = nn.AvgPool2d(2).op(training)
        assert mean is not None
        return mean, Op("channel_affine", channels, (self.coefficient, self.bias))

    def window(self, input_shape: tuple[int, ...]) -> Window:
        return (2, 2), (2, 2)

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        return math.prod(output_shape)


class TableConv2d(nn.Layer):
    """A convolution whose output map k sees the input maps ``table[k]`` only.

    ``weight`` holds one kernel a connection, (connections, size, size), ``bias`` one value a map.
    """

    def __init__(self, table: tuple[tuple[int, ...], ...], size: int) -> None:
        super().__init__()
        to = np.array([k for k, maps in enumerate(table) for _ in maps])
        self._places = {"cpu": (to, np.array([c for maps in table for c in maps]))}  # by device
        self._dense = (len(table), int(self._places["cpu"][1].max()) + 1, size, size)
        self.weight = nn.Parameter(np.empty((len(to), size, size), np.float32))
        self.bias = nn.Parameter(np.zeros(len(table), np.float32))
        # Within 2.4 / fan in (appendix A), the fan in differing from map to map.
        init.uniform_(self.weight, -1, 1)
        fan_in = np.array([len(table[k]) * size * size for k in to], np.float32)
        self.weight.data *= (2.4 / fan_in)[:, None, None]

    def _dense_weight(self) -> Array:
        weight = self.weight.data
        dense: Array = namespace(weight).zeros(self._dense, weight.dtype)
        dense[self._connections()] = weight
        return dense

    def _connections(self) -> tuple[Any, Any]:
        """(output maps, input maps) of the weights, on their device."""
        device = device_of(self.weight.data)
        if device not in self._places:
            to, source = self._places["cpu"]
            self._places[device] = to_device(to, device), to_device(source, device)
        return self._places[device]

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        return F.conv2d(x, self._dense_weight(), self.bias.data), x if save else None

    def grad(self, dy: Array, saved: Array, need: bool = True) -> tuple[Array | None, Gradients]:
        wanted = (need, self.weight.requires_grad, self.bias.requires_grad)
        weight = self._dense_weight()
        dx, dw, db = F.conv2d_backward(dy, saved, weight, self.bias.data, need=wanted)
        gradients = [] if dw is None else [(self.weight, dw[self._connections()])]
        return dx, gradients + ([] if db is None else [(self.bias, db)])

    def op(self, training: bool) -> Op | None:
        if training:
            return None  # the dense weight is no parameter
        maps, channels, size, _ = self._dense
        dense = nn.Conv2d(channels, maps, size)
        dense.weight.data, dense.bias = self._dense_weight(), self.bias
        return dense.op(training)

    def window(self, input_shape: tuple[int, ...]) -> Window:
        return self._dense[2:], (1, 1)

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        return output_shape[0] * math.prod(output_shape[2:]) * self.weight.data.size
