"""From any picture of a digit to what LeNet was trained on.

MNIST's digits are white on black, fitted into 20x20 pixels with their aspect ratio kept, and
placed by their centre of mass in the middle of 28x28. A picture off a phone is none of that: it is
large, turned, unevenly lit, dark on light. ``prepare_digit`` does to it what NIST's forms went
through, and says what it did.

Source: LeCun, Bottou, Bengio, Haffner, 1998, section III.A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from striate.data.decode import open_image
from striate.data.flatten import flatten
from striate.data.idx import DataError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["open_image", "prepare_digit"]

Floats = NDArray[np.float32]

SIDE, BOX = 28, 20  # of an MNIST image, and of the ink in it
_WORK = 512  # longest side, in pixels, at which a picture is looked at
_COARSE = 96  # longest side for what needs no detail: the background, connected components
_DIM = 16  # grey levels that even black is taken to have
_MIN_CONTRAST = 0.06  # ink that darkens the paper by less is not seen
_MIN_STROKE = 1.3  # in MNIST pixels; there, strokes measure 1.4 (1st percentile) to 4.6 (99th)


def prepare_digit(image: Picture | NDArray[np.uint8]) -> tuple[NDArray[np.uint8], list[str]]:
    """The digit in a picture as an MNIST image, and what was done to get it.

    image: a Pillow image of any mode, or a uint8 array (H, W) grey, (H, W, 3) or (H, W, 4).
    Returns a uint8 array (28, 28), white on black, and a list of short phrases in the order of
    the work ("inverted: dark digit on a light background", "scaled the ink box 120x200 into
    20x20", "centred by mass"). A 28x28 image on a black frame is returned unchanged.
    Raises DataError if there is no ink: the picture is blank, or its contrast is lost in noise;
    TypeError if ``image`` is neither kind.
    """
    notes: list[str] = []
    try:
        picture = flatten(_as_picture(image), notes)
    except (TypeError, DataError, MemoryError):
        raise
    except Exception as error:  # a palette, a profile: Pillow looks when it is wanted
        raise DataError(f"the picture cannot be converted ({error})") from error
    if picture.size == (SIDE, SIDE):
        pixels = np.asarray(picture)
        if np.median(_frame(pixels, 1)) == 0 and pixels.any():
            return pixels.copy(), [*notes, "kept as it is: 28x28, light on black"]

    zoom = max(1.0, max(picture.size) / _WORK)
    picture = _shrink(picture, _WORK)
    ink = _extract_ink(picture, notes)
    ink = _keep_digit(ink, notes)
    return _fit(ink, zoom, notes), notes


def _as_picture(image: Picture | NDArray[np.uint8]) -> Picture:
    from PIL import Image

    if isinstance(image, Image.Image):
        return image
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"image is {kind}, expected a Pillow image or a uint8 array")
    if 0 in image.shape or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
        raise DataError(f"image has shape {image.shape}, expected (H, W), (H, W, 3) or (H, W, 4)")
    return Image.fromarray(np.ascontiguousarray(image))


def _frame(pixels: NDArray[Any], width: int) -> NDArray[Any]:
    """The pixels within ``width`` of the edge, flattened."""
    inside = np.zeros(pixels.shape, bool)
    inside[width:-width, width:-width] = True
    return pixels[~inside]


def _shrink(picture: Picture, longest: int) -> Picture:
    """The picture, its longest side at most ``longest``; each pixel the mean of those it covers."""
    from PIL import Image

    scale = longest / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(n * scale)) for n in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)


def _extract_ink(picture: Picture, notes: list[str]) -> Floats:
    """How much ink each pixel holds, float32 (H, W) in 0..1; shading and noise are taken out."""
    from PIL import Image, ImageFilter

    if max(picture.size) > 4 * SIDE:
        picture = picture.filter(ImageFilter.MedianFilter(3))
    # Light multiplies, so divide by it; _DIM keeps the noise of black from being blown up.
    pixels = np.asarray(picture, np.float32)
    light = _light(pixels)
    flat = (pixels + _DIM) / (light + _DIM)
    # The sign of the summed cubes says on which side of the light the ink lies, however little
    # ink there is.
    dark = np.sum((pixels - light) ** 3, dtype=np.float64) <= 0
    if dark:
        notes.append("inverted: dark digit on a light background")

    # Shadows that are not so smooth: a closing (the lightest pixel around, then the darkest of
    # those; for light ink the reverse) over a window wider than any stroke follows them, but not
    # the strokes. Many small windows make a large one.
    small = _shrink(Image.fromarray(flat), _COARSE)
    reach = max(1, max(small.size) // 6)
    filters = [ImageFilter.MaxFilter(3)] * reach + [ImageFilter.MinFilter(3)] * reach
    for step in filters if dark else reversed(filters):
        small = small.filter(step)
    paper = np.asarray(small.resize(picture.size, Image.Resampling.BILINEAR))
    ink = (1 - flat / paper) * (1 if dark else -1)

    # The frame is paper: its median and spread say what noise can look like.
    frame = _frame(ink, _band(ink))
    middle = np.median(frame)
    noise = 5 * 1.48 * np.median(np.abs(frame - middle))
    seen = ink[ink > middle + max(noise, _MIN_CONTRAST)]
    if not seen.size:
        raise DataError("there is no digit to see: the picture is blank, or its contrast too low")
    full = np.percentile(seen, 90) - middle
    low, high = max(noise, 0.2 * full), max(noise + 0.01, 0.8 * full)
    return np.asarray(np.clip((ink - middle - low) / (high - low), 0, 1), np.float32)


def _light(pixels: Floats) -> Floats:
    """The shade of bare paper everywhere: a quadratic surface through the picture's frame."""
    height, width = pixels.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = [np.ones_like(x), x, y, x * x, x * y, y * y]
    frame = _frame(pixels, _band(pixels))
    design = np.stack([_frame(term, _band(pixels)) for term in terms], axis=1)
    weights = np.linalg.lstsq(design, frame, rcond=None)[0]
    surface = sum(weight * term for weight, term in zip(weights, terms))
    return np.asarray(np.clip(surface, frame.min(), frame.max()), np.float32)


def _band(pixels: NDArray[Any]) -> int:
    """How wide a frame of the picture is looked at."""
    return max(1, int(min(pixels.shape)) // 16)


def _keep_digit(ink: Floats, notes: list[str]) -> Floats:
    """The ink without specks, and without what runs in from the frame beside a whole digit."""
    step = -(-max(ink.shape) // _COARSE)
    padded = np.pad(ink > 0.5, [(0, -n % step) for n in ink.shape])
    rows, columns = (n // step for n in padded.shape)
    cells = padded.reshape(rows, step, columns, step).sum(axis=(1, 3))
    labels = _connected(cells > 0)
    area = np.bincount(labels.ravel(), weights=cells.ravel())
    area[0] = 0
    whole = area.copy()
    whole[_frame(labels, 1)] = 0
    if whole.max() > 0.2 * area.max():
        area = whole
    if area.max() < max(3, 2e-4 * ink.size):
        raise DataError("there is no digit to see: the picture is blank but for specks")
    kept = area >= 0.04 * area.max()
    dropped = np.count_nonzero(np.bincount(labels.ravel())[1:]) - np.count_nonzero(kept)
    if dropped:
        notes.append(f"ignored {dropped} mark{'s' if dropped > 1 else ''} beside it")
    # One cell more on each side keeps the soft edges of the strokes.
    near = _neighbourhood_max(np.where(kept[labels], 1, 0)) > 0
    spread = near.repeat(step, axis=0).repeat(step, axis=1)
    return np.where(spread[: ink.shape[0], : ink.shape[1]], ink, np.float32(0))


def _neighbourhood_max(cells: NDArray[np.intp]) -> NDArray[np.intp]:
    """The maximum over each 3x3 neighbourhood."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(cells, 1), (3, 3))
    return np.asarray(windows.max(axis=(2, 3)))


def _connected(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Connected components (by edges or corners) of a small mask: 0 outside, inside 1, 2, ..."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:  # the largest label floods its component
        grown = np.where(mask, _neighbourhood_max(labels), 0)
        if np.array_equal(grown, labels):
            return np.asarray(np.searchsorted(np.unique(labels[mask]), labels) + mask)
        labels = grown


def _fit(ink: Floats, zoom: float, notes: list[str]) -> NDArray[np.uint8]:
    """The ink's bounding box scaled into 20x20 and centred by mass in 28x28."""
    from PIL import Image

    solid = ink > 0.3
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = box.shape
    scale = BOX / max(height, width)

    picture = _thicken(box, notes)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    digit = np.asarray(picture.resize(size, Image.Resampling.BILINEAR), np.float64)
    digit = np.clip(digit / digit.max(), 0, 1)
    notes.append(
        f"scaled the ink box {round(width * zoom)}x{round(height * zoom)} into {BOX}x{BOX}"
    )

    canvas = np.zeros((SIDE, SIDE), np.uint8)
    mass = digit.sum()
    top = _offset((digit.sum(axis=1) @ np.arange(size[1])) / mass, size[1])
    left = _offset((digit.sum(axis=0) @ np.arange(size[0])) / mass, size[0])
    canvas[top : top + size[1], left : left + size[0]] = np.rint(digit * 255)
    notes.append("centred by mass")
    return canvas


def _thicken(box: Floats, notes: list[str]) -> Picture:
    """The cropped ink as a Pillow image of mode F, its strokes no thinner than MNIST has them.

    A pen drawn over a whole page is a hair at 20x20, which LeNet never saw.
    """
    from PIL import Image, ImageFilter

    solid = np.pad(box > 0.5, 1)
    outline = sum(np.count_nonzero(np.diff(solid, axis=k)) for k in (0, 1)) * np.pi / 4
    stroke = 2 * np.count_nonzero(solid) / outline * BOX / max(box.shape)
    picture = Image.fromarray(box)
    if stroke >= _MIN_STROKE:
        return picture
    notes.append("thickened its thin strokes")
    picture = _shrink(picture, 4 * BOX)
    missing = (_MIN_STROKE + 0.5 - stroke) * max(picture.size) / BOX
    return picture.filter(ImageFilter.MaxFilter(2 * round(missing / 2) + 1))


def _offset(centre: float, length: int) -> int:
    """Where to start so that ``centre`` falls on pixel 14, as in MNIST, inside the canvas."""
    return min(max(round(SIDE / 2 - centre), 0), SIDE - length)
