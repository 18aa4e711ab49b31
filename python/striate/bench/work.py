"""What a peer hands over before it is timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Step = Callable[[], Any]


class Work(NamedTuple):
    """``step`` does the work once; ``check`` are numbers that every peer must reproduce.

    ``flop``: the floating-point operations of one step, if known; ``read``: the bytes that it has
    to read from memory, on a GPU to read and to write, where these bound it; ``facts``: what stands
    beside the speed, such as the error; ``time``: the seconds of so many repetitions, where the
    wall's clock would not do.
    """

    step: Step
    check: Sequence[float] = ()
    flop: float | None = None
    read: float | None = None
    facts: Mapping[str, float] = {}
    time: Callable[[int], float] | None = None


class Peer(NamedTuple):
    """``make`` gives a Work, for the arguments of the work and one of ``variants``: ways to do it
    of which the fastest on this machine counts.
    """

    make: Callable[..., Work]
    variants: Sequence[Mapping[str, str]] = ()
    tolerance: float = 1e-4  # of the numbers to check, relative to the larger or to a tenth
