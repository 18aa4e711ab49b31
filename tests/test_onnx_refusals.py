"""ONNX models that are refused: what Striate lacks, named; files that lie or are not whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from checks import draw
from onnx_models import (
    BATCH,
    F4,
    TensorProto,
    batch_norm,
    model,
    net,
    node,
    numpy_helper,
    onnx,
    save,
    weights,
)
from striate.onnx import OnnxError
from striate.onnx.exporter import to_bytes
from striate.onnx.importer import build


def conv(**attributes: Any) -> Any:
    return model([node("Conv", "x", "w", name="c1", **attributes)], weights=weights(w=(3, 2, 3, 3)))


def drop(**attributes: Any) -> Any:
    arrays = {"r": np.array(0.3, F4), "t": np.array(True)}
    return model([node("Dropout", "x", "r", "t", name="d", **attributes)], weights=arrays)


def changed(made: Any, change: Callable[[Any], Any]) -> Any:
    change(made)
    return made


def half(made: Any) -> Any:
    tensor = made.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(np.ones(tuple(tensor.dims), np.float16), tensor.name))
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    del made.graph.value_info[:]
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    return made


REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    "operator": (lambda: model([node("Selu", "x", name="s")]),
                 r"node 's' \(Selu\): the operator Selu is not supported"),
    "domain": (lambda: changed(model([node("Relu", "x")]), lambda m: (
                   setattr(m.graph.node[0], "domain", "com.microsoft"),
                   m.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1)))),
               r"node 'y' \(Relu\): the operator com.microsoft.Relu is not supported"),
    "old opset": (lambda: model([node("Gemm", "x", "w", "b", broadcast=1)], ("N", 5),
                                weights(w=(5, 3), b=(3,)), opset=6),
                  "Gemm as opset 6 defined it is not supported, only as 7, 9, 11, 13 did"),
    "new opset": (lambda: changed(conv(), lambda m: setattr(m.opset_import[0], "version", 999)),
                  r"the model is of opset 999, but onnx \S+ knows 1 to"),
    "unknown attribute": (lambda: conv(colour=3), "Unrecognized attribute: colour for operator"),
    "kernel_shape": (lambda: conv(kernel_shape=[3, 2]),
                     r"kernel_shape=\[3, 2\] is not that of W, whose shape is \(3, 2, 3, 3\)"),
    "auto_pad": (lambda: conv(auto_pad="SAME"), "auto_pad must be NOTSET, .* got 'SAME'"),
    "auto_pad and pads": (lambda: conv(auto_pad="SAME_UPPER", pads=[1, 1, 1, 1]),
                          r"auto_pad=SAME_UPPER and pads=\[1, 1, 1, 1\] exclude each other"),
    "negative pads": (lambda: changed(conv(), lambda m: m.graph.node[0].attribute.append(
                              onnx.helper.make_attribute("pads", [0, -1, 0, 0]))),
                      "node name: c1.*pads must not contain negative values"),
    "auto_pad and dilations": (
        lambda: model([node("Conv", "x", "w", auto_pad="SAME_UPPER", dilations=[2, 1])],
                      weights=weights(w=(3, 2, 3, 3)), result=("N", 3, 4, 4)),
        r"auto_pad=SAME_UPPER with dilations=\[2, 1\] is not supported"),
    "channels of a Gemm": (
        lambda: model([node("Gemm", "x", "w", transB=1)], ("N", 4), weights(w=(3, 5)),
                      result=("N", 3)),
        r"its input has shape \(None, 4\), but B of shape \(3, 5\) takes 5|contradicts itself"),
    "channels of batch norm": (
        lambda: changed(batch_norm(), lambda m: setattr(
            m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 3)),
        "contradicts itself"),
    "one axis": (lambda: model([node("Conv", "x", "w")], ("N", 2, 5), weights(w=(3, 2, 3))),
                 r"its input must have 4 dimensions \(N, C, H, W\), got 3"),
    "weights that are given": (lambda: model([node("Conv", "x", "x")], ("N", 2, 3, 3)),
                               "its input 'x' must be constant, but is given to the model"),
    "pads of a whole kernel": (
        lambda: model([node("MaxPool", "x", kernel_shape=[2, 3], pads=[0, 0, 1, 3])]),
        r"pads=\[0, 0, 1, 3\] must be below kernel_shape=\[2, 3\], as ONNX Runtime demands"),
    "pads of a whole mean": (
        lambda: model([node("AveragePool", "x", kernel_shape=[2, 3], pads=[2, 0, 0, 0])]),
        r"pads=\[2, 0, 0, 0\] must be below kernel_shape=\[2, 3\]"),
    "storage_order": (lambda: model([node("MaxPool", "x", kernel_shape=[2, 2], storage_order=1)]),
                      "storage_order=1 is not supported"),
    "indices": (lambda: model([onnx.helper.make_node("MaxPool", ["x"], ["y", "i"],
                               kernel_shape=[2, 2], name="p")], outputs=("y", "i")),
                "the model has 2 outputs"),
    "mask": (lambda: model([onnx.helper.make_node("Dropout", ["x"], ["y", "m"], name="d"),
                            node("Identity", "m", to="n")]),
             r"node 'd' \(Dropout\): its output 'm' is used, and only the first is supported"),
    "training_mode": (drop, r"node 'd' \(Dropout\): training_mode=True with ratio=0.3.* is not"),
    "transA": (lambda: model([node("Gemm", "x", "w", transA=1)], (5, 5), weights(w=(5, 3))),
               "transA=1 is not supported"),
    "C of a matrix": (lambda: model([node("Gemm", "x", "w", "b")], (2, 5),
                                    weights(w=(5, 3), b=(2, 3))),
                      r"C of shape \(2, 3\) is not supported: a bias has one .* the 3 outputs"),
    "MatMul from the left": (lambda: model([node("MatMul", "w", "x")], (5, 3), weights(w=(2, 5))),
                             "the left operand must be the data"),
    "MatMul of batches": (lambda: model([node("MatMul", "x", "w")], ("N", 2, 5),
                                        weights(w=(1, 5, 3))),
                          r"the right operand must be a matrix, got shape \(1, 5, 3\)"),
    "Add that broadcasts": (lambda: model([node("Add", "a", "b", name="s")],
                                          {"a": ("N", 2), "b": ("N", 3, 2)}),
                            r"node 's' \(Add\): .*|the model contradicts itself"),
    "Add a constant that broadcasts": (
        lambda: model([node("Add", "x", "b")], ("N", 1), weights(b=(3,))),
        r"a constant of shape \(3,\) does not fit an input of shape \(None, 1\)"),
    "Transpose": (lambda: model([node("Transpose", "x", perm=[0, 2, 3, 1])]),
                  r"perm=\[0, 2, 3, 1\] moves the elements of an input of shape \(None, 2, 4, 4\)"),
    "training batch norm": (
        lambda: changed(batch_norm(), lambda m: (
            m.graph.node[0].output.extend(["m", "v"]), m.graph.node[0].attribute.append(
                onnx.helper.make_attribute("training_mode", 1)))),
        "training_mode=1 is not supported"),
    "batch norm of opset 9 with statistics": (
        lambda: changed(
            model([node("BatchNormalization", "x", *BATCH, "variance")], opset=9,
                  weights={**weights(**BATCH), "variance": np.ones(2, F4)}),
            lambda m: m.graph.node[0].output.extend(["m", "v", "sm", "sv"])),
        r"outputs \['y', 'm', 'v', 'sm', 'sv'\] mean training before opset 14"),
    "variance": (lambda: changed(batch_norm(), lambda m: (
                     m.graph.initializer[3].CopyFrom(numpy_helper.from_array(
                         -np.ones(2, F4), "variance")))),
                 r"variance \+ epsilon must be positive, got -0.99"),
    "float16": (lambda: half(conv()), "'w' must be float32, got float16"),
    "int input": (lambda: changed(model([node("Identity", "x")]), lambda m: (
                      setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.INT64),
                      setattr(m.graph.output[0].type.tensor_type, "elem_type", TensorProto.INT64))),
                  "the input 'x' must be a tensor of FLOAT, got INT64"),
    "constant result": (lambda: model([node("Relu", "x", to="r"), node("Identity", "b")], ("N", 2),
                                      weights(b=(2,))),
                        "the output 'y' does not depend on the model's input"),
    "Concat of constants": (lambda: model([node("Concat", "x", "b", axis=0)], (2, 2),
                                          weights(b=(2, 2))),
                            "its input 'b' must depend on the model's input, but is constant"),
    "huge ConstantOfShape": (
        lambda: model([node("ConstantOfShape", "s", to="w"), node("Gemm", "x", "w")], ("N", 5),
                      {"s": np.array([5, 2**30])}), "asks for more than 16777216 bytes"),
    "ceil_mode and SAME": (
        lambda: model([node("AveragePool", "x", kernel_shape=[2, 2], auto_pad="SAME_UPPER",
                            strides=[2, 2], ceil_mode=1)]),
        "ceil_mode=1 with auto_pad=SAME is not supported"),
    **{
        f"{kind} of {size} and SAME": (
            lambda kind=kind, kernel=kernel: model(
                [node(kind, "x", kernel_shape=kernel, auto_pad="SAME_LOWER", strides=[1, 2])],
                result=("N", 2, 4, 2)),
            r"kernel_shape=\[.*\] with strides and auto_pad=SAME is not supported above 255: the "
            "padding would be as large, whatever the image")
        for kind in ("MaxPool", "AveragePool")
        for size, kernel in (("256", [2, 256]), ("a billion", [10**9, 1]))
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    make, message = REFUSALS[name]
    with pytest.raises(OnnxError, match=message):
        build(make())


def lying(change: Callable[[Any], Any]) -> Any:
    return changed(conv(), change)


LIES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "too few bytes": (lambda m: setattr(m.graph.initializer[0], "raw_data", b"1234"),
                      r"raw_data|shape \(3, 2, 3, 3\)"),
    "dims": (lambda m: m.graph.initializer[0].dims.__setitem__(0, 300), "contradicts itself"),
    "huge dims": (lambda m: m.graph.initializer[0].dims.__setitem__(0, 2**40),
                  r"the tensor 'w' has the impossible shape \(1099511627776, 2, 3, 3\)"),
    "negative dims": (lambda m: m.graph.initializer[0].dims.__setitem__(0, -3), "impossible shape"),
    "type": (lambda m: setattr(m.graph.initializer[0], "data_type", 77), "type 77"),
    "channels": (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 7),
                 r"has shape \(None, 7, 4, 4\), but W of shape \(3, 2, 3, 3\) .* takes 2"),
    "result": (lambda m: setattr(m.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 7),
               "the model contradicts itself"),
    "declared": (lambda m: m.graph.input.append(onnx.helper.make_tensor_value_info(
                     "w", TensorProto.FLOAT, [3, 2, 5, 5])),
                 r"'w' is declared with shape \(3, 2, 5, 5\), but its initializer has"),
    "missing input": (lambda m: m.graph.node[0].input.__setitem__(0, "nowhere"), "nowhere"),
    "line in a name": (lambda m: setattr(m.graph.node[0], "op_type", "Co\nnv"),
                       r"the operator Co\\nnv is not supported"),
    "cycle": (lambda m: m.graph.node[0].input.__setitem__(0, "y"), "contradicts itself"),
    "written twice": (lambda m: m.graph.node.append(m.graph.node[0]), "contradicts itself"),
    "the same name twice": (lambda m: m.graph.initializer.append(m.graph.initializer[0]),
                            "the initializer 'w' must have a name of its own"),
    "no graph": (lambda m: m.ClearField("graph"), "not a whole ONNX file"),
    "no opset": (lambda m: m.ClearField("opset_import"), "the model imports no ONNX opset"),
    "no output": (lambda m: m.graph.ClearField("output"), "without an output"),
    "absolute path": (lambda m: external(m, "/etc/passwd"), "'/etc/passwd', which cannot be read"),
    "path that leaves": (lambda m: external(m, "../w.bin"), r"'\.\./w.bin', which cannot be read"),
    "no such file": (lambda m: external(m, "none.bin"), "'none.bin', which cannot be read"),
    "beyond the file": (lambda m: external(m, "w.bin", offset=1000), "cannot be read"),
    "too much of it": (lambda m: external(m, "w.bin", length=10**9), "cannot be read"),
    "too little of it": (lambda m: external(m, "w.bin", length=8), "needs 216 bytes, but has 8"),
    "unknown key": (lambda m: external(m, "w.bin", colour=3), r"unknown keys \['colour'\]"),
}  # fmt: skip


def external(made: Any, location: str, **more: int) -> None:
    """The weights as external data."""
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))


@pytest.mark.parametrize("name", LIES)
def test_lies(name: str, tmp_path: Path) -> None:
    change, message = LIES[name]
    (tmp_path / "w.bin").write_bytes(bytes(300))
    path = save(lying(change), tmp_path / "lie.onnx")
    with pytest.raises(OnnxError, match=message) as caught:
        striate.onnx.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(300))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "w.bin").symlink_to(tmp_path / "secret")
    path = save(lying(lambda m: external(m, "w.bin")), tmp_path / "folder" / "m.onnx")
    with pytest.raises(OnnxError, match="'w.bin', which cannot be read"):
        striate.onnx.load(path)


def test_external_data_beside_the_file(tmp_path: Path) -> None:
    made = conv(pads=[1, 0, 1, 2])
    x = draw("external", (2, 2, 4, 4))
    expected = build(made)(x)
    weight = numpy_helper.to_array(made.graph.initializer[0])
    (tmp_path / "w.bin").write_bytes(b"----" + weight.tobytes())
    external(made, "w.bin", offset=4, length=weight.nbytes)
    path = save(made, tmp_path / "m.onnx")
    np.testing.assert_array_equal(striate.onnx.load(path)(x), expected)
    with pytest.raises(OnnxError, match="but a model in memory has no folder"):
        build(made)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        striate.onnx.load(tmp_path / "none.onnx")


def test_a_file_beyond_what_protobuf_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(striate.onnx.source, "_LARGEST", 100)
    path = save(conv(), tmp_path / "m.onnx")
    with pytest.raises(OnnxError, match="bytes are more than an ONNX file can have"):
        striate.onnx.load(path)


def test_garbage_is_refused_and_nothing_else_happens(tmp_path: Path) -> None:
    """Truncated anywhere, and with bytes turned over: OnnxError, or a model that still runs."""
    data = to_bytes(net(), (2, 4, 4))
    path = tmp_path / "m.onnx"
    x = draw("garbage", (1, 2, 4, 4))
    rng = np.random.default_rng(0)
    broken = [data[:n] for n in rng.integers(0, len(data), 150)]
    for _ in range(450):
        bent = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            bent[place] ^= int(rng.integers(1, 256))
        broken.append(bytes(bent))
    broken += [b"", b"\0" * 50, rng.bytes(300), b"\x08\x08" * 2000]
    refused = 0
    for piece in broken:
        path.write_bytes(piece)
        try:
            graph = striate.onnx.load(path)
        except OnnxError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
            continue
        assert graph(x).ndim
    assert refused > 200
