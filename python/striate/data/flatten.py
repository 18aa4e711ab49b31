"""Pictures of any mode upright, opaque and grey: what a digit is looked for in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from striate.data.regions import upright
from striate.data.tiles import by_tiles, is_transparent, tiles

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


def flatten(image: Picture, notes: list[str]) -> Picture:
    """The picture upright, opaque and grey, in Pillow's mode L."""
    turned = upright(image)
    if turned is not image:
        image = turned
        notes.append("turned upright, as its EXIF data say")
    if image.mode.startswith(("I", "F")):  # 16 or 32 bits a pixel: keep the range, whatever it is
        notes.append(f"reduced from {image.mode} to 8 bits")
        return _stretched(image)
    if is_transparent(image):
        # White paper, unless all that can be seen is light and would vanish on it.
        ground = _ground(image)
        if ground is not None:
            notes.append(f"laid on {ground}: it is transparent")
            return by_tiles(image, "L", lambda tile: _laid_on(ground, tile))
        return by_tiles(image, "L", lambda tile: _grey(tile.convert("RGBA")))
    return by_tiles(image, "L", _grey)


def _grey(tile: Picture) -> Picture:
    return tile.convert("RGB").convert("L")


def _laid_on(ground: str, tile: Picture) -> Picture:
    from PIL import Image

    return _grey(Image.alpha_composite(Image.new("RGBA", tile.size, ground), tile.convert("RGBA")))


def _ground(image: Picture) -> str | None:
    """On which colour to lay the picture; None where it is opaque, or nothing of it is seen."""
    lightness = np.zeros(256, np.int64)  # how many of the pixels that can be seen have which
    least = 255
    for _, tile in tiles(image):
        colours = tile.convert("RGBA")
        grey, alpha = np.asarray(colours.convert("L")), np.asarray(colours.getchannel("A"))
        lightness += np.bincount(grey[alpha > 127], minlength=256)
        least = min(least, int(alpha.min()))
    seen = lightness.sum()
    if least == 255 or not seen:
        return None
    return "black" if np.cumsum(lightness)[127] <= 0.05 * (seen - 1) else "white"


def _stretched(image: Picture) -> Picture:
    """A picture of 16 or 32 bits a pixel, its least value made 0 and its greatest 255."""
    from PIL import Image

    ends = [(float(v.min()), float(v.max())) for v in (_finite(tile) for _, tile in tiles(image))]
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    span = max(most - least, 1e-30)

    def stretch(tile: Picture) -> Picture:
        values = (_finite(tile) - least) / span * 255
        return Image.fromarray(np.rint(values).astype(np.uint8))

    return by_tiles(image, "L", stretch)


def _finite(tile: Picture) -> NDArray[np.float64]:
    return np.nan_to_num(np.asarray(tile, np.float64), posinf=0, neginf=0)
