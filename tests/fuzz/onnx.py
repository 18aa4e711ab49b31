"""ONNX files: imported, and what could be imported is run."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from onnx import ModelProto

import striate
from fuzz.limits import folder, memory_limit, one_sentence
from striate import nn
from striate.onnx import OnnxError, tensors

_ELEMENTS = 1 << 12  # of an input that is made for a model
_ROOM = 512 << 20  # bytes for what it computes, which may be as large as it says
_WEIGHTS = 300  # bytes of data beside the file


def memory(data: bytes) -> int:
    # onnx infers shapes of a copy, and Python's objects are larger than what they are read from;
    # what a file holds and may ask for is made into weights a few times, in double precision, too.
    return 64 * len(data) + 16 * tensors.MOST


def check(data: bytes) -> Callable[[], None] | None:
    path = folder() / "model.onnx"
    path.write_bytes(data)
    (folder() / "w.bin").write_bytes(bytes(_WEIGHTS))
    try:
        graph = striate.onnx.load(path)
    except OnnxError as error:
        one_sentence(error, path)
        return None
    inputs = _inputs(data)
    return None if inputs is None else lambda: _run(graph, inputs)


def _run(graph: nn.Graph, inputs: tuple[np.ndarray, ...]) -> None:
    # It may refuse an input: none fits every model.
    with memory_limit(_ROOM), contextlib.suppress(ValueError, TypeError, MemoryError):
        graph(inputs if len(inputs) > 1 else inputs[0])


def _inputs(data: bytes) -> tuple[np.ndarray, ...] | None:
    """Zeros for the inputs as the file declares them; None where these are large."""
    graph = ModelProto.FromString(data).graph
    held = {tensor.name for tensor in graph.initializer}
    arrays = []
    for info in graph.input:
        if info.name not in held:
            dims = info.type.tensor_type.shape.dim
            shape = [d.dim_value if d.HasField("dim_value") else 2 for d in dims]
            if any(n < 0 for n in shape) or math.prod(max(1, n) for n in shape) > _ELEMENTS:
                return None
            arrays.append(np.zeros(shape, np.float32))
    return tuple(arrays)


# --- mutation ------------------------------------------------------------------------------------

_NUMBERS = (-1, 0, 1, 2, 3, 4, 5, 7, 8, 16, 255, 1000, 10**6, 2**31 - 1, 2**31, 2**40, 2**63 - 1,
            -(2**31), -(2**63))  # fmt: skip
_FLOATS = (0.0, -1.0, 1.0, 0.5, 1e-30, 1e30, math.inf, -math.inf, math.nan)
_KINDS = sorted(striate.onnx.source.OPERATORS)


def mutate(data: bytes, generator: random.Random, bend: Callable[[bytes], bytes]) -> bytes:
    """Changes one to four fields of the message: what is there, or a message made twice."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError):
        return b""
    for _ in range(generator.randint(1, 4)):
        message = generator.choice(list(_messages(model)))
        with contextlib.suppress(UnicodeDecodeError):  # of a name that was bent
            if isinstance(message, onnx.GraphProto) or generator.random() < 0.3:
                _rewire(model.graph, generator)
            else:
                _change(message, generator, bend)
    return bytes(model.SerializeToString())


def _messages(message: Any) -> Any:
    """``message`` and all messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in value if field.is_repeated else (value,):
                yield from _messages(part)


def _change(message: Any, generator: random.Random, bend: Callable[[bytes], bytes]) -> None:
    field = generator.choice(message.DESCRIPTOR.fields)
    name = field.name
    if field.is_repeated:
        values = getattr(message, name)
        way = generator.randrange(4)
        if way == 0 and len(values):
            del values[generator.randrange(len(values))]
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            if len(values):
                values.add().CopyFrom(generator.choice(values))
        elif way == 1 or not len(values):
            values.append(_value(field, None, generator, bend))
        else:
            at = generator.randrange(len(values))
            values[at] = _value(field, values[at], generator, bend)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        message.ClearField(name)
    else:
        setattr(message, name, _value(field, getattr(message, name), generator, bend))


def _value(field: Any, old: Any, generator: random.Random, bend: Callable[[bytes], bytes]) -> Any:
    if field.enum_type is not None:
        return generator.choice(field.enum_type.values).number
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return generator.choice(_FLOATS)
    if field.type == FieldDescriptor.TYPE_STRING:
        return generator.choice(("", "x", "y", "w", "Conv", "\n", "é", "../w.bin", f"{old}2"))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bend(old or b"a")[: 1 << 16]
    bits = 31 if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else 63
    least = 0 if field.cpp_type == FieldDescriptor.CPPTYPE_UINT64 else -(2**bits)
    number = generator.choice((*_NUMBERS, (old or 0) + 1, (old or 0) - 1))
    return number if least <= number < 2**bits else 1


def _rewire(graph: Any, generator: random.Random) -> None:
    """Another operator, another operand, a node more in the chain, an attribute of another."""
    if not graph.node:
        return
    node = generator.choice(graph.node)
    names = [name for other in graph.node for name in (*other.input, *other.output)]
    names += [tensor.name for tensor in graph.initializer] + [info.name for info in graph.input]
    way = generator.randrange(5)
    if way == 0:
        node.op_type = generator.choice(_KINDS)
    elif way == 1 and node.input:
        node.input[generator.randrange(len(node.input))] = generator.choice(names)
    elif way == 2 and names:
        node.input.append(generator.choice(names))
    elif way == 3:
        other = generator.choice(graph.node)
        if other.attribute:
            node.attribute.add().CopyFrom(generator.choice(other.attribute))
    elif node.output:
        new = graph.node.add(op_type=generator.choice(_KINDS), input=[node.output[0]])
        new.output.append(f"{node.output[0]}{len(graph.node)}")
        if graph.output and graph.output[0].name == node.output[0]:
            graph.output[0].name = new.output[0]
            graph.output[0].type.tensor_type.ClearField("shape")
