"""What several commands share: number arguments, what a checkpoint says, the run's folder."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
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


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default="cpu",
        metavar="DEVICE",
        help="cpu (the default), cuda (the current GPU) or cuda:<index>",
    )


@contextlib.contextmanager
def use_device(args: argparse.Namespace) -> Iterator[str]:
    """--device, checked, and the current one for a while: "cpu" or "cuda:<index>"."""
    from striate import _device

    device = _device.parse(args.device, "--device")
    with _device.use(device):
        yield device


def preparation(path: Path, description: dict[str, Any]) -> tuple[list[str], Any]:
    """(classes, transform) that a checkpoint describes; CheckpointError if it does not.

    The transform is a Normalize for digits, an ImageTransform for pictures. A file may say
    anything, and the classes are printed.
    """
    from striate.checkpoint import CheckpointError
    from striate.data.dataset import Normalize
    from striate.data.pipeline import KIND, ImageTransform

    classes, transform = description.get("classes"), description.get("transform")
    arguments = description.get("arguments", {})
    if not isinstance(arguments, dict):
        raise CheckpointError(f"{path}: the arguments of its model are {arguments!r}, not named")
    count = arguments.get("num_classes", 10)
    if not isinstance(classes, list) or len(classes) != count:
        raise CheckpointError(f"{path}: describes no names for its {count} classes")
    if not all(isinstance(name, str) and name.isprintable() for name in classes):
        raise CheckpointError(f"{path}: the names of its classes are not all printable")
    try:
        if isinstance(transform, dict) and transform.get("kind") == KIND:
            return classes, ImageTransform.from_description(transform)
        return classes, Normalize(**transform)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: describes no preprocessing ({error})") from None


def scores(result: Any, description: dict[str, Any]) -> str:
    """An Evaluation's shares for a person: top-5, too, for more than five classes of pictures."""
    text = f"accuracy {result.accuracy:.2%}"
    folders = description.get("class_folders", [])
    return text if len(folders) <= 5 else f"{text}, top-5 {result.top5:.2%}"


def checkpoint_path(text: str) -> Path:
    """A checkpoint given as a file, or as the folder of its run."""
    path = Path(text)
    return path / "checkpoint.safetensors" if path.is_dir() else path


def model_path(text: str) -> Path:
    """A model given as a file, or as the folder of its run."""
    path = Path(text)
    return path / "model.safetensors" if path.is_dir() else path
