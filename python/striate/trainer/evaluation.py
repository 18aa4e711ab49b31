"""Loss and accuracy of a model on samples."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

import striate.functional as F
from striate import nn
from striate.data.dataset import Samples


class Evaluation(NamedTuple):
    loss: float  # mean cross-entropy, in nats
    accuracy: float  # share of samples whose largest logit is the label's, 0 .. 1
    samples: int


def finite_or_none(value: float) -> float | None:
    """``value`` for JSON, which has neither infinities nor NaN."""
    return value if math.isfinite(value) else None


def evaluate(model: nn.Layer, samples: Samples, batch_size: int = 500) -> Evaluation:
    """Runs ``model`` in inference over ``samples``, without changing its mode or keeping anything.

    Raises ValueError if there are no samples.
    """
    if len(samples) == 0:
        raise ValueError("evaluate: there are no samples")
    loss, correct = 0.0, 0
    for start in range(0, len(samples), batch_size):
        x, labels = samples[np.arange(start, min(start + batch_size, len(samples)))]
        logits, _ = model.apply(x, training=False, save=False)
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(axis=1) == labels).sum())
    return Evaluation(loss / len(samples), correct / len(samples), len(samples))
