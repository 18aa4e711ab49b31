"""What may happen at each step and epoch; the metrics file is one of these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate._files import write_atomically

if TYPE_CHECKING:
    from striate.trainer.trainer import Trainer

Metrics = dict[str, Any]


class Callback:
    """Base of callbacks: override what is of interest. ``trainer.stop()`` ends the training."""

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first step; after resuming, if so."""

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        """After every step; ``loss`` is that of its batch, NaN if nothing of it could be read."""

    def on_validation_batch(self, trainer: Trainer, count: int, total: int) -> None:
        """After ``count`` more of the ``total`` validation samples were measured."""

    def on_epoch_end(self, trainer: Trainer, metrics: Metrics) -> None:
        """After every epoch, with the object that metrics.jsonl gets."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last step, also when stopped or failed."""


class MetricsFile(Callback):
    """metrics.jsonl: one object an epoch. After resuming it holds what the checkpoint knows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_start(self, trainer: Trainer) -> None:
        lines = "".join(json.dumps(metrics) + "\n" for metrics in trainer.history)
        write_atomically(self.path, lines.encode())

    def on_epoch_end(self, trainer: Trainer, metrics: Metrics) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(metrics) + "\n")
        except OSError as error:  # a full disk does not say of which file
            what = error.strerror or error
            raise OSError(f"{self.path}: cannot be written ({what})") from None
