"""Ten SGD steps of LeNet-5, same weights, same batch: the losses and weights are PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np

from checks import Arrays, draw, from_torch
from striate import models, nn, optim

CASES = {"ten_steps": 10}
LR, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 5e-4


def weights() -> dict[str, np.ndarray]:
    """Of the size that PyTorch's default gives them."""
    state = models.lenet5().state_dict()
    return {
        name: draw(f"lenet_step/{name}", array.shape) / np.float32(np.sqrt(array[0].size))
        if array.ndim > 1
        else np.zeros_like(array)
        for name, array in state.items()
    }


def batch() -> tuple[np.ndarray, np.ndarray]:
    return draw("lenet_step/x", (32, 1, 28, 28)), np.arange(32) % 10


def summary(losses: list[float], state: dict[str, np.ndarray]) -> Arrays:
    """The losses, and every 23rd weight: enough to see a difference, small enough to keep."""
    return {"losses": np.array(losses)} | {k: v.reshape(-1)[::23].copy() for k, v in state.items()}


def torch_run(torch: Any, case: str) -> Arrays:
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    for parameter, array in zip(model.parameters(), weights().values()):
        parameter.data = torch.tensor(array)
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM, weight_decay=WEIGHT_DECAY)
    x, labels = map(torch.tensor, batch())
    losses = []
    for _ in range(CASES[case]):
        loss = nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    state = dict(zip(weights(), (p.detach().numpy() for p in model.parameters())))
    return summary(losses, state)


def test_equals_torch(implementation: str) -> None:
    expected = from_torch("lenet_step", "ten_steps", lambda torch: torch_run(torch, "ten_steps"))
    model, criterion = models.lenet5(), nn.CrossEntropyLoss()
    model.load_state_dict(weights())
    optimizer = optim.SGD(model.parameters(), LR, MOMENTUM, weight_decay=WEIGHT_DECAY)
    x, labels = batch()
    losses = []
    for _ in range(CASES["ten_steps"]):
        losses.append(criterion(model(x), labels))
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.9 * losses[0]
    got = summary(losses, model.state_dict())
    np.testing.assert_allclose(got["losses"], expected["losses"], rtol=2e-5)
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=2e-4, atol=2e-6, err_msg=name)
