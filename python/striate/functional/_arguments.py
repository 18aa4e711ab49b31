"""How every op reads its arguments: pairs of integers, unbatched inputs, torch's unused options."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from striate import _device

Array: TypeAlias = npt.NDArray[np.float32]
IntOrPair: TypeAlias = "int | Sequence[int]"
Pads: TypeAlias = "tuple[int, int, int, int]"

LARGEST = 2**31 - 1
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def integer(value: Any, op: str, name: str, least: int = 0) -> int:
    """``value`` as an int; TypeError if it is not one, ValueError outside least .. 2^31 - 1."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{op}: {name} must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be an integer, got {value!r}") from None
    if not least <= number <= LARGEST:
        raise ValueError(f"{op}: {name} must be between {least} and {LARGEST}, got {number}")
    return number


def flag(value: Any, op: str, name: str) -> bool:
    """``value`` as a bool; TypeError for what is neither True nor False, as 1 and 0 are."""
    if not isinstance(value, (int, np.bool_)) or value not in (0, 1):
        raise TypeError(f"{op}: {name} must be True or False, got {value!r}")
    return bool(value)


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


def pair_or_none(value: Any, op: str, name: str, least: int = 0) -> tuple[int | None, int | None]:
    """``pair``, but either of two may be None."""
    if isinstance(value, Sequence) and len(value) == 2 and any(entry is None for entry in value):
        height, width = (None if v is None else integer(v, op, name, least) for v in value)
        return height, width
    return pair(value, op, name, least)


def padding_of(value: Any, op: str) -> tuple[int, ...]:
    """``value`` as (height, width), or as four pads where it is a sequence of four."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        if len(value) == 4:
            return tuple(integer(pad, op, "padding") for pad in value)
        if len(value) != 2:
            raise ValueError(
                f"{op}: padding must be an integer, a pair (height, width) or four (top, left, "
                f"bottom, right), got {value!r}"
            )
    return pair(value, op, "padding")


def four_pads(value: Any, op: str) -> Pads:
    """``value`` as (top, left, bottom, right): an integer, a pair or a sequence of four."""
    pads = padding_of(value, op)
    top, left, bottom, right = pads if len(pads) == 4 else (*pads, *pads)
    return top, left, bottom, right


def number(value: Any, op: str, name: str) -> float:
    """``value`` as a float; TypeError if it is not a real number, ValueError beyond all floats."""
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{op}: {name} is an integer beyond all floats") from None


def finite(value: Any, op: str, name: str, least: float = -math.inf) -> float:
    """``number`` that is finite in float32; ValueError for another, and below ``least``."""
    result = number(value, op, name)
    if not max(least, -_FLOAT32_MAX) <= result <= _FLOAT32_MAX:
        above = "" if least == -math.inf else f", at least {least:g}"
        raise ValueError(f"{op}: {name} must be a finite float32 number{above}, got {result}")
    return result


def refuse(op: str, **options: Any) -> None:
    """Refuses torch's options that Striate lacks: each must stand at its default, None or False.

    False is no default of torch's deprecated ``size_average`` and ``reduce``.
    """
    for name, value in options.items():
        default = value is None or (value is False and name not in ("size_average", "reduce"))
        if not default:
            raise ValueError(f"{op}: {name}={value!r} is not supported, though torch has it")


def as_array(value: Any) -> Any:
    """What has DLPack or the buffer protocol as an array, without a copy; all else as it is.

    For functions that look at the shape before the op does; the op refuses what is no array.
    """
    if _device.is_array(value):
        return value
    if hasattr(value, "__dlpack__"):
        if _device.is_cuda(value):
            return _device.namespace(value).from_dlpack(value)
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError):
            return value
    return np.asarray(value) if isinstance(value, memoryview) else value


def float32_array(value: Any, op: str, name: str) -> Array:
    """``value`` if it is a float32 array, for functions that hand their input through."""
    value = as_array(value)
    if not _device.is_array(value):
        raise TypeError(f"{op}: {name} must be a NumPy array, got {type(value).__name__}")
    if value.dtype != np.float32:
        raise TypeError(
            f"{op}: {name} must be float32, got {value.dtype}; cast it with "
            f"{name}.astype(numpy.float32)"
        )
    return value


def expect_together(op: str, arrays: Sequence[Any], names: Sequence[str]) -> None:
    """TypeError, which names both, where two arrays lie on different devices."""
    first = _device.device_of(arrays[0])
    for array, name in zip(arrays, names):
        if _device.device_of(array) != first:
            raise TypeError(
                f"{op}: {name} is on {_device.device_of(array)}, but {names[0]} is on {first}; "
                "move one of them"
            )


def needed(op: str, need: Any, bias: Any) -> tuple[bool, bool, bool]:
    """``need`` as three booleans; no gradient for a bias that is None."""
    if not isinstance(need, Sequence) or len(need) != 3:
        raise ValueError(f"{op}: need must be three booleans (input, weight, bias), got {need!r}")
    return bool(need[0]), bool(need[1]), bool(need[2]) and bias is not None


def ndim(array: Any) -> int:
    """The rank of whatever array came in; 0 for what is none (the op itself refuses that)."""
    shape = getattr(array, "shape", ())
    return len(shape)
