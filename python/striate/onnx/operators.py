"""Operators on each element, channel or shape, from ONNX to layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from striate import nn
from striate.nn.layer import Layer
from striate.onnx.layers import FlatSoftmax, FlattenAt, MirroredLRN, Reshape
from striate.onnx.operation import Operation
from striate.onnx.source import Shape


def _simple(make: type[Layer]) -> Callable[[Operation], None]:
    def convert(op: Operation) -> None:
        op.write(op.emit(make(), op.data()))

    return convert


def softmax(op: Operation) -> None:
    log = op.node.op_type == "LogSoftmax"
    if op.version >= 13:
        axis = op.integer("axis", -1)
        layer: Layer = nn.LogSoftmax(axis) if log else nn.Softmax(axis)
    else:  # over all axes from `axis` on, together; by default all but the first
        axis, rank, shape = op.integer("axis", 1), op.rank(), op.shape()
        first = axis if axis >= 0 or rank is None else axis + rank
        if rank is not None and shape is not None and all(n == 1 for n in shape[first + 1 :]):
            layer = nn.LogSoftmax(axis) if log else nn.Softmax(axis)
        else:
            layer = FlatSoftmax(axis, log)
    op.write(op.emit(layer, op.data()))


def lrn(op: Operation) -> None:
    size = op.integer("size", 0)
    if size < 1:
        op.refuse(f"size must be at least 1, got {size}")
    arguments = op.real("alpha", 1e-4), op.real("beta", 0.75), op.real("bias", 1.0)
    kind = nn.LocalResponseNorm if size % 2 else MirroredLRN
    op.write(op.emit(kind(size, *arguments), op.data()))


def dropout(op: Operation) -> None:
    """A layer that drops in training, as torch's: the file's training_mode must be false."""
    ratio = op.real("ratio", 0.5) if op.version < 12 else 0.5
    if op.has(1):
        array = op.constant(1)
        if array.size != 1 or array.dtype.kind != "f":
            op.refuse(f"ratio must be one number, got {array.dtype} of shape {array.shape}")
        ratio = float(array.reshape(-1)[0])
    if op.has(2):
        mode = op.constant(2)
        if mode.size != 1 or mode.dtype != np.bool_:
            op.refuse(f"training_mode must be one bool, got {mode.dtype} of shape {mode.shape}")
        if bool(mode.reshape(-1)[0]) and ratio != 0:
            op.refuse(
                f"training_mode=True with ratio={ratio} is not supported: it would drop in "
                "inference, too (the layer here drops after train())"
            )
    op.integer("seed", 0)  # matters in training_mode only
    op.write(op.emit(nn.Dropout(ratio), op.data()))


def flatten(op: Operation) -> None:
    axis, rank = op.integer("axis", 1), op.rank()
    if rank is not None and axis < 0:
        axis += rank
    if axis == 1 and rank != 1:
        layer: Layer = nn.Flatten()
    else:
        layer = FlattenAt(axis)
    op.write(op.emit(layer, op.data()))


def reshape(op: Operation) -> None:
    wanted = op.whole_numbers(1)
    allowzero = op.version >= 14 and op.flag("allowzero") and 0 in wanted
    layer: Layer = Reshape(wanted, True) if allowzero else _reshape(wanted, op.shape())
    op.write(op.emit(layer, op.data()))


def _reshape(wanted: tuple[int, ...], given: Shape | None) -> Layer:
    """Flatten, or a reshape of each image, where the batch stays as it is; else what is written.

    The batch stays if its entry is 0, or if the file's own input shape gives it back.
    """
    if wanted == (0, -1) and given is not None and len(given) > 1:
        return nn.Flatten()
    if not wanted or given is None or any(n is None for n in given[1:]) or not given:
        return Reshape(wanted)
    rest = [n for n in given[1:] if n is not None]
    own = [given[i] if n == 0 and i < len(given) else n for i, n in enumerate(wanted)]
    size, known = math.prod(rest), [n for n in own[1:] if n is not None]
    if len(known) + 1 != len(own):
        return Reshape(wanted)
    if -1 in known:
        others = math.prod(n for n in known if n != -1)
        known = [size // others if n == -1 and others else n for n in known]
    keeps = wanted[0] in (0, -1) or wanted[0] == given[0]
    if not keeps or math.prod(known) != size or size == 0:
        return Reshape(wanted)
    if known == rest:
        return nn.Identity()
    return nn.Flatten() if len(known) == 1 and len(given) > 1 else Reshape((0, *known))


def transpose(op: Operation) -> None:
    """Only where no element moves: axes of size 1 may change places, the batch's may not."""
    shape = op.shape()
    rank = None if shape is None else len(shape)
    perm = op.attribute("perm", list, None if rank is None else list(range(rank))[::-1])
    if perm is None or sorted(perm) != list(range(len(perm))):
        op.refuse(f"perm={perm} is no order of the axes of an input of rank {rank}")
    if perm == sorted(perm):
        return op.write(op.emit(nn.Identity(), op.data()))
    moving = [axis for axis in perm if axis == 0 or shape is None or shape[axis] != 1]
    if shape is None or len(shape) != len(perm) or perm[0] != 0 or moving != sorted(moving):
        op.refuse(
            f"perm={perm} moves the elements of an input of shape {shape}, and only a transpose "
            "that does not is supported"
        )
    rest = [shape[axis] for axis in perm[1:]]
    unknown = [i for i, n in enumerate(rest) if n is None]
    if len(unknown) > 1:
        op.refuse(f"perm={perm} needs the sizes of an input of shape {shape}")
    op.write(op.emit(Reshape((0, *(-1 if n is None else n for n in rest))), op.data()))


def concat(op: Operation) -> None:
    axis = op.attribute("axis", int)
    if axis is None:
        op.refuse("the attribute axis is missing")
    values = [op.data(i) for i in range(len(op.node.input))]
    op.write(op.emit(nn.Concat(axis) if len(values) > 1 else nn.Identity(), *values))


def add(op: Operation) -> None:
    """Operands of equal shape are added; a constant one is a bias."""
    places = range(len(op.node.input))
    fixed = [i for i in places if op.importer.fixed(op.operand(i))]
    data = [i for i in places if i not in fixed]
    if not data:
        op.refuse("all its inputs are constant")
    shapes = [op.shape(i) for i in data]
    if len({shape for shape in shapes if shape is not None}) > 1:
        largest = max((s for s in shapes if s is not None), key=len)
        given = [i for i in data if op.shape(i) != largest]
        if len(data) - len(given) != 1 or not all(op.could_be_constant(i) for i in given):
            op.refuse(f"inputs of shapes {_listed(shapes)} would be broadcast, not added")
        fixed, data = fixed + given, [i for i in data if i not in given]  # what a backend is given
    value = op.data(data[0])
    if len(data) > 1:
        value = op.emit(nn.Add(), *(op.data(i) for i in data))
    for i in fixed:
        value = _bias(op, i, op.shape(data[0]), value)
    op.write(value if len(places) > 1 else op.emit(nn.Identity(), value))


def _bias(op: Operation, index: int, given: Shape | None, value: int) -> int:
    array = op.weights(index)
    if given is not None:
        pairs = zip(reversed(array.shape), reversed(given))
        if array.ndim > len(given) or any(n != 1 and size not in (None, n) for n, size in pairs):
            op.refuse(f"a constant of shape {array.shape} does not fit an input of shape {given}")
    layer = nn.Bias(array.shape)
    layer.bias = op.parameter(index, "bias", lambda: array)
    return op.emit(layer, value)


def _listed(shapes: Sequence[Shape | None]) -> str:
    return " and ".join(str(shape) for shape in shapes)


def batch_normalization(op: Operation) -> None:
    """(x - mean) / sqrt(variance + epsilon) * scale + B, folded into one scale and one shift."""
    if op.version >= 14 and op.flag("training_mode"):
        op.refuse("training_mode=1 is not supported, only the frozen layer of inference")
    outputs = [name for name in op.node.output if name]
    if op.version < 14 and len(outputs) > 1:
        op.refuse(
            f"outputs {outputs} mean training before opset 14, and only inference is supported"
        )
    if op.version < 9 and op.integer("spatial", 1) != 1:
        op.refuse("spatial=0 is not supported, only one scale for each channel")
    op.real("momentum", 0.9)  # matters in training only
    epsilon = op.real("epsilon", 1e-5)
    scale, shift, mean, variance = (op.weights(i, 1).astype(np.float64) for i in range(1, 5))
    if len({a.shape for a in (scale, shift, mean, variance)}) > 1:
        shapes = [a.shape for a in (scale, shift, mean, variance)]
        op.refuse(f"scale, B, mean and variance must have equal shapes, got {shapes}")
    if not (variance + epsilon > 0).all():
        op.refuse(f"variance + epsilon must be positive, got {(variance + epsilon).min()}")
    op.importer.claim(2 * 4 * len(scale))
    factor = scale / np.sqrt(variance + epsilon)
    op.expect(1, len(scale), "scale")
    layer = nn.ChannelAffine(len(scale))
    layer.weight.data = factor.astype(np.float32)
    layer.bias.data = (shift - mean * factor).astype(np.float32)
    op.write(op.emit(layer, op.data()))


CONVERTERS = {
    "Add": add,
    "BatchNormalization": batch_normalization,
    "Concat": concat,
    "Dropout": dropout,
    "Flatten": flatten,
    "Identity": _simple(nn.Identity),
    "LRN": lrn,
    "LogSoftmax": softmax,
    "Relu": _simple(nn.ReLU),
    "Reshape": reshape,
    "Sigmoid": _simple(nn.Sigmoid),
    "Softmax": softmax,
    "Sum": add,
    "Tanh": _simple(nn.Tanh),
    "Transpose": transpose,
}
