"""Models exported to ONNX: ONNX Runtime answers as Striate does, and load gives them back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate
from checks import assert_close, draw
from onnx_models import onnx, runtime
from pools import Pool, pools
from striate import models, nn
from striate.nn.graph import Node
from striate.onnx import OnnxError
from striate.onnx.exporter import to_bytes


@pytest.fixture(autouse=True)
def seeded() -> None:
    striate.manual_seed(0)


def check(model: nn.Layer, shape: tuple[int, ...], depth: int = 64, again: bool = True) -> Any:
    """The exported model, after ONNX Runtime and load have agreed with Striate on three images."""
    model.eval()
    data = to_bytes(model, shape)
    proto = onnx.load_from_string(data)
    onnx.checker.check_model(proto, full_check=True)
    x = draw(f"export/{shape}", (3, *shape))
    y = model(x)
    assert_close(runtime(data, x), y, depth=depth)
    assert_close(runtime(data, x[:1]), model(x[:1]), depth=depth)
    if again:
        loaded = striate.onnx.importer.build(proto)
        assert_close(loaded(x), y, depth=depth)
        assert_close(runtime(to_bytes(loaded, shape), x), y, depth=depth)
    return proto


def names(proto: Any) -> set[str]:
    return {tensor.name for tensor in proto.graph.initializer}


def affine() -> nn.ChannelAffine:
    layer = nn.ChannelAffine(4)
    layer.weight.data = draw("affine/w", (4,))
    layer.bias.data = draw("affine/b", (4,))
    return layer


PLANES: dict[str, Any] = {
    "Conv2d": lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2),
    "Conv2d same": lambda: nn.Conv2d(4, 2, (2, 5), padding="same", bias=False),
    "Conv2d valid": lambda: nn.Conv2d(4, 2, 3, padding="valid"),
    "Conv2d four pads": lambda: nn.Conv2d(4, 2, 3, padding=(0, 3, 1, 2)),
    "Linear on rows": lambda: nn.Linear(9, 5),
    "Linear on rows without bias": lambda: nn.Linear(9, 5, bias=False),
    "MaxPool2d": lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "MaxPool2d four pads": lambda: nn.MaxPool2d(3, 2, (0, 1, 1, 0), dilation=2),
    "AvgPool2d": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "AvgPool2d inside": lambda: nn.AvgPool2d(3, 2, (1, 0, 0, 1), count_include_pad=False),
    "AdaptiveAvgPool2d 1": lambda: nn.AdaptiveAvgPool2d(1),
    "AdaptiveAvgPool2d that divides": lambda: nn.AdaptiveAvgPool2d((8, 3)),
    "AdaptiveAvgPool2d that does not": lambda: nn.AdaptiveAvgPool2d((3, 5)),
    "AdaptiveAvgPool2d that repeats": lambda: nn.AdaptiveAvgPool2d((13, 20)),
    "ReLU": nn.ReLU,
    "Tanh": nn.Tanh,
    "Sigmoid": nn.Sigmoid,
    "Softmax": lambda: nn.Softmax(1),
    "Softmax without dim": nn.Softmax,
    "LogSoftmax": lambda: nn.LogSoftmax(-1),
    "LocalResponseNorm": lambda: nn.LocalResponseNorm(5, 0.5, 0.6, 2.0),
    "Dropout": nn.Dropout,
    "Identity": nn.Identity,
    "Flatten": nn.Flatten,
    "Flatten planes": lambda: nn.Flatten(2),
    "Flatten with the batch": lambda: nn.Flatten(0, 1),
    "Flatten nothing": lambda: nn.Flatten(0, 0),
    "ChannelAffine": affine,
    "Bias": lambda: nn.Bias((4, 1, 9)),
    "ZeroPad2d": lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Conv2d(4, 2, 3)),
    "ConstantPad2d": lambda: nn.Sequential(nn.ConstantPad2d(2, -np.inf), nn.MaxPool2d(3)),
    "nothing": nn.Sequential,
}


@pytest.mark.parametrize("name", PLANES)
def test_every_layer(name: str) -> None:
    model = PLANES[name]()
    proto = check(model, (4, 8, 9))
    own = set(nn.Sequential(model).state_dict() if names(proto) else ())
    kind = type(model).__name__.lower()
    assert names(proto) == {name.replace("0.", f"{kind}.", 1) for name in own} or isinstance(
        model, nn.Sequential
    )


def test_ceil_mode_where_one_window_hangs_over_and_another_is_left_out() -> None:
    """Down, the second window would start behind the input; across, it hangs over its end."""
    max_pool = check(nn.MaxPool2d((1, 2), 2, ceil_mode=True), (1, 2, 3)).graph.node[0]
    pads, mode = ([a for a in max_pool.attribute if a.name == n] for n in ("pads", "ceil_mode"))
    assert list(pads[0].ints) == [0, 0, 0, 1]
    assert mode[0].i == 0
    check(nn.AvgPool2d((1, 2), 2, ceil_mode=True), (1, 2, 3))
    with pytest.raises(OnnxError, match="ceil_mode with stride .* has no counterpart in ONNX"):
        to_bytes(nn.AvgPool2d((1, 3), 2, (0, 1), ceil_mode=True), (1, 2, 4))


def test_a_padding_goes_into_the_convolution_behind_it() -> None:
    for model in (PLANES["ZeroPad2d"](), PLANES["ConstantPad2d"]()):
        kinds = [n.op_type for n in check(model, (4, 8, 9)).graph.node]
        assert kinds in (["Conv"], ["MaxPool"])
    for width, kinds in ((1, ["MaxPool"]), (2, ["Constant", "Constant", "Pad", "MaxPool"])):
        pool = nn.Sequential(nn.ConstantPad2d(width, -np.inf), nn.MaxPool2d(2))
        made = check(pool, (1, 4, 6), again=width == 1)
        assert [node.op_type for node in made.graph.node] == kinds
    alone = onnx.load_from_string(to_bytes(nn.ZeroPad2d(1), (1, 2, 2)))
    assert alone.graph.node[-1].op_type == "Pad"
    x = draw("pad alone", (2, 1, 2, 2))
    np.testing.assert_array_equal(runtime(alone, x), nn.ZeroPad2d(1)(x))


@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 5)] * 4),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
)
def test_convolutions(kernel: Any, stride: Any, pads: Any, dilation: Any, groups: int,
                      bias: bool) -> None:  # fmt: skip
    model = nn.Conv2d(4, 8, kernel, stride, pads, dilation, groups, bias)
    check(model, (4, 9, 8), depth=4 * kernel[0] * kernel[1])


@given(pools(dilated=True))
def test_max_pools(pool: Pool) -> None:
    model = nn.MaxPool2d(
        pool.kernel_size, pool.stride, pool.padding, pool.dilation, ceil_mode=pool.ceil_mode
    )
    try:
        check(model, pool.shape[1:])
    except OnnxError as error:  # rare: all of a window lies in the padding
        if "a dilated window steps over the whole input" not in str(error):
            raise


@given(pools(dilated=False), st.booleans())
def test_average_pools(pool: Pool, count_include_pad: bool) -> None:
    model = nn.AvgPool2d(**pool.window, count_include_pad=count_include_pad)
    try:
        check(model, pool.shape[1:])
    except OnnxError as error:
        if "and count_include_pad for an input of" not in str(error):
            raise


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(1, 9), st.integers(1, 9))
def test_adaptive_pools(size: tuple[int, int], height: int, width: int) -> None:
    check(nn.AdaptiveAvgPool2d(size), (2, height, width))


def alexnet_shaped() -> nn.Sequential:
    """torchvision's AlexNet with an eighth of its channels."""
    features = nn.Sequential(
        nn.Conv2d(3, 8, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(8, 24, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(),
        nn.Conv2d(48, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2),
    )  # fmt: skip
    classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(32 * 36, 64), nn.ReLU(),
        nn.Dropout(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    return nn.Sequential({"features": features, "avgpool": nn.AdaptiveAvgPool2d(6),
                          "flatten": nn.Flatten(), "classifier": classifier})  # fmt: skip


@pytest.mark.parametrize("size", [63, 127, 224])
def test_alexnet(size: int) -> None:
    model = nn.init.initialize(alexnet_shaped(), "he_normal")
    proto = check(model, (3, size, size), depth=600)
    assert names(proto) == set(model.state_dict())
    kinds = [n.op_type for n in proto.graph.node]
    assert kinds.count("MatMul") == (0 if size == 224 else 2)  # 1x1 and 3x3 to 6x6


@pytest.mark.parametrize(("make", "shape"), [(models.lenet5, (1, 28, 28)),
                                             (models.lenet5_1998, (1, 32, 32))])  # fmt: skip
def test_lenets(make: Any, shape: tuple[int, ...]) -> None:
    model = make()
    for parameter in model.parameters():  # biases that start at 0 would hide their names
        parameter.data += np.float32(0.1) * draw(f"lenet/{parameter.shape}", parameter.shape)
    proto = check(model, shape, depth=400)
    assert names(proto) == set(model.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize(("make", "size"), [(models.alexnet, 96), (models.alexnet_2012, 227)])
def test_the_reference_models(make: Any, size: int, tmp_path: Path) -> None:
    with nn.init.skipped():
        model = nn.init.initialize(make(num_classes=10), "he_normal").eval()
    path = tmp_path / "model.onnx"
    striate.onnx.export(model, path, (3, size, size))
    x = draw("reference", (2, 3, size, size))
    y = model(x)
    assert y.std() > 0.1
    assert_close(runtime(path, x), y, depth=4096)
    del model
    assert_close(striate.onnx.load(path)(x), y, depth=4096)


def branches() -> nn.Graph:
    twice = nn.Conv2d(4, 4, 3, padding=1)
    return nn.Graph(
        [
            Node("once", twice, (0,), 1),
            Node("relu", nn.ReLU(), (1,), 2),
            Node("again", twice, (2,), 3),
            Node("sum", nn.Add(), (0, 3, 1), 4),
            Node("both", nn.Concat(), (4, 2), 5),
        ]
    )


def test_branches_and_a_layer_that_stands_twice() -> None:
    proto = check(branches(), (4, 5, 6), depth=200)
    assert names(proto) == {"once.weight", "once.bias"}
    loaded = striate.onnx.importer.build(proto)
    assert loaded.once.weight is loaded.again.weight


def test_several_inputs() -> None:
    model = nn.Graph(
        [Node("fc", nn.Linear(4, 3), (1,), 2), Node("sum", nn.Add(), (0, 2), 3)], inputs=2
    ).eval()
    data = to_bytes(model, [(3,), (4,)])
    a, b = draw("several/a", (5, 3)), draw("several/b", (5, 4))
    assert_close(runtime(data, a, b), model((a, b)), depth=4)
    loaded = striate.onnx.importer.build(onnx.load_from_string(data))
    assert_close(loaded((a, b)), model((a, b)), depth=4)
    with pytest.raises(ValueError, match="the model has 2 inputs, got input_shape"):
        to_bytes(model, (3, 4, 5))


# --- names, files, refusals ----------------------------------------------------------------------


def test_names_of_nested_layers_and_values() -> None:
    model = nn.Sequential(
        {"input": nn.Sequential(nn.Linear(3, 3), nn.ReLU()), "output": nn.Linear(3, 2)}
    )
    proto = check(model, (3,))
    assert names(proto) == set(model.state_dict())
    assert [n.name for n in proto.graph.node] == ["input.0", "input.1", "output"]
    assert [i.name for i in proto.graph.input] == ["input"]
    assert [o.name for o in proto.graph.output] == ["output"]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


class Doubled(nn.Layer):
    def apply(self, x: Any, training: bool = False, save: bool = True) -> tuple[Any, Any]:
        return x + x, None


def test_load_calls_the_layers_as_they_were_called() -> None:
    model = nn.Sequential(
        {"wide": nn.Linear(4, 3), "act": nn.ReLU(), "none": nn.Linear(3, 2, False)}
    )
    loaded = striate.onnx.importer.build(onnx.load_from_string(to_bytes(model, (5, 4))))
    assert list(loaded.state_dict()) == list(model.state_dict())


def test_a_layer_of_ones_own_is_refused_until_it_has_an_export() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU(), Doubled()))
    message = "export: layer '0.1' is a Doubled, which has no export; give it one with striate.onnx"
    with pytest.raises(OnnxError, match=message):
        to_bytes(model, (2,))
    striate.onnx.exports(Doubled)(lambda layer, to: to.node("Sum", to.inputs[0], to.inputs[0]))
    try:
        check(model, (2,))
    finally:
        del striate.onnx.emitter.EXPORTS[Doubled]


class Other(nn.ReLU):
    def apply(self, x: Any, training: bool = False, save: bool = True) -> tuple[Any, Any]:
        return -x, None


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: nn.Sequential(Other()), (2,), "layer '0' is a Other, which has no export"),
        (lambda: nn.LocalResponseNorm(4), (4, 2, 2), "size=4 is even: torch's window reaches"),
        (lambda: nn.LocalResponseNorm(3), (4, 2), "ONNX's LRN takes"),
        (lambda: nn.AvgPool2d(2, divisor_override=3), (1, 4, 4), "divisor_override=3 has no"),
        (lambda: nn.MaxPool2d(2, 1, 1, dilation=3), (1, 2, 2), "steps over the whole input"),
        (lambda: nn.Sequential(nn.Linear(3, 2)), (4,), "layer '0': linear: .* but input has 4"),
    ],
)
def test_refusals(make: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(OnnxError, match=message):
        to_bytes(make(), shape)


def test_arguments_are_checked() -> None:
    with pytest.raises(TypeError, match="model must be a Layer, got int"):
        to_bytes(3, (1, 2, 2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"input_shape must be \(C, H, W\), got 28"):
        to_bytes(nn.ReLU(), 28)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="input_shape must be between 1 and"):
        to_bytes(nn.ReLU(), (1, 0, 3))


def test_weights_above_what_a_file_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(striate.onnx.exporter, "_LARGEST", 1000)
    with pytest.raises(OnnxError, match="weights take 1040 bytes, .* holds at most 1000"):
        to_bytes(nn.Linear(25, 10), (25,))


def test_a_refused_export_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    striate.onnx.export(nn.ReLU(), path, (2,))
    before = path.read_bytes()
    with pytest.raises(OnnxError):
        striate.onnx.export(Doubled(), path, (2,))
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        striate.onnx.export(nn.ReLU(), tmp_path / "no" / "model.onnx", (2,))
    assert list(tmp_path.iterdir()) == [path]


def test_training_mode_is_left_as_it_is() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).train()
    data = to_bytes(model, (4,))
    assert model.training
    assert model[1].training
    x = draw("mode", (2, 4))
    assert_close(runtime(data, x), model.eval()(x), depth=4)


def test_without_the_package_one_sentence_says_what_to_install() -> None:
    code = """
import sys
sys.modules["onnx"] = None
import striate
try:
    striate.onnx.export
except ImportError as error:
    print(error)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = "striate.onnx needs the package onnx: pip install 'striate[onnx]'"
    assert answer.stdout.strip() == expected, answer.stderr
