"""Parts of pictures, and where those are stored: a picture may lie turned, as its EXIF say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Box = tuple[float, float, float, float]

_ORIENTATION = 0x0112


class Region(NamedTuple):
    """A part of a picture: ``box`` (left, upper, right, lower), in pixels of the upright picture,
    scaled to ``size`` (width, height).
    """

    box: Box
    size: tuple[int, int]


class Turn(NamedTuple):
    """How a stored picture is made upright, and where an upright point (x, y) is stored."""

    method: int  # one of PIL.Image.Transpose
    swaps: bool  # width and height
    stored: Callable[[float, float, int, int], tuple[float, float]]  # x, y, stored width, height


# By EXIF orientation; the methods are those of PIL.ImageOps.exif_transpose.
_TURNS = {
    2: Turn(0, False, lambda x, y, w, h: (w - x, y)),  # FLIP_LEFT_RIGHT
    3: Turn(3, False, lambda x, y, w, h: (w - x, h - y)),  # ROTATE_180
    4: Turn(1, False, lambda x, y, w, h: (x, h - y)),  # FLIP_TOP_BOTTOM
    5: Turn(5, True, lambda x, y, w, h: (y, x)),  # TRANSPOSE
    6: Turn(4, True, lambda x, y, w, h: (y, h - x)),  # ROTATE_270
    7: Turn(6, True, lambda x, y, w, h: (w - y, h - x)),  # TRANSVERSE
    8: Turn(2, True, lambda x, y, w, h: (w - y, x)),  # ROTATE_90
}


def turn_of(image: Picture) -> Turn | None:
    """How the picture is made upright; None where it is, or nobody knows."""
    try:
        return _TURNS.get(int(image.getexif().get(_ORIENTATION, 1)))
    except MemoryError:
        raise
    except Exception:  # corrupt EXIF data do not make a picture unreadable
        return None


def upright(image: Picture) -> Picture:
    """The picture turned upright; itself where it is."""
    from PIL import Image

    turn = turn_of(image)
    return image if turn is None else image.transpose(Image.Transpose(turn.method))


def to_stored(region: Region, width: int, height: int, turn: Turn | None) -> Region:
    """The region in the stored picture's pixels; scaling before turning turns less."""
    if turn is None:
        return region
    left, upper, right, lower = region.box
    x0, y0 = turn.stored(left, upper, width, height)
    x1, y1 = turn.stored(right, lower, width, height)
    size = region.size[::-1] if turn.swaps else region.size
    return Region((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), size)
