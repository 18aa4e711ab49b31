"""What is known of an epoch under way; a checkpoint carries it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from striate._text import printable
from striate.functional._arguments import number

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
        partial, given = cls(), {"data_seconds": 0.0, **description}
        for name in ("loss", "seconds", "data_seconds"):
            value = number(given[name], "its sums over the epoch", name)
            if not math.isfinite(value):
                raise ValueError(f"its sums over the epoch: {name} must be finite, got {value}")
            setattr(partial, name, value)
        partial.seen = _count(description.get("seen", seen), seen)
        partial.skipped = _count(description.get("skipped", seen - partial.seen), seen)
        if partial.seen + partial.skipped != seen:
            raise ValueError(
                f"it counts {partial.seen} samples that were read and {partial.skipped} that could "
                f"not be, of {seen}"
            )
        named = description.get("named", [])
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            raise ValueError(f"the samples that could not be read must have names, got {named!r}")
        if len(named) > min(_NAMED, partial.skipped):
            raise ValueError("it names more samples than could not be read")
        partial.named = [printable(name) for name in named]
        return partial


def _count(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"it counts {value!r} samples of {most}")
    return value
