"""What the ONNX tests share: small models made with onnx, and what ONNX Runtime answers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from checks import assert_close, draw
from striate import nn

if os.environ.get("STRIATE_REQUIRE_PARITY"):  # set where all peers are installed
    import onnx
    import onnxruntime
else:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

from striate.onnx.exporter import to_bytes
from striate.onnx.importer import build

Shape = Sequence[int | str | None]
F4 = np.float32
BATCH = {"scale": (2,), "shift": (2,), "mean": (2,)}


def node(kind: str, *inputs: str, to: str = "y", name: str = "", **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), [to], name=name, **attributes)


def model(
    nodes: Sequence[Any],
    shape: Shape | Mapping[str, Shape] = ("N", 2, 4, 4),
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    result: Shape | None = None,
) -> Any:
    """A model of float inputs ("x", or those named); onnx infers the shape of its result."""
    inputs = shape if isinstance(shape, Mapping) else {"x": shape}
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, result) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8 if opset < 19 else 9)
    return onnx.shape_inference.infer_shapes(made, data_prop=True)


def weights(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: draw(f"load/{name}/{shape}", shape) for name, shape in shapes.items()}


def save(made: Any, path: Path) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


def runtime(made: Any, *inputs: np.ndarray) -> np.ndarray:
    """ONNX Runtime's answer for a model, its bytes or its file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    source = made if isinstance(made, (str, bytes)) else None
    if source is None:
        source = str(made) if isinstance(made, Path) else made.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [info.name for info in session.get_inputs()]
    (y,) = session.run(None, dict(zip(names, inputs)))
    return np.asarray(y)


def batch_norm() -> Any:
    """A model of one batch normalisation over two channels."""
    arrays = {**weights(**BATCH), "variance": np.array([0.5, 2], F4)}
    return model([node("BatchNormalization", "x", *arrays, epsilon=0.01)], weights=arrays)


def net() -> nn.Sequential:
    striate.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.LocalResponseNorm(3), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 5),
    )  # fmt: skip


def check(made: Any, *shapes: Sequence[int], depth: int = 64) -> nn.Graph:
    """The loaded model, after it has answered as ONNX Runtime does, also when exported again."""
    graph = build(made)
    inputs = [draw(f"load/{i}/{shape}", tuple(shape)) for i, shape in enumerate(shapes)]
    expected = runtime(made, *inputs)
    y = graph(inputs[0] if len(inputs) == 1 else tuple(inputs))
    assert_close(y, expected, depth=depth)
    given = [shape[1:] for shape in shapes]
    again = to_bytes(graph, given[0] if len(given) == 1 else given)
    assert_close(runtime(again, *inputs), expected, depth=depth)
    return graph
