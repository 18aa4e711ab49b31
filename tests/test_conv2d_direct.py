"""conv2d straight from the image: against the reference on every instruction set, and its bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import striate.functional as F
from backends import threads
from checks import assert_close, draw
from striate import _core, nn


@dataclass(frozen=True)
class Case:
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    zeros: float = 0.0  # share of dy

    @property
    def arguments(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]:
        return self.stride, self.padding, self.dilation, self.groups

    def arrays(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        x, w = draw(f"direct/{seed}/x", self.x), draw(f"direct/{seed}/w", self.w)
        b = draw(f"direct/{seed}/b", self.w[:1])
        dy = draw(f"direct/{seed}/dy", F.conv2d(x, w, b, *self.arguments).shape)
        mask = np.random.default_rng(seed).random(dy.shape) < self.zeros
        return x, w, b, np.where(mask, np.float32(0), dy)


def run(case: Case, seed: int) -> list[np.ndarray]:
    x, w, b, dy = case.arrays(seed)
    y = F.conv2d(x, w, b, *case.arguments)
    return [y, *F.conv2d_backward(dy, x, w, b, *case.arguments)]


@st.composite
def cases(draw_from: st.DrawFn) -> Case:
    """Few input channels; widths and output channels on both sides of whole vectors and blocks."""
    integers = lambda low, high: draw_from(st.integers(low, high))  # noqa: E731
    choose = lambda *values: draw_from(st.sampled_from(values))  # noqa: E731
    groups, c = choose((1, 1), (1, 3), (1, 6), (2, 3), (5, 1), (3, 2))
    k = choose(1, 2, 5, 6, 7, 8, 13, 16, 20, 32, 35)
    r, s = choose(1, 2, 3, 5, 7), choose(1, 3, 5, 9, 17)
    stride, dilation = (choose(1, 1, 2, 3), choose(1, 1, 2, 4, 5)), (choose(1, 2), choose(1, 1, 3))
    padding = (integers(0, r), integers(0, s))
    least = [max(1, d * (n - 1) + 1 - 2 * p) for d, n, p in zip(dilation, (r, s), padding)]
    x = (choose(1, 2, 5, 40), groups * c, least[0] + integers(0, 9), least[1] + integers(0, 36))
    return Case(x, (groups * k, c, r, s), stride, padding, dilation, groups, choose(0.0, 0.8, 1.0))


@given(case=cases(), seed=st.integers(0, 99))
def test_equals_reference(case: Case, seed: int) -> None:
    _core.set_backend("reference")
    expected = run(case, seed)
    _core.set_backend("cpu")
    try:
        for isa in _core.supported_isas():
            _core.set_isa(isa)
            for got, wanted in zip(run(case, seed), expected):
                assert_close(got, wanted, depth=max(int(np.prod(case.w[1:])), expected[0].size))
    finally:
        _core.set_isa("auto")


SHAPES = {
    "lenet5_conv1": Case((64, 1, 28, 28), (6, 1, 5, 5), padding=(2, 2), zeros=0.8),
    "lenet5_conv2": Case((64, 6, 14, 14), (16, 6, 5, 5), zeros=0.8),
    "dense": Case((9, 3, 20, 20), (16, 3, 3, 3), padding=(1, 1)),
    "depthwise": Case((3, 40, 15, 15), (40, 1, 3, 3), (2, 2), (1, 1), groups=40, zeros=0.5),
    "large_image": Case((2, 3, 180, 180), (64, 3, 11, 11), (4, 4), (2, 2), zeros=0.7),
}


@pytest.mark.parametrize("name", SHAPES)
def test_bits_do_not_depend_on_threads(name: str) -> None:
    results = []
    for count in (1, 2, 5):
        with threads(count):
            results.append(run(SHAPES[name], 0))
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


def test_zeros_are_skipped_without_a_trace(implementation: str) -> None:
    """An image's dy counts the same whether the images around it are zero or not."""
    case = Case((8, 6, 14, 14), (16, 6, 5, 5), zeros=0.8)
    x, w, b, dy = case.arrays(1)
    dy[1:] = 0
    dx, dw, _ = F.conv2d_backward(dy, x, w, b)
    alone = F.conv2d_backward(dy[:1], x[:1], w, b)
    assert_close(dw, alone[1], depth=100)
    np.testing.assert_array_equal(dx[:1], alone[0])
    np.testing.assert_array_equal(dx[1:], 0)


def test_nan_in_dy_is_not_taken_for_zero(implementation: str) -> None:
    x, w, b, dy = SHAPES["lenet5_conv2"].arrays(2)
    x, dy = x[:2], dy[:2]
    dy[1, 3, 4, 5] = np.nan
    dx, dw, db = F.conv2d_backward(dy, x, w, b)
    assert np.isnan(dw[3]).all()
    assert not np.isnan(np.delete(dw, 3, axis=0)).any()
    assert np.isnan(dx[1, :, 4:9, 5:10]).all()
    assert np.isnan(dx).sum() == 6 * 25
    assert np.isnan(db[3])


@given(case=cases(), seed=st.integers(0, 99))
def test_fused_pool_equals_separate_ops(case: Case, seed: int) -> None:
    """conv2d, ReLU and max pooling as one step of a plan: the numbers of the three ops."""
    x, w, b, full = case.arrays(seed)
    assume(min(full.shape[2:]) >= 2)
    pads = (*case.padding, *case.padding)
    geometry = (case.stride, pads, case.dilation, case.groups)
    k, c, r, s = w.shape
    layer = nn.Conv2d(c * case.groups, k, (r, s), *geometry[:1], pads, *geometry[2:])
    layer.weight.data, layer.bias.data = w, b
    model = nn.Sequential(layer, nn.ReLU(), nn.MaxPool2d(2))
    try:
        _core.set_conv2d_algorithm("direct")
        for direction in ("forward", "backward_data", "backward_weight"):
            assume(_core.conv2d_algorithm(direction, x.shape, w.shape, *geometry) == "direct")
        for isa in _core.supported_isas():
            _core.set_isa(isa)
            conv = F.conv2d(x, w, b, *case.arguments)
            expected, indices = F.max_pool2d(F.relu(conv), 2, return_indices=True)
            dy = draw(f"direct/{seed}/pooled", expected.shape)
            y, saved = model.apply(x, training=True)
            np.testing.assert_array_equal(y, expected)
            dx, gradients = model.grad(dy, saved)
            unpooled = F.max_pool2d_backward(dy, indices, conv.shape, 2)
            relu = F.relu_backward(unpooled, F.relu(conv))
            found = dx, *(gradient for _, gradient in gradients)
            alone = F.conv2d_backward(relu, x, w, b, *case.arguments)
            for one, other in zip(found, alone):
                assert_close(one, other, depth=dy.size + w.size)
    finally:
        _core.set_isa("auto")
        _core.set_conv2d_algorithm("auto")


@pytest.mark.parametrize(("k", "zeros"), [(4, 0.0), (16, 0.9)])
def test_large_images_keep_their_digits(k: int, zeros: float) -> None:
    """The error bar, relative to the output's root mean square, over a large image."""
    x, w = draw("direct/lx", (1, 1, 600, 600)), draw("direct/lw", (k, 1, 3, 3))
    dy = draw("direct/ldy", (1, k, 598, 598))
    dy[np.abs(dy) < np.quantile(np.abs(dy), zeros)] = 0
    dw = F.conv2d_backward(dy, x, w, need=(False, True, False))[1]
    windows = np.lib.stride_tricks.sliding_window_view(x[0, 0].astype(float), (3, 3))
    expected = np.einsum("kpq,pqrs->krs", dy[0].astype(float), windows)
    error = (dw[:, 0] - expected) / np.sqrt((expected**2).mean())
    assert np.sqrt((error**2).mean()) < 4e-6
    assert np.abs(error).max() < 5e-5


@pytest.mark.parametrize("name", ["lenet5_conv1", "lenet5_conv2"])
@pytest.mark.parametrize("direction", ["forward", "backward_data", "backward_weight"])
def test_lenet_is_direct(name: str, direction: str) -> None:
    case = SHAPES[name]
    x, w = np.zeros(case.x, np.float32), np.zeros(case.w, np.float32)
    pads = (*case.padding, *case.padding)
    geometry = (case.stride, pads, case.dilation, case.groups)
    assert _core.conv2d_algorithm(direction, x.shape, w.shape, *geometry) == "direct"
