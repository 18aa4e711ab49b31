"""What a Trainer's options may be, and how it splits a training set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from striate.data.dataset import Samples, Subset, held_out, permutation
from striate.functional._arguments import integer, number
from striate.optim.lr_scheduler import ReduceLROnPlateau


def check_options(
    epochs: int,
    batch_size: int,
    seed: int,
    val_fraction: float,
    patience: int | None,
    clip_grad_norm: float | None,
    schedule: Any,
) -> None:
    """Raises ValueError or TypeError for an option out of its range."""
    integer(epochs, "Trainer", "epochs")
    integer(batch_size, "Trainer", "batch_size", 1)
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool):
        raise TypeError(f"Trainer: seed must be an integer, got {seed!r}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"Trainer: seed must be between 0 and 2^64 - 1, got {seed}")
    if not 0 <= number(val_fraction, "Trainer", "val_fraction") < 1:
        raise ValueError(f"Trainer: val_fraction must be in [0, 1), got {val_fraction}")
    if patience is not None:
        integer(patience, "Trainer", "patience", 1)
    most = 1.0 if clip_grad_norm is None else number(clip_grad_norm, "Trainer", "clip_grad_norm")
    if not 0 < most < math.inf:
        raise ValueError(
            f"Trainer: clip_grad_norm must be positive and finite, got {clip_grad_norm}"
        )
    if val_fraction == 0:
        for name, wanted in (
            ("patience", patience is not None),
            ("ReduceLROnPlateau", isinstance(schedule, ReduceLROnPlateau)),
        ):
            if wanted:
                raise ValueError(
                    f"Trainer: {name} watches a validation set, which val_fraction splits off the "
                    "training set; got val_fraction=0"
                )


def split(
    train: Samples, validation: Samples | None, val_fraction: float, seed: int
) -> tuple[Samples, Samples | None]:
    """(what is trained on, what is validated on): ``val_fraction`` of ``train``, if it is not 0.

    Raises ValueError if any of them is empty.
    """
    if len(train) == 0:
        raise ValueError("Trainer.fit: the training set has no samples")
    if validation is not None and len(validation) == 0:
        raise ValueError("Trainer.fit: the validation set has no samples")
    if val_fraction == 0:
        return train, validation
    order = permutation(len(train), seed, 0)  # epochs count from 1
    count = held_out(len(train), val_fraction)
    if not 0 < count < len(train):
        raise ValueError(
            f"Trainer.fit: val_fraction={val_fraction} of {len(train)} samples leaves "
            f"{len(train) - count} to train and {count} to validate"
        )
    return Subset(train, order[count:]), Subset(train, order[:count])
