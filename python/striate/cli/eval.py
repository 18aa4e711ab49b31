"""striate eval CHECKPOINT"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from striate.cli._common import (
    add_device,
    add_threads,
    model_path,
    preparation,
    scores,
    use_device,
    use_threads,
)
from striate.cli._data import add_picture_options, load_digits, open_test_pictures


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "eval",
        help="measure a trained model on test images",
        description="Measures a model.safetensors or checkpoint.safetensors (or the folder of its "
        "run) on the test images of the data that it was trained on, or of --data. Of pictures, "
        "those in DIR/val/<class>/ are measured, or DIR/<class>/; classes are told by their "
        "folders' names.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument(
        "--data", metavar="DIR", help="folder of IDX files (.gz or not), or of pictures"
    )
    parser.add_argument(
        "--ten-crop",
        action="store_true",
        help="average the softmax over the corners and the middle of a picture, and the mirrored",
    )
    add_picture_options(parser)
    add_device(parser)
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from striate import models
    from striate.data.pipeline import ImageTransform
    from striate.trainer import evaluate
    from striate.trainer.epoch import Partial

    use_threads(args)
    path = model_path(args.checkpoint)
    model, description = models.load(path)
    classes, transform = preparation(path, description)
    if isinstance(transform, ImageTransform):
        samples = open_test_pictures(
            path,
            description,
            transform,
            args.data,
            strict=bool(args.strict_data),
            num_workers=args.workers,
            ten_crop=args.ten_crop,
        )
        source = f"{samples.root}{' (ten crops)' if args.ten_crop else ''}"
        for note in samples.notes:
            print(f"note: {note}", file=sys.stderr)
    else:
        if args.ten_crop:
            raise ValueError(f"--ten-crop is for pictures, and {path} is a model of digits")
        samples, source = _digits(path, classes, transform, args.data or _folder(description))
    with use_device(args) as device:
        result = evaluate(model.to(device), samples)
    print(f"{description['model']}: test {scores(result, description)}, loss {result.loss:.4f} "
          f"on {result.samples:,} images of {source}")  # fmt: skip
    unread = Partial()
    unread.skip(result.skipped)
    for line in unread.sentences("test"):
        print(line)
    return 0


def _folder(description: dict[str, Any]) -> str | None:
    """That which the model was trained on."""
    return description.get("data_folder")


def _digits(path: Path, classes: list[str], transform: Any, folder: str | None) -> tuple[Any, str]:
    """The test digits as samples, and what they are."""
    from striate.data.dataset import ArraySamples

    (_, test), source = load_digits(folder)
    if int(test.labels.max()) >= len(classes):
        raise ValueError(
            f"{source} has the label {test.labels.max()}, but {path} knows {len(classes)} classes"
        )
    return ArraySamples(test.images, test.labels, transform), source
