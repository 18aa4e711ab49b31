"""What several commands share: number arguments, the data, the run's folder."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def integer(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """An argparse type: an integer in least .. most."""

    def parse(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be between {least} and {most}, got {value}")
        return value

    parse.__name__ = "integer"
    return parse


def number(least: float, most: float = float("inf")) -> Callable[[str], float]:
    """An argparse type: a finite number in least .. most."""

    def parse(text: str) -> float:
        value = float(text)
        if not (least <= value <= most) or value in (float("inf"), float("-inf")):
            raise argparse.ArgumentTypeError(f"must be between {least} and {most}, got {text}")
        return value

    parse.__name__ = "number"
    return parse


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads",
        type=integer(1, 1024),
        metavar="N",
        help="threads to compute with (default: the cores this process may use)",
    )


def use_threads(args: argparse.Namespace) -> None:
    if args.threads is not None:
        import striate

        striate.set_num_threads(args.threads)


def load_data(folder: str | None) -> tuple[Any, str]:
    """((train, test), what it is): the IDX files of ``folder``, or the MNIST in the package."""
    from striate import data

    dataset, source = (
        (data.mnist(), "MNIST") if folder is None else (data.load_idx_folder(folder), folder)
    )
    for split, name in zip(dataset, ("training", "test")):
        if len(split.labels) == 0:
            raise ValueError(f"{source}: has no {name} images")
    return dataset, source


def fingerprint(split: Any) -> str:
    """SHA-256 of a split's images and labels: which data a checkpoint was trained on."""
    digest = hashlib.sha256(split.images.tobytes())
    digest.update(split.labels.tobytes())
    return digest.hexdigest()


def preparation(path: Path, description: dict[str, Any]) -> tuple[list[str], Any]:
    """(classes, transform) that a checkpoint describes; CheckpointError if it does not.

    A file may say anything, and the classes are printed.
    """
    from striate.checkpoint import CheckpointError
    from striate.data.dataset import Normalize

    classes, transform = description.get("classes"), description.get("transform")
    count = description.get("arguments", {}).get("num_classes", 10)
    if not isinstance(classes, list) or len(classes) != count:
        raise CheckpointError(f"{path}: describes no names for its {count} classes")
    if not all(isinstance(name, str) and name.isprintable() for name in classes):
        raise CheckpointError(f"{path}: the names of its classes are not all printable")
    try:
        return classes, Normalize(**transform)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: describes no preprocessing ({error})") from None


def checkpoint_path(text: str) -> Path:
    """A checkpoint given as a file, or as the folder of its run."""
    path = Path(text)
    return path / "checkpoint.safetensors" if path.is_dir() else path


def model_path(text: str) -> Path:
    """A model given as a file, or as the folder of its run."""
    path = Path(text)
    return path / "model.safetensors" if path.is_dir() else path
