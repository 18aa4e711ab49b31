"""Pictures decoded by Pillow: of any mode to RGB, only what is wanted, at the size it is wanted.

Whatever is wrong with a file is one DataError with its path; no warning of Pillow's gets out.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from striate.data.idx import DataError, DataNotFoundError, open_file
from striate.data.regions import Region, to_stored, turn_of
from striate.data.tiles import opaque

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Pixels = NDArray[np.uint8]

# What a data set's files may be. Other formats of Pillow's are left alone: some run programs (EPS).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "PPM", "TIFF", "JPEG2000", "AVIF")
# A large picture is averaged over whole blocks first, down to this many times the wanted size.
_REDUCING_GAP = 2.0
_LARGE = 1 << 24  # pixels
# What the machine is short of: a good picture is not to be left out for that.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


Choose = Callable[[int, int], Sequence[Region]]  # from the upright picture's width and height


def read_regions(path: str | os.PathLike[str], choose: Choose) -> list[Pixels]:
    """The regions that ``choose(width, height)`` names of the picture in a file, decoded once.

    Each is uint8 (h, w, 3) RGB, or (h, w) if the picture is grey; scaling is Pillow's bilinear
    filter over all pixels that a result covers (antialiased). A JPEG is decoded at 1/2, 1/4 or 1/8
    of its size where no region needs more. The picture is turned upright as its EXIF data say, a
    transparent one is laid on white, and of 16 bits the upper 8 are kept.

    Raises DataError, with the path, if the file is not a picture, is truncated or corrupt, or has
    more pixels than Pillow holds to be safe; DataNotFoundError if it is missing.
    """
    from PIL import Image

    with (
        picture_errors(path),
        open_file(path) as file,
        Image.open(file, formats=_formats()) as image,
    ):
        _refuse_bomb(path, image)
        if image.format == "TIFF":  # Pillow turns these upright as it decodes them
            image.load()
        turn = turn_of(image)
        width, height = image.size
        upright = (height, width) if turn is not None and turn.swaps else (width, height)
        regions = [to_stored(region, width, height, turn) for region in choose(*upright)]
        scale = _draft(image, regions)
        large = image.width * image.height > _LARGE
        with _alone.lock if large else contextlib.nullcontext():
            solid = opaque(image)
            parts = [_part(solid, region, scale) for region in regions]
            del solid
        if turn is not None:
            parts = [part.transpose(Image.Transpose(turn.method)) for part in parts]
        return [np.asarray(part) for part in parts]


def _part(picture: Picture, region: Region, scale: float) -> Picture:
    """The region of a picture that was decoded ``scale`` times smaller."""
    from PIL import Image

    left, upper, right, lower = (edge / scale for edge in region.box)
    inside = (max(0, left), max(0, upper), min(picture.width, right), min(picture.height, lower))
    return picture.resize(region.size, Image.Resampling.BILINEAR, inside, _REDUCING_GAP)


class _Alone:
    """The lock under which large pictures are decoded, one after another: each may take a gigabyte,
    and there may be many workers. A forked child begins with a new one.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.Lock()


_alone = _Alone()


def open_image(path: str | os.PathLike[str]) -> Picture:
    """The picture in a file, decoded whole and as it is stored, in any format that Pillow reads
    without the help of another program.

    Raises DataError as read_regions does.
    """
    from PIL import Image

    with picture_errors(path), open_file(path) as file:
        image = Image.open(file, formats=_own_formats())
        with image:
            _refuse_bomb(path, image)
            image.load()
        return image


@contextlib.contextmanager
def picture_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever opening and decoding the picture at ``path`` raises becomes a DataError."""
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    try:
        with _without_warnings:
            yield
    except DataError:
        raise
    except MemoryError as error:
        what = str(error) or "there is not enough to decode it"
        raise MemoryError(f"{path}: {what}") from None
    except FileNotFoundError:
        raise DataNotFoundError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a folder, expected a picture") from None
    except UnidentifiedImageError:
        empty = path.is_file() and path.stat().st_size == 0
        why = ": the file is empty" if empty else " in a format that Pillow reads"
        raise DataError(f"{path}: not a picture{why}") from None
    except Image.DecompressionBombError:
        raise DataError(_too_large(path)) from None
    except Exception as error:  # the decoders raise anything: SyntaxError, struct.error, EOFError
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            raise OSError(f"{path}: cannot be read ({error.strerror})") from None
        what = (error.strerror if isinstance(error, OSError) else None) or str(error)
        what = what or type(error).__name__
        raise DataError(f"{path}: the picture cannot be read ({what})") from error


class _WithoutWarnings:
    """While any thread is inside, what Pillow warns of is ignored.

    ``warnings.catch_warnings`` is not for threads: the last one to leave would restore what another
    had changed. This adds one filter for all, and the last one to leave takes away just that.
    """

    _MODULE = r"PIL\.(?#striate)"  # equal to no one else's filter

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filter: Any = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a forked child: the threads inside, and who held the lock, have stayed behind."""
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 0
            self._remove()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            # A catch_warnings that was left meanwhile may have taken the filter with it.
            if self._inside == 1 or self._filter not in warnings.filters:
                warnings.filterwarnings("ignore", module=self._MODULE)
                self._filter = warnings.filters[0]

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(ValueError):
            warnings.filters.remove(self._filter)  # type: ignore[attr-defined]


_without_warnings = _WithoutWarnings()


def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _own_formats() -> tuple[str, ...]:
    """All but EPS, for which Pillow runs Ghostscript on the file's program, and IPTC.

    An IPTC file holds a picture that Pillow opens in any format, EPS included. Asked anew each
    time: a program may register a format at any moment.
    """
    from PIL import Image

    Image.init()
    return tuple(name for name in Image.OPEN if name not in ("EPS", "IPTC"))


def _refuse_bomb(path: str | os.PathLike[str], image: Picture) -> None:
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise DataError(_too_large(path))


def _too_large(path: str | os.PathLike[str]) -> str:
    from PIL import Image

    limit = f"{Image.MAX_IMAGE_PIXELS:,}"
    return f"{path}: the picture is too large, expected at most {limit} pixels"


def _draft(image: Picture, regions: Sequence[Region]) -> float:
    """Has a JPEG decoded smaller if it can be; returns how many times smaller it becomes."""
    width, height = image.size
    across = max(size[0] / (box[2] - box[0]) for box, size in regions)
    down = max(size[1] / (box[3] - box[1]) for box, size in regions)
    drafted = image.draft(None, (math.ceil(width * across), math.ceil(height * down)))
    return 1.0 if drafted is None else width / drafted[1][2]
