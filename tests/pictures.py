"""Pictures and folders of pictures for tests, made on the spot."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from striate.data.decode import read_regions
from striate.data.regions import Region


def photo(name: str, width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Smooth colours, the same for the same name; noise would not survive JPEG."""
    generator = np.random.Generator(np.random.Philox(zlib.crc32(name.encode())))
    small = generator.integers(0, 256, (5, 6, 3)).astype(np.uint8)
    picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    return picture.convert(mode)


def jpeg_bytes(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", **{"quality": 95, "subsampling": 0, **options})
    return file.getvalue()


COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def make_folder(root: Path, train: int = 12, val: int = 4, side: int = 24) -> Path:
    """root/{train,val}/{blue,green,red}/*: noisy pictures that a small net can tell apart."""
    generator = np.random.Generator(np.random.Philox(7))
    for part, count in (("train", train), ("val", val)):
        for name, colour in COLOURS.items():
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                size = (side + int(generator.integers(9)), side + int(generator.integers(9)), 3)
                pixels = np.clip(generator.normal(colour, 40, size), 0, 255).astype(np.uint8)
                suffix = ("png", "JPEG", "jpg")[i % 3]
                Image.fromarray(pixels).save(folder / f"{i:02}.{suffix}")
    return root


def save(picture: Image.Image, path: Path, **options: object) -> Path:
    picture.save(path, **options)
    return path


def whole(width: int, height: int) -> list[Region]:
    return [Region((0, 0, width, height), (width, height))]


def read_rgb(path: Path) -> np.ndarray:
    """The whole picture, (h, w, 3)."""
    (pixels,) = read_regions(path, whole)
    assert pixels.dtype == np.uint8
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
