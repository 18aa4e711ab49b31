"""What a person sees while it trains: a bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

from striate.trainer.callbacks import Callback, Metrics

if TYPE_CHECKING:
    from striate.trainer.trainer import Trainer


def progress(watched: str, stream: TextIO | None = None) -> Callback:
    """The callback for ``stream`` (standard output). ``watched``: what val_accuracy is called."""
    stream = sys.stdout if stream is None else stream
    if stream is None:  # standard output is closed
        return Callback()
    return Bar(watched) if stream.isatty() else Lines(watched, stream)


def epoch_line(trainer: Trainer, metrics: Metrics, watched: str) -> str:
    digits = len(str(trainer.epochs))
    line = f"epoch {metrics['epoch']:{digits}}/{trainer.epochs}"
    line += f"   train loss {metrics['train_loss']:.4f}"
    if metrics["val_accuracy"] is not None:
        line += f"   {watched} loss {metrics['val_loss']:.4f}"
        line += f"   {watched} accuracy {metrics['val_accuracy']:.2%}"
    return line + f"   {metrics['seconds']:.1f} s   {metrics['images_per_second']:,.0f} images/s"


class Lines(Callback):
    """One line an epoch."""

    def __init__(self, watched: str, stream: TextIO) -> None:
        self.watched, self.stream = watched, stream

    def on_epoch_end(self, trainer: Trainer, metrics: Metrics) -> None:
        for line in [epoch_line(trainer, metrics, self.watched), *trainer.skipped]:
            print(line, file=self.stream, flush=True)


class Bar(Callback):
    """A bar of the epoch under way, above it one line for each that is done."""

    def __init__(self, watched: str) -> None:
        self.watched = watched
        self._bar: Any = None
        self._task: Any = None
        self._loss: float | None = None
        self._validated = 0  # samples of the validation under way

    def on_fit_start(self, trainer: Trainer) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            transient=True,
        )
        total = trainer.epochs * trainer.steps_per_epoch
        self._task = self._bar.add_task("", total=total, completed=trainer.step, epoch="", loss="")
        self._bar.start()

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        if loss == loss:  # not the NaN of a batch that could not be read
            self._loss = loss if self._loss is None else 0.98 * self._loss + 0.02 * loss
        self._bar.update(
            self._task,
            completed=trainer.step,
            epoch=f"{min(trainer.epoch + 1, trainer.epochs)}/{trainer.epochs}",
            loss="" if self._loss is None else f"{self._loss:.4f}",
        )

    def on_validation_batch(self, trainer: Trainer, count: int, total: int) -> None:
        self._validated += count
        self._bar.update(self._task, loss=f"{self.watched} {self._validated / total:.0%}")

    def on_epoch_end(self, trainer: Trainer, metrics: Metrics) -> None:
        self._validated = 0
        for line in [epoch_line(trainer, metrics, self.watched), *trainer.skipped]:
            self._bar.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def on_fit_end(self, trainer: Trainer) -> None:
        self._bar.stop()
