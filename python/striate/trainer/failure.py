"""What ends a training, in one sentence: at which step, what may help, what is kept."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from striate._device import namespace

if TYPE_CHECKING:
    from striate.trainer.trainer import Trainer

CHECKPOINT = "checkpoint.safetensors"


class TrainingError(RuntimeError):
    """The training cannot go on; the message says at which step and what is kept."""


def sentence(trainer: Trainer, what: str, advice: str, step: int) -> str:
    """``what`` happened at ``step``, for a person."""
    where = f"{what} at step {step} (epoch {-(-step // max(1, trainer.steps_per_epoch))})"
    kept = None if trainer.out is None else trainer.out / CHECKPOINT
    last = f"the last good checkpoint is {kept}" if kept is not None and kept.exists() else ""
    return "; ".join(part for part in (where, advice, last) if part)


def check_finite(trainer: Trainer, what: str, value: float) -> None:
    """Raises TrainingError for a ``value`` of the step under way that is not finite."""
    if not math.isfinite(value):
        raise _not_finite(trainer, f"{what} is {value}", trainer.step + 1)


def check_weights(trainer: Trainer) -> None:
    """Raises TrainingError for a weight that is not finite."""
    for name, parameter in trainer.model.named_parameters():
        if not namespace(parameter.data).isfinite(parameter.data).all():
            raise _not_finite(trainer, f"{name} is not finite", trainer.step)


def _not_finite(trainer: Trainer, what: str, step: int) -> TrainingError:
    return TrainingError(sentence(trainer, what, "a lower learning rate may help", step))


@contextlib.contextmanager
def telling_of_memory(trainer: Trainer, advice: str = "") -> Iterator[None]:
    """Makes a MemoryError one that says where in the training, and what is kept."""
    try:
        yield
    except MemoryError as error:
        what = str(error) or "there is none left"
        raise MemoryError(sentence(trainer, what, advice, trainer.step + 1)) from None


def make_folder(out: Path) -> None:
    """Makes ``out``; OSError, which names it, where that cannot be done."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = error.strerror or error
        raise OSError(f"{out}: the folder cannot be made ({what})") from None
