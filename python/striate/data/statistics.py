"""The mean and the principal components of a training set's colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.data.decode import read_regions
from striate.data.idx import DataError
from striate.data.image_folder import ImageFolder
from striate.data.loader import Job, prefetch
from striate.data.pipeline import ImageTransform
from striate.data.transforms import center_crop, principal_components

SAMPLES = 1000  # pictures looked at, evenly spaced in the set
_TASK = 20

Sums = tuple[int, NDArray[np.float64], NDArray[np.float64]]


def for_training_set(transform: ImageTransform, folder: ImageFolder) -> ImageTransform:
    """``transform`` with what "paper" needs of the training set; any other is returned as it is.

    The mean, to be subtracted, and the eigenvalues and eigenvectors of the covariance of the RGB
    values / 255, over the pixels that evaluation would see of 1,000 evenly spaced pictures (all, if
    there are fewer; those that cannot be read are left out). std becomes 1 / 255: as in the paper,
    inputs are pixel values 0 .. 255 less their mean, for which its N(0, 0.01) weights are meant
    (Krizhevsky et al. 2012, sections 2 and 4.1). The paper subtracts a mean picture, this the mean
    of each channel. The same for any number of workers.

    Raises DataError if no picture can be read, or with a strict folder if one cannot.
    """
    if transform.augment != "paper":
        return transform
    mean, covariance = rgb_statistics(folder, transform.resize, transform.crop)
    values, vectors = principal_components(covariance)
    red, green, blue = (tuple(row) for row in vectors.tolist())
    return dataclasses.replace(
        transform,
        mean=tuple(mean.tolist()),
        std=(1 / 255,) * 3,
        eigenvalues=tuple(values.tolist()),
        eigenvectors=(red, green, blue),
    )


def rgb_statistics(
    folder: ImageFolder, resize: int, crop: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(mean (3), covariance (3, 3)) of RGB values in 0 .. 1; see for_training_set."""
    chosen = np.unique(np.linspace(0, len(folder) - 1, SAMPLES).round().astype(np.int64))

    def jobs() -> Iterator[Job[None, Sums]]:
        for start in range(0, len(chosen), _TASK):
            paths = [folder.paths[int(i)] for i in chosen[start : start + _TASK]]
            yield Job(None, [partial(_sum, paths, resize, crop, folder.strict)])

    count, total, products = 0, np.zeros(3), np.zeros((3, 3))
    with closing(prefetch(jobs(), folder.workers, 2 * max(1, folder.workers))) as stream:
        for _, sums in stream:
            for n, first, second in sums:
                count, total, products = count + n, total + first, products + second
    if count == 0:
        raise DataError(f"{folder.root}: none of {len(chosen)} pictures can be read")
    mean = total / count
    return mean / 255, (products / count - np.outer(mean, mean)) / 255**2


def _sum(paths: list[str], resize: int, crop: int, strict: bool) -> Any:
    """(pixels, their sum, the sum of their products) over pictures; sums of integers, so exact."""
    count, total, products = 0, np.zeros(3), np.zeros((3, 3))
    for path in paths:
        try:
            (pixels,) = read_regions(path, lambda w, h: [center_crop(w, h, resize, crop)])
        except DataError:
            if strict:
                raise
            continue
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        values = pixels.reshape(-1, 3).astype(np.float64)
        count += len(values)
        total += values.sum(axis=0)
        products += values.T @ values
    return count, total, products
