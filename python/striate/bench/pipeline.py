"""The work ``pipeline``: decode a JPEG, cut a random part out of it, mirror, normalise.

Both ways make the same picture of the same file: the box and the mirroring are drawn alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from striate.bench.work import Peer, Work

PICTURES = 64  # that one repetition reads
_SIZE = (500, 375)  # ImageNet's most frequent one
_CROP = 224


def make_pictures(folder: Path) -> Path:
    """Photograph-like JPEGs in folder/a, about as large in bytes as ImageNet's; returns folder."""
    from PIL import Image

    (folder / "a").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for i in range(PICTURES):
        layers = np.zeros((_SIZE[1], _SIZE[0], 3))
        for side in (4, 16, 64, 256):  # as in photographs, the finer the fainter
            noise = generator.integers(0, 256, (side, side, 3)).astype(np.uint8)
            layers += np.asarray(Image.fromarray(noise).resize(_SIZE), np.float64) / side**0.5
        layers -= layers.min()
        picture = Image.fromarray((layers * 255 / layers.max()).astype(np.uint8))
        picture.save(folder / "a" / f"{i:02}.jpeg", quality=90)
    return folder


def pipeline_striate(folder: str) -> Work:
    """Striate's pipeline with one worker."""
    from striate.data import ImageFolder, ImageTransform
    from striate.data.dataset import Draw, batches

    samples = ImageFolder(folder, ImageTransform(crop=_CROP), num_workers=1)
    indices = _chosen(len(samples))

    def step() -> Any:
        (batch,) = batches(samples, [indices], Draw(0, 1))
        if batch.skipped:
            raise RuntimeError(batch.skipped[0])
        return batch.inputs

    return Work(step)


def pipeline_pillow(folder: str) -> Work:
    """The same by a plain loop over Pillow and NumPy."""
    from PIL import Image

    from striate.data import ImageFolder, ImageTransform
    from striate.data.dataset import Draw
    from striate.data.transforms import IMAGENET_MEAN, IMAGENET_STD, random_resized_crop

    samples = ImageFolder(folder, ImageTransform(crop=_CROP))
    indices = _chosen(len(samples))
    mean, std = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_STD, np.float32)

    def step() -> Any:
        out = np.empty((len(indices), 3, _CROP, _CROP), np.float32)
        for row, index in enumerate(indices):
            generator = Draw(0, 1).generator(int(index))
            with Image.open(samples.paths[int(index)]) as image:
                picture = image.convert("RGB")
            mirror = generator.random() < 0.5
            box = random_resized_crop(generator, picture.width, picture.height, _CROP).box
            picture = picture.resize((_CROP, _CROP), Image.Resampling.BILINEAR, box)
            if mirror:
                picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            x = np.asarray(picture, np.float32) / 255
            x = (x - mean) / std
            out[row] = x.transpose(2, 0, 1)
        return out

    return Work(step)


def _chosen(count: int) -> Any:
    """Evenly spaced ones of ``count`` pictures."""
    return np.linspace(0, count - 1, PICTURES).round().astype(np.int64)


PIPELINE = {"striate": Peer(pipeline_striate), "PIL": Peer(pipeline_pillow)}
