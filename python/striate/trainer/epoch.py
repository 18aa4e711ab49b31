"""What is known of an epoch under way; a checkpoint carries it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

_NAMED = 3  # samples that could not be read are named up to this number


@dataclass
class Partial:
    """Sums over the steps of an epoch so far."""

    loss: float = 0.0  # over samples
    seconds: float = 0.0
    data_seconds: float = 0.0  # of them, spent waiting for data
    seen: int = 0  # samples trained on
    skipped: int = 0  # samples that could not be read
    named: list[str] = field(default_factory=list)  # a sentence on each of the first few of them

    def skip(self, sentences: Sequence[str]) -> None:
        """Counts samples that could not be read."""
        self.skipped += len(sentences)
        self.named += sentences[: _NAMED - len(self.named)]

    def sentences(self, what: str) -> list[str]:
        """For a person: what was skipped, in one line, or nothing."""
        if not self.skipped:
            return []
        pictures = "picture" if self.skipped == 1 else "pictures"
        more = "" if self.skipped == len(self.named) else "; ..."
        named = "; ".join(self.named)
        return [f"skipped {self.skipped:,} {what} {pictures} that cannot be read: {named}{more}"]

    def describe(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_description(cls, description: dict[str, Any], seen: int) -> Partial:
        """What ``describe`` described, each value checked: a file may say anything.

        ``seen``: samples in the steps so far, for a checkpoint that does not say it.
        """
        partial = cls(float(description["loss"]), float(description["seconds"]))
        partial.data_seconds = float(description.get("data_seconds", 0.0))
        sums = (partial.loss, partial.seconds, partial.data_seconds)
        if not all(math.isfinite(value) for value in sums):
            raise ValueError(f"its sums over the epoch are not finite: {sums}")
        partial.seen = _count(description.get("seen", seen), seen)
        partial.skipped = _count(description.get("skipped", 0), seen - partial.seen)
        named = description.get("named", [])
        if not isinstance(named, list) or len(named) > min(_NAMED, partial.skipped):
            raise ValueError("it names more samples than could not be read")
        partial.named = [str(name) for name in named]
        return partial


def _count(value: Any, most: int) -> int:
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"it counts {value!r} samples of {most}")
    return value
