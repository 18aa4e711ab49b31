"""Nodes whose result does not depend on the model's input: weights and shapes."""

from __future__ import annotations

import math

import numpy as np

from striate.onnx.operation import Operation
from striate.onnx.tensors import ANY, MOST, to_array


def fold(op: Operation) -> ANY | None:
    """The node's value if it is constant and of a kind that may be, else None."""
    kind = op.node.op_type
    if kind == "Constant":
        return _constant(op)
    if kind == "ConstantOfShape":
        return _constant_of_shape(op)
    if kind not in ("Identity", "Reshape", "Transpose") or not op.importer.fixed(op.operand(0)):
        return None
    array = op.constant(0)
    if kind == "Transpose":
        perm = op.attribute("perm", list, list(range(array.ndim))[::-1])
        return np.transpose(array, perm)
    if kind == "Reshape":
        shape = list(op.whole_numbers(1))
        if not (op.version >= 14 and op.flag("allowzero")):
            shape = [n or array.shape[i] for i, n in enumerate(shape) if n or i < array.ndim]
        result = array.reshape(shape)
        if not np.may_share_memory(result, array):
            op.importer.claim(result.nbytes)
        return result
    return array


def _constant(op: Operation) -> ANY:
    tensor = op.tensor("value")
    if tensor is not None:
        array = to_array(tensor, op.importer.source.folder)
        op.importer.source.held += array.nbytes
        return array
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        value = op.attribute(name, (float if dtype is np.float32 else int))
        if value is not None:
            return np.array(value, dtype)
        values = op.attribute(f"{name}s", list)
        if values is not None:
            return np.array(values, dtype)
    op.refuse("only the attributes value, value_float(s) and value_int(s) are supported")


def _constant_of_shape(op: Operation) -> ANY:
    shape = op.whole_numbers(0)
    tensor = op.tensor("value")
    value = np.zeros(1, np.float32) if tensor is None else to_array(tensor, None).reshape(-1)
    if value.size != 1:
        op.refuse(f"value must have one element, got {value.size}")
    importer = op.importer
    size = math.prod(shape) * value.itemsize
    if any(n < 0 for n in shape) or size + importer.filled > MOST:
        op.refuse(f"the shape {shape} is impossible, or asks for more than {MOST} bytes in all")
    importer.filled += size
    return np.full(shape, value[0])
