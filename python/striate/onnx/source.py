"""Reads and checks an ONNX model before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, TensorProto, checker, defs, shape_inference

from striate.onnx.errors import OnnxError, one_line
from striate.onnx.tensors import ANY, MOST_AXES, dims_of, to_array, type_name

Shape: TypeAlias = "tuple[int | None, ...]"

_LARGEST = 2**31 - 1  # protobuf's messages

# The operators that Striate reads, and the opsets which defined them as it reads them. A later
# opset that leaves an operator as it was is fine; one that changes it is refused until looked at.
OPERATORS: dict[str, tuple[int, ...]] = {
    "Add": (7, 13, 14),
    "AveragePool": (7, 10, 11, 19, 22),
    "BatchNormalization": (7, 9, 14, 15),
    "Concat": (4, 11, 13),
    "Constant": (1, 9, 11, 12, 13, 19, 21, 23, 24, 25),
    "ConstantOfShape": (9, 20, 21, 23, 24, 25),
    "Conv": (1, 11, 22),
    "Dropout": (7, 10, 12, 13, 22),
    "Flatten": (1, 9, 11, 13, 21, 23, 24, 25),
    "Gemm": (7, 9, 11, 13),
    "GlobalAveragePool": (1, 22),
    "Identity": (1, 13, 14, 16, 19, 21, 23, 24, 25),
    "LRN": (1, 13),
    "LogSoftmax": (1, 11, 13),
    "MatMul": (1, 9, 13),
    "MaxPool": (1, 8, 10, 11, 12, 22),
    "Relu": (6, 13, 14),
    "Reshape": (5, 13, 14, 19, 21, 23, 24, 25),
    "Sigmoid": (6, 13),
    "Softmax": (1, 11, 13),
    "Sum": (6, 8, 13),
    "Tanh": (6, 13),
    "Transpose": (1, 13, 21, 23, 24, 25),
}


@dataclass
class Source:
    """A checked model: its nodes, the tensors it holds, and the shapes that ONNX infers."""

    nodes: list[NodeProto]
    versions: dict[str, int]  # operator -> the opset that defined it
    inputs: list[str]  # those that are not initializers, in the file's order
    output: str
    tensors: dict[str, TensorProto]
    shapes: dict[str, Shape]
    types: dict[str, int]
    folder: Path | None
    held: int = 0  # bytes of the arrays that were read so far, or given
    _arrays: dict[str, ANY] = field(default_factory=dict)

    def array(self, name: str) -> ANY:
        """The initializer ``name``; each is read once."""
        if name not in self._arrays:
            self._arrays[name] = to_array(self.tensors[name], self.folder)
            self.held += self._arrays[name].nbytes
        return self._arrays[name]


def label(node: NodeProto) -> str:
    """How messages call a node: by its name, else by what it writes."""
    name = node.name or next((output for output in node.output if output), "")
    return f"node {name!r} ({node.op_type})"


def parse(path: Path) -> ModelProto:
    """The message in a file. Raises OnnxError for what is none, FileNotFoundError."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {what}")
    size = path.stat().st_size
    if size > _LARGEST:
        raise OnnxError(
            f"{path}: {size} bytes are more than an ONNX file can have ({_LARGEST}); larger models "
            "keep their weights in a file of external data"
        )
    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, ValueError, RecursionError) as error:
        raise OnnxError(f"{path}: not a whole ONNX file ({one_line(error)})") from None
    return model


def check(model: ModelProto, folder: Path | None, feeds: Mapping[str, ANY]) -> Source:
    """Checks ``model`` (the operators, onnx's own checker, the shapes) and takes it apart.

    ``feeds`` are arrays for graph inputs that may serve as constants, as a backend is given them.
    """
    graph = model.graph
    if not model.HasField("graph") or not graph.output:
        raise OnnxError("not a whole ONNX file (it has no graph, or one without an output)")
    versions = _versions(model)
    for kind in ("sparse_initializer", "quantization_annotation"):
        if len(getattr(graph, kind)):
            raise OnnxError(f"the graph has a {kind}, which is not supported")
    tensors: dict[str, TensorProto] = {}
    for tensor in graph.initializer:
        if not tensor.name or tensor.name in tensors:
            raise OnnxError(f"the initializer {tensor.name!r} must have a name of its own")
        dims_of(tensor)
        tensors[tensor.name] = tensor
    if len(graph.output) != 1:
        names = [info.name for info in graph.output]
        raise OnnxError(
            f"the model has {len(names)} outputs, {names}; only models with one are supported"
        )
    for info in (*graph.input, *graph.value_info, *graph.output):
        rank = len(info.type.tensor_type.shape.dim)
        if rank > MOST_AXES:
            raise OnnxError(
                f"{info.name!r} has {rank} dimensions; at most {MOST_AXES} are supported"
            )
    skeleton = _skeleton(model, tensors, feeds)
    try:
        if not all(info.type.tensor_type.HasField("shape") for info in graph.output):
            skeleton = _inferred(skeleton)  # the checker wants them
        checker.check_model(skeleton)
        inferred = _inferred(skeleton)
    except OnnxError:
        raise
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise OnnxError(f"the model contradicts itself: {one_line(error)}") from None
    except (RuntimeError, ValueError, TypeError, DecodeError) as error:
        raise OnnxError(f"onnx cannot check the model: {one_line(error)}") from None
    shapes, types = _shapes(inferred)
    return Source(
        nodes=list(graph.node),
        versions=versions,
        inputs=[info.name for info in graph.input if info.name not in tensors],
        output=graph.output[0].name,
        tensors=tensors,
        shapes=shapes,
        types=types,
        folder=folder,
        held=sum(array.nbytes for array in feeds.values()),
    )


def _versions(model: ModelProto) -> dict[str, int]:
    """The defining opset of every operator; refuses an operator or a version that is not ours."""
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx"))
    if opset is None:
        raise OnnxError(f"the model imports no ONNX opset, but {sorted(opsets) or 'none'}")
    if not 1 <= opset <= defs.onnx_opset_version():
        raise OnnxError(
            f"the model is of opset {opset}, but onnx {onnx.__version__} knows 1 to "
            f"{defs.onnx_opset_version()}"
        )
    versions = {}
    for node in model.graph.node:
        name = node.op_type
        if node.domain not in ("", "ai.onnx") or name not in OPERATORS:
            prefix = f"{node.domain}." if node.domain else ""
            raise OnnxError(f"{label(node)}: the operator {prefix}{name} is not supported")
        if name in versions:
            continue
        try:
            version = defs.get_schema(name, opset, "").since_version
        except defs.SchemaError:
            raise OnnxError(f"{label(node)}: opset {opset} has no operator {name}") from None
        if version not in OPERATORS[name]:
            raise OnnxError(
                f"{label(node)}: {name} as opset {version} defined it is not supported, only as "
                f"{', '.join(map(str, OPERATORS[name]))} did (the model is of opset {opset})"
            )
        versions[name] = version
    return versions


def _skeleton(
    model: ModelProto, tensors: Mapping[str, TensorProto], feeds: Mapping[str, ANY]
) -> ModelProto:
    """The model with inputs in the place of its large tensors, so that checks copy no weights.

    What is no larger than a shape may be one, which shape inference wants to see.
    """
    graph = model.graph
    skeleton = ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    skeleton.opset_import.extend(model.opset_import)
    skeleton.graph.name = graph.name
    skeleton.graph.output.extend(graph.output)
    skeleton.graph.value_info.extend(graph.value_info)
    declared = {info.name: info for info in graph.input}
    for info in graph.input:
        if info.name in tensors:
            _same_type(info, tensors[info.name])
            info = _info(info.name, tensors[info.name])
        skeleton.graph.input.append(info)
    for name, tensor in tensors.items():
        external = tensor.data_location == TensorProto.EXTERNAL
        if _count(tensor) <= MOST_AXES and not external:
            skeleton.graph.initializer.append(tensor)
        elif name not in declared:
            skeleton.graph.input.append(_info(name, tensor))
    for name, array in feeds.items():
        if array.size <= MOST_AXES and name in declared and array.dtype.kind in "ib":
            skeleton.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for node in graph.node:
        large = _large(node)
        if large is None:
            skeleton.graph.node.append(node)
        else:
            skeleton.graph.input.append(large)
    return skeleton


def _large(node: NodeProto) -> Any:
    """What a Constant writes if that is too large for a shape; None of any other node."""
    if node.op_type != "Constant" or len(node.attribute) != 1:
        return None
    (attribute,) = node.attribute
    if attribute.name == "value":
        info = _info("", attribute.t)
        count = _count(attribute.t)
    elif attribute.name in ("value_ints", "value_floats"):
        count = max(len(attribute.ints), len(attribute.floats))
        kind = TensorProto.INT64 if attribute.name == "value_ints" else TensorProto.FLOAT
        info = onnx.helper.make_tensor_value_info("", kind, [count])
    else:
        return None
    if count <= MOST_AXES:
        return None
    if len(node.output) != 1 or node.input or not node.output[0]:  # which onnx does not see
        raise OnnxError(f"{label(node)}: a Constant has no input and one output")
    info.name = node.output[0]
    return info


def _inferred(model: ModelProto) -> ModelProto:
    """With the shapes that onnx infers, from constants, too, but not from what nodes make of them:
    it would hold an object for each element of any vector (data_prop).
    """
    return shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def _count(tensor: TensorProto) -> int:
    count = 1
    for n in dims_of(tensor):
        count *= n
    return count


def _info(name: str, tensor: TensorProto) -> Any:
    return onnx.helper.make_tensor_value_info(name, tensor.data_type, dims_of(tensor))


def _same_type(info: Any, tensor: TensorProto) -> None:
    """An input that is an initializer, too, must be declared as what it is."""
    declared = info.type.tensor_type
    if declared.elem_type != tensor.data_type:
        raise OnnxError(
            f"the input {info.name!r} is declared as {type_name(declared.elem_type)}, but its "
            f"initializer is {type_name(tensor.data_type)}"
        )
    if not declared.HasField("shape"):
        return
    shape, dims = _shape(declared.shape), dims_of(tensor)
    if len(shape) != len(dims) or any(a not in (None, b) for a, b in zip(shape, dims)):
        raise OnnxError(
            f"the input {info.name!r} is declared with shape {shape}, but its initializer "
            f"has {dims}"
        )


def _shape(shape: Any) -> Shape:
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in shape.dim)


def _shapes(model: ModelProto) -> tuple[dict[str, Shape], dict[str, int]]:
    shapes: dict[str, Shape] = {}
    types: dict[str, int] = {}
    graph = model.graph
    for info in (*graph.input, *graph.value_info, *graph.output):
        if info.type.HasField("tensor_type"):
            types[info.name] = info.type.tensor_type.elem_type
            if info.type.tensor_type.HasField("shape"):
                shapes[info.name] = _shape(info.type.tensor_type.shape)
    return shapes, types
