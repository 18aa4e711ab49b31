"""ONNX models loaded: they answer as in ONNX Runtime, also when they are exported again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from checks import assert_close, draw
from onnx_models import (
    BATCH,
    F4,
    batch_norm,
    check,
    model,
    node,
    numpy_helper,
    onnx,
    runtime,
    weights,
)
from striate import nn
from striate.onnx import OnnxError, layers
from striate.onnx.exporter import to_bytes
from striate.onnx.importer import build


def kinds(graph: nn.Graph) -> list[str]:
    return [type(layer).__name__ for layer in graph.children()]


# --- convolution and pooling ---------------------------------------------------------------------

PADS = st.one_of(
    st.fixed_dictionaries({"pads": st.tuples(*[st.integers(0, 2)] * 4)}),
    st.fixed_dictionaries({"auto_pad": st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"])}),
    st.just({}),
)
PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


def fits(size: tuple[int, int], kernel: Any, dilation: Any, options: Mapping[str, Any]) -> bool:
    pads = options.get("pads", (0, 0, 0, 0))
    same = options.get("auto_pad", "").startswith("SAME")
    if same and max(dilation) > 1:
        return False  # refused: see below
    return all(
        same or d * (k - 1) + 1 <= n + before + after
        for n, k, d, before, after in zip(size, kernel, dilation, pads[:2], pads[2:])
    )


@given(PAIRS, PAIRS, PAIRS, PADS, st.sampled_from([1, 2]), st.booleans(), PAIRS)
def test_convolutions(kernel: Any, stride: Any, dilation: Any, options: Any, groups: int,
                      bias: bool, more: Any) -> None:  # fmt: skip
    size = 4 + more[0], 4 + more[1]
    assume(fits(size, kernel, dilation, options))
    arrays = weights(w=(4, 4 // groups, *kernel), b=(4,))
    made = model(
        [node("Conv", "x", "w", *["b"] * bias, kernel_shape=kernel, strides=stride,
              dilations=dilation, group=groups, **options)],
        ("N", 4, *size),
        {k: v for k, v in arrays.items() if k == "w" or bias},
    )  # fmt: skip
    check(made, (2, 4, *size), depth=36)


@given(PAIRS, PAIRS, PAIRS, PADS, st.booleans(), PAIRS)
def test_max_pools(kernel: Any, stride: Any, dilation: Any, options: Any, ceil: bool,
                   more: Any) -> None:  # fmt: skip
    size = 3 + more[0], 3 + more[1]
    assume(fits(size, kernel, dilation, options))
    assume(not (ceil and "auto_pad" in options))  # onnx leaves that open
    pads = options.get("pads", (0, 0, 0, 0))
    assume(all(p < k for p, k in zip(pads, kernel * 2)))  # ONNX Runtime's rules
    assume("auto_pad" not in options or all(k >= s for k, s in zip(kernel, stride)))
    made = model(
        [node("MaxPool", "x", kernel_shape=kernel, strides=stride, dilations=dilation,
              ceil_mode=int(ceil), **options)],
        ("N", 2, *size),
        opset=22,
    )  # fmt: skip
    pool_or_refusal(made, size, ceil and any(p > k // 2 for p, k in zip(pads, kernel * 2)))


@given(PAIRS, PAIRS, PAIRS, PADS, st.booleans(), st.booleans(), PAIRS)
def test_average_pools(kernel: Any, stride: Any, dilation: Any, options: Any, ceil: bool,
                       counted: bool, more: Any) -> None:  # fmt: skip
    size = 3 + more[0], 3 + more[1]
    assume(fits(size, kernel, dilation, options))
    assume(not (ceil and "auto_pad" in options))
    pads = options.get("pads", (0, 0, 0, 0))
    assume(all(p < k for p, k in zip(pads, kernel * 2)))
    made = model(
        [node("AveragePool", "x", kernel_shape=kernel, strides=stride, dilations=dilation,
              ceil_mode=int(ceil), count_include_pad=int(counted), **options)],
        ("N", 2, *size),
        opset=22,
    )  # fmt: skip
    pool_or_refusal(made, size, False)


def pool_or_refusal(made: Any, size: tuple[int, int], refused: bool) -> None:
    if refused:
        with pytest.raises(OnnxError, match="ceil_mode=1 with pads=.* above half of kernel_shape"):
            build(made)
        return
    try:
        check(made, (2, 2, *size))
    except OnnxError as error:  # only the second export may be
        if not any(text in str(error) for text in ("has no counterpart", "steps over the whole")):
            raise


def test_same_padding_follows_the_size_of_the_input() -> None:
    """With a stride it is computed for each input: a file of any height and width has no other."""
    made = model([node("Conv", "x", "w", auto_pad="SAME_LOWER", strides=[2, 2], name="c"),
                  node("MaxPool", "c", auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[3, 3])],
                 ("N", 2, "H", "W"), weights(w=(3, 2, 3, 3)))  # fmt: skip
    made.graph.node[0].output[0] = made.graph.node[1].input[0] = "c"
    graph = build(made)
    for size in ((5, 6), (6, 5), (7, 9)):
        x = draw(f"same/{size}", (2, 2, *size))
        assert_close(graph(x), runtime(made, x), depth=18)
    assert kinds(graph) == ["SamePad2d", "Conv2d", "SamePad2d", "MaxPool2d"]
    assert [n.name for n in graph.nodes] == ["c_pad", "c", "y_pad", "y"]


def test_global_average_pool() -> None:
    assert kinds(check(model([node("GlobalAveragePool", "x")]), (3, 2, 4, 4))) == [
        "AdaptiveAvgPool2d"
    ]


# --- other operators -----------------------------------------------------------------------------

CASES: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    # name: (what makes the model, the layers expected, the shape of the input)
    "Relu": (lambda: model([node("Relu", "x")], opset=7), ["ReLU"], (3, 2, 4, 4)),
    "Tanh": (lambda: model([node("Tanh", "x")], opset=13), ["Tanh"], (3, 2, 4, 4)),
    "Sigmoid": (lambda: model([node("Sigmoid", "x")], opset=6), ["Sigmoid"], (3, 2, 4, 4)),
    "Softmax 11, last axis": (
        lambda: model([node("Softmax", "x")], ("N", 5), opset=11), ["Softmax"], (3, 5)),
    "Softmax 11 flattens": (
        lambda: model([node("Softmax", "x")], opset=11), ["FlatSoftmax"], (3, 2, 4, 4)),
    "Softmax 11, axis 2": (
        lambda: model([node("Softmax", "x", axis=2)], opset=11), ["FlatSoftmax"], (3, 2, 4, 4)),
    "Softmax 11, axis -1": (
        lambda: model([node("Softmax", "x", axis=-1)], opset=11), ["Softmax"], (3, 2, 4, 4)),
    "Softmax 13": (lambda: model([node("Softmax", "x")]), ["Softmax"], (3, 2, 4, 4)),
    "Softmax 13, axis 1": (
        lambda: model([node("Softmax", "x", axis=1)]), ["Softmax"], (3, 2, 4, 4)),
    "LogSoftmax 11": (
        lambda: model([node("LogSoftmax", "x")], opset=11), ["FlatSoftmax"], (3, 2, 4, 4)),
    "LogSoftmax 13": (lambda: model([node("LogSoftmax", "x")]), ["LogSoftmax"], (3, 2, 4, 4)),
    "LRN": (
        lambda: model([node("LRN", "x", size=3, alpha=0.3, beta=0.6, bias=2.0)], ("N", 7, 3, 3)),
        ["LocalResponseNorm"], (2, 7, 3, 3)),
    "Dropout 7": (
        lambda: model([node("Dropout", "x", ratio=0.3)], opset=7), ["Dropout"], (3, 2, 4, 4)),
    "Dropout 13": (
        lambda: model([node("Dropout", "x", "r", "t", seed=3)], weights={
            "r": np.array(0.3, F4), "t": np.array(False)}), ["Dropout"], (3, 2, 4, 4)),
    "Flatten": (lambda: model([node("Flatten", "x")]), ["Flatten"], (3, 2, 4, 4)),
    "Flatten -3": (lambda: model([node("Flatten", "x", axis=-3)]), ["Flatten"], (3, 2, 4, 4)),
    "Flatten 2": (lambda: model([node("Flatten", "x", axis=2)]), ["FlattenAt"], (3, 2, 4, 4)),
    "Identity": (lambda: model([node("Identity", "x")]), ["Identity"], (3, 2, 4, 4)),
    "Transpose nothing": (
        lambda: model([node("Transpose", "x", perm=[0, 1, 2, 3])]), ["Identity"], (3, 2, 4, 4)),
    "Transpose axes of 1": (
        lambda: model([node("Transpose", "x", perm=[0, 2, 3, 1])], ("N", 5, 1, 1)),
        ["Reshape"], (3, 5, 1, 1)),
    "BatchNormalization": (
        batch_norm, ["ChannelAffine"], (3, 2, 4, 4)),
    "BatchNormalization 7": (
        lambda: model([node("BatchNormalization", "x", *BATCH, "variance", momentum=0.5)],
                      weights={**weights(**BATCH), "variance": np.array([0.5, 2], F4)}, opset=7),
        ["ChannelAffine"], (3, 2, 4, 4)),
    "Add a bias": (
        lambda: model([node("Add", "b", "x")], weights=weights(b=(2, 1, 1))),
        ["Bias"], (3, 2, 4, 4)),
    "Add a number": (
        lambda: model([node("Add", "x", "b")], weights=weights(b=())), ["Bias"], (3, 2, 4, 4)),
    "Sum": (
        lambda: model([node("Sum", "x", "b", "x")], weights=weights(b=(4, 4))),
        ["Add", "Bias"], (3, 2, 4, 4)),
    "Sum of one": (lambda: model([node("Sum", "x")]), ["Identity"], (3, 2, 4, 4)),
    "Gemm": (
        lambda: model([node("Gemm", "x", "w", "b")], ("N", 5), weights(w=(5, 3), b=(3,))),
        ["Linear"], (2, 5)),
    "Gemm of all kinds": (
        lambda: model([node("Gemm", "x", "w", "b", alpha=0.5, beta=-2.0, transB=1)], ("N", 5),
                      weights(w=(3, 5), b=(1, 3))), ["Linear"], (2, 5)),
    "Gemm and one bias for all": (
        lambda: model([node("Gemm", "x", "w", "b")], ("N", 5), weights(w=(5, 3), b=(1,))),
        ["Linear"], (2, 5)),
    "Gemm of what is no number": (
        lambda: model([node("Gemm", "x", "w", "b", beta=1e30)], ("N", 5),
                      {**weights(w=(5, 3)), "b": np.array([1e30, np.nan, -np.inf], F4)}),
        ["Linear"], (2, 5)),
    "Gemm that drops C": (
        lambda: model([node("Gemm", "x", "w", "b", beta=0.0)], ("N", 5),
                      {**weights(w=(5, 3)), "b": np.array([np.inf, np.nan, 1], F4)}),
        ["Linear"], (2, 5)),
    "Gemm without C": (
        lambda: model([node("Gemm", "x", "w")], ("N", 5), weights(w=(5, 3))), ["Linear"], (2, 5)),
    "MatMul": (
        lambda: model([node("MatMul", "x", "w")], ("N", 4, 5), weights(w=(5, 3))),
        ["Linear"], (2, 4, 5)),
    "MatMul and Add": (
        lambda: model([node("MatMul", "x", "w", to="p"), node("Add", "b", "p")], ("N", 5),
                      weights(w=(5, 3), b=(3,))), ["Linear"], (2, 5)),
    "MatMul read twice": (
        lambda: model([node("MatMul", "x", "w", to="p"), node("Add", "p", "b", to="q"),
                       node("Add", "p", "q")], ("N", 5), weights(w=(5, 3), b=(3,))),
        ["Linear", "Bias", "Add"], (2, 5)),
    "MatMul read before its Add": (
        lambda: model([node("MatMul", "x", "w", to="p"), node("Relu", "p", to="r"),
                       node("Add", "p", "b", to="q"), node("Add", "r", "q")], ("N", 5),
                      weights(w=(5, 3), b=(3,))),
        ["Linear", "ReLU", "Bias", "Add"], (2, 5)),
    "Constant": (
        lambda: model([node("Constant", to="b", value_floats=[1.0, 2.0]), node("Add", "x", "b")],
                      ("N", 2)), ["Bias"], (3, 2)),
    "Constant tensor": (
        lambda: model([node("Constant", to="b", value=numpy_helper.from_array(np.ones(2, F4))),
                       node("Add", "x", "b")], ("N", 2)), ["Bias"], (3, 2)),
    "ConstantOfShape": (
        lambda: model([node("ConstantOfShape", "s", to="w", value=numpy_helper.from_array(
                           np.array([0.5], F4))), node("Gemm", "x", "w")], ("N", 5),
                      {"s": np.array([5, 3])}), ["Linear"], (2, 5)),
    "weights through Identity, Transpose and Reshape": (
        lambda: model([node("Identity", "w", to="i"), node("Transpose", "i", to="t"),
                       node("Reshape", "t", "s", to="v"), node("MatMul", "x", "v")], ("N", 5),
                      {**weights(w=(5, 3)), "s": np.array([5, -1])}), ["Linear"], (2, 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators(name: str) -> None:
    make, expected, shape = CASES[name]
    assert kinds(check(make(), shape)) == expected


@pytest.mark.parametrize(
    ("given", "target", "expected"),
    [
        (("N", 2, 3, 4), [0, -1], "Flatten"),
        (("N", 2, 3, 4), [-1, 24], "Flatten"),
        (("N", 2, 3, 4), [0, 24], "Flatten"),
        ((1, 2, 3, 4), [1, 24], "Flatten"),
        ((1, 2, 3, 4), [1, -1], "Flatten"),
        ((1, 2, 3, 4), [-1, 24], "Flatten"),
        (("N", "C", "H", "W"), [0, -1], "Flatten"),
        (("N", 2, 3, 4), [0, 0, -1], "Reshape"),
        (("N", 2, 3, 4), [-1, 2, 12], "Reshape"),
        ((1, 2, 3, 4), [1, 4, 3, 2], "Reshape"),
        (("N", 2, 3, 4), [0, 0, 0, 0], "Identity"),
        (("N", 2, 3, 4), [-1, 12], "Reshape"),  # two rows of each image
    ],
)
def test_reshapes_that_keep_the_batch_keep_any(given: Any, target: Any, expected: str) -> None:
    made = model([node("Reshape", "x", "s")], given, {"s": np.array(target)})
    graph = build(made)
    assert kinds(graph) == [expected]
    batch = 1 if given[0] == 1 else 3
    x = draw("reshape", (batch, 2, 3, 4))
    np.testing.assert_array_equal(graph(x), runtime(made, x))
    x = draw("reshape five", (5, 2, 3, 4))
    assert graph(x).shape[0] == (10 if target == [-1, 12] else 5)
    assert runtime(to_bytes(graph, (2, 3, 4)), x).shape == graph(x).shape


@pytest.mark.parametrize("size", [2, 4, 6])
def test_lrn_of_even_size_reaches_further_up(size: int) -> None:
    """c - floor((size - 1) / 2) .. c + ceil((size - 1) / 2), as onnx says; torch: further down."""
    made = model([node("LRN", "x", size=size, alpha=0.3, beta=0.6, bias=2.0)], ("N", 7, 3, 3))
    x = draw("lrn", (2, 7, 3, 3))
    squares = np.zeros_like(x)
    for c in range(7):
        low, high = max(0, c - (size - 1) // 2), c + -(-(size - 1) // 2)
        squares[:, c] = (x[:, low : high + 1] ** 2).sum(axis=1)
    graph = build(made)
    assert_close(graph(x), x / (2 + 0.3 / size * squares) ** F4(0.6), depth=8)
    again = onnx.load_from_string(to_bytes(graph, (7, 3, 3)))
    assert again.graph.node[0].op_type == "LRN"


def test_lrn_of_a_vector_is_refused() -> None:
    with pytest.raises(ValueError, match=r"local_response_norm: input must have 3 .*got 1 with"):
        layers.MirroredLRN(2)(draw("few axes", (4,)))


def test_branches_and_several_inputs() -> None:
    made = model(
        [
            node("Conv", "a", "w", to="left", kernel_shape=[1, 1]),
            node("Relu", "left", to="relu"),
            node("Add", "relu", "b", to="sum"),
            node("Concat", "sum", "a", "left", axis=1),
        ],
        {"a": ("N", 2, 3, 3), "unused": ("N", 1), "b": ("N", 4, 3, 3)},
        weights(w=(4, 2, 1, 1)),
    )
    graph = build(made)
    a, b = draw("a", (2, 2, 3, 3)), draw("b", (2, 4, 3, 3))
    inputs = a, draw("unused", (2, 1)), b
    expected = runtime(made, *inputs)
    assert_close(graph(inputs), expected, depth=4)
    graph.train()(inputs)
    da, nothing, db = graph.backward(expected)
    assert nothing is None
    assert da.shape == a.shape
    np.testing.assert_array_equal(db, expected[:, :4])


def test_an_output_that_is_an_input() -> None:
    made = model([node("Relu", "a", to="unread")], {"a": ("N", 2), "b": ("N", 3)}, outputs=("b",),
                 result=("N", 3))  # fmt: skip
    a, b = draw("a", (2, 2)), draw("b", (2, 3))
    np.testing.assert_array_equal(build(made)((a, b)), b)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_along_any_axis(axis: int) -> None:
    made = model([node("Concat", "x", "x", axis=axis)], ("N", 2, 3))
    x = draw("concat", (2, 2, 3))
    np.testing.assert_array_equal(build(made)(x), runtime(made, x))


# --- names ---------------------------------------------------------------------------------------


def test_names_come_from_the_nodes_and_are_made_valid_and_unique() -> None:
    made = model(
        [node("Relu", "x", to="a", name="/features/features.0/Relu"),
         node("Relu", "a", to="b", name="train"), node("Relu", "b", to="c", name="nodes"),
         node("Relu", "c", to="value/5"), node("Relu", "value/5", to="d", name="value_5"),
         node("Relu", "d", name="é")],
    )  # fmt: skip
    names = [n.name for n in build(made).nodes]
    assert names == ["features_features_0_Relu", "train_", "nodes_", "value_5", "value_5_2", "Relu"]
