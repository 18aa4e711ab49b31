"""What a layer's export writes with: nodes, weights and constants of one ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from striate._device import to_host
from striate.functional._arguments import Array
from striate.nn.layer import Layer, Parameter
from striate.onnx.errors import OnnxError
from striate.onnx.tensors import ANY

Shape = tuple[int, ...]
Pads = tuple[int, int, int, int]  # top, left, bottom, right
Export = Callable[[Any, "Emitter"], str]
T = TypeVar("T", bound=Export)

EXPORTS: dict[type[Layer], Export] = {}


def exports(kind: type[Layer]) -> Callable[[T], T]:
    """Says how layers of the class ``kind`` are exported::

        @striate.onnx.exports(Scale)
        def scale(layer, to):
            return to.node("Mul", to.inputs[0], to.parameter("factor"))

    The function gets the layer and an Emitter, and returns the name of the layer's output.
    Subclasses are not meant: they may compute something else.
    """

    def register(function: T) -> T:
        EXPORTS[kind] = function
        return function

    return register


class Graph:
    """The nodes and weights written so far."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.opset = 17
        self.names: set[str] = set()
        # Outputs of Pad nodes: what they pad, by how much, with what.
        self.padded: dict[str, tuple[str, Pads, float]] = {}
        self._shared: dict[tuple[int, str], str] = {}
        self._kept: list[object] = []  # so that no id is used twice

    def unique(self, name: str) -> str:
        unique, count = name, 1
        while unique in self.names:
            count += 1
            unique = f"{name}_{count}"
        self.names.add(unique)
        return unique

    def initializer(self, owner: object, part: str, name: str, array: Array) -> str:
        """A weight under ``name``; a second time under the name that it got first."""
        key = id(owner), part
        if key not in self._shared:
            self._kept.append(owner)
            self._shared[key] = self.unique(name)
            tensor = numpy_helper.from_array(np.ascontiguousarray(array), self._shared[key])
            self.initializers[tensor.name] = tensor
        return self._shared[key]


class Emitter:
    """Writes one layer, called ``name``: its ``inputs`` are names of values, of ``shapes``.

    Shapes are those for one image, so their first axis, the batch, is 1.
    """

    def __init__(
        self,
        graph: Graph,
        layer: Layer,
        name: str,
        inputs: tuple[str, ...],
        shapes: tuple[Shape, ...],
        result: Shape,
    ) -> None:
        self.graph, self.layer, self.name = graph, layer, name
        self.inputs, self.shapes, self.result = inputs, shapes, result

    @property
    def shape(self) -> Shape:
        return self.shapes[0]

    def refuse(self, message: str) -> OnnxError:
        return OnnxError(f"layer {self.name!r} ({type(self.layer).__name__}): {message}")

    def node(self, operator: str, *inputs: str, part: str = "", **attributes: Any) -> str:
        """Adds a node and returns the name of its output; ``part`` tells a layer's nodes apart."""
        name = self.name + part
        output = self.graph.unique(name)
        self.graph.nodes.append(
            helper.make_node(operator, list(inputs), [output], name=name, **attributes)
        )
        return output

    def parameter(self, attribute: str) -> str:
        """The layer's parameter of that name as an initializer, called as in ``state_dict``."""
        parameter = getattr(self.layer, attribute)
        if not isinstance(parameter, Parameter):
            raise self.refuse(f"{attribute} must be a Parameter, got {type(parameter).__name__}")
        return self.graph.initializer(
            parameter, "", f"{self.name}.{attribute}", to_host(parameter.data)
        )

    def weight(self, attribute: str, array: Array) -> str:
        """A float32 array made of a parameter, under that parameter's name."""
        return self.graph.initializer(self.layer, attribute, f"{self.name}.{attribute}", array)

    def constant(self, part: str, value: Any, dtype: Any = np.float32) -> str:
        """What is no parameter: a Constant node."""
        array: ANY = np.asarray(value, dtype)
        tensor = numpy_helper.from_array(array)
        return self.node("Constant", part=f".{part}", value=tensor)

    def needs_opset(self, opset: int) -> None:
        self.graph.opset = max(self.graph.opset, opset)

    def pad(self, pads: Pads, value: float) -> str:
        """Pads the planes of the input. A convolution or pool that follows may take it over."""
        top, left, bottom, right = pads
        before, after = [0] * (len(self.shape) - 2), [0] * (len(self.shape) - 2)
        amounts = self.constant("pads", [*before, top, left, *after, bottom, right], np.int64)
        output = self.node("Pad", self.inputs[0], amounts, self.constant("value", value))
        self.graph.padded[output] = self.inputs[0], pads, value
        return output

    def unpadded(self, value: float) -> tuple[str, Shape, Pads]:
        """The input before a padding with ``value``, if there was one, its shape, and the pads."""
        source, pads, filled = self.graph.padded.get(self.inputs[0], ("", (0, 0, 0, 0), 0.0))
        if not source or filled != value:
            return self.inputs[0], self.shape, (0, 0, 0, 0)
        *leading, height, width = self.shape
        return source, (*leading, height - pads[0] - pads[2], width - pads[1] - pads[3]), pads

    def affine(self, x: str, scale: str, shift: str, channels: int, part: str = "") -> str:
        """A scale and a shift for each channel, as a batch normalisation in inference."""
        mean = self.constant(f"mean{part}", np.zeros(channels))
        variance = self.constant(f"variance{part}", np.ones(channels))
        return self.node(
            "BatchNormalization", x, scale, shift, mean, variance, part=part, epsilon=0.0
        )
