"""Loading parameters by name, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from striate._device import copy_into, is_array, namespace
from striate.functional._arguments import Array


def as_array(value: Any, name: str) -> Array:
    """A float32 view of an array, a DLPack object or a buffer; nothing is copied or cast."""
    if not is_array(value):
        if hasattr(value, "detach"):  # a torch tensor that requires a gradient refuses DLPack
            value = value.detach()
        try:
            if hasattr(value, "__dlpack__"):
                value = namespace(value).from_dlpack(value)
            else:
                value = np.asarray(memoryview(value))
        except (TypeError, BufferError, RuntimeError) as error:
            raise TypeError(
                f"load_state_dict: {name} must be an array, got {type(value).__name__} ({error})"
            ) from None
    array: Array = value
    if array.dtype != np.float32:
        raise TypeError(f"load_state_dict: {name} must be float32, got {array.dtype}")
    return array


def load_parameters(
    who: str, parameters: Mapping[str, Array], state: Mapping[str, Any], strict: bool
) -> None:
    """Copies ``state`` into the arrays ``parameters``, once everything fits."""
    arrays = {name: as_array(state[name], name) for name in parameters if name in state}
    problems = []
    if strict:
        missing = [name for name in parameters if name not in state]
        unexpected = [name for name in state if name not in parameters]
        problems += [f"missing: {', '.join(missing)}"] if missing else []
        problems += [f"unexpected: {', '.join(unexpected)}"] if unexpected else []
    problems += [
        f"shape of {name}: {array.shape} given, {parameters[name].shape} wanted"
        for name, array in arrays.items()
        if array.shape != parameters[name].shape
    ]
    if problems:
        raise ValueError(f"load_state_dict: the state does not fit {who}; {'; '.join(problems)}")
    for name, array in arrays.items():
        copy_into(parameters[name], array)
