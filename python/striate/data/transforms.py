"""The parts that image pipelines are made of: where to crop, which colour to add, how to normalise.

Sizes are (width, height) and boxes (left, upper, right, lower), as in Pillow. Crops that follow a
resize are given in the pixels of the picture before it, so that one scaling does both.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.data.decode import Pixels
from striate.data.regions import Region
from striate.functional._arguments import Array

Vector = NDArray[np.float64]

# Of ImageNet's pixels / 255; torchvision's models expect inputs normalised by them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def resized(width: int, height: int, short: int) -> tuple[int, int]:
    """(width, height) once the shorter side is ``short``, as torchvision's Resize rounds it."""
    if width <= height:
        return short, short * height // width
    return short * width // height, short


def center_crop(width: int, height: int, short: int, crop: int) -> Region:
    """The middle ``crop`` x ``crop`` of the picture resized to ``short``, as torchvision rounds."""
    new_width, new_height = resized(width, height, short)
    left, upper = round((new_width - crop) / 2), round((new_height - crop) / 2)
    return _crop_at(left, upper, width, height, short, crop)


def random_crop(
    generator: np.random.Generator, width: int, height: int, short: int, crop: int
) -> Region:
    """Any ``crop`` x ``crop`` of the picture resized to ``short``, all equally probable."""
    new_width, new_height = resized(width, height, short)
    left = int(generator.integers(new_width - crop + 1))
    upper = int(generator.integers(new_height - crop + 1))
    return _crop_at(left, upper, width, height, short, crop)


def five_crops(width: int, height: int, short: int, crop: int) -> list[Region]:
    """The four corners and the middle of the picture resized to ``short``."""
    new_width, new_height = resized(width, height, short)
    right, lower = new_width - crop, new_height - crop
    corners = [(0, 0), (right, 0), (0, lower), (right, lower)]
    regions = [_crop_at(x, y, width, height, short, crop) for x, y in corners]
    return [*regions, center_crop(width, height, short, crop)]


def _crop_at(left: int, upper: int, width: int, height: int, short: int, crop: int) -> Region:
    new_width, new_height = resized(width, height, short)
    box = (
        left * width / new_width,
        upper * height / new_height,
        (left + crop) * width / new_width,
        (upper + crop) * height / new_height,
    )
    return Region(box, (crop, crop))


def random_resized_crop(
    generator: np.random.Generator,
    width: int,
    height: int,
    crop: int,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Region:
    """A random part of the picture, scaled to ``crop`` x ``crop``.

    Its area is uniform in ``scale`` (a share of the picture's), its width / height log-uniform in
    ``ratio``. What does not fit is drawn again, up to ten times; then the largest part in the
    middle with a ratio in bounds is taken. Szegedy et al. 2015, section 6; the numbers are
    torchvision's RandomResizedCrop's.
    """
    log_ratio = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        area = width * height * generator.uniform(*scale)
        aspect = math.exp(generator.uniform(*log_ratio))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left = int(generator.integers(width - w + 1))
            upper = int(generator.integers(height - h + 1))
            return Region((left, upper, left + w, upper + h), (crop, crop))
    w, h = width, height
    if width / height < ratio[0]:
        h = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        w = max(1, round(height * ratio[1]))
    left, upper = (width - w) // 2, (height - h) // 2
    return Region((left, upper, left + w, upper + h), (crop, crop))


def principal_components(covariance: Vector) -> tuple[Vector, Vector]:
    """(eigenvalues (3), eigenvectors (3, 3), one a column) of a symmetric matrix, largest first.

    An eigenvector's largest element is positive, so that the same matrix gives the same ones.
    """
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return np.maximum(values, 0), vectors * np.where(largest < 0, -1.0, 1.0)


def colour_shift(
    generator: np.random.Generator, eigenvalues: Any, eigenvectors: Any, sigma: float = 0.1
) -> Vector:
    """What PCA colour augmentation adds to every pixel of a picture: float64 (3), RGB.

    [p1, p2, p3] [a1 l1, a2 l2, a3 l3]^T with the eigenvectors p and eigenvalues l of the covariance
    of RGB values in 0 .. 1, and a ~ N(0, sigma) drawn once a picture. Krizhevsky et al. 2012,
    section 4.1.
    """
    alpha = generator.normal(0.0, sigma, 3)
    shift: Vector = np.asarray(eigenvectors) @ (alpha * np.asarray(eigenvalues))
    return shift


def normalize_into(out: Array, pixels: Pixels, mean: Any, std: Any) -> None:
    """out (3, h, w) = (pixels / 255 - mean) / std by channel; pixels (h, w, 3), or (h, w) grey."""
    scale = 1 / (255 * np.asarray(std, np.float64))
    offset = -np.asarray(mean, np.float64) / std
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    factors = scale.astype(np.float32)[:, None, None]
    np.multiply(planes, factors, out=out, dtype=np.float32)
    np.add(out, offset.astype(np.float32)[:, None, None], out=out)
