"""striate eval CHECKPOINT"""

from __future__ import annotations

import argparse
from typing import Any

from striate.cli._common import add_threads, load_data, model_path, preparation, use_threads


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "eval",
        help="measure a trained model on test images",
        description="Measures a model.safetensors or checkpoint.safetensors (or the folder of its "
        "run) on the test images of the data that it was trained on, or of --data.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument("--data", metavar="DIR", help="folder of IDX files (.gz or not)")
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from striate import models
    from striate.data.dataset import ArraySamples
    from striate.trainer import evaluate

    use_threads(args)
    path = model_path(args.checkpoint)
    model, description = models.load(path)
    classes, transform = preparation(path, description)
    folder = args.data or description.get("data_folder")  # that which it was trained on
    (_, test), source = load_data(folder)
    if int(test.labels.max()) >= len(classes):
        raise ValueError(
            f"{source} has the label {test.labels.max()}, but {path} knows {len(classes)} classes"
        )
    samples = ArraySamples(test.images, test.labels, transform)
    result = evaluate(model, samples)
    print(f"{description['model']}: test accuracy {result.accuracy:.2%}, loss {result.loss:.4f} "
          f"on {result.samples:,} images of {source}")  # fmt: skip
    return 0
