"""ONNX files that ask for more memory or time than they hold: refused before either is spent."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from onnx_models import F4, TensorProto, model, node, numpy_helper, onnx, save
from striate.onnx import OnnxError
from striate.onnx.importer import build

FEW = {"s": np.array([2**30])}  # a shape that asks for much
MUCH: dict[str, tuple[Callable[[], Any], str]] = {
    "a shape that nodes add": (
        lambda: bare([node("Add", "s", "s", to="t"), node("Reshape", "x", "t", to="v"),
                      node("Add", "v", "v")], FEW),
        r"node 't' \(Add\): all its inputs are constant"),
    "a shape that nodes join": (
        lambda: bare([node("Concat", "s", to="t", axis=0), node("ConstantOfShape", "t", to="v"),
                      node("Add", "v", "x")], FEW),
        r"node 't' \(Concat\): its input 's' must depend on the model's input"),
    "a vector by a shape": (
        lambda: bare([node("ConstantOfShape", "s", to="v"), node("Add", "x", "v")], FEW,
                     [1, 2**30]),
        "asks for more than 16777216 bytes"),
    "a matrix of adaptive pooling": (
        lambda: bare([node("ConstantOfShape", "s", to="r", value=ONES),
                      node("MatMul", "x", "c", to="t"), node("MatMul", "r", "t")],
                     {"s": np.array([2**22, 1]), "c": np.ones((1, 1), F4)}, [1, 1, 1, 1]),
        "the left operand must be the data"),
    "adaptive pooling of nothing": (
        lambda: bare([node("MatMul", "x", "c", to="t"), node("MatMul", "r", "t")],
                     {"c": np.ones((2, 1), F4), "r": np.zeros((3, 0), F4)}, [1, 1, 0, 2]),
        "the left operand must be the data"),
    "a Constant that writes nothing": (
        lambda: bare([onnx.NodeProto(op_type="Constant", attribute=[onnx.helper.make_attribute(
                          "value", TensorProto(data_type=1, dims=[2000], name="q"))]),
                      node("Relu", "x")]),
        r"node '' \(Constant\): a Constant has no input and one output"),
    "dimensions of an input": (
        lambda: bare([node("Relu", "x")], shape=[1] * 65),
        "'x' has 65 dimensions; at most 64 are supported"),
    "dimensions of a weight": (
        lambda: bare([node("Add", "x", "w")], {"w": np.ones(1, F4)}, dims=[1] * 65),
        "the tensor 'w' has 65 dimensions; at most 64 are supported"),
    "entries of a shape": (
        lambda: bare([node("Reshape", "x", "s")], {"s": np.ones(65, np.int64)}),
        "'s' has 65 entries; at most 64 are supported"),
    "entries of a shape in a node": (
        lambda: bare([node("Constant", to="s", value_ints=[1] * 65), node("Reshape", "x", "s")]),
        "'s' has 65 entries; at most 64 are supported"),
}  # fmt: skip
ONES = numpy_helper.from_array(np.ones(1, F4))


def bare(
    nodes: list[Any],
    weights: dict[str, np.ndarray] | None = None,
    shape: list[int] | None = None,
    dims: list[int] | None = None,
) -> Any:
    """A model whose shapes nobody has inferred; its first weight may lie about its own."""
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    if dims is not None:
        tensors[0].ClearField("dims")
        tensors[0].dims.extend(dims)
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "test", [info("x", 1, shape or ["N", 2])], [info("y", 1, None)], tensors
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("name", MUCH)
def test_what_asks_for_much_is_refused_at_once(name: str) -> None:
    make, message = MUCH[name]
    made = make()
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(OnnxError, match=message):
            build(made)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
        assert time.process_time() - began < 5
    finally:
        tracemalloc.stop()


def test_a_long_weight_may_be_a_vector() -> None:
    long = [node("Identity", "b", to="c"), node("Add", "x", "c")]
    graph = build(model(long, ("N", 5000), {"b": np.arange(5000, dtype=F4)}))
    np.testing.assert_array_equal(graph(np.zeros((1, 5000), F4))[0], np.arange(5000))


@pytest.mark.parametrize("kind", ["Gemm", "Reshape", "BatchNormalization"])
def test_many_nodes_that_each_make_weights_anew_are_refused(kind: str) -> None:
    """30 kB of nodes that made gigabytes of one tensor of 4 or 16 MB, or of a shape alone."""
    if kind == "Gemm":
        made = [node("Gemm", "x", "w", to=f"a{i}", alpha=0.5 + i) for i in range(200)]
        shape, feed = (2048, 2048), ("N", 2048)
    elif kind == "Reshape":
        made = []
        for i, before in enumerate(["w", *(f"r{i}" for i in range(99))]):
            made += [
                node("Transpose", before, to=f"t{i}"),
                node("Reshape", f"t{i}", "s", to=f"r{i}"),
            ]
        made.append(node("Gemm", "x", "r99", to="a199"))
        shape, feed = (1024, 4096), ("N", 1024)
    else:
        made = [node(kind, "x" if i == 0 else f"a{i - 1}", *"wwww", to=f"a{i}") for i in range(200)]
        shape, feed = (2**20,), (1, 2**20)
    last = node("Identity", "a199")
    if len(shape) == 1:
        small = model([*made, last], feed, {"w": np.ones(shape, F4)})
    else:
        fill = node("ConstantOfShape", "s", to="w", value=numpy_helper.from_array(np.ones(1, F4)))
        small = model([fill, *made, last], feed, {"s": np.array(shape)})
    tracemalloc.start()
    try:
        with pytest.raises(OnnxError, match=r"make more than [68]\d{7} bytes of weights"):
            build(small)
        assert tracemalloc.get_traced_memory()[1] < 512 << 20
    finally:
        tracemalloc.stop()


def test_memory_that_ends_makes_no_file_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.onnx"
    save(model([node("Relu", "x")]), path)

    def short(*_: Any) -> None:
        raise MemoryError("100 bytes")

    monkeypatch.setattr("striate.onnx.importer.check", short)
    with pytest.raises(MemoryError, match="a.onnx: 100 bytes"):
        striate.onnx.load(path)
