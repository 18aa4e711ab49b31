"""A training of 36 steps on pictures that a small net can tell apart."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

import striate
from striate import nn, optim
from striate._device import to_host
from striate.data.dataset import ArraySamples, Normalize
from striate.optim import lr_scheduler
from striate.trainer import Callback, Trainer

SAMPLES = 90  # 12 batches of 8, the last one of 2
device = "cpu"  # of the trainers made; the fixture training_device changes it


def samples(count: int = SAMPLES) -> ArraySamples:
    """Images of three kinds that a small net can tell apart: bright top, middle or bottom."""
    generator = np.random.Generator(np.random.Philox(5))
    labels = generator.integers(0, 3, count)
    images = generator.integers(0, 120, (count, 6, 6)).astype(np.uint8)
    for image, label in zip(images, labels):
        image[2 * label : 2 * label + 2] += 100
    return ArraySamples(images, labels, Normalize(0.3, 0.3))


class StopAfter(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        if trainer.step == self.step:
            trainer.stop()


def make_trainer(out: Path | None = None, schedule: str = "one-cycle", **options: Any) -> Trainer:
    striate.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.25),
        nn.Linear(16, 3),
    )  # fmt: skip
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    schedules = {
        "one-cycle": lambda: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=36),
        "step": lambda: lr_scheduler.StepLR(optimizer, 1, 0.5),
        "plateau": lambda: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
    }
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 8, "seed": 3, "out": out}
    settings["device"] = device
    return Trainer(model, optimizer, schedule=schedules[schedule](), **(settings | options))


def state(trainer: Trainer) -> dict[str, Any]:
    """All that must be equal, to the bit."""
    velocities = trainer.optimizer.state_dict()["state"]
    times = ("seconds", "data_seconds", "images_per_second")
    history = [{k: v for k, v in m.items() if k not in times} for m in trainer.history]
    arrays = {**trainer.model.state_dict(),
              **{f"v{i}": e["momentum_buffer"] for i, e in velocities.items()}}  # fmt: skip
    return {"history": history, "step": trainer.step,
            "arrays": {k: to_host(v).tobytes() for k, v in arrays.items()}}  # fmt: skip


@functools.cache
def undisturbed(device: str) -> dict[str, Any]:
    """The state behind the whole training."""
    trainer = make_trainer(device=device)
    trainer.fit(samples(), validation=samples())
    assert trainer.history[-1]["val_accuracy"] > 0.9  # it learns
    assert trainer.notes == []
    return state(trainer)
