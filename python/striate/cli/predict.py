"""striate predict CHECKPOINT IMAGE..."""

from __future__ import annotations

import argparse
import json
from typing import Any

from striate.cli._common import (
    add_device,
    add_threads,
    integer,
    model_path,
    preparation,
    use_device,
    use_threads,
)


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "predict",
        help="recognise what is in pictures",
        description="Prints the most probable classes of each picture. The checkpoint knows how "
        "pictures are prepared: for digits as MNIST was (light ink on dark, 20x20, centred by "
        "mass), else resized and cropped; the output of digits says what was done.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="any picture Pillow opens")
    parser.add_argument("--top", type=integer(1), default=3, metavar="N", help="classes to print")
    parser.add_argument("--json", action="store_true", help="one JSON object a picture")
    add_device(parser)
    add_threads(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import numpy as np

    import striate.functional as F
    from striate import models
    from striate._device import to, to_host
    from striate.data.pipeline import ImageTransform

    use_threads(args)
    path = model_path(args.checkpoint)
    model, description = models.load(path)
    classes, transform = preparation(path, description)
    prepare = _prepare_picture if isinstance(transform, ImageTransform) else _prepare_digit
    with use_device(args) as device:
        model.to(device)
        for image in args.images:
            inputs, notes = prepare(image, transform)
            logits, _ = model.apply(to(inputs, device), training=False, save=False)
            probabilities = to_host(F.softmax(logits, 1))[0]
            best = np.argsort(-probabilities, kind="stable")[: args.top]
            if args.json:
                top = [{"class": classes[i], "probability": float(probabilities[i])} for i in best]
                print(json.dumps({"image": str(image), "top": top, "preparation": notes}))
            else:
                ranking = "   ".join(f"{classes[i]} {probabilities[i]:.1%}" for i in best)
                print(f"{image}: {ranking}" + (f"   ({'; '.join(notes)})" if notes else ""))
    return 0


def _prepare_digit(path: str, transform: Any) -> tuple[Any, list[str]]:
    """The network's input for the digit in a picture, and what was done to get it."""
    from striate.data.digits import open_image, prepare_digit

    try:
        digit, notes = prepare_digit(open_image(path))
    except ValueError as error:
        text = str(error)
        raise ValueError(text if str(path) in text else f"{path}: {text}") from None
    return transform(digit[None]), notes


def _prepare_picture(path: str, transform: Any) -> tuple[Any, list[str]]:
    """The network's input for a picture; its preparation needs no comment."""
    import numpy as np

    inputs = np.empty((1, *transform.shape), np.float32)
    transform.evaluate(path, inputs[0])
    return inputs, []
