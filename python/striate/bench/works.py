"""What is measured: each work gives, for each peer, a function that does it once, or a Work.

Peers are imported inside their functions, so that each process holds only its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from striate.bench.alexnet import ALEXNET
from striate.bench.pipeline import pipeline_pillow, pipeline_striate
from striate.bench.work import Step, Work


def lenet5_striate(batch_size: int) -> Step:
    """A training step of LeNet-5: forward, cross-entropy, backward, SGD."""
    import striate
    from striate import models, nn, optim

    striate.manual_seed(0)
    model, criterion = models.lenet5(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    x, labels = _digits(batch_size)

    def step() -> None:
        criterion(model(x), labels)
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()
        optimizer.zero_grad()

    return step


def lenet5_torch(batch_size: int) -> Step:
    """The same step in PyTorch, eager."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    x, labels = map(torch.from_numpy, _digits(batch_size))

    def step() -> None:
        loss = criterion(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _digits(batch_size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((batch_size, 1, 28, 28), np.float32)
    return x, generator.integers(0, 10, batch_size)


def gemm_striate(size: int, trans_a: bool, trans_b: bool) -> Step:
    from striate import _core

    a, b = _matrices(size)
    expected = (a.T if trans_a else a) @ (b.T if trans_b else b)
    error = np.abs(_core.gemm(a, b, trans_a, trans_b) - expected).max()
    if not error < 1e-6 * size:
        raise RuntimeError(f"gemm: differs from NumPy by {error}")
    return lambda: _core.gemm(a, b, trans_a, trans_b)


def gemm_numpy(size: int, trans_a: bool, trans_b: bool) -> Step:
    a, b = _matrices(size)
    left, right = (a.T if trans_a else a), (b.T if trans_b else b)
    return lambda: left @ right


def gemm_torch(size: int, trans_a: bool, trans_b: bool) -> Step:
    import torch

    a, b = map(torch.from_numpy, _matrices(size))
    left, right = (a.T if trans_a else a), (b.T if trans_b else b)
    return lambda: left @ right


def _matrices(size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    a = generator.standard_normal((size, size), np.float32)
    return a, generator.standard_normal((size, size), np.float32)


WORKS: dict[str, dict[str, Callable[..., Step | Work]]] = {
    "lenet5": {"striate": lenet5_striate, "torch": lenet5_torch},
    "alexnet": ALEXNET,
    "gemm": {"striate": gemm_striate, "numpy": gemm_numpy, "torch": gemm_torch},
    "pipeline": {"striate": pipeline_striate, "PIL": pipeline_pillow},
}
