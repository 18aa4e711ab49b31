"""How every op reads its arguments: pairs of integers, unbatched inputs, torch's unused options."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float32]
IntOrPair: TypeAlias = "int | Sequence[int]"

_LARGEST = 2**31 - 1


def integer(value: Any, op: str, name: str, least: int = 0) -> int:
    """``value`` as an int; TypeError if it is not one, ValueError outside least .. 2^31 - 1."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{op}: {name} must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be an integer, got {value!r}") from None
    if not least <= number <= _LARGEST:
        raise ValueError(f"{op}: {name} must be between {least} and {_LARGEST}, got {number}")
    return number


def pair(value: Any, op: str, name: str, least: int = 0) -> tuple[int, int]:
    """``value`` as (height, width): one integer for both, or a sequence of two."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        if len(value) != 2:
            raise ValueError(
                f"{op}: {name} must be an integer or a pair (height, width), got {value!r}"
            )
        return integer(value[0], op, name, least), integer(value[1], op, name, least)
    number = integer(value, op, name, least)
    return number, number


def number(value: Any, op: str, name: str) -> float:
    """``value`` as a float; TypeError if it is not a real number."""
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    return float(value)


def refuse(op: str, **options: Any) -> None:
    """Refuses torch's options that Striate lacks: each must stand at its default, None or False."""
    for name, value in options.items():
        if value is not None and value is not False:
            raise ValueError(f"{op}: {name}={value!r} is not supported, though torch has it")


def ndim(array: Any) -> int:
    """The rank of whatever array came in; 0 for what is none (the op itself refuses that)."""
    shape = getattr(array, "shape", ())
    return len(shape)
