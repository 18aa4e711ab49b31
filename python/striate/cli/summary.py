"""striate summary MODEL"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.cli._common import integer, model_path

if TYPE_CHECKING:
    from striate import nn


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "summary",
        help="print a model's layers, shapes and costs",
        description="Runs MODEL once on an image of zeros and prints, for each layer, the shape of "
        "its output, how many pixels of the input an output sees (its receptive field), its "
        "parameters, and its multiply-adds for one image.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="the name of a model (lenet5, lenet5_1998, alexnet, alexnet_2012), a trained "
        "model.safetensors or the folder of its run, or an .onnx file",
    )
    parser.add_argument(
        "--input", type=_shape, metavar="CxHxW", help="size of the image, such as 3x224x224"
    )
    parser.add_argument(
        "--num-classes", type=integer(1), metavar="N", help="of a model given by its name"
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="print instead the steps that striate.prepare makes of the model: which layers are "
        "fused, and by which algorithm each convolution runs",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from striate import models, nn

    model, usual = _find(args.model, args.num_classes)
    shape = args.input or usual
    if shape is None:
        raise ValueError(f"--input CxHxW is needed: {args.model} does not say how large its "
                         f"images are; known are {', '.join(models.INPUT_SHAPES)}")  # fmt: skip
    if args.plan:
        from striate.plan.prepared import plan_table, prepare

        print(plan_table(prepare(model, shape)))
    else:
        print(nn.summary(model, shape))
    return 0


def _find(text: str, num_classes: int | None) -> tuple[nn.Layer, tuple[int, ...] | None]:
    """(model, the shape of its images if it is known)."""
    from striate import models

    if text in models.MODELS:
        arguments = {} if num_classes is None else {"num_classes": num_classes}
        return models.create(text, **arguments), models.INPUT_SHAPES.get(text)
    if num_classes is not None:
        raise ValueError(f"--num-classes is for a model given by its name, got MODEL {text!r}")
    if not Path(text).exists():
        names = ", ".join(models.MODELS)
        raise ValueError(f"MODEL must be one of {names}, or a file; got {text!r}")
    if Path(text).suffix.lower() == ".onnx":
        import striate

        return striate.onnx.load(text), None
    model, description = models.load(model_path(text))
    return model, models.INPUT_SHAPES.get(description["model"])


def _shape(text: str) -> tuple[int, int, int]:
    """ "3x224x224" -> (3, 224, 224)."""
    if not re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5}){2}", text):
        raise argparse.ArgumentTypeError(f"must be CxHxW, such as 3x224x224, got {text!r}")
    c, h, w = map(int, text.split("x"))
    return c, h, w
