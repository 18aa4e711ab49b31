"""The data that a command is given: digits in the IDX format, or folders of pictures."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from striate.cli._common import integer

# Settings that only pictures have.
PICTURE_SETTINGS = ("augment", "resize", "crop", "workers", "strict_data")


@dataclass
class TrainingData:
    """``train`` and ``test``, and ``facts`` about them for a checkpoint's description."""

    train: Any
    test: Any
    source: str
    num_classes: int
    input_shape: tuple[int, ...]  # of one sample
    facts: dict[str, Any]
    told: list[str] = field(default_factory=list)  # what a person should know of it
    notes: list[str] = field(default_factory=list)  # what was left out

    def move(self, device: str) -> None:
        """Digits go to the GPU, all at once; pictures go up batch by batch."""
        from striate.data.dataset import ArraySamples

        if isinstance(self.train, ArraySamples) and device != "cpu":
            self.train, self.test = self.train.to(device), self.test.to(device)


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=integer(0, 1024),
        metavar="N",
        help="threads that decode pictures ahead; 0: none (default: as many as compute)",
    )
    parser.add_argument(
        "--strict-data",
        action=argparse.BooleanOptionalAction,
        help="end at a picture that cannot be read and at folders that do not fit, "
        "instead of leaving them out with a line",
    )


def open_training_data(
    name: str, transform: Any, folder: str | None, settings: dict[str, Any]
) -> TrainingData:
    """What model ``name`` is to be trained on: the digits or pictures of ``folder``, or MNIST.

    ``transform``: a Normalize for digits; an ImageTransform, complete or of a recipe, for pictures.
    """
    from striate.data.pipeline import ImageTransform

    pictures = folder is not None and _holds_pictures(Path(folder))
    if isinstance(transform, ImageTransform):
        if folder is None or not pictures:
            what = "" if folder is None else f"; {folder} holds digits in the IDX format"
            raise ValueError(
                f"{name} is trained on pictures: give --data DIR with train/<class>/* and "
                f"val/<class>/*{what}"
            )
        return _open_pictures(transform, Path(folder), settings)
    if pictures:
        raise ValueError(
            f"{folder} is a folder of pictures, but {name} is trained on digits in IDX files"
        )
    for option in PICTURE_SETTINGS:
        if settings[option]:
            raise ValueError(f"--{option.replace('_', '-')} is for pictures, not for {name}")
    return _open_digits(transform, folder)


def _holds_pictures(folder: Path) -> bool:
    """Whether ``folder`` is one of pictures; ValueError if it is not one of digits either."""
    from striate.data.idx import is_idx_folder

    train, val = (folder / part for part in ("train", "val"))
    if train.is_dir() and val.is_dir():
        return True
    if not folder.is_dir() or is_idx_folder(folder):
        return False
    for here, missing in ((train, val), (val, train)):
        if here.is_dir():
            raise ValueError(f"{folder}: there is {here.name}/ in it, but no {missing.name}/")
    raise ValueError(
        f"{folder}: holds neither pictures (train/<class>/* and val/<class>/*) nor IDX files "
        "(train-images-idx3-ubyte and so on)"
    )


def _open_pictures(transform: Any, folder: Path, settings: dict[str, Any]) -> TrainingData:
    from striate._text import printable
    from striate.data.image_folder import ImageFolder
    from striate.data.statistics import for_training_set

    options = {"strict": bool(settings["strict_data"]), "num_workers": settings["workers"]}
    train = ImageFolder(folder / "train", transform, **options)
    if transform.augment == "paper" and transform.eigenvalues is None:
        transform = train.transform = for_training_set(transform, train)
    test = ImageFolder(folder / "val", transform, train.classes, **options)
    return TrainingData(
        train,
        test,
        str(folder),
        len(train.classes),
        transform.shape,
        {
            "transform": transform.describe(),
            "classes": [printable(name) for name in train.class_names],
            "class_folders": train.classes,
            "data_folder": str(folder.resolve()),
            "data_sha256": train.fingerprint(),
        },
        [f"{len(train.classes)} classes; pictures {transform}"],
        train.notes + test.notes,
    )


def _open_digits(transform: Any, folder: str | None) -> TrainingData:
    from striate.data.dataset import ArraySamples

    (train, test), source = load_digits(folder)
    classes = int(max(train.labels.max(), test.labels.max())) + 1
    return TrainingData(
        ArraySamples(train.images, train.labels, transform),
        ArraySamples(test.images, test.labels, transform),
        source,
        classes,
        transform(train.images[:1]).shape[1:],
        {
            "transform": transform.describe(),
            "classes": [str(i) for i in range(classes)],
            "data_folder": None if folder is None else str(Path(folder).resolve()),
            "data_sha256": _fingerprint(train),
        },
    )


def load_digits(folder: str | None) -> tuple[Any, str]:
    """((train, test), what it is): the IDX files of ``folder``, or the MNIST in the package."""
    from striate import data

    dataset, source = (
        (data.mnist(), "MNIST") if folder is None else (data.load_idx_folder(folder), folder)
    )
    for split, name in zip(dataset, ("training", "test")):
        if len(split.labels) == 0:
            raise ValueError(f"{source}: has no {name} images")
    return dataset, source


def open_test_pictures(
    path: Path, description: dict[str, Any], transform: Any, folder: str | None, **options: Any
) -> Any:
    """The ImageFolder to measure the model of ``path`` on: ``folder``/val, or ``folder`` itself.

    A class that the model does not know is left out with a note; ``strict`` refuses it.
    """
    from striate.checkpoint import CheckpointError
    from striate.data.image_folder import ImageFolder
    from striate.data.listing import is_image_folder

    folders = description.get("class_folders")
    names = description.get("classes", [])
    if not isinstance(folders, list) or len(folders) != len(names):
        raise CheckpointError(f"{path}: describes no folders for its {len(names)} classes")
    folder = description.get("data_folder") if folder is None else folder
    if not isinstance(folder, str):
        raise CheckpointError(f"{path}: does not say where its data are; give --data DIR")
    root = Path(folder)
    if (root / "val").is_dir():
        root = root / "val"
    elif root.is_dir() and not is_image_folder(root):
        raise ValueError(f"{root}: holds no pictures, neither in val/<class>/ nor in <class>/")
    return ImageFolder(root, transform, [str(name) for name in folders], **options)


def _fingerprint(split: Any) -> str:
    """SHA-256 of a split's images and labels: which data a checkpoint was trained on."""
    digest = hashlib.sha256(split.images.tobytes())
    digest.update(split.labels.tobytes())
    return digest.hexdigest()
