"""ImageTransform: from a picture's file to a network's input; a checkpoint carries it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from striate.data import transforms
from striate.data.decode import read_regions
from striate.data.regions import Region
from striate.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from striate.functional._arguments import Array

AUGMENTS = ("paper", "random-resized-crop", "crop", "none")
KIND = "images"  # as a checkpoint's description calls it
_MOST = 4096  # pixels a side

Triple = tuple[float, float, float]
Path = str | os.PathLike[str]


@dataclass(frozen=True)
class ImageTransform:
    """Pictures to float32 (3, crop, crop): (pixel / 255 - mean) / std, RGB.

    For evaluation the short side is resized to ``resize`` and the middle taken. For training,
    ``augment`` is one of

    * "paper": resized likewise, a random crop, mirrored or not, and PCA colour augmentation with
      the ``eigenvalues`` and ``eigenvectors`` (one a column) of the covariance of the training
      set's RGB values in 0 .. 1 (Krizhevsky et al. 2012, section 4.1);
    * "random-resized-crop": a random part, mirrored or not (transforms.random_resized_crop; a
      pixel at its edge is blended with its neighbours outside, as torchvision's is not);
    * "crop": resized, a random crop, mirrored or not;
    * "none": as for evaluation.

    ``striate.data.statistics.for_training_set`` completes "paper" with what it needs of the
    training set. Raises ValueError or TypeError for a value that is out of its range.
    """

    augment: str = "random-resized-crop"
    resize: int = 256
    crop: int = 224
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    eigenvalues: Triple | None = None
    eigenvectors: tuple[Triple, Triple, Triple] | None = None

    def __post_init__(self) -> None:
        if self.augment not in AUGMENTS:
            raise ValueError(
                f"ImageTransform: augment must be one of {', '.join(AUGMENTS)}, got "
                f"{self.augment!r}"
            )
        for name in ("resize", "crop"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
                raise ValueError(f"ImageTransform: {name} must be in 1 .. {_MOST}, got {value!r}")
        if self.crop > self.resize:
            raise ValueError(
                f"ImageTransform: crop must be at most resize={self.resize}, got {self.crop}"
            )
        object.__setattr__(self, "mean", _triple(self.mean, "mean"))
        object.__setattr__(self, "std", _triple(self.std, "std", above=0))
        if self.augment == "paper" and self.eigenvalues is not None:
            values = _triple(self.eigenvalues, "eigenvalues", least=0)
            vectors = self.eigenvectors
            if not isinstance(vectors, (list, tuple)) or len(vectors) != 3:
                raise ValueError(
                    f"ImageTransform: eigenvectors must be 3 rows of 3 numbers, got {vectors!r}"
                )
            rows = tuple(_triple(row, "eigenvectors") for row in vectors)
            object.__setattr__(self, "eigenvalues", values)
            object.__setattr__(self, "eigenvectors", rows)
        elif self.eigenvalues is not None or self.eigenvectors is not None:
            raise ValueError(
                "ImageTransform: eigenvalues and eigenvectors come together, with augment='paper'"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of what it makes of a picture."""
        return 3, self.crop, self.crop

    def evaluate(self, path: Path, out: Array) -> None:
        """Writes the middle of the picture at ``path`` to ``out``. Raises DataError."""
        (pixels,) = read_regions(path, lambda w, h: [self._center(w, h)])
        transforms.normalize_into(out, pixels, self.mean, self.std)

    def ten_crops(self, path: Path, out: Array) -> None:
        """Writes the corners, the middle, and the five mirrored to ``out`` (10, 3, crop, crop).

        Krizhevsky et al. 2012, section 4.1. Raises DataError.
        """
        five = read_regions(path, lambda w, h: transforms.five_crops(w, h, self.resize, self.crop))
        for k, pixels in enumerate(five):
            transforms.normalize_into(out[k], pixels, self.mean, self.std)
        out[5:] = out[:5, :, :, ::-1]

    def augmented(self, path: Path, out: Array, generator: np.random.Generator) -> None:
        """Writes the picture at ``path`` to ``out`` as ``generator`` has it. Raises DataError."""
        if self.augment == "none":
            return self.evaluate(path, out)
        mirror, shift = generator.random() < 0.5, np.zeros(3)
        if self.augment == "paper":
            if self.eigenvalues is None:
                raise ValueError(
                    "ImageTransform: augment='paper' lacks eigenvalues; see striate.data.statistics"
                )
            shift = transforms.colour_shift(generator, self.eigenvalues, self.eigenvectors)
        (pixels,) = read_regions(path, lambda w, h: [self._random(w, h, generator)])
        if mirror:
            pixels = pixels[:, ::-1]
        transforms.normalize_into(out, pixels, np.asarray(self.mean) - shift, self.std)

    def _center(self, width: int, height: int) -> Region:
        return transforms.center_crop(width, height, self.resize, self.crop)

    def _random(self, width: int, height: int, generator: np.random.Generator) -> Region:
        if self.augment == "random-resized-crop":
            return transforms.random_resized_crop(generator, width, height, self.crop)
        return transforms.random_crop(generator, width, height, self.resize, self.crop)

    def describe(self) -> dict[str, Any]:
        """JSON-able; ``ImageTransform.from_description(description)`` is equal to this."""
        return {"kind": KIND} | {k: v for k, v in asdict(self).items() if v is not None}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> ImageTransform:
        """What ``describe`` described; ValueError or TypeError if that is not what it says."""
        values = dict(description)
        if values.pop("kind", None) != KIND:
            raise ValueError(f"ImageTransform: kind must be {KIND!r}")
        return cls(**values)

    def __str__(self) -> str:
        how = {
            "paper": "random crop, mirror, PCA colour",
            "random-resized-crop": "random resized crop, mirror",
            "crop": "random crop, mirror",
            "none": "middle",
        }[self.augment]
        return f"{self.crop}x{self.crop} from {self.resize} ({how})"


def _triple(value: Any, name: str, above: float = -1e9, least: float = -1e9) -> Triple:
    """``value`` as three finite floats, each above ``above`` and at least ``least``."""
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise ValueError(f"ImageTransform: {name} must be three numbers, got {value!r}")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise TypeError(f"ImageTransform: {name} must be three numbers, got {value!r}")
        if not (above < number <= 1e9 and least <= number):
            raise ValueError(f"ImageTransform: {name} is out of range: {value!r}")
    return float(value[0]), float(value[1]), float(value[2])
