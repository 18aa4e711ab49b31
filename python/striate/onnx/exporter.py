"""export: a model becomes an ONNX file, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper

import striate
from striate import nn
from striate._device import of_model
from striate._device import to as to_device
from striate._files import write_atomically
from striate.functional._arguments import integer
from striate.nn.layer import Layer
from striate.onnx import export_layers, export_models  # noqa: F401  (they fill EXPORTS)
from striate.onnx.emitter import EXPORTS, Emitter, Graph, Shape
from striate.onnx.errors import OnnxError, one_line

_LARGEST = 2**31 - 1  # protobuf's messages
_IR_VERSION = 8


def export(
    model: Layer, path: str | Path, input_shape: Sequence[int] | Sequence[Sequence[int]]
) -> None:
    """Writes ``model``, in inference, as an ONNX file: for inputs (N, *input_shape), any N.

    ``input_shape``: (C, H, W), without the batch; for a graph of several inputs one such for each.
    The weights are initializers under the keys of ``model.state_dict()``. The input is called
    "input" (several: "input_0", ...), the result "output". The file is written whole or not at all.

    Raises OnnxError (a ValueError) for a layer that ONNX or Striate's export lacks, named with its
    class, and for weights above protobuf's 2 GB; OSError that names ``path``.
    """
    write_atomically(Path(path), to_bytes(model, input_shape))


def to_bytes(model: Layer, input_shape: Sequence[int] | Sequence[Sequence[int]]) -> bytes:
    """What ``export`` writes."""
    if not isinstance(model, Layer):
        raise TypeError(f"export: model must be a Layer, got {type(model).__name__}")
    size = sum(parameter.data.nbytes for parameter in model.parameters())
    if size > _LARGEST:
        raise OnnxError(
            f"export: the weights take {size} bytes, but an ONNX file holds at most {_LARGEST}"
        )
    shapes = _input_shapes(model, input_shape)
    graph = Graph()
    one = len(shapes) == 1
    names = [graph.unique("input" if one else f"input_{i}") for i in range(len(shapes))]
    graph.unique("output")
    device = of_model(model)
    samples = [to_device(np.zeros((1, *shape), np.float32), device) for shape in shapes]
    result, sample = _walk(graph, model, "", tuple(names), tuple(samples))
    proto = _model(graph, names, samples, result, sample)
    data: bytes = proto.SerializeToString()
    try:
        checker.check_model(data, full_check=True)
    except (checker.ValidationError, RuntimeError, ValueError) as error:
        raise OnnxError(f"export: onnx refuses the model: {one_line(error)}") from None
    return data


def _input_shapes(model: Layer, given: Any) -> list[Shape]:
    count = model.inputs if isinstance(model, nn.Graph) else 1
    shapes = list(given) if count > 1 and isinstance(given, Sequence) else [given]
    if len(shapes) != count:
        raise ValueError(f"export: the model has {count} inputs, got input_shape={given!r}")
    for shape in shapes:
        if not isinstance(shape, Sequence) or isinstance(shape, str):
            raise TypeError(f"export: input_shape must be (C, H, W), got {given!r}")
    return [tuple(integer(n, "export", "input_shape", 1) for n in shape) for shape in shapes]


def _walk(
    graph: Graph, layer: Layer, name: str, inputs: tuple[str, ...], samples: tuple[Any, ...]
) -> tuple[str, Any]:
    """Writes ``layer`` and what is in it: (the name of its result, its result for one image)."""
    if isinstance(layer, nn.Graph) and type(layer).apply is nn.Graph.apply:
        values = {i: (value, sample) for i, (value, sample) in enumerate(zip(inputs, samples))}
        if layer.inputs != len(inputs):
            raise OnnxError(f"layer {name!r}: {layer.inputs} inputs, got {len(inputs)}")
        for node in layer.nodes:
            given = [values[v] for v in node.inputs]
            inner = f"{name}.{node.name}" if name else node.name
            values[node.output] = _walk(
                graph, node.layer, inner, tuple(v for v, _ in given), tuple(s for _, s in given)
            )
        return values[layer.nodes[-1].output if layer.nodes else 0]
    name = name or type(layer).__name__.lower()
    export_layer = EXPORTS.get(type(layer))
    if export_layer is None:
        raise OnnxError(
            f"export: layer {name!r} is a {type(layer).__name__}, which has no export; give it one "
            "with striate.onnx.exports"
        )
    try:
        y, _ = layer.apply(samples[0] if len(samples) == 1 else samples, False, False)
    except (TypeError, ValueError) as error:
        raise OnnxError(f"export: layer {name!r}: {error}") from None
    shapes = tuple(sample.shape for sample in samples)
    return export_layer(layer, Emitter(graph, layer, name, inputs, shapes, y.shape)), y


def _model(
    graph: Graph, names: list[str], samples: list[Any], result: str, sample: Any
) -> ModelProto:
    if result in names or result in graph.initializers:
        graph.nodes.append(helper.make_node("Identity", [result], ["output"], name="identity"))
        result = "output"
    for node in graph.nodes:
        for field in (node.input, node.output):
            for i, name in enumerate(field):
                if name == result:
                    field[i] = "output"
    wanted = {"output"}
    nodes: list[NodeProto] = []
    for node in reversed(graph.nodes):  # a padding that a convolution took over is read by none
        if any(name in wanted for name in node.output):
            wanted.update(node.input)
            nodes.insert(0, node)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *array.shape[1:]])
        for name, array in zip(names, samples)
    ]
    output: list[int | str] = list(sample.shape)
    if output and output[0] == 1:
        output[0] = "N"
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, output)]
    return helper.make_model(
        helper.make_graph(nodes, "striate", inputs, outputs, list(graph.initializers.values())),
        opset_imports=[helper.make_opsetid("", graph.opset)],
        ir_version=_IR_VERSION if graph.opset < 19 else 9,
        producer_name="striate",
        producer_version=striate.__version__,
    )
