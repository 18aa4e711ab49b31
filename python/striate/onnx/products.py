"""Products with matrices, from ONNX to Linear."""

from __future__ import annotations

import numpy as np

from striate import nn
from striate.functional._arguments import Array
from striate.onnx.layers import pooling_matrix
from striate.onnx.operation import Operation

_LARGEST_IMAGE = 4096  # rows, and columns, up to which a product is looked at for adaptive pooling


def gemm(op: Operation) -> None:
    """alpha A B + beta C as a Linear: A the data, B and C constant, alpha and beta in them."""
    alpha, beta = op.real("alpha", 1.0), op.real("beta", 1.0)
    trans_b = op.flag("transB")
    if op.flag("transA"):
        op.refuse("transA=1 is not supported: it would take the batch for the features")
    weight = op.weights(1, 2)
    bias = op.weights(2) if op.has(2) else None
    features = weight.shape[0] if trans_b else weight.shape[1]
    if bias is not None and bias.shape not in ((), (1,), (1, 1), (features,), (1, features)):
        op.refuse(
            f"C of shape {bias.shape} is not supported: a bias has one value for each of the "
            f"{features} outputs"
        )

    def scaled() -> Array:
        array = weight if trans_b else weight.T
        return array if alpha == 1 else array * np.float32(alpha)

    def shifted() -> Array:
        assert bias is not None
        used = bias.reshape(-1) if beta else np.zeros(1, np.float32)  # beta=0 drops C, NaN or not
        return np.broadcast_to(used * np.float32(beta), (features,))

    taken = weight.shape[1] if trans_b else weight.shape[0]
    op.expect(-1, taken, f"B of shape {weight.shape}")
    layer = _linear(taken, features, bias is not None)
    layer.weight = op.parameter(1, f"linear {alpha} {trans_b}", scaled)
    if bias is not None:
        layer.bias = op.parameter(2, f"bias {beta} {features}", shifted)
    op.write(op.emit(layer, op.data()))


def matmul(op: Operation) -> None:
    """x B as a Linear, with the bias of an Add that alone reads the product."""
    if not op.is_data(0):
        op.refuse("the left operand must be the data and the right one a constant matrix")
    weight = op.weights(1)
    if weight.ndim != 2:
        op.refuse(f"the right operand must be a matrix, got shape {weight.shape}")
    rank = op.rank()
    if rank is not None and rank < 2:
        op.refuse(f"the data must have 2 dimensions or more, got {rank}")
    if _adaptive_pooling(op, weight):
        return
    op.expect(-1, weight.shape[0], f"a matrix of shape {weight.shape}")
    layer = _linear(weight.shape[0], weight.shape[1], False)
    layer.weight = op.parameter(1, "linear 1.0 False", lambda: weight.T)
    value = op.emit(layer, op.data())
    op.write(value)
    _absorb_bias(op, layer, weight.shape[1], value)


def _adaptive_pooling(op: Operation, columns: Array) -> bool:
    """Whether this product and the one from the left that reads it are adaptive pooling, which
    export writes so; the two become the layer again.
    """
    importer, product, shape = op.importer, op.node.output[0], op.shape()
    reader = importer.readers.get(product)
    if reader is None or importer.uses[product] != 1 or reader.op_type != "MatMul":
        return False
    other = Operation(importer, reader)
    if reader.input[1] != product or not importer.fixed(other.operand(0)) or shape is None:
        return False
    rows = other.weights(0)
    if len(shape) != 4 or rows.ndim != 2 or rows.shape[1] != shape[2]:
        return False
    if not all(0 < n <= _LARGEST_IMAGE for n in rows.shape + columns.shape):
        return False
    if not np.array_equal(rows.T, pooling_matrix(*rows.T.shape)):
        return False
    if not np.array_equal(columns, pooling_matrix(*columns.shape)):
        return False
    pool = nn.AdaptiveAvgPool2d((rows.shape[0], columns.shape[1]))
    value = other.emit(pool, op.data())
    importer.values[reader.output[0]] = value
    importer.absorbed.add(reader.output[0])
    op.write(value)
    return True


def _absorb_bias(op: Operation, layer: nn.Linear, features: int, value: int) -> None:
    importer, product = op.importer, op.node.output[0]
    reader = importer.readers.get(product)
    if reader is None or importer.uses[product] != 1 or reader.op_type != "Add":
        return
    other = Operation(importer, reader)
    index = 1 if reader.input[0] == product else 0
    if not importer.fixed(other.operand(index)):
        return
    bias = other.weights(index)
    if bias.shape not in ((features,), (1, features)):
        return
    layer.bias = other.parameter(index, f"bias 1.0 {features}", lambda: bias.reshape(-1))
    importer.values[reader.output[0]] = value
    importer.absorbed.add(reader.output[0])


def _linear(features: int, outputs: int, bias: bool) -> nn.Linear:
    with nn.init.skipped():
        return nn.Linear(features, outputs, bias)


CONVERTERS = {"Gemm": gemm, "MatMul": matmul}
