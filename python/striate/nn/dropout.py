"""Dropout."""

from __future__ import annotations

from typing import Any

import striate.functional as F
from striate import random
from striate.functional._arguments import Array, number
from striate.nn.layer import Gradients, Layer
from striate.plan.op import IDENTITY, Op


class Dropout(Layer):
    """In training, zeroes each element with probability ``p`` and divides the others by 1 - p.

    Which ones depends on the current generator (``striate.manual_seed``); forward saves only the
    key of its mask. ``inplace`` is accepted for torch's sake.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = number(p, "Dropout", "p")
        if not 0 <= self.p <= 1:
            raise ValueError(f"Dropout: p must be between 0 and 1, got {p}")

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        if not training or self.p == 0:
            return F.dropout(x, self.p, training=False), None
        key = random.next_key()
        return F.dropout(x, self.p, key=key), key

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        if not need or saved is None:
            return dy if need else None, []
        return F.dropout_backward(dy, saved, self.p), []

    def op(self, training: bool) -> Op | tuple[Op, ...]:
        return Op("dropout", {"p": self.p}) if training and self.p > 0 else IDENTITY

    def extra_repr(self) -> str:
        return f"p={self.p}"
