"""What a peer hands over before it is timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Step = Callable[[], Any]


class Work(NamedTuple):
    """``step`` does the work once; ``check`` are numbers that every peer must reproduce, ``flop``
    the floating-point operations of one step, if known.
    """

    step: Step
    check: Sequence[float] = ()
    flop: float | None = None
