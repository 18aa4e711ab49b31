"""Loss and accuracy of a model on samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

import striate.functional as F
from striate import nn
from striate._device import of_model, to, to_host, use
from striate.data.dataset import Samples, batches, sample_bytes
from striate.data.idx import DataError
from striate.functional._arguments import Array

_BATCH_BYTES = 1 << 25  # of inputs; the layers' results are a few times that
_MOST = 500


class Evaluation(NamedTuple):
    """Over the ``samples`` that could be read; ``skipped`` has a sentence for each other one."""

    loss: float  # mean cross-entropy, in nats
    accuracy: float  # share of samples whose largest logit is the label's, 0 .. 1
    samples: int
    top5: float = math.nan  # share of samples whose label's logit is among the five largest
    skipped: tuple[str, ...] = ()


def finite_or_none(value: float) -> float | None:
    """``value`` for JSON, which has neither infinities nor NaN."""
    return value if math.isfinite(value) else None


def evaluate(
    model: nn.Layer,
    samples: Samples,
    batch_size: int | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Runs ``model`` in inference over ``samples``, without changing its mode or keeping anything.

    Inputs of shape (n, crops, C, H, W) are several crops of each picture: the softmax of their
    logits is averaged (Krizhevsky et al. 2012, section 4.1). ``batch_size``: by default up to 500,
    as many as 32 MiB of inputs hold. ``on_batch`` is called after each batch with the number of
    samples it held.

    Raises ValueError if there are no samples, DataError if none of them can be read.
    """
    if len(samples) == 0:
        raise ValueError("evaluate: there are no samples")
    if batch_size is None:
        batch_size = max(1, min(_MOST, _BATCH_BYTES // max(1, sample_bytes(samples))))
    starts = range(0, len(samples), batch_size)
    todo = [np.arange(start, min(start + batch_size, len(samples))) for start in starts]
    device = of_model(model)
    loss, correct, correct5, seen = 0.0, 0, 0, 0
    skipped: list[str] = []
    with closing(batches(samples, todo)) as stream:
        for indices, (x, labels, unread) in zip(todo, stream):
            skipped += unread
            if len(labels):
                logits, labels = _logits(model, x, device), to_host(labels)
                loss += float(F.cross_entropy(logits, labels, reduction="sum"))
                correct += int((logits.argmax(axis=1) == labels).sum())
                correct5 += int((_rank(logits, labels) < 5).sum())
                seen += len(labels)
            if on_batch is not None:
                on_batch(len(indices))
    if seen == 0:
        raise DataError(f"none of the {len(samples):,} samples can be read; {skipped[0]}")
    return Evaluation(loss / seen, correct / seen, seen, correct5 / seen, tuple(skipped))


def _logits(model: nn.Layer, x: Array, device: str) -> Array:
    """The model's logits for x, or for several crops a sample the logarithm of their mean.

    The model computes on ``device``; what is made of the few logits, on the CPU.
    """
    n, crops = x.shape[:2]
    several = x.ndim == 5
    inputs = x.reshape(n * crops, *x.shape[2:]) if several else x
    with use(device):
        logits: Array = to_host(model.apply(to(inputs, device), training=False, save=False)[0])
    if not several:
        return logits
    probabilities = F.softmax(logits, 1).reshape(n, crops, -1).mean(axis=1, dtype=np.float64)
    tiny = np.finfo(np.float32).tiny
    mean: Array = np.log(np.maximum(probabilities, tiny)).astype(np.float32)
    return mean


def _rank(logits: Array, labels: Any) -> Any:
    """How many logits come before the label's, (n): larger ones, NaN, equal ones further left."""
    own = np.take_along_axis(logits, np.asarray(labels)[:, None].astype(np.intp), axis=1)
    left = np.arange(logits.shape[1]) < np.asarray(labels)[:, None]
    return np.count_nonzero(~(logits <= own) | ((logits == own) & left), axis=1)
