"""Layers and containers: what they compute, keep, refuse and load."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest

import striate
import striate.functional as F
from checks import draw, finite_differences
from striate import models, nn, optim, random


@pytest.fixture(autouse=True)
def seeded() -> None:
    striate.manual_seed(0)


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(12, 5),
    )


# --- one layer of each kind, its gradient -------------------------------------------------------

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Conv2d": (lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), (2, 2, 5, 5)),
    "Conv2d without bias": (lambda: nn.Conv2d(2, 3, 2, bias=False, padding="same"), (1, 2, 4, 4)),
    "Linear": (lambda: nn.Linear(6, 4), (3, 6)),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, 2, 1), (2, 2, 7, 7)),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 2, 7, 7)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((3, None)), (2, 2, 7, 5)),
    "ReLU": (nn.ReLU, (3, 4)),
    "Tanh": (nn.Tanh, (3, 4)),
    "Sigmoid": (nn.Sigmoid, (3, 4)),
    "Softmax": (lambda: nn.Softmax(1), (3, 4)),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), (3, 4)),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3, 0.5), (2, 5, 3, 3)),
    "Dropout": (lambda: nn.Dropout(0.4), (5, 6)),
    "Flatten": (nn.Flatten, (2, 3, 4)),
    "Sequential": (small_net, (2, 2, 4, 4)),
    "Identity": (lambda: nn.Identity(54, unused=True), (3, 4)),
    "ChannelAffine": (lambda: nn.ChannelAffine(3).requires_grad_(), (2, 3, 2, 2)),
    "Bias": (lambda: nn.Bias((3, 1, 2)), (2, 3, 2, 2)),
    "ZeroPad2d": (lambda: nn.ZeroPad2d((1, 0, 2, 3)), (2, 2, 3, 2)),
    "Conv2d four pads": (lambda: nn.Conv2d(2, 2, 3, 2, (0, 2, 1, 3)), (1, 2, 4, 5)),
    "MaxPool2d four pads": (lambda: nn.MaxPool2d(3, 2, (0, 1, 1, 0)), (2, 2, 5, 6)),
    "AvgPool2d four pads": (lambda: nn.AvgPool2d(3, 2, (1, 0, 0, 1)), (2, 2, 5, 6)),
    "lenet5_1998": (models.lenet5_1998, (1, 1, 32, 32)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradient_of_every_layer(float64: None, name: str) -> None:
    """In double precision, through the layer's own pure pair; a fixed key fixes dropout's mask."""
    make, shape = LAYERS[name]
    layer = make()
    for parameter in layer.parameters():
        parameter._data = parameter.data.astype(np.float64)
    x = draw(f"nn/{name}/x", shape).astype(np.float64)

    def forward() -> tuple[Any, Any]:
        with random.use(random.Generator(7)):
            return layer.apply(x, training=True, save=True)

    y, saved = forward()
    dy = draw(f"nn/{name}/dy", y.shape).astype(np.float64)
    dx, gradients = layer.grad(dy, saved, True)
    pairs = [(x, dx), *((p.data, g) for p, g in gradients)]
    assert len(gradients) == len(list(layer.parameters()))
    for array, gradient in pairs:
        assert gradient.shape == array.shape
        flat = np.linspace(0, array.size - 1, min(array.size, 12)).astype(int)
        for i in flat:  # a dozen elements of each are enough: the ops have their own tests
            part = array.reshape(-1)[i : i + 1]
            numeric = finite_differences(lambda: float((forward()[0] * dy).sum()), part)
            np.testing.assert_allclose(gradient.reshape(-1)[i], numeric[0], atol=5e-7, rtol=1e-5)


# --- the stateful pair ---------------------------------------------------------------------------


def test_gradients_accumulate_until_zero_grad() -> None:
    model = small_net()
    x, dy = draw("nn/x", (3, 2, 4, 4)), draw("nn/dy", (3, 5))
    with random.use(random.Generator(1)):
        model(x)
    model.backward(dy)
    once = [p.grad.copy() for p in model.parameters()]
    with random.use(random.Generator(1)):
        model(x)
    model.backward(dy)
    for parameter, gradient in zip(model.parameters(), once):
        np.testing.assert_array_equal(parameter.grad, 2 * gradient)
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_backward_takes_what_forward_saved_once() -> None:
    model = small_net()
    x, dy = draw("nn/x", (3, 2, 4, 4)), draw("nn/dy", (3, 5))
    with pytest.raises(RuntimeError, match="Sequential.backward: nothing is saved; call forward"):
        model.backward(dy)
    model(x)
    model.backward(dy)
    with pytest.raises(RuntimeError, match="nothing is saved"):
        model.backward(dy)
    model.eval()(x)
    with pytest.raises(RuntimeError, match="nothing is saved"):
        model.backward(dy)
    model(x, save=True)
    assert model.backward(dy).shape == x.shape


def test_a_refused_backward_keeps_what_forward_saved() -> None:
    layer = nn.Linear(3, 2)
    layer(f32(4, 3))
    with pytest.raises(ValueError, match=r"dy must have shape \(4, 2\)"):
        layer.backward(f32(4, 5))
    layer.backward(f32(4, 2))


class OwnReLU(nn.ReLU):
    """A layer that no plan knows: the layers then run one by one."""

    def apply(self, x: Any, training: bool = False, save: bool = True) -> tuple[Any, Any]:
        return super().apply(x, training, save)


def test_no_gradient_below_the_first_trainable_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(
        {"a": nn.Conv2d(2, 3, 3), "relu": nn.ReLU(), "b": nn.Conv2d(3, 4, 1), "c": OwnReLU()}
    )
    model.a.requires_grad_(False)
    model.b.bias.requires_grad = False
    needs = []
    backward = F.conv2d_backward
    monkeypatch.setattr(
        F, "conv2d_backward", lambda *a, need, **k: needs.append(need) or backward(*a, need=need)
    )
    model(draw("nn/x", (3, 2, 4, 4)))
    assert model.backward(draw("nn/dy4", (3, 4, 2, 2)), input_grad=False) is None
    assert needs == [(False, True, False)]
    assert model.b.weight.grad is not None
    assert [model.b.bias.grad, model.a.weight.grad, model.a.bias.grad] == [None] * 3
    model.b.requires_grad_(True).weight.requires_grad = False
    model(draw("nn/x", (3, 2, 4, 4)))
    model.backward(draw("nn/dy4", (3, 4, 2, 2)), input_grad=False)
    assert needs[1:] == [(False, False, True)]


def test_a_layer_may_stand_twice() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential({"first": shared, "tanh": nn.Tanh(), "second": shared})
    assert [name for name, _ in model.named_parameters()] == ["first.weight", "first.bias"]
    x, dy = draw("nn/x4", (3, 4)), draw("nn/dy44", (3, 4))
    model(x)
    model.backward(dy)
    hidden = np.tanh(x @ shared.weight.data.T + shared.bias.data)
    d_hidden = (dy @ shared.weight.data) * (1 - hidden**2)
    np.testing.assert_allclose(shared.weight.grad, dy.T @ hidden + d_hidden.T @ x, rtol=1e-4)


def test_graph_sums_the_gradients_of_a_fan_out() -> None:
    class Add(nn.Layer):
        def apply(self, x: Any, training: bool = False, save: bool = True) -> Any:
            return x[0] + x[1], None

        def grad(self, dy: Any, saved: Any, need: bool = True) -> Any:
            return (dy, dy) if need else None, []

    inner = nn.Linear(4, 4)
    graph = nn.Graph([nn.Node("inner", inner, (0,), 1), nn.Node("add", Add(), (0, 1), 2)])
    x, dy = draw("nn/x4", (3, 4)), draw("nn/dy44", (3, 4))
    np.testing.assert_allclose(graph(x), x + x @ inner.weight.data.T + inner.bias.data, rtol=1e-5)
    np.testing.assert_allclose(graph.backward(dy), dy + dy @ inner.weight.data, rtol=1e-5)
    with pytest.raises(ValueError, match="node 'late' reads values"):
        nn.Graph([nn.Node("late", inner, (3,), 1)])


def test_a_copy_does_not_share_what_forward_saved() -> None:
    model = small_net()
    model(draw("nn/x", (3, 2, 4, 4)))
    with pytest.raises(RuntimeError, match="nothing is saved"):
        copy.deepcopy(model).backward(draw("nn/dy", (3, 5)))


def test_many_threads_infer_while_a_copy_trains() -> None:
    model = models.lenet5().eval()
    x = draw("nn/digits", (8, 1, 28, 28))
    expected = model(x)
    assert model._saved is None
    failures: list[int] = []

    def infer() -> None:
        failures.extend(1 for _ in range(30) if not np.array_equal(model(x), expected))

    def train() -> None:
        twin = copy.deepcopy(model).train()
        optimizer = optim.SGD(twin.parameters(), lr=0.1)
        for _ in range(10):
            twin(x)
            twin.backward(draw("nn/dy10", (8, 10)))
            optimizer.step()

    threads = [threading.Thread(target=f) for f in (infer, train, infer)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_edits_of_data_are_seen_at_the_next_step() -> None:
    layer = nn.Linear(3, 2)
    x = draw("nn/x3", (4, 3))
    layer.weight.data[...] = 0
    layer.bias.data = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(layer(x), np.tile(np.float32([1, 2]), (4, 1)))


def test_a_layer_of_a_sequential_can_be_replaced() -> None:
    model = models.lenet5()
    model.fc3 = nn.Linear(84, 26)
    assert model(f32(2, 1, 28, 28)).shape == (2, 26)
    assert model.state_dict()["fc3.bias"].shape == (26,)
    model[11] = nn.Linear(84, 3)
    assert model(f32(2, 1, 28, 28)).shape == (2, 3)
    with pytest.raises(TypeError, match="'fc3' must be a Layer, got int"):
        model.fc3 = 3
    with pytest.raises(ValueError, match="the name 'training' must be unique|be none that every"):
        nn.Sequential({"backward": nn.ReLU()})


def test_flatten_refuses_what_is_no_axis() -> None:
    for axes in ((None, -1), (1, "2"), (1.0, -1), (1, 2**31)):
        with pytest.raises((TypeError, ValueError), match="^Flatten: (start|end)_dim must be"):
            nn.Flatten(*axes)


def test_a_child_in_eval_mode_stays_so() -> None:
    x = np.ones((4, 50), np.float32)
    model = nn.Sequential(nn.Dropout(0.5), nn.Flatten())
    model[0].eval()
    np.testing.assert_array_equal(model(x), x)
    inner = nn.Sequential(nn.Dropout(0.5)).eval()
    np.testing.assert_array_equal(nn.Sequential(inner)(x), x)
    np.testing.assert_array_equal(inner[:1](x), x)
    assert (nn.Sequential(nn.Dropout(0.5))(x) == 0).any()


# --- state ---------------------------------------------------------------------------------------


def test_state_dict_keys_are_torchs() -> None:
    model = nn.Sequential({"features": small_net(), "head": nn.Linear(5, 2)})
    assert list(model.state_dict()) == [
        "features.0.weight", "features.0.bias", "features.5.weight", "features.5.bias",
        "head.weight", "head.bias",
    ]  # fmt: skip
    assert model.features[0] is model.features.nodes[0].layer
    assert len(model.features) == 6


def test_load_state_dict_is_strict_and_all_or_nothing() -> None:
    model, other = small_net(), small_net()
    before = {k: v.copy() for k, v in model.state_dict().items()}
    state = dict(other.state_dict())
    state["0.bias"] = f32(4)
    state["7.weight"] = state.pop("5.weight")
    with pytest.raises(ValueError, match=r"does not fit Sequential; missing: 5.weight; unexpected: "
                       r"7.weight; shape of 0.bias: \(4,\) given, \(3,\) wanted"):  # fmt: skip
        model.load_state_dict(state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    model.load_state_dict({"0.bias": f32(3)}, strict=False)
    assert not model.state_dict()["0.bias"].any()
    with pytest.raises(TypeError, match=r"0.bias must be float32, got float64"):
        model.load_state_dict({"0.bias": np.zeros(3)}, strict=False)
    model.load_state_dict({k: memoryview(v) for k, v in other.state_dict().items()})
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)


def test_parameter_refuses_other_dtypes_and_shapes() -> None:
    with pytest.raises(TypeError, match="data must be float32, got float64"):
        nn.Parameter(np.zeros(3))
    parameter = nn.Parameter(f32(3))
    with pytest.raises(ValueError, match=r"shape \(3,\), cannot be set to one of shape \(4,\)"):
        parameter.data = f32(4)


# --- initialisation ------------------------------------------------------------------------------


def test_every_seed_of_64_bits_is_another_one() -> None:
    draws = []
    for seed in (0, 1, 2**63, 2**63 + 7, 2**64 - 1):
        striate.manual_seed(seed)
        draws.append(nn.Linear(3, 3).weight.data.tobytes())
    assert len(set(draws)) == 5


def test_default_initialisation_is_torchs_range_and_follows_the_seed() -> None:
    striate.manual_seed(3)
    first = nn.Conv2d(8, 64, 5)
    striate.manual_seed(3)
    second = nn.Conv2d(8, 64, 5)
    np.testing.assert_array_equal(first.weight.data, second.weight.data)
    bound = 1 / np.sqrt(8 * 25)
    for values in (first.weight.data, first.bias.data):
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.9 * bound
    assert abs(first.weight.data.std() - bound / np.sqrt(3)) < 0.02 * bound


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("he_normal", np.sqrt(2 / 200)),
        ("he_uniform", np.sqrt(2 / 200)),
        ("xavier_normal", np.sqrt(2 / 1000)),
        ("xavier_uniform", np.sqrt(2 / 1000)),
        ("normal", 0.01),
    ],
)
def test_initialisation_by_name(name: str, std: float) -> None:
    layer = nn.Linear(200, 800)
    nn.init.initialize(layer, name)
    assert abs(layer.weight.data.std() / std - 1) < 0.02
    assert not layer.bias.data.any()
    with pytest.raises(ValueError, match="name must be one of he_normal"):
        nn.init.initialize(layer, "glorot")


# --- the models ----------------------------------------------------------------------------------


def test_parameter_counts() -> None:
    assert sum(p.data.size for p in models.lenet5().parameters()) == 61_706
    paper = models.lenet5_1998()
    counts = {name: sum(p.data.size for p in layer.parameters()) for name, layer in
              paper.named_children()}  # fmt: skip
    assert {k: v for k, v in counts.items() if v} == {
        "c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164, "output": 850,
    }  # fmt: skip  # the paper, II.B: 60,000 in all, before the output
    assert paper(f32(2, 1, 32, 32)).shape == (2, 10)


def test_errors_name_the_layer() -> None:
    with pytest.raises(ValueError, match=r"layer 'conv1': conv2d: weight has 1 input channels"):
        models.lenet5()(f32(1, 3, 28, 28))
    with pytest.raises(ValueError, match=r"Conv2d: groups=2 must divide in_channels=3"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="padding_mode must be 'zeros', got 'reflect'"):
        nn.Conv2d(3, 4, 3, padding_mode="reflect")
    with pytest.raises(TypeError, match="'1' must be a Layer, got function"):
        nn.Sequential(nn.ReLU(), F.relu)
    with pytest.raises(ValueError, match="p must be between 0 and 1, got 1.5"):
        nn.Dropout(1.5)
    with pytest.raises(ValueError, match="LocalResponseNorm: size must be between 1 and .* got 0"):
        nn.LocalResponseNorm(0)
    with pytest.raises(TypeError, match="LocalResponseNorm: alpha must be a number, got '1'"):
        nn.LocalResponseNorm(5, alpha="1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="dropout: input must be float32, got float64"):
        nn.Dropout(0.5).eval()(np.ones(3))
    with pytest.raises(ValueError, match=r"padding='same' needs stride 1, got stride \(2, 2\)"):
        nn.Conv2d(1, 1, 3, stride=2, padding="same")
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none', got 'x'"):
        nn.CrossEntropyLoss(reduction="x")


def f32(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)
