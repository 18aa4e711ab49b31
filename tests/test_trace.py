"""STRIATE_VERBOSE: one line for every call of an op, and the peaks that rates are held against."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from striate import _core

STEP = """
import numpy as np
import striate
from striate import nn, optim
model = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.AvgPool2d(2),
    nn.AdaptiveAvgPool2d(2), nn.LocalResponseNorm(3), nn.Dropout(), nn.Flatten(),
    nn.Linear(16, 3),
)
criterion, optimizer = nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
criterion(model(np.ones((1, 1, 8, 8), np.float32)), np.array([0]))
model.backward(criterion.backward())
optimizer.step()
striate.functional.softmax(np.ones((2, 3), np.float32), 1)
striate._core.gemm(np.ones((2, 3), np.float32), np.ones((3, 5), np.float32))
"""
OPS = [
    "conv2d_forward", "max_pool2d_forward", "relu_forward", "avg_pool2d_forward",
    "adaptive_avg_pool2d_forward", "local_response_norm_forward", "dropout", "linear_forward",
    "cross_entropy_forward", "cross_entropy_backward", "linear_backward_weight",
    "linear_backward_bias", "linear_backward_data", "dropout", "local_response_norm_backward",
    "adaptive_avg_pool2d_backward", "avg_pool2d_backward", "relu_backward", "max_pool2d_backward",
    "conv2d_backward_weight", "conv2d_backward_bias", "conv2d_backward_data", "sgd_step",
    "softmax_forward", "gemm",
]  # fmt: skip
LINE = re.compile(
    r"striate: (?P<op>\w+)(?P<sizes>( \w+=\d+)+)(?P<algorithm> algorithm=\w+)? "
    r"isa=(?P<isa>\w+) threads=(?P<threads>\d+) us=\d+\.\d (?P<unit>GFLOP/s|GB/s)=\d+\.\d"
)


def told(**environment: str) -> list[str]:
    answer = subprocess.run(
        [sys.executable, "-c", STEP],
        capture_output=True,
        text=True,
        env={**os.environ, "STRIATE_ISA": "baseline", "OMP_NUM_THREADS": "3", **environment},
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stderr.splitlines()


def test_one_line_for_each_op() -> None:
    lines = [LINE.fullmatch(line) for line in told(STRIATE_VERBOSE="1")]
    assert all(lines)
    found = [line.groupdict() for line in lines if line]
    assert [line["op"] for line in found] == OPS  # gemm within linear does not speak, too
    for line in found:
        assert (line["isa"], line["threads"]) == ("baseline", "3")
        multiplies = line["op"] == "gemm" or line["op"].startswith(("conv2d", "linear"))
        assert (line["unit"] == "GFLOP/s") == (multiplies and not line["op"].endswith("_bias"))
        chosen = line["op"].startswith("conv2d") and not line["op"].endswith("_bias")
        assert (line["algorithm"] is not None) == chosen
    first = next(line for line in found if line["op"] == "conv2d_forward")
    assert first["sizes"].startswith(" N=1 C=1 H=8 W=8 K=4 R=3 S=3 P=8 Q=8 ")


@pytest.mark.parametrize("value", ["", "0"])
def test_silent_otherwise(value: str) -> None:
    assert told(STRIATE_VERBOSE=value) == []


@pytest.fixture
def any_isa() -> Iterator[None]:
    yield
    _core.set_isa("auto")


@pytest.mark.usefixtures("any_isa")
def test_peaks() -> None:
    """Plausible: above what a pocket calculator does, and below what no machine has."""
    for isa in _core.supported_isas():
        _core.set_isa(isa)
        assert 0.1 < _core.peak_gflops(0.002) < 1e6
    for rate in _core.peak_bandwidth(1):
        assert 0.1 < rate < 1e5
