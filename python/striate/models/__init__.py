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

# Numbers in each model's parameters: all but those of its last layer, and those of one class.
_NUMBERS = {
    "lenet5": (60_856, 85),
    "lenet5_1998": (60_000, 85),
    "alexnet": (57_003_840, 4097),
    "alexnet_2012": (56_868_224, 4097),
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
    try:
        _check_size(description["model"], arguments, sum(array.size for array in arrays.values()))
        model = create(description["model"], **arguments)
        model.load_state_dict(arrays)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    return model.eval(), description


def _check_size(name: Any, arguments: Any, held: int) -> None:
    """Refuses a model larger than the ``held`` numbers of its file, before it is made."""
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise TypeError(f"its model must be a name with arguments, got {name!r}, {arguments!r}")
    fixed, each = _NUMBERS.get(name, (0, 1))
    classes = arguments.get("num_classes", 1)
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise ValueError(f"num_classes must be an integer above 0, got {classes!r}")
    if fixed + each * classes > held:
        raise ValueError(f"{name} with {classes} classes needs {fixed + each * classes} numbers, "
                         f"but the file holds {held}")  # fmt: skip


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
