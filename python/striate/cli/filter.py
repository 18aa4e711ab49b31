"""``striate filter IMAGE --kernel sharpen -o OUT.png``: one named kernel over a real picture."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_DESCRIPTION = "Apply a convolution kernel to a picture. Its border is mirrored; alpha is kept."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "filter", help="apply a named kernel to a picture", description=_DESCRIPTION
    )
    parser.add_argument("image", type=Path, nargs="?", help="any picture that Pillow opens")
    parser.add_argument(
        "--kernel",
        metavar="NAME",
        help='a name from --list, or the rows of a kernel: "[[0, -1, 0], [-1, 5, -1], [0, -1, 0]]"',
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, help="its suffix chooses the format"
    )
    parser.add_argument("--list", action="store_true", help="print the named kernels")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.list:
        _print_kernels()
        return 0
    for value, name in ((args.image, "IMAGE"), (args.kernel, "--kernel"), (args.output, "-o OUT")):
        if value is None:
            raise ValueError(f"filter: {name} is missing (--list prints the kernels)")

    from PIL import Image

    from striate._files import write_atomically
    from striate.data.decode import open_image, picture_errors
    from striate.filters import apply_filter

    kernel = _find_kernel(args.kernel)
    source = open_image(args.image)
    with picture_errors(args.image):
        picture = _to_8_bits_a_channel(source, args.image)
    filtered = Image.fromarray(apply_filter(np.asarray(picture), kernel))
    # A colour profile describes the pixels as long as their mode is the same.
    profile = source.info.get("icc_profile") if source.mode == picture.mode else None
    kind = Image.registered_extensions().get(args.output.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{args.output}: the suffix {args.output.suffix!r} names no picture format"
        )
    encoded = io.BytesIO()  # whole, before the file is touched
    try:
        filtered.save(encoded, format=kind, **({"icc_profile": profile} if profile else {}))
    except (ValueError, OSError) as error:
        raise ValueError(f"{args.output}: the picture cannot be written ({error})") from error
    write_atomically(args.output, encoded.getvalue())
    print(f"{args.output}: {picture.width}x{picture.height} {picture.mode}, {args.kernel}")
    return 0


def _print_kernels() -> None:
    from striate.filters import KERNELS

    for name, kernel in KERNELS.items():
        print(name)
        for row in kernel:
            print("   ", " ".join(f"{value:9.4g}" for value in row))


def _find_kernel(text: str) -> NDArray[np.float32]:
    """A named kernel, or the one that `text` spells as JSON rows."""
    from striate.filters import KERNELS

    if text in KERNELS:
        return KERNELS[text]
    if not text.lstrip().startswith("["):
        names = ", ".join(KERNELS)
        raise ValueError(f"--kernel: there is no kernel {text!r}; there are {names}")
    try:
        with np.errstate(over="ignore"):  # what is infinite in float32 is refused further on
            kernel = np.array(json.loads(text), np.float32)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"--kernel: expected rows of numbers of one length, got {text}") from None
    if kernel.ndim != 2:
        raise ValueError(f"--kernel: expected rows of numbers, got {text}")
    return kernel


def _to_8_bits_a_channel(image: Picture, path: Path) -> Picture:
    """The picture upright, in one of the modes L, LA, RGB, RGBA."""
    from striate.data.idx import DataError
    from striate.data.regions import upright

    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{path}: the picture has mode {image.mode}, more than 8 bits a channel; "
            "convert it to 8 bits first"
        )
    image = upright(image)
    transparent = "transparency" in image.info or image.mode in ("PA", "RGBa")
    if image.mode in ("1", "L"):
        return image.convert("LA" if transparent else "L")
    if image.mode in ("LA", "RGBA"):
        return image
    return image.convert("RGBA" if transparent else "RGB")  # palettes, CMYK, YCbCr, Lab, HSV
