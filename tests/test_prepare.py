"""striate.prepare: the same numbers as the model, frozen, from any thread, for any batch."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import striate
from checks import draw
from striate import models, nn
from test_plan import Doubled, all_ops, close, seeded


def branches() -> nn.Graph:
    """A residual block, a concatenation, paddings, biases, affine maps, softmax."""
    return nn.Graph(
        [
            nn.Node("pad", nn.ConstantPad2d((1, 2, 0, 1), 0.5), (0,), 1),
            nn.Node("a", nn.Conv2d(3, 4, 3, bias=False), (1,), 2),
            nn.Node("norm", nn.ChannelAffine(4), (2,), 3),
            nn.Node("relu", nn.ReLU(), (3,), 4),
            nn.Node("b", nn.Conv2d(4, 4, 3, padding="same"), (4,), 5),
            nn.Node("add", nn.Add(), (4, 5), 6),
            nn.Node("relu2", nn.ReLU(), (6,), 7),
            nn.Node("pool", nn.AvgPool2d(2), (7,), 8),
            nn.Node("shift", nn.Bias((4, 1, 1)), (8,), 9),
            nn.Node("inner", nn.Sequential(nn.Conv2d(4, 2, 1), nn.Tanh()), (9,), 10),
            nn.Node("joined", nn.Concat(), (9, 10, 9), 11),
            nn.Node("affine", nn.ChannelAffine(10), (11,), 12),
            nn.Node("flat", nn.Flatten(), (12,), 13),
            nn.Node("fc", nn.Linear(160, 5), (13,), 14),
            nn.Node("shift2", nn.Bias((5,)), (14,), 15),
            nn.Node("drop", nn.Dropout(), (15,), 16),
            nn.Node("out", nn.Softmax(-1), (16,), 17),
        ]
    )


MODELS = {
    "lenet5": (models.lenet5, (1, 28, 28)),
    "lenet5_1998": (models.lenet5_1998, (1, 32, 32)),
    "all_ops": (all_ops, (3, 14, 13)),
    "branches": (branches, (3, 9, 8)),
    "log_softmax": (lambda: nn.Sequential(nn.ReLU(), nn.LogSoftmax(1)), (3, 4, 5)),
    "nothing": (nn.Sequential, (3, 4, 5)),
    "unread": (
        lambda: nn.Graph(
            [
                nn.Node("a", nn.Conv2d(2, 3, 3), (0,), 1),
                nn.Node("unread", nn.AdaptiveAvgPool2d(1), (0,), 2),
                nn.Node("out", nn.ReLU(), (1,), 3),
            ]
        ),
        (2, 5, 5),
    ),
    "affine_behind_linear": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.ChannelAffine(4)),
        (4, 6),
    ),
    "flatten": (nn.Flatten, (3, 4, 5)),
    "input_twice": (lambda: nn.Graph([nn.Node("a", nn.Add(), (0, 0), 1)]), (2, 3, 3)),
    "result_in_the_middle": (
        lambda: nn.Graph([nn.Node("a", nn.ReLU(), (0,), 1), nn.Node("b", nn.Identity(), (1,), 2)]),
        (2, 3, 3),
    ),
}


@pytest.mark.parametrize("n", [0, 1, 2, 19, 64])
@pytest.mark.parametrize("name", MODELS)
def test_computes_what_the_model_does(name: str, n: int) -> None:
    make, shape = MODELS[name]
    model = seeded(make()).eval()
    prepared = striate.prepare(model, shape)
    x = draw("prepare/x", (n, *shape))
    striate.set_backend("reference")
    try:
        expected = model(x)
    finally:
        striate.set_backend("cpu")
    y = prepared(x)
    close(y, expected)
    assert prepared.output_shape == y.shape[1:]
    assert y.flags.owndata or y.base is not None
    np.testing.assert_array_equal(prepared(x), y)


@given(n=st.integers(1, 40), threads=st.sampled_from([1, 2, 3, 8]))
@settings(deadline=None, max_examples=20)
def test_bits_do_not_depend_on_threads(n: int, threads: int) -> None:
    x = draw("prepare/threads", (n, 3, 9, 8))
    before = striate.get_num_threads()
    try:
        striate.set_num_threads(1)
        y = BRANCHES(x)
        striate.set_num_threads(threads)
        np.testing.assert_array_equal(BRANCHES(x), y)
    finally:
        striate.set_num_threads(before)


BRANCHES = striate.prepare(seeded(branches()), (3, 9, 8))


def test_from_many_threads_at_once() -> None:
    inputs = [draw(f"prepare/{i}", (i + 1, 3, 9, 8)) for i in range(8)]
    expected = [BRANCHES(x) for x in inputs]
    wrong = []

    def work(i: int) -> None:
        for _ in range(30):
            if not np.array_equal(BRANCHES(inputs[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_weights_are_copied() -> None:
    model = seeded(models.lenet5())
    prepared = striate.prepare(model, (1, 28, 28))
    x = draw("prepare/copy", (2, 1, 28, 28))
    y = prepared(x)
    for p in model.parameters():
        p.data[...] = 0
    np.testing.assert_array_equal(prepared(x), y)
    assert not model.eval()(x).any()  # which the model itself sees at once


def test_plan_rows() -> None:
    rows = striate.prepare(models.lenet5(), (1, 28, 28)).plan()
    assert [(row.layers, row.ops, row.output) for row in rows[:3]] == [
        (("conv1", "relu1", "pool1"), "conv2d + relu + max_pool2d", (6, 14, 14)),
        (("conv2", "relu2", "pool2"), "conv2d + relu + max_pool2d", (16, 5, 5)),
        (("flatten",), "flatten", (400,)),
    ]
    assert sum(row.multiply_adds for row in rows) == 416_520
    norm = striate.prepare(branches(), (3, 9, 8)).plan()[1]
    assert norm.layers == ("a", "norm", "relu")  # folded into the weights


def test_benchmark_shapes_take_their_algorithms() -> None:
    lenet = striate.prepare(models.lenet5(), (1, 28, 28)).plan()
    assert [row.algorithm for row in lenet if row.algorithm] == ["direct", "direct"]
    alexnet = striate.prepare(models.alexnet(), (3, 224, 224)).plan()
    assert [row.algorithm for row in alexnet if row.algorithm][1:] == ["winograd"] * 4


def test_other_instruction_sets_are_refused() -> None:
    if len(striate._core.supported_isas()) < 2:
        pytest.skip("this CPU has one instruction set only")
    model = seeded(models.lenet5())
    prepared = striate.prepare(model, (1, 28, 28))
    x = draw("prepare/isa", (2, 1, 28, 28))
    y = prepared(x)
    striate._core.set_isa("baseline")
    try:
        with pytest.raises(RuntimeError, match="prepared for another instruction set"):
            prepared(x)
        close(striate.prepare(model, (1, 28, 28))(x), y)
    finally:
        striate._core.set_isa("auto")


def zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: striate.prepare(models.lenet5, (1, 28, 28)), TypeError, "must be a Layer"),
        (
            lambda: striate.prepare(models.lenet5(), (1, 28)),
            ValueError,
            "layer 'pool1': max_pool2d: ",
        ),
        (
            lambda: striate.prepare(models.lenet5(), (3, 28, 28)),
            ValueError,
            "layer 'conv1': conv2d",
        ),
        (lambda: striate.prepare(models.lenet5(), (1, 0, 28)), ValueError, "input_shape must be"),
        (
            lambda: striate.prepare(nn.Sequential(nn.Sequential(nn.ReLU(), Doubled())), (1, 2, 2)),
            TypeError,
            "layer '0.1' is of the class Doubled, which has no prepared form",
        ),
        (
            lambda: striate.prepare(nn.Graph([nn.Node("a", nn.Add(), (0, 1), 2)], 2), (1, 2, 2)),
            ValueError,
            "model must have 1 input, got 2",
        ),
        (
            lambda: BRANCHES(zeros(2, 3, 9, 9)),
            ValueError,
            r"input must have shape \(2, 3, 9, 8\).*got \(2, 3, 9, 9\)",
        ),
        (lambda: BRANCHES(zeros(3, 9, 8)), ValueError, "input must have shape"),
        (lambda: striate.prepare(models.lenet5(), 28), TypeError, r"must be \(C, H, W\), got 28"),
        (lambda: copy.copy(BRANCHES), TypeError, "prepare the model again"),
        (
            lambda: striate.prepare(
                nn.Sequential(nn.Conv2d(1, 4, 1), nn.ChannelAffine(1)), (1, 2, 2)
            ),
            ValueError,
            r"layer '1': ChannelAffine: input must be \(N, 1, ...\)",
        ),
        (lambda: BRANCHES(zeros(1, 3, 9, 8, dtype=np.float64)), TypeError, "must be float32"),
        (lambda: BRANCHES([[1.0]]), TypeError, "input"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_strided_batch_is_read_right() -> None:
    x = draw("prepare/strided", (6, 3, 9, 16))[::2, :, :, ::2]
    np.testing.assert_array_equal(BRANCHES(x), BRANCHES(np.ascontiguousarray(x)))
