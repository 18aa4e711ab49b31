"""The plan that a chain of layers trains by: the layers' own numbers, whoever changes what."""

from __future__ import annotations

import copy
import pickle
import re
import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import striate
from checks import draw
from striate import models, nn, optim
from striate.plan.chain import Chain, Saved
from striate.plan.steps import fuse, steps_of


def seeded(model: nn.Layer, seed: int = 0) -> nn.Layer:
    generator = np.random.default_rng(seed)
    for p in model.parameters():
        p.data = generator.standard_normal(p.shape).astype(np.float32) / 4
    return model


def one_by_one(model: nn.Graph, x: Any, dy: Any) -> tuple[Any, Any, dict[int, Any]]:
    """(y, dx, gradients by parameter) of a chain, layer by layer."""
    saved = []
    y = x
    for node in model.nodes:
        y, kept = node.layer.apply(y, training=node.layer.training, save=True)
        saved.append(kept)
    gradients: dict[int, Any] = {}
    for node, kept in zip(reversed(model.nodes), reversed(saved)):
        dy, own = node.layer.grad(dy, kept, True)
        for p, g in own:
            gradients[id(p)] = g + gradients.get(id(p), 0)
    return y, dy, gradients


def close(actual: Any, expected: Any) -> None:
    assert actual.shape == expected.shape
    scale = float(np.abs(expected).max(initial=0)) + 1e-12
    np.testing.assert_allclose(actual / scale, expected / scale, atol=2e-5)


def all_ops() -> nn.Sequential:
    """Every layer that trains, in an order that fuses some and not others."""
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1),
        nn.LocalResponseNorm(3), nn.Conv2d(5, 4, 3, bias=False), nn.MaxPool2d(2, 1), nn.ReLU(),
        nn.Tanh(), nn.AvgPool2d(2, ceil_mode=True), nn.Dropout(0.3), nn.Conv2d(4, 4, 1, groups=2),
        nn.Sigmoid(), nn.AdaptiveAvgPool2d((2, 3)), nn.Identity(), nn.Flatten(),
        nn.Linear(24, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 4, bias=False),
    )  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 17, 64])
def test_a_chain_computes_what_its_layers_do(n: int) -> None:
    model = seeded(all_ops())
    x, dy = draw("plan/x", (n, 3, 14, 13)), draw("plan/dy", (n, 4))
    with striate.random.use(striate.random.Generator()):
        striate.manual_seed(5)
        y, dx, expected = one_by_one(model, x, dy)
        striate.manual_seed(5)
        found, saved = model.apply(x, training=True)
        assert isinstance(saved, Saved)
        dx_found, gradients = model.grad(dy, saved)
    close(found, y)
    close(dx_found, dx)
    assert [id(p) for p, _ in gradients] == [id(p) for p in model.parameters()]
    for p, g in gradients:
        close(g, expected[id(p)])
    again, second = model.grad(dy, saved)  # a pure function: twice is the same
    np.testing.assert_array_equal(again, dx_found)
    for (_, a), (_, b) in zip(gradients, second):
        np.testing.assert_array_equal(a, b)


@given(
    n=st.integers(0, 20),
    channels=st.lists(st.integers(1, 40), min_size=2, max_size=3),
    kernel=st.integers(1, 5),
    size=st.integers(5, 18),
    pool=st.sampled_from([None, (2, 2), (3, 2)]),
    relu=st.booleans(),
    large=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_any_shapes(
    n: int, channels: list[int], kernel: int, size: int, pool: Any, relu: bool, large: bool
) -> None:
    layers: list[nn.Layer] = []
    for before, after in pairwise(channels):
        layers.append(nn.Conv2d(before, after, kernel, padding=kernel // 2))
        layers += [nn.ReLU()] * relu
        if pool is not None and len(layers) < 3:
            layers.append(nn.MaxPool2d(*pool))
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels[-1], 3)]
    if large:  # more weights than a small network has: the whole batch passes each layer
        layers[-1:] = [nn.Linear(4 * channels[-1], 70000 // channels[-1]), nn.ReLU(),
                       nn.Linear(70000 // channels[-1], 3)]  # fmt: skip
    model = seeded(nn.Sequential(*layers))
    x, dy = draw("plan/any", (n, channels[0], size, size)), draw("plan/any_dy", (n, 3))
    y, dx, expected = one_by_one(model, x, dy)
    found, saved = model.apply(x, training=True)
    assert isinstance(saved, Saved)
    dx_found, gradients = model.grad(dy, saved)
    close(found, y)
    close(dx_found, dx)
    for p, g in gradients:
        close(g, expected[id(p)])
    close(model.apply(x, training=False, save=False)[0], y)


@pytest.mark.parametrize("make", [
    lambda: nn.Conv2d(2, 3, 3, padding=1), lambda: nn.Conv2d(2, 3, 3, padding=(3, 1, 7, 2)),
    lambda: nn.MaxPool2d(2, 2, 1), lambda: nn.AvgPool2d(2, 2, 1), lambda: nn.AdaptiveAvgPool2d(2),
    lambda: nn.LocalResponseNorm(3), lambda: nn.Linear(4, 3), nn.Flatten, nn.ReLU, nn.Tanh,
    lambda: nn.Softmax(1), lambda: nn.Dropout(0.5), lambda: nn.ConstantPad2d(1, 0.5),
])  # fmt: skip
def test_arrays_without_elements(make: Any) -> None:
    """What the layer says of them is what its plan says, in both directions."""
    layer = make()
    model = nn.Sequential(layer)
    for shape in ((0, 2, 4, 4), (2, 0, 4, 4), (2, 2, 0, 4), (2, 2, 4, 0)):
        x = np.zeros(shape, np.float32)
        try:
            y, saved = layer.apply(x, training=True, save=True)
        except ValueError as refused:
            for training in (False, True):
                with pytest.raises(ValueError, match=re.escape(str(refused))):
                    model.train(training)(x)
            continue
        dx, _ = layer.grad(y, saved, True)
        assert model.eval()(x).shape == model.train()(x).shape == y.shape
        assert model.backward(y).shape == dx.shape == shape


def test_a_plane_of_more_positions_than_an_int32_counts_is_refused_as_by_the_layer() -> None:
    wide = nn.Sequential(nn.Conv2d(1, 1, 1, padding=(0, 2**31 - 5, 0, 0)), nn.MaxPool2d(1))
    for training in (False, True):
        with pytest.raises(ValueError, match=r"must have at most 2\^31 - 1 positions in a plane"):
            wide.train(training)(np.zeros((0, 1, 1, 5), np.float32))


def test_fusion() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2),
        nn.ReLU(), nn.ReLU(),
    )  # fmt: skip
    steps = fuse(steps_of(model, training=True))
    assert [step.names for step in steps] == [("0", "1", "2"), ("3",), ("4",), ("5", "6"), ("7",)]
    assert [step.inputs for step in steps] == [(0,), (1,), (2,), (3,), (4,)]


def test_only_what_needs_a_gradient_gets_one() -> None:
    model = seeded(all_ops())
    x, dy = draw("plan/x", (3, 3, 14, 13)), draw("plan/dy", (3, 4))
    model(x)
    assert model.backward(dy, input_grad=False) is None
    whole = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    model[0].requires_grad_(False)
    model[4].requires_grad_(False)
    model[10].bias.requires_grad = False
    striate.manual_seed(0)
    model(x)
    assert model.backward(dy, input_grad=False) is None
    given_ = {name for name, p in model.named_parameters() if p.grad is not None}
    assert given_ == set(whole) - {"0.weight", "0.bias", "4.weight", "10.bias"}
    for p in model.parameters():
        p.requires_grad = False
    model(x)
    assert model.backward(dy).shape == x.shape


def test_every_change_is_seen_at_the_next_step() -> None:
    model = seeded(nn.Sequential({"a": nn.Conv2d(1, 2, 3), "b": nn.ReLU(), "c": nn.Dropout(0.5)}))
    x = draw("plan/edit", (4, 1, 6, 6))

    def check() -> None:
        striate.manual_seed(1)
        found = model(x)
        striate.manual_seed(1)
        expected, _, _ = one_by_one(model, x, np.ones(found.shape, np.float32))
        close(found, expected)

    check()
    model.a.weight.data[...] *= 2  # in place
    check()
    model.a.weight.data = draw("plan/other", (2, 1, 3, 3))  # another array
    check()
    model.a.bias = None  # an attribute of a layer
    check()
    model.a.stride = (2, 1)
    check()
    model.b = nn.Tanh()  # a layer
    check()
    model[2].eval()  # a mode
    check()
    model[2].train()
    model[2].p = 0.9
    check()
    model.a.weight = nn.Parameter(draw("plan/wider", (3, 1, 2, 2)))  # a parameter of another shape
    check()


class Doubled(nn.ReLU):
    """A layer of the user's own, built on one of Striate's."""

    def apply(self, x: Any, training: bool = False, save: bool = True) -> tuple[Any, Any]:
        y, saved = super().apply(x, training, save)
        return 2 * y, saved


def test_what_is_not_known_runs_layer_by_layer() -> None:
    x = draw("plan/own", (2, 1, 6, 6))
    plain, own = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), None
    own = nn.Sequential(plain[0], Doubled())
    np.testing.assert_array_equal(own(x), 2 * plain[1].apply(plain[0].apply(x)[0])[0])
    assert not isinstance(own.apply(x, training=True)[1], Saved)
    assert isinstance(plain.apply(x, training=True)[1], Saved)
    plain[1].apply = Doubled().apply  # replaced on the object
    np.testing.assert_array_equal(own(x), plain(x))
    striate.set_backend("reference")
    try:
        assert not isinstance(nn.Sequential(nn.ReLU()).apply(x, training=True)[1], Saved)
    finally:
        striate.set_backend("cpu")


def test_a_shared_layer_gets_both_gradients() -> None:
    shared = nn.Conv2d(2, 2, 3, padding=1)
    model = seeded(nn.Sequential({"first": shared, "relu": nn.ReLU(), "second": shared}))
    x, dy = draw("plan/shared", (3, 2, 5, 5)), draw("plan/shared_dy", (3, 2, 5, 5))
    _, _, expected = one_by_one(model, x, dy)
    model(x)
    model.backward(dy)
    for p in shared.parameters():
        close(p.grad, expected[id(p)])


@pytest.mark.parametrize("batch_size", [1, 3, 24])
def test_bits_do_not_depend_on_threads(batch_size: int) -> None:
    def step() -> list[bytes]:
        model = seeded(models.lenet5())
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        criterion = nn.CrossEntropyLoss()
        for i in range(2):
            criterion(model(draw(f"plan/{i}", (batch_size, 1, 28, 28))), np.arange(batch_size) % 10)
            model.backward(criterion.backward(), input_grad=False)
            optimizer.step()
            optimizer.zero_grad()
        return [p.data.tobytes() for p in model.parameters()]

    before = striate.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 8):
            striate.set_num_threads(threads)
            found.append(step())
    finally:
        striate.set_num_threads(before)
    assert all(bits == found[0] for bits in found)


def test_copies_have_plans_of_their_own() -> None:
    model = seeded(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))
    x = draw("plan/copy", (2, 1, 6, 6))
    y = model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin(x), y)
        twin[0].weight.data[...] = 0
        assert not np.array_equal(twin(x), y)
    np.testing.assert_array_equal(model(x), y)


def test_one_model_in_many_threads() -> None:
    model = seeded(models.lenet5())
    inputs = [draw(f"plan/thread{i}", (1 + i, 1, 28, 28)) for i in range(6)]
    expected = [model.apply(x, training=False, save=False)[0] for x in inputs]
    wrong = []

    def work(i: int) -> None:
        for _ in range(20):
            y, saved = model.apply(inputs[i], training=False)
            model.grad(y, saved)
            if not np.array_equal(y, expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_backward_checks_dy() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    model(draw("plan/copy", (2, 1, 6, 6)))
    with pytest.raises(ValueError, match=r"dy must have shape \(2, 2, 4, 4\).*got \(2, 2, 4, 3\)"):
        model.backward(np.zeros((2, 2, 4, 3), np.float32))


def test_a_chain_is_refused_for_branches() -> None:
    graph = nn.Graph([nn.Node("a", nn.ReLU(), (0,), 1), nn.Node("b", nn.Add(), (0, 1), 2)])
    with pytest.raises(ValueError, match="not a chain"):
        Chain(graph, (1, 2, 2), True)
    x = draw("plan/branch", (1, 1, 2, 2))
    np.testing.assert_array_equal(graph(x), x + np.maximum(x, 0))


@pytest.mark.parametrize(
    "make", [nn.Sequential, lambda: nn.Sequential(nn.Identity(), nn.Flatten())]
)
def test_a_chain_that_computes_nothing_hands_the_gradient_on(make: Any) -> None:
    x, dy = draw("plan/nothing", (3, 2, 4)), draw("plan/nothing_dy", (3, 2, 4))
    model = make()
    y = model(x)
    np.testing.assert_array_equal(y.ravel(), x.ravel())
    np.testing.assert_array_equal(model.backward(dy.reshape(y.shape)), dy)


def test_the_result_belongs_to_the_caller() -> None:
    model = seeded(nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.MaxPool2d(2)))
    x, dy = draw("plan/own_y", (2, 1, 12, 12)), draw("plan/own_dy", (2, 2, 4, 4))
    y, saved = model.apply(x, training=True)
    dx = model.grad(dy, saved)[0]
    y -= 10
    np.testing.assert_array_equal(model.grad(dy, saved)[0], dx)


class Reversed(nn.Sequential):
    def grad(self, dy: Any, saved: Any, need: bool = True) -> Any:
        dx, gradients = super().grad(dy, saved, need)
        return -dx, gradients


class Halved(nn.Conv2d):
    @property
    def weight(self) -> Any:
        return nn.Parameter(self.raw.data / 2)

    @weight.setter
    def weight(self, value: nn.Parameter) -> None:
        self.raw = value


def test_subclasses_are_asked() -> None:
    x, dy = draw("plan/sub", (2, 1, 4, 4)), draw("plan/sub_dy", (2, 1, 4, 4))
    plain, own = nn.Sequential(nn.Tanh()), nn.Sequential(Reversed(nn.Tanh()))
    np.testing.assert_array_equal(plain(x), own(x))
    np.testing.assert_array_equal(plain.backward(dy), -own.backward(dy))
    layer = Halved(1, 1, 1, bias=False)
    model = nn.Sequential(layer)
    before = model(x)
    layer.raw.data[...] *= 3
    close(model(x), 3 * before)


@pytest.mark.parametrize(
    ("layer", "name", "value"),
    [
        (nn.Dropout(0.5), "p", 2.0),
        (nn.AvgPool2d(2), "divisor_override", 0),
        (nn.AvgPool2d(2), "count_include_pad", "no"),
        (nn.MaxPool2d(2), "ceil_mode", "no"),
        (nn.LocalResponseNorm(3), "size", 0),
        (nn.AdaptiveAvgPool2d(2), "output_size", (-1, -1)),
    ],
)
def test_bad_values_are_refused_by_the_layers(layer: nn.Layer, name: str, value: Any) -> None:
    setattr(layer, name, value)
    x = draw("plan/bad", (2, 3, 6, 6))
    with pytest.raises((TypeError, ValueError, RuntimeError)) as expected:
        layer.apply(x, training=True)
    with pytest.raises(expected.type):
        nn.Sequential(layer).apply(x, training=True)
