"""The reference models. Keys of their ``state_dict`` follow torchvision where it has the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from striate import checkpoint, nn
from striate.checkpoint import CheckpointError
from striate.models.alexnet import alexnet, alexnet_2012
from striate.models.lenet import lenet5, lenet5_1998
from striate.models.transfer import Fit, freeze, load_fitting

MODELS: dict[str, Callable[..., nn.Layer]] = {
    "lenet5": lenet5,
    "lenet5_1998": lenet5_1998,
    "alexnet": alexnet,
    "alexnet_2012": alexnet_2012,
}

# The images (C, H, W) that each model was designed for.
INPUT_SHAPES: dict[str, tuple[int, int, int]] = {
    "lenet5": (1, 28, 28),
    "lenet5_1998": (1, 32, 32),
    "alexnet": (3, 224, 224),
    "alexnet_2012": (3, 227, 227),
}


def create(name: str, **arguments: Any) -> nn.Layer:
    """A new model by name; ValueError for a name that is none of MODELS."""
    if name not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {name!r}")
    return MODELS[name](**arguments)


def load(path: str | Path) -> tuple[nn.Layer, dict[str, Any]]:
    """(model, description) from a model.safetensors or checkpoint.safetensors of a run.

    The model is in inference mode. Raises CheckpointError for a file that is not whole, or whose
    description names no model or one that its arrays do not fit.
    """
    path = Path(path)
    arrays, description = checkpoint.load(path)
    if "model" not in description:
        raise CheckpointError(f"{path}: does not say which model it holds; to start from its "
                              "weights use striate.models.load_fitting")  # fmt: skip
    arrays = checkpoint.model_arrays(arrays, description)
    arguments = description.get("arguments", {})
    largest = max((array.size for array in arrays.values()), default=0)
    try:
        if any(value > largest for value in arguments.values()):
            raise ValueError(f"arguments {arguments} for arrays of at most {largest} elements")
        model = create(description.get("model", ""), **arguments)
        model.load_state_dict(arrays)
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    return model.eval(), description


__all__ = [
    "INPUT_SHAPES",
    "MODELS",
    "Fit",
    "alexnet",
    "alexnet_2012",
    "create",
    "freeze",
    "lenet5",
    "lenet5_1998",
    "load",
    "load_fitting",
]
