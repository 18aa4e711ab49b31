"""A training step, or inference, of a network by Striate and by its peers.

All have the same weights and images. Before anything is timed, each peer's numbers are handed over
for comparison: the logits in eval mode, and for training the loss, every parameter's gradient and
the loss after one step of SGD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from striate.bench.work import Work

SGD: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
_CACHES = 50e6  # bytes: weights beyond them come from memory each time


class Network(NamedTuple):
    """``image``: (C, H, W); ``striate`` and ``torch`` build the model, dropout and all."""

    image: tuple[int, int, int]
    classes: int
    striate: Callable[[], Any]
    torch: Callable[[], Any]


def train(network: Network, batch_size: int) -> Work:
    """A step of Striate: forward, cross-entropy, backward, SGD."""
    import striate
    from striate import nn, optim

    striate.manual_seed(0)
    model, criterion = network.striate(), nn.CrossEntropyLoss()
    fill(parameter.data for parameter in model.parameters())
    x, labels = images(network, batch_size)
    layers = nn.summary(model, network.image)
    model.eval()
    optimizer = optim.SGD(model.parameters(), **SGD)

    def step() -> Any:
        loss = criterion(model(x, save=True), labels)
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    logits = model(x, save=True)
    check = [*sample(logits), criterion(logits, labels)]
    model.backward(criterion.backward(), input_grad=False)
    check += norms(parameter.grad for parameter in model.parameters())
    del logits
    optimizer.step()
    optimizer.zero_grad()
    check.append(criterion(model(x), labels))
    model.train()
    return Work(step, check, step_flop(layers, batch_size))


def step_flop(layers: Any, batch_size: int) -> float:
    """Of a training step, ``layers`` being the model's summary: the gradient for the images is not
    needed; the others cost what forward does, twice.
    """
    first = next(row.multiply_adds for row in layers.rows if row.multiply_adds)
    return 2.0 * batch_size * float(3 * layers.multiply_adds - first)


def infer(network: Network, batch_size: int) -> Work:
    """Striate's forward pass, prepared."""
    import striate
    from striate import nn

    model = filled(network)
    x, _ = images(network, batch_size)
    forward = striate.prepare(model, network.image)
    flop = 2.0 * batch_size * nn.summary(model, network.image).multiply_adds
    weights = sum(parameter.data.nbytes for parameter in model.parameters())
    reads = weights > _CACHES and flop < 10 * weights  # else arithmetic takes longer than memory
    return Work(lambda: forward(x), sample(forward(x)), flop, weights if reads else None)


def filled(network: Network) -> Any:
    """The Striate model in eval mode, with the weights that all peers have."""
    model = network.striate()
    fill(parameter.data for parameter in model.parameters())
    model.eval()
    return model


def fill(arrays: Iterable[Any]) -> None:
    """Weights as PyTorch draws them, U(-1, 1) / sqrt(fan in), the same for every peer; in place,
    so that they do not show in the peak memory.
    """
    generator, bound = np.random.default_rng(0), 0.0
    for array in arrays:  # weight, bias, weight, bias, ...
        if array.ndim > 1:
            bound = 1 / np.sqrt(array[0].size)
        generator.random(out=array, dtype=np.float32)
        array -= np.float32(0.5)
        array *= np.float32(2 * bound)


def images(network: Network, batch_size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(x, labels)"""
    generator = np.random.default_rng(1)
    x = generator.standard_normal((batch_size, *network.image), np.float32)
    return x, generator.integers(0, network.classes, batch_size)


def sample(logits: Any) -> list[float]:
    """Some logits of the first and of the last image."""
    every = max(1, len(logits[0]) // 20)
    return [float(value) for row in (logits[0], logits[-1]) for value in row[::every]]


def norms(gradients: Iterable[Any]) -> list[float]:
    """The length of each gradient."""
    return [float(np.sqrt(np.vdot(gradient, gradient))) for gradient in gradients]
