"""Layers for graphs with branches, graphs of several inputs, four pads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import striate.functional as F
from checks import assert_close, draw
from striate import nn, random
from striate.nn.graph import Node

WINDOW: dict[str, Any] = {"kernel_size": 3, "stride": 2}


@pytest.mark.parametrize("pads", [(0, 1, 1, 0), (1, 1, 0, 1), (0, 0, 1, 1)])
def test_four_pads_are_those_of_a_padded_input(pads: tuple[int, int, int, int]) -> None:
    x, w = draw("four/x", (2, 3, 9, 8)), draw("four/w", (4, 3, 3, 3))
    top, left, bottom, right = pads

    def padded(value: float) -> np.ndarray:
        return nn.ConstantPad2d((left, right, top, bottom), value)(x)

    assert_close(F.conv2d(x, w, None, 2, pads), F.conv2d(padded(0), w, None, 2), depth=27)
    np.testing.assert_array_equal(F.max_pool2d(x, 3, 2, pads), F.max_pool2d(padded(-np.inf), 3, 2))
    assert_close(F.avg_pool2d(x, 3, 2, pads), F.avg_pool2d(padded(0), 3, 2), depth=9)
    inside = F.avg_pool2d(nn.ZeroPad2d((left, right, top, bottom))(np.ones_like(x)), 3, 2)
    assert_close(
        F.avg_pool2d(x, 3, 2, pads, count_include_pad=False) * inside,
        F.avg_pool2d(padded(0), 3, 2),
        depth=9,
    )


@pytest.mark.parametrize("side", range(4))
def test_a_pad_above_half_of_the_window_is_refused_on_every_side(side: int) -> None:
    pads = [0, 0, 0, 0]
    pads[side] = 2
    message = rf"padding must be at most half of kernel_size, got padding \({str(pads)[1:-1]}\)"
    with pytest.raises(ValueError, match=message):
        F.max_pool2d(draw("half", (1, 1, 9, 9)), 3, 1, tuple(pads))
    with pytest.raises(ValueError, match=message):
        F.avg_pool2d(draw("half", (1, 1, 9, 9)), 3, 1, tuple(pads))
    assert F.conv2d(draw("half", (1, 1, 9, 9)), draw("w", (1, 1, 3, 3)), None, 1, pads).ndim == 4


@pytest.mark.parametrize("make", [lambda p: nn.Conv2d(1, 1, 3, padding=p),
                                  lambda p: nn.MaxPool2d(3, padding=p),
                                  lambda p: nn.AvgPool2d(3, padding=p)])  # fmt: skip
def test_padding_is_one_two_or_four_numbers(make: Any) -> None:
    with pytest.raises(ValueError, match=r"an integer, a pair .* or four \(top, left, bottom,"):
        make((1, 2, 3))
    with pytest.raises(ValueError, match="padding must be between 0 and"):
        make((0, 0, -1, 0))
    assert make([0, 1, 1, 0]).padding == (0, 1, 1, 0)


def branches() -> nn.Graph:
    return nn.Graph(
        [
            Node("left", nn.Conv2d(2, 3, 3, padding=1), (0,), 1),
            Node("right", nn.Conv2d(2, 3, 1), (0,), 2),
            Node("sum", nn.Add(), (1, 2, 1), 3),
            Node("both", nn.Concat(), (3, 0), 4),
        ]
    )


def test_add_and_concat_in_a_graph() -> None:
    model = branches()
    x = draw("branches/x", (2, 2, 4, 5))
    left, right = (F.conv2d(x, m.weight.data, m.bias.data, 1, m.padding)
                   for m in (model.left, model.right))  # fmt: skip
    y = model(x)
    np.testing.assert_array_equal(y, np.concatenate([left + right + left, x], axis=1))
    dy = draw("branches/dy", y.shape)
    dx = model.backward(dy)
    top = np.ascontiguousarray(dy[:, :3])
    from_left, _, _ = F.conv2d_backward(2 * top, x, model.left.weight.data, None, 1, 1)
    from_right, _, _ = F.conv2d_backward(top, x, model.right.weight.data)
    assert_close(dx, from_left + from_right + dy[:, 3:], depth=60)
    assert_close(model.right.bias.grad, top.sum(axis=(0, 2, 3)), depth=40)


def test_a_graph_of_several_inputs() -> None:
    model = nn.Graph(
        [Node("fc", nn.Linear(4, 3), (1,), 2), Node("sum", nn.Add(), (0, 2), 3)], inputs=2
    )
    a, b = draw("several/a", (5, 3)), draw("several/b", (5, 4))
    assert_close(model((a, b)), a + F.linear(b, model.fc.weight.data, model.fc.bias.data), depth=4)
    da, db = model.backward(a)
    np.testing.assert_array_equal(da, a)
    assert db.shape == b.shape
    with pytest.raises(TypeError, match="input must be a tuple of 2 arrays, got ndarray"):
        model(a)
    with pytest.raises(TypeError, match="a tuple of 2 arrays, got a tuple of 3"):
        model((a, b, a))


def test_merges_refuse() -> None:
    a, b = draw("merge/a", (2, 3)), draw("merge/b", (2, 4))
    with pytest.raises(ValueError, match=r"Add: inputs must have equal shapes, got \(2, 3\) and"):
        nn.Add()((a, b))
    with pytest.raises(TypeError, match="Add: input must be a tuple of arrays, got ndarray"):
        nn.Add()(a)
    with pytest.raises(TypeError, match="Add: input 1 must be float32, got float64"):
        nn.Add()((a, a.astype(np.float64)))
    with pytest.raises(ValueError, match=r"equal shapes but for axis 0, got \(2, 3\) and \(2, 4\)"):
        nn.Concat(0)((a, b))
    with pytest.raises(ValueError, match=r"dim=2 is none of an input of shape \(2, 3\)"):
        nn.Concat(2)((a, b))


def test_affine_layers_refuse_and_are_frozen() -> None:
    x = draw("affine/x", (2, 3, 4, 4))
    layer = nn.ChannelAffine(3)
    assert not layer.trainable()
    layer(x)
    dx = layer.backward(x)
    np.testing.assert_array_equal(dx, x)
    assert layer.weight.grad is None
    with pytest.raises(ValueError, match=r"input must be \(N, 3, ...\), got shape \(2, 4\)"):
        layer(draw("affine/y", (2, 4)))
    with pytest.raises(TypeError, match="must be float32, got float64"):
        layer(x.astype(np.float64))
    with pytest.raises(ValueError, match=r"bias \(2, 3\) cannot be added to .* \(1, 3\)"):
        nn.Bias((2, 3))(draw("affine/z", (1, 3)))
    with pytest.raises(ValueError, match="four|left, right, top, bottom"):
        nn.ZeroPad2d((1, 2))
    with pytest.raises(ValueError, match="padding must be between 0 and"):
        nn.ZeroPad2d(-1)


def test_layers_made_without_initial_values_leave_the_generator() -> None:
    with random.use(random.Generator(3)):
        expected = random.next_key()
    with random.use(random.Generator(3)):
        with nn.init.skipped():
            nn.Linear(3, 3)
        assert random.next_key() == expected
        nn.Linear(3, 3)
