"""AlexNet for the benchmarks: one training step, or inference, from the same weights and images.

Before anything is timed, each peer's numbers are handed over for comparison: the logits in eval
mode, and for training the loss, every parameter's gradient and the loss after one step of SGD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from striate.bench.work import Work

IMAGE = (3, 224, 224)
CLASSES = 1000
SGD: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}


def alexnet_striate(batch_size: int, infer: bool) -> Work:
    """A step of ``models.alexnet()``: forward, cross-entropy, backward, SGD; or forward alone."""
    import striate
    from striate import models, nn, optim

    striate.manual_seed(0)
    model, criterion = models.alexnet(CLASSES), nn.CrossEntropyLoss()
    _fill(parameter.data for parameter in model.parameters())
    x, labels = _images(batch_size)
    layers = nn.summary(model, IMAGE)
    model.eval()
    if infer:
        flop = 2.0 * batch_size * layers.multiply_adds
        return Work(lambda: model(x), _sample(model(x)), flop)

    optimizer = optim.SGD(model.parameters(), **SGD)

    def step() -> Any:
        loss = criterion(model(x, save=True), labels)
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    logits = model(x, save=True)
    check = [*_sample(logits), criterion(logits, labels)]
    model.backward(criterion.backward(), input_grad=False)
    check += _norms(parameter.grad for parameter in model.parameters())
    del logits
    optimizer.step()
    optimizer.zero_grad()
    check.append(criterion(model(x), labels))
    model.train()
    # The gradient for the images is not needed; the others cost what forward does, twice.
    first = next(row.multiply_adds for row in layers.rows if row.multiply_adds)
    return Work(step, check, 2.0 * batch_size * (3 * layers.multiply_adds - first))


def alexnet_torch(batch_size: int, infer: bool) -> Work:
    """The same in PyTorch, eager; inference under ``torch.inference_mode``."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    relu = partial(nn.ReLU, inplace=True)  # as torchvision's AlexNet has it
    model = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), relu(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), relu(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), relu(),
        nn.Conv2d(384, 256, 3, padding=1), relu(),
        nn.Conv2d(256, 256, 3, padding=1), relu(), nn.MaxPool2d(3, 2),
        nn.AdaptiveAvgPool2d(6), nn.Flatten(),
        nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), relu(),
        nn.Dropout(), nn.Linear(4096, 4096), relu(), nn.Linear(4096, CLASSES),
    )  # fmt: skip
    _fill(parameter.detach().numpy() for parameter in model.parameters())
    criterion = nn.CrossEntropyLoss()
    x, labels = map(torch.from_numpy, _images(batch_size))
    model.eval()
    if infer:

        def forward() -> Any:
            with torch.inference_mode():
                return model(x)

        return Work(forward, _sample(forward().numpy()))

    optimizer = torch.optim.SGD(model.parameters(), **SGD)

    def step() -> Any:
        loss = criterion(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    logits = model(x)
    loss = criterion(logits, labels)
    check = [*_sample(logits.detach().numpy()), loss.item()]
    loss.backward()
    gradients: Any = [parameter.grad for parameter in model.parameters()]
    check += _norms(gradient.numpy() for gradient in gradients)
    optimizer.step()
    optimizer.zero_grad()
    del logits, loss, gradients
    with torch.no_grad():
        check.append(criterion(model(x), labels).item())
    model.train()
    return Work(step, check)


ALEXNET: dict[str, Callable[..., Any]] = {"striate": alexnet_striate, "torch": alexnet_torch}


def _fill(arrays: Iterable[Any]) -> None:
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


def _images(batch_size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(1)
    x = generator.standard_normal((batch_size, *IMAGE), np.float32)
    return x, generator.integers(0, CLASSES, batch_size)


def _sample(logits: Any) -> list[float]:
    """Some logits of the first and of the last image."""
    return [float(value) for row in (logits[0], logits[-1]) for value in row[::50]]


def _norms(gradients: Iterable[Any]) -> list[float]:
    return [float(np.sqrt(np.vdot(gradient, gradient))) for gradient in gradients]
