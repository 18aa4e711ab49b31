"""Transfer learning: weights from elsewhere, and parts of a model that stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from striate import checkpoint, nn
from striate.checkpoint import CheckpointError


class Fit(NamedTuple):
    """What came of loading a file into a model, by names of parameters."""

    loaded: list[str]
    missing: list[str]  # parameters that the file lacks: they keep their initial values
    misshapen: list[str]  # likewise: the file has them in another shape or dtype; with both
    unexpected: list[str]  # names in the file that the model lacks

    def __str__(self) -> str:
        kept = [
            f"{what}: {', '.join(names)}"
            for what, names in (
                ("not in the file", self.missing),
                ("of another shape or dtype", self.misshapen),
                ("in the file only", self.unexpected),
            )
            if names
        ]
        count = len(self.loaded) + len(self.missing) + len(self.misshapen)
        return "; ".join([f"{len(self.loaded)} of {count} parameters loaded", *kept])


def load_fitting(model: nn.Layer, path: str | Path) -> Fit:
    """Copies those arrays of a .safetensors or .npz file into ``model`` whose name and shape fit.

    The others are listed in the result, so that nobody trains from a wrong file in silence. Raises
    CheckpointError if the file is not whole, nothing in it fits, or what fits is not finite; then
    nothing is changed.
    """
    arrays = checkpoint.load_arrays(path)
    state = model.state_dict()
    fit = Fit([], [], [], [name for name in arrays if name not in state])
    for name, data in state.items():
        if name not in arrays:
            fit.missing.append(name)
        elif arrays[name].shape != data.shape:
            shapes = f"{arrays[name].shape} in the file, {data.shape} in the model"
            fit.misshapen.append(f"{name}: {shapes}")
        elif arrays[name].dtype != data.dtype:
            fit.misshapen.append(f"{name}: {arrays[name].dtype} in the file, float32 in the model")
        else:
            fit.loaded.append(name)
    if not fit.loaded:
        raise CheckpointError(f"{path}: nothing in it fits the model ({fit})")
    for name in fit.loaded:
        if not np.isfinite(arrays[name]).all():
            raise CheckpointError(f"{path}: {name} is not finite")
    model.load_state_dict({name: arrays[name] for name in fit.loaded}, strict=False)
    return fit


def freeze(model: nn.Layer, prefixes: Iterable[str]) -> list[str]:
    """Stops the training of all parameters whose names start with one of ``prefixes``.

    A prefix is a whole part of a name: "features" freezes features.0.weight, "feat" nothing. No
    gradient is computed for them, and none flows below the first layer that still trains. Returns
    their names; raises ValueError for a prefix that no parameter has, or if nothing is left.
    """
    frozen: list[str] = []
    prefixes = list(prefixes)
    parameters = dict(model.named_parameters())
    for prefix in prefixes:
        part = prefix.rstrip(".")
        names = [name for name in parameters if name == part or name.startswith(f"{part}.")]
        if not names:
            parts = dict.fromkeys(name.partition(".")[0] for name in parameters)
            raise ValueError(f"freeze: no parameter starts with {prefix!r}; there are "
                             f"{', '.join(parts)}")  # fmt: skip
        frozen += [name for name in names if name not in frozen]
    if len(frozen) == len(parameters):
        raise ValueError(f"freeze: {', '.join(prefixes)} leaves nothing to train")
    for name in frozen:
        parameters[name].requires_grad = False
    return frozen
