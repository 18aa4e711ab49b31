"""ONNX models loaded: they train, share their weights and draw no random numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import striate
from checks import assert_close, draw, finite_differences
from onnx_models import (
    F4,
    batch_norm,
    check,
    model,
    net,
    node,
    numpy_helper,
    onnx,
    runtime,
    weights,
)
from striate import nn, optim
from striate.onnx import layers
from striate.onnx.exporter import to_bytes
from striate.onnx.importer import build


def test_an_import_has_the_gradients_of_the_model_it_came_from() -> None:
    original = net().train()
    original[5].eval()
    graph = build(onnx.load_from_string(to_bytes(original, (2, 4, 4)))).train()
    graph.nodes[5].layer.eval()
    assert [p.requires_grad for p in graph.parameters()] == [True] * 4
    x, dy = draw("train/x", (3, 2, 4, 4)), draw("train/dy", (3, 5))
    assert_close(graph(x), original(x), depth=40)
    assert_close(graph.backward(dy), original.backward(dy), depth=40)
    for one, other in zip(graph.parameters(), original.parameters()):
        assert_close(one.grad, other.grad, depth=200)


def test_an_import_can_be_fine_tuned(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    striate.onnx.export(net(), path, (2, 4, 4))
    graph = striate.onnx.load(path)
    assert not graph.training
    x, labels = draw("tune/x", (8, 2, 4, 4)), np.arange(8) % 5
    np.testing.assert_array_equal(graph(x), graph(x))
    graph.train()
    assert (graph(x) != graph(x)).any()  # dropout drops
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(graph.parameters(), lr=0.2, momentum=0.9)
    before = criterion(graph.eval()(x), labels)
    graph.train()
    for _ in range(60):
        criterion(graph(x), labels)
        graph.backward(criterion.backward())
        optimizer.step()
        optimizer.zero_grad()
    graph.eval()
    assert criterion(graph(x), labels) < 0.3 * before
    assert_close(runtime(to_bytes(graph, (2, 4, 4)), x), graph(x), depth=400)
    kept = graph.state_dict()
    fresh = striate.onnx.load(path)
    fresh.load_state_dict(kept)
    np.testing.assert_array_equal(fresh(x), graph(x))


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    data = onnx.load_from_string(to_bytes(net(), (2, 4, 4)))
    striate.manual_seed(5)
    expected = striate.random.next_key()
    striate.manual_seed(5)
    build(data)
    assert striate.random.next_key() == expected


def test_a_weight_that_two_nodes_share_stays_one() -> None:
    made = model([node("Gemm", "x", "w", "b", to="h"), node("Gemm", "h", "w", "b", to="i"),
                  node("Gemm", "i", "w", transB=1)],
                 ("N", 3), weights(w=(3, 3), b=(3,)))  # fmt: skip
    graph = check(made, (2, 3))
    first, second, turned = graph.children()
    assert first.weight is second.weight
    assert first.bias is second.bias
    assert turned.weight is not first.weight
    assert not np.shares_memory(turned.weight.data, first.weight.data)


def test_parameters_that_two_nodes_read_differently_do_not_share_memory() -> None:
    value = numpy_helper.from_array(np.array([0.5], F4))
    made = model(
        [node("ConstantOfShape", "s", to="w", value=value), node("Add", "x", "w", to="a"),
         node("Gemm", "a", "w", transB=1)],
        ("N", 5), {"s": np.array([1, 5])},
    )  # fmt: skip
    bias, linear = check(made, (2, 5)).children()
    assert not np.shares_memory(linear.weight.data, bias.bias.data)


def test_batch_normalization_is_frozen_but_can_be_thawed() -> None:
    graph = build(batch_norm()).train()
    assert not graph.trainable()
    graph.requires_grad_()
    x = draw("thaw", (3, 2, 4, 4))
    graph.backward(graph(x))
    assert all(p.grad is not None for p in graph.parameters())


OWN: dict[str, tuple[Callable[[], nn.Layer], tuple[int, ...]]] = {
    "Reshape": (lambda: layers.Reshape((0, 2, -1)), (2, 4, 3)),
    "FlattenAt": (lambda: layers.FlattenAt(2), (2, 4, 3)),
    "FlatSoftmax": (lambda: layers.FlatSoftmax(1, log=False), (2, 4, 3)),
    "FlatSoftmax log": (lambda: layers.FlatSoftmax(2, log=True), (2, 4, 3)),
    "MirroredLRN": (lambda: layers.MirroredLRN(4, 0.5), (2, 5, 3, 2)),
    "SamePad2d": (lambda: layers.SamePad2d((3, 2), (2, 2), True, 0.5), (1, 2, 4, 5)),
    "AveragePool": (
        lambda: layers.AveragePool((2, 3), (2, 1), (1, 2, 1, 0), (2, 1), False, True, True),
        (2, 2, 6, 5),
    ),
    "AveragePool same": (
        lambda: layers.AveragePool((3, 3), (2, 2), None, (1, 1), True, False, False),
        (2, 2, 6, 5),
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_gradients_of_layers_that_only_an_import_makes(float64: None, name: str) -> None:
    make, shape = OWN[name]
    layer, x = make(), draw(f"own/{name}", shape).astype(np.float64)
    y, saved = layer.apply(x, True, True)
    dy = draw(f"own/{name}/dy", y.shape).astype(np.float64)
    dx, _ = layer.grad(dy, saved, True)
    numeric = finite_differences(lambda: float((layer.apply(x, True, False)[0] * dy).sum()), x)
    np.testing.assert_allclose(dx, numeric, atol=5e-7, rtol=1e-5)


def test_a_window_that_does_not_fit_is_a_sentence_before_it_is_made() -> None:
    layer = layers.AveragePool((2, 2**31 - 1), (1, 1), (0, 1, 0, 0), (1, 2), False, False, False)
    message = (
        r"AveragePool: kernel=\(2, 2147483647\) with dilation=\(1, 2\) does not fit an image with "
        "5 elements along axis 3, padded by 1 and 0"
    )
    with pytest.raises(ValueError, match=message):
        layer.apply(draw("fit", (1, 1, 4, 5)))
