"""One node of an ONNX model while it is turned into layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from onnx import NodeProto, TensorProto

from striate.functional._arguments import Array
from striate.nn.layer import Layer, Parameter
from striate.onnx.errors import NotConstant, OnnxError
from striate.onnx.source import Shape, label
from striate.onnx.tensors import ANY, MOST_AXES, attribute_value

if TYPE_CHECKING:
    from striate.onnx.importer import Importer


class Operation:
    """A node's attributes, operands and outputs; every attribute that is there must be read."""

    def __init__(self, importer: Importer, node: NodeProto) -> None:
        self.importer, self.node = importer, node
        self.version = importer.source.versions[node.op_type]
        self.label = label(node)
        self._attributes = {a.name: attribute_value(a) for a in node.attribute}
        self._unread = set(self._attributes)

    def refuse(self, message: str) -> NoReturn:
        raise OnnxError(f"{self.label}: {message}")

    # --- attributes ------------------------------------------------------------------------------

    def attribute(self, name: str, kind: type, default: Any = None) -> Any:
        """The attribute's value, of type ``kind``, or the default where there is none."""
        if name not in self._attributes:
            return default
        self._unread.discard(name)
        value = self._attributes[name]
        if not isinstance(value, kind):
            self.refuse(f"the attribute {name} must be of type {kind.__name__}, got {value!r}")
        return value

    def integer(self, name: str, default: int) -> int:
        return int(self.attribute(name, int, default))

    def real(self, name: str, default: float) -> float:
        return float(self.attribute(name, float, default))

    def flag(self, name: str, default: int = 0) -> bool:
        value = self.integer(name, default)
        if value not in (0, 1):
            self.refuse(f"{name} must be 0 or 1, got {value}")
        return value == 1

    def text(self, name: str, default: str) -> str:
        return str(self.attribute(name, str, default))

    def integers(self, name: str, length: int, default: Sequence[int] | None) -> tuple[int, ...]:
        """A list of ``length`` integers; without a default it must be there."""
        value = self.attribute(name, list, None if default is None else list(default))
        if value is None:
            self.refuse(f"the attribute {name} is missing")
        if len(value) != length:
            self.refuse(f"{name} must have {length} values (images have 2 axes), got {value}")
        return tuple(value)

    def finish(self) -> None:
        if self._unread:
            name = min(self._unread)
            self.refuse(f"the attribute {name}={self._attributes[name]!r} is not supported")
        for name in self.node.output[1:]:
            if name and self.importer.uses[name]:
                self.refuse(f"its output {name!r} is used, and only the first is supported")

    # --- operands --------------------------------------------------------------------------------

    def has(self, index: int) -> bool:
        return index < len(self.node.input) and bool(self.node.input[index])

    def operand(self, index: int) -> str:
        if not self.has(index):
            self.refuse(f"its input {index} is missing")
        return str(self.node.input[index])

    def is_data(self, index: int) -> bool:
        """Whether the operand depends on the model's input."""
        return self.operand(index) in self.importer.values

    def data(self, index: int = 0) -> int:
        """The graph's value for an operand that depends on the model's input."""
        name = self.operand(index)
        if name not in self.importer.values:
            self.refuse(f"its input {name!r} must depend on the model's input, but is constant")
        return self.importer.values[name]

    def constant(self, index: int) -> ANY:
        """The array of an operand that does not depend on the model's input."""
        name = self.operand(index)
        array = self.importer.constant(name)
        if array is None:
            raise NotConstant(
                f"{self.label}: its input {name!r} must be constant, but is given to the model"
            )
        return array

    def could_be_constant(self, index: int) -> bool:
        """Whether the operand is constant, or would be if the model were given its inputs."""
        name = self.operand(index)
        return name in self.importer.source.inputs or self.importer.fixed(name)

    def weights(self, index: int, rank: int | None = None) -> Array:
        """A constant operand that must be float32, of ``rank`` dimensions if given."""
        array, name = self.constant(index), self.operand(index)
        if array.dtype != np.float32:
            self.refuse(f"{name!r} must be float32, got {array.dtype}")
        if rank is not None and array.ndim != rank:
            self.refuse(f"{name!r} must have {rank} dimensions, got shape {array.shape}")
        return array

    def whole_numbers(self, index: int) -> tuple[int, ...]:
        """A constant operand that is a list of integers, such as a shape."""
        array, name = self.constant(index), self.operand(index)
        if array.dtype != np.int64 or array.ndim != 1:
            self.refuse(
                f"{name!r} must be a list of int64, got {array.dtype} of shape {array.shape}"
            )
        if array.size > MOST_AXES:
            self.refuse(f"{name!r} has {array.size} entries; at most {MOST_AXES} are supported")
        return tuple(int(n) for n in array)

    def shape(self, index: int = 0) -> Shape | None:
        """What ONNX infers of the operand's shape; None where it says nothing of its rank."""
        return self.importer.source.shapes.get(self.operand(index))

    def rank(self, index: int = 0) -> int | None:
        shape = self.shape(index)
        return None if shape is None else len(shape)

    def expect(self, axis: int, size: int, why: str) -> None:
        """Refuses data whose ``axis`` is known to have another size; onnx does not look."""
        shape = self.shape()
        known = shape is not None and -len(shape) <= axis < len(shape)
        if shape is not None and known and shape[axis] not in (None, size):
            self.refuse(f"its input has shape {shape}, but {why} takes {size}")

    def tensor(self, name: str) -> TensorProto | None:
        value: TensorProto | None = self.attribute(name, TensorProto)
        return value

    # --- results ---------------------------------------------------------------------------------

    def parameter(self, index: int, how: str, make: Callable[[], Array]) -> Parameter:
        """A parameter made of an operand; nodes that read it the same way (``how``) share it."""
        return self.importer.parameter(self.operand(index), how, make)

    def emit(self, layer: Layer, *inputs: int, part: str = "") -> int:
        """Adds a layer to the graph, named after this node, and returns its value."""
        return self.importer.emit(self.node, layer, inputs, part)

    def write(self, value: int) -> None:
        """``value`` is this node's (first) output."""
        self.importer.values[self.node.output[0]] = value
