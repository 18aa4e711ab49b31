"""Trainer: SGD in epochs, so that a run can be stopped after any step and resumed.

The order of the batches, the dropout masks and the split come from the seed and the step's number
alone; the rest (parameters, momentum, schedule, counters) is in the checkpoint. A run stopped
after any step and resumed therefore equals one that was not, bit for bit.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from striate import checkpoint, nn, random
from striate._device import of_model, to_host, use
from striate._files import remove_leftovers
from striate.data.dataset import (
    Draw,
    Samples,
    ShuffledBatches,
    batches,
)
from striate.data.idx import DataError
from striate.optim import SGD
from striate.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from striate.trainer.callbacks import Callback, Metrics, MetricsFile
from striate.trainer.epoch import Partial
from striate.trainer.evaluation import Evaluation, evaluate, finite_or_none
from striate.trainer.failure import (
    CHECKPOINT,
    TrainingError,
    check_finite,
    check_weights,
    make_folder,
    telling_of_memory,
)
from striate.trainer.feed import CudaFeed, Feed, Uploads
from striate.trainer.interrupt import on_interrupt
from striate.trainer.options import check_options, split
from striate.trainer.step import CudaStep, Step

MODEL, METRICS = "model.safetensors", "metrics.jsonl"


class _Stopped(Exception):
    """Raised in the middle of a validation; never leaves the trainer."""


class Trainer:
    """Trains ``model`` with ``optimizer`` on cross-entropy (or another ``criterion``).

    ``schedule``: one of striate.optim.lr_scheduler; OneCycleLR steps after every batch, the others
    after every epoch (``schedule_every``, 'step' or 'epoch', overrides that). ``val_fraction`` of
    the training set is split off for validation; early stopping (``patience`` epochs without a
    lower validation loss; the best weights are restored) and ReduceLROnPlateau need it.
    ``clip_grad_norm`` bounds the gradients' norm. ``out``: a folder for metrics.jsonl,
    checkpoint.safetensors (after every epoch, and when stopped) and model.safetensors.
    ``description``: JSON-able facts that both files carry (model, preprocessing, classes).
    ``device``: where to move the model first; it trains where its parameters are. On a GPU the step
    is recorded as a CUDA graph after the first ones and replayed (striate/trainer/step.py), and a
    loss that is not finite is noticed only after its update.

    ``criterion(logits, labels)`` is a float and ``criterion.backward()`` its gradient; validation
    always measures plain cross-entropy and accuracy. Samples that cannot be read are left out of
    their batch, counted in the epoch's metrics and named in ``skipped``; a batch without any takes
    no optimiser step, but counts as one. Raises ValueError or TypeError for an option out of its
    range.
    """

    def __init__(
        self,
        model: nn.Layer,
        optimizer: SGD,
        criterion: Any = None,
        *,
        epochs: int,
        batch_size: int = 64,
        seed: int = 0,
        schedule: Any = None,
        schedule_every: str | None = None,
        val_fraction: float = 0.0,
        patience: int | None = None,
        clip_grad_norm: float | None = None,
        out: str | Path | None = None,
        description: dict[str, Any] | None = None,
        callbacks: Sequence[Callback] = (),
        device: Any = None,
    ) -> None:
        check_options(epochs, batch_size, seed, val_fraction, patience, clip_grad_norm, schedule)
        self.model, self.optimizer = model, optimizer
        if device is not None:
            model.to(device)
        self.criterion = nn.CrossEntropyLoss() if criterion is None else criterion
        # A checkpoint holds these as JSON, which has no numbers of NumPy's.
        self.epochs, self.batch_size, self.seed = int(epochs), int(batch_size), int(seed)
        self.schedule = schedule
        by_step = isinstance(schedule, OneCycleLR)
        if schedule_every not in (None, "step", "epoch"):
            raise ValueError(
                f"Trainer: schedule_every must be 'step' or 'epoch', got {schedule_every!r}"
            )
        self.schedule_every = schedule_every or ("step" if by_step else "epoch")
        self.val_fraction = float(val_fraction)
        self.patience = None if patience is None else int(patience)
        self.clip_grad_norm = None if clip_grad_norm is None else float(clip_grad_norm)
        self.out = None if out is None else Path(out)
        self.description = dict(description or {})
        self.callbacks = list(callbacks)
        if self.out is not None:
            self.callbacks.insert(0, MetricsFile(self.out / METRICS))

        # All that a checkpoint has to remember besides parameters, momentum and schedule.
        self.step = 0  # optimiser steps taken in all
        self.epoch = 0  # epochs finished
        self.history: list[Metrics] = []
        self._partial = Partial()  # of the epoch under way
        self._best: dict[str, Any] = {"loss": math.inf, "epoch": 0}
        self._best_weights: dict[str, np.ndarray] = {}
        self._stopping = False
        self.notes: list[str] = []  # what differs from the checkpoint that was resumed
        self.skipped: list[str] = []  # sentences on what the last epoch could not read
        self.evaluation: Evaluation | None = None  # of the last epoch of this fit
        self.steps_per_epoch = self.samples = 0

    def stop(self) -> None:
        """Ends the training after the step under way, leaving a checkpoint."""
        self._stopping = True

    @property
    def stopped(self) -> bool:
        """Whether fit ended because of stop() or Ctrl-C, before its last epoch."""
        return self._stopping

    def fit(
        self,
        train: Samples,
        validation: Samples | None = None,
        resume: str | Path | None = None,
    ) -> list[Metrics]:
        """Trains to the last epoch; returns one object of metrics an epoch.

        ``validation`` is measured after every epoch and never used to choose anything; with
        ``val_fraction`` a part of ``train`` takes its place. ``resume``: a checkpoint of a run with
        the same settings.

        Raises TrainingError for a loss that is not finite, CheckpointError for a checkpoint that
        does not fit, DataError if nothing can be read, or one sample of those that refuse to leave
        any out (the checkpoint then holds all steps before it). OSError names a file that cannot
        be written: a full disk ends the training rather than let it go on without a checkpoint. An
        ``out`` that cannot be written at all is found before the first step. MemoryError says at
        which step. None of these harms the last checkpoint. After OSError or MemoryError, once
        there is room, ``fit`` goes on from where it was; after TrainingError with ``resume``.
        """
        with use(of_model(self.model)):
            return self._fit(train, validation, resume)

    def _fit(
        self, train: Samples, validation: Samples | None, resume: str | Path | None
    ) -> list[Metrics]:
        train, validation = split(train, validation, self.val_fraction, self.seed)
        order = ShuffledBatches(len(train), self.batch_size, self.seed)
        self.steps_per_epoch, self.samples = len(order), len(train)
        self._stopping, self.evaluation = False, None
        if self.out is not None:
            make_folder(self.out)
            for name in (CHECKPOINT, MODEL, METRICS):
                remove_leftovers(self.out / name)
        if resume is not None:
            from striate.trainer.resume import restore

            self.notes = restore(self, Path(resume))
        generator = random.Generator(self.seed)
        self.model.train()
        self.optimizer.zero_grad()
        for callback in self.callbacks:
            callback.on_fit_start(self)
        device = of_model(self.model)
        step = Step(self) if device == "cpu" else CudaStep(self, device, generator)
        try:
            with on_interrupt(self.stop), random.use(generator), step.running():
                uploads = None if device == "cpu" else Uploads()
                while self.epoch < self.epochs and not self._stopping and not self._exhausted():
                    self._run_epoch(train, validation, order, generator, step, uploads)
        finally:
            for callback in self.callbacks:
                callback.on_fit_end(self)
        if self.epoch == self.epochs or self._exhausted():
            self._stopping = False
            self._finish()
        else:
            self.save_checkpoint()
        return self.history

    # --- one epoch, one step ---------------------------------------------------------------------

    def _run_epoch(
        self,
        train: Samples,
        validation: Samples | None,
        order: ShuffledBatches,
        generator: random.Generator,
        step: Step,
        uploads: Uploads | None,
    ) -> None:
        try:
            with telling_of_memory(self, "a smaller batch size may help"):
                self._train_epoch(train, order, generator, step, uploads)
            if self.step == (self.epoch + 1) * len(order):
                with telling_of_memory(self):
                    if self._stopping:  # a second Ctrl-C may end the validation, and this process
                        self.save_checkpoint()
                    self._end_epoch(validation)
        except _Stopped:
            pass
        except DataError:
            self.save_checkpoint()
            raise

    def _train_epoch(
        self,
        train: Samples,
        order: ShuffledBatches,
        generator: random.Generator,
        step: Step,
        uploads: Uploads | None,
    ) -> None:
        """Trains on what is left of the epoch, until it ends or the training is to stop."""
        todo = order.epoch(self.epoch + 1)[self.step - self.epoch * len(order) :]
        draw, partial = Draw(self.seed, self.epoch + 1), self._partial
        started = time.perf_counter()
        source = batches(train, todo, draw)
        feed = Feed(source) if uploads is None else CudaFeed(source, uploads)
        with contextlib.closing(feed):
            for x, labels, skipped in feed:
                partial.data_seconds += time.perf_counter() - started
                generator.set_step(self.step)
                loss = math.nan
                if len(labels):
                    outcome = step.take(x, labels)
                    feed.prepare()  # while a GPU computes
                    loss = float(outcome.loss)
                    check_finite(self, "the loss", loss)
                    check_finite(self, "the gradients' norm", float(outcome.norm))
                    partial.loss += loss * len(labels)
                    partial.seen += len(labels)
                partial.skip(skipped)  # not before: a step without memory for it is taken again
                self._count_step()
                partial.seconds += time.perf_counter() - started
                for callback in self.callbacks:
                    callback.on_step_end(self, loss)
                if self._stopping:
                    return
                started = time.perf_counter()

    def _count_step(self) -> None:
        if self.schedule is not None and self.schedule_every == "step":
            self.schedule.step()
        self.step += 1

    def _end_epoch(self, validation: Samples | None) -> None:
        partial, rate = self._partial, self.optimizer.param_groups[0]["lr"]
        if partial.seen == 0:
            first = "".join(f"; {name}" for name in partial.named[:1])
            raise TrainingError(f"none of the {self.samples:,} training samples can be read{first}")
        check_weights(self)
        result = self.evaluation = None if validation is None else self._validate(validation)
        better = result is not None and result.loss < self._best["loss"]
        if better and self.patience is not None:
            # Before anything is counted: where memory ends here, the epoch is ended again.
            state = self.model.state_dict()
            self._best_weights = {k: np.array(to_host(v)) for k, v in state.items()}
        self.epoch += 1
        self.skipped = partial.sentences("training")
        if result is not None and result.skipped:
            unread = Partial()
            unread.skip(result.skipped)
            self.skipped += unread.sentences("validation")
        metrics: Metrics = {
            "epoch": self.epoch,
            "train_loss": partial.loss / partial.seen,
            "val_loss": None if result is None else finite_or_none(result.loss),
            "val_accuracy": None if result is None else result.accuracy,
            "learning_rate": rate,
            "seconds": round(partial.seconds, 4),
            "data_seconds": round(partial.data_seconds, 4),
            "images_per_second": round(partial.seen / max(partial.seconds, 1e-9), 1),
            "skipped": partial.skipped,
        }
        self.history.append(metrics)
        self._partial = Partial()
        if result is not None and better:
            self._best = {"loss": result.loss, "epoch": self.epoch}
        if self.schedule is not None and self.schedule_every == "epoch":
            if isinstance(self.schedule, ReduceLROnPlateau):
                self.schedule.step(math.nan if result is None else result.loss)
            else:
                self.schedule.step()
        self._write_checkpoint()
        for callback in self.callbacks:
            callback.on_epoch_end(self, metrics)

    def _validate(self, validation: Samples) -> Evaluation:
        """Raises _Stopped if the training is stopped meanwhile: resuming begins it again."""
        stopping = self._stopping

        def on_batch(count: int) -> None:
            for callback in self.callbacks:
                callback.on_validation_batch(self, count, len(validation))
            if self._stopping and not stopping:
                raise _Stopped

        return evaluate(self.model, validation, on_batch=on_batch)

    def _exhausted(self) -> bool:
        """Whether early stopping's patience is at its end."""
        return self.patience is not None and self.epoch - self._best["epoch"] >= self.patience

    def _finish(self) -> None:
        if self._best_weights:
            self.model.load_state_dict(self._best_weights)
        check_weights(self)  # a checkpoint's may be anything
        self.model.eval()
        if self.out is not None:
            checkpoint.save(self.out / MODEL, self.model.state_dict(), self.description)

    # --- files -----------------------------------------------------------------------------------

    def save_checkpoint(self) -> None:
        """Writes ``out``/checkpoint.safetensors; nothing without ``out``.

        Raises TrainingError, and keeps the old one, if a weight is not finite.
        """
        check_weights(self)
        self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        if self.out is not None:
            from striate.trainer.resume import snapshot

            checkpoint.save(self.out / CHECKPOINT, *snapshot(self))
