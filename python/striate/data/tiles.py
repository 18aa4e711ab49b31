"""Pictures turned into another mode tile by tile, so that a large one is held twice and not more.

Converted whole, 89 million pixels (the most that Pillow opens) with an alpha channel take 1.1 GB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_PIXELS = 1 << 20  # of a tile


def tiles(image: Picture) -> Iterator[tuple[tuple[int, int], Picture]]:
    """((left, upper), a part of the picture), which together are all of it; the modes agree."""
    width, height = image.size
    if width * height <= _PIXELS:
        yield (0, 0), image
        return
    across = min(width, _PIXELS)
    down = _PIXELS // across
    for upper in range(0, height, down):
        for left in range(0, width, across):
            box = left, upper, min(left + across, width), min(upper + down, height)
            yield (left, upper), image.crop(box)


def by_tiles(image: Picture, mode: str, convert: Callable[[Picture], Picture]) -> Picture:
    """The picture in ``mode``, which ``convert`` makes of any part of it."""
    from PIL import Image

    if image.width * image.height <= _PIXELS:
        return convert(image)
    result = Image.new(mode, image.size)
    for corner, tile in tiles(image):
        result.paste(convert(tile), corner)
    return result


def is_transparent(image: Picture) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def opaque(image: Picture) -> Picture:
    """The picture in mode RGB, or L where it is grey; a transparent one is laid on white."""
    if image.mode.startswith("I"):  # a PNG of 16 bits; older Pillows open it as "I"
        return by_tiles(image, "L", _upper_8_bits)
    if is_transparent(image):
        return by_tiles(image, "RGB", _on_white)
    if image.mode in ("L", "RGB"):
        return image
    mode = "L" if image.mode == "1" else "RGB"
    return by_tiles(image, mode, lambda tile: tile.convert(mode))


def _upper_8_bits(tile: Picture) -> Picture:
    from PIL import Image

    values = np.clip(np.asarray(tile), 0, 0xFFFF) >> 8
    return Image.fromarray(values.astype(np.uint8))


def _on_white(tile: Picture) -> Picture:
    from PIL import Image

    colours = tile.convert("RGBA")
    white = Image.new("RGB", tile.size, "white")
    white.paste(colours, mask=colours.getchannel("A"))
    return white
