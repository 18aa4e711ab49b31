"""dropout, whose mask is a function of a key and is never stored."""

from __future__ import annotations

from typing import Any

from striate import random
from striate._device import is_cuda, ops
from striate.functional._arguments import Array, float32_array, number, refuse
from striate.random import Key


def dropout(
    input: Array,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: Key | None = None,
) -> Array:
    """Zeroes each element with probability ``p`` and multiplies the others by 1 / (1 - p).

    Inverted dropout (Srivastava et al. 2014). ``input``: float32 of any shape. Without ``training``
    it is returned as it is. ``key`` (not in torch) names the mask; without it, the next key of the
    current generator is drawn, and the mask cannot be made again for ``dropout_backward``: draw
    ``striate.random.next_key()`` yourself to have both. Element i in C order is kept when
    word i % 4 of philox4x32-10(counter=(i // 4, call, step, 0), key=seed) is at least
    floor(p * 2^32). Raises ValueError for ``p`` outside 0 .. 1 and for ``inplace=True``, TypeError
    for another dtype.
    """
    refuse("dropout", inplace=inplace)
    p = _probability("dropout", p)
    if not training:
        return float32_array(input, "dropout", "input")
    key = random.next_key() if key is None else _key("dropout", key)
    return _function(input, key, "dropout_forward")(input, p, *key)


def dropout_backward(dy: Array, key: Key, p: float = 0.5, training: bool = True) -> Array:
    """Gradient of dropout with ``key``: dy, dropped and scaled by the same mask."""
    p = _probability("dropout_backward", p)
    if not training:
        return float32_array(dy, "dropout_backward", "dy")
    key = _key("dropout_backward", key)
    return _function(dy, key, "dropout_backward")(dy, p, *key)


def _function(array: Array, key: Key, name: str) -> Any:
    """The op; on a key whose step lies on the GPU (a recorded training step), the one for those."""
    return getattr(ops(array), f"recorded_{name}" if is_cuda(key.step) else name)


def _key(op: str, key: Key) -> Key:
    if not isinstance(key, Key):
        raise TypeError(f"{op}: key must be a striate.random.Key, got {key!r}")
    return key


def _probability(op: str, p: float) -> float:
    value = number(p, op, "p")
    if not 0 <= value <= 1:
        raise ValueError(f"{op}: p must be between 0 and 1, got {value}")
    return value
