"""Where dropout's random numbers come from: a seed and two counters, and nothing else.

The numbers themselves are made in C++ by Philox, which turns (seed, call, step, element) into
random bits (Salmon et al. 2011): no hidden state advances with them, so any of them can be made
again, on any machine, from its key.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_SEEDS = 2**64
_COUNTS = 2**32


class Key(NamedTuple):
    """Names one mask: that of call ``call`` in step ``step`` of the run seeded by ``seed``.

    In a training step that is recorded for a GPU, ``step`` is an array () of uint32 there.
    """

    seed: int
    call: int
    step: Any


class Generator:
    """A seed, the training step, and how many keys that step has drawn."""

    def __init__(self, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._seed = self._step = self._call = 0
        self._recorded: Any = None
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Starts again at step 0 with ``seed``, 0 .. 2^64 - 1; returns itself, as in torch."""
        self.set_state({"seed": seed, "step": 0, "call": 0})
        return self

    def set_step(self, step: int) -> None:
        """Starts step ``step``: its first key has call 0, whatever the steps before drew."""
        step = _checked(step, "step", _COUNTS)
        with self._lock:
            self._step, self._call = step, 0

    def next_key(self) -> Key:
        """A key that this step has not drawn yet."""
        with self._lock:
            step = self._step if self._recorded is None else self._recorded
            key = Key(self._seed, self._call, step)
            # Without set_step, the steps are as long as a counter.
            self._call += 1
            if self._call == _COUNTS:
                self._step, self._call = (self._step + 1) % _COUNTS, 0
        return key

    @contextlib.contextmanager
    def recorded(self, step: Any) -> Iterator[None]:
        """For a while, keys name ``step``, a number in device memory, counted from call 0."""
        with self._lock:
            before = self._step, self._call
            self._recorded, self._call = step, 0
        try:
            yield
        finally:
            with self._lock:
                self._recorded = None
                self._step, self._call = before

    def get_state(self) -> dict[str, int]:
        """The state, for a checkpoint; JSON can hold it."""
        with self._lock:
            return {"seed": self._seed, "step": self._step, "call": self._call}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Takes over what ``get_state`` gave; ValueError, and no change, if it is nothing such."""
        if set(state) != {"seed", "step", "call"}:
            raise ValueError(
                f"Generator.set_state: expected the keys call, seed, step, got {sorted(state)}"
            )
        seed = _checked(state["seed"], "seed", _SEEDS)
        step = _checked(state["step"], "step", _COUNTS)
        call = _checked(state["call"], "call", _COUNTS)
        with self._lock:
            self._seed, self._step, self._call = seed, step, call


def _checked(value: int, name: str, end: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"Generator: {name} must be an integer, got {value!r}")
    number = value.__index__()
    if not 0 <= number < end:
        raise ValueError(f"Generator: {name} must be between 0 and {end - 1}, got {number}")
    return number


default_generator = Generator()
_current: contextvars.ContextVar[Generator | None] = contextvars.ContextVar(
    "striate_generator", default=None
)


def current() -> Generator:
    """The generator of the innermost ``use`` around this code, else the default one."""
    return _current.get() or default_generator


def manual_seed(seed: int) -> Generator:
    """Seeds the current generator and returns it."""
    return current().manual_seed(seed)


@contextlib.contextmanager
def use(generator: Generator) -> Iterator[Generator]:
    """Makes ``generator`` the current one in this thread (and async task) for a while."""
    token = _current.set(generator)
    try:
        yield generator
    finally:
        _current.reset(token)


def next_key() -> Key:
    """A fresh key from the current generator."""
    return current().next_key()
