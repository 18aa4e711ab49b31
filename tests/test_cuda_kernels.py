"""CUDA's kernels where the ops of Python do not take them, and on arrays that begin anywhere.

The programs are those of tests/cuda_host/kernels; each line of theirs that begins with FAILED names
a case.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import cuda_backend
import cuda_host_build
import striate.functional as F
from backends import running
from checks import assert_close, draw
from striate.optim import SGD
from striate.random import Key
from test_sgd import Parameter


def run(program: str, **environment: str) -> tuple[list[str], list[str]]:
    """(lines of standard output, lines of standard error) of a program without failures."""
    folder = cuda_host_build.build("cuda_host_kernels")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("STRIATE_")}
    answer = subprocess.run(
        [folder / f"cuda_host_{program}"],
        capture_output=True,
        text=True,
        env={**kept, **environment},
        timeout=1200,
    )
    lines = answer.stdout.splitlines()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert re.fullmatch(r"[1-9]\d* cases, 0 failures", lines[-1]), answer.stdout
    return lines, answer.stderr.splitlines()


@pytest.mark.slow
def test_cuda_products() -> None:
    """Every tile and way to cut sums, in each arithmetic; Hopper's instructions."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, ("gemm_plans", "conv2d_plans", "hopper_gemm")))


@pytest.mark.parametrize("switch", ["", "1"])
def test_cuda_hopper_is_taken_where_it_pays(switch: str) -> None:
    run("hopper_takes", STRIATE_CUDA_HOPPER=switch)


def test_cuda_errors_name_the_op() -> None:
    _, said = run("op")
    assert said == []


def test_cuda_sync_reports_a_failure_at_its_op() -> None:
    _, said = run("op", STRIATE_SYNC="1")
    assert said == []


def test_cuda_verbose_says_a_line_for_each_op() -> None:
    _, said = run("op", STRIATE_VERBOSE="1")
    outer, second = said  # not the op within the first one
    figure = r"us=\d+\.\d {}=\d+\.\d"
    assert re.fullmatch(
        r"striate: outer_op N=4 K=2 algorithm=tiles device=cuda " + figure.format("GFLOP/s"), outer
    )
    assert re.fullmatch(r"striate: second_op n=4 device=cuda " + figure.format("GB/s"), second)


class OffByOne(cuda_backend.OnDevice):
    """Every array begins one element after what was allocated for it: no vector is aligned."""

    def _up(self, value: Any, up: list[tuple[Any, Any]]) -> Any:
        if not isinstance(value, np.ndarray):
            return super()._up(value, up)
        whole = self._cupy.empty(value.size + 1, value.dtype)
        there = whole[1:].reshape(value.shape)
        there[...] = self._cupy.asarray(value)
        assert value.size == 0 or there.data.ptr % 16 == value.itemsize
        up.append((value, there))
        return there


def x(*shape: int) -> np.ndarray:
    return draw("off by one/x", shape)


def y(*shape: int) -> np.ndarray:
    return draw("off by one/y", shape)


def max_pool2d(size: int, stride: int, *shape: int) -> list[Any]:
    pooled, indices = F.max_pool2d(x(*shape), size, stride, return_indices=True)
    return [pooled, indices, F.max_pool2d_backward(y(*pooled.shape), indices, shape, size, stride)]


def avg_pool2d(size: int, stride: int, padding: int, *shape: int) -> list[Any]:
    pooled = F.avg_pool2d(x(*shape), size, stride, padding)
    return [pooled, F.avg_pool2d_backward(y(*pooled.shape), shape, size, stride, padding)]


def adaptive_avg_pool2d(size: int, *shape: int) -> list[Any]:
    pooled = F.adaptive_avg_pool2d(x(*shape), size)
    return [pooled, F.adaptive_avg_pool2d_backward(y(*pooled.shape), shape, size)]


def softmax(dim: int, *shape: int) -> list[Any]:
    p, logs = F.softmax(x(*shape), dim), F.log_softmax(x(*shape), dim)
    backwards = [
        F.softmax_backward(y(*shape), p, dim),
        F.log_softmax_backward(y(*shape), logs, dim),
    ]
    return [p, logs, *backwards]


def cross_entropy(n: int, classes: int) -> list[Any]:
    target, logits = np.arange(n) * 7 % classes, x(n, classes)
    loss = np.float32(F.cross_entropy(logits, target))
    return [loss, F.cross_entropy_backward(1.0, logits, target)]


def sgd(*sizes: int) -> list[Any]:
    parameters = [Parameter(draw(f"off by one/{i}", (size,))) for i, size in enumerate(sizes)]
    optimizer = SGD(parameters, 0.1, momentum=0.9, weight_decay=0.01)
    for step in range(2):
        for parameter in parameters:
            parameter.grad = draw(f"off by one/{step}", parameter.data.shape)
        optimizer.step()
    return [parameter.data for parameter in parameters]


def conv2d(*shape: int) -> list[Any]:
    w, b = draw("off by one/w", (12, shape[1], 3, 3)), draw("off by one/b", (12,))
    out = F.conv2d(x(*shape), w, b, padding=1)
    return [out, *F.conv2d_backward(y(*out.shape), x(*shape), w, b, padding=1)]


def linear(n: int, c: int, k: int) -> list[Any]:
    w, b = draw("off by one/w", (k, c)), draw("off by one/b", (k,))
    return [F.linear(x(n, c), w, b), *F.linear_backward(y(n, k), x(n, c), w, b)]


KEY = Key(7, 1, 2)
# Longer than an element-wise kernel's blocks; rows and planes that are multiples of four, or not.
CASES: dict[str, Callable[[], list[Any]]] = {
    "relu": lambda: [F.relu(x(4503)), F.relu_backward(y(4503), x(4503))],
    "tanh": lambda: [F.tanh(x(4100)), F.tanh_backward(y(4100), x(4100))],
    "sigmoid": lambda: [F.sigmoid(x(2048)), F.sigmoid_backward(y(2048), x(2048))],
    "dropout": lambda: [F.dropout(x(4503), 0.4, key=KEY), F.dropout_backward(y(4503), KEY, 0.4)],
    "max_pool2d": lambda: max_pool2d(2, 2, 3, 5, 12, 16),
    "max_pool2d_overlapping": lambda: max_pool2d(3, 2, 2, 3, 15, 13),
    "avg_pool2d": lambda: avg_pool2d(2, 2, 0, 3, 5, 12, 16),
    "avg_pool2d_overlapping": lambda: avg_pool2d(3, 2, 1, 2, 3, 15, 13),
    "adaptive_avg_pool2d": lambda: adaptive_avg_pool2d(6, 2, 3, 12, 12),
    "global_avg_pool2d": lambda: adaptive_avg_pool2d(1, 2, 3, 8, 8),
    "softmax": lambda: softmax(1, 9, 20),
    "softmax_long": lambda: softmax(1, 2, 3000),
    "softmax_across": lambda: softmax(1, 3, 7, 40),
    "cross_entropy": lambda: cross_entropy(9, 20),
    "cross_entropy_many_classes": lambda: cross_entropy(3, 2000),
    "local_response_norm": lambda: [
        F.local_response_norm(x(2, 7, 4, 8), 5),
        F.local_response_norm_backward(y(2, 7, 4, 8), x(2, 7, 4, 8), 5),
    ],
    "sgd": lambda: sgd(1, 4503, 4096, 20),
    "conv2d": lambda: conv2d(2, 4, 8, 8),
    "linear": lambda: linear(12, 40, 24),
}


@pytest.mark.parametrize("name", cuda_backend.NAMES)
@pytest.mark.parametrize("case", CASES)
def test_cuda_arrays_begin_anywhere(case: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with running("reference"):
        expected = CASES[case]()
    monkeypatch.setattr(cuda_backend, "OnDevice", OffByOne)
    with running(name):
        got = CASES[case]()
    for ours, wanted in zip(got, expected, strict=True):
        assert_close(ours, wanted, depth=300)
