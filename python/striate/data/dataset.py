"""What the trainer reads: samples, handed out as a batch for an array of indices.

``batches`` is how training and evaluation get them. Samples that have a ``batches`` method of
their own (pictures, which are decoded ahead) are asked for many batches at once; all others are
indexed, one batch at a time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from striate import _device
from striate.functional._arguments import Array, finite

Indices = npt.NDArray[np.int64]


class Samples(Protocol):
    """``len(samples)`` of them; ``samples[indices]`` is (float32 inputs (n, ...), labels (n,))."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Indices) -> tuple[Array, npt.NDArray[Any]]: ...


class Draw(NamedTuple):
    """Which augmentation: that of an epoch (1, 2, ...) of the run with a seed."""

    seed: int
    epoch: int

    def generator(self, index: int) -> np.random.Generator:
        """Random numbers for sample ``index``, which depend on nothing else, and on no order."""
        key = np.array([self.seed, self.epoch], np.uint64)
        # The last word keeps them apart from ``permutation``, whose counter begins at zero.
        counter = np.array([0, index, 0, 1], np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))


class Batch(NamedTuple):
    """``inputs`` float32 (n, ...), ``labels`` (n,), and a sentence for each sample left out."""

    inputs: Array
    labels: npt.NDArray[Any]
    skipped: Sequence[str] = ()


def batches(
    samples: Samples, todo: Sequence[Indices], draw: Draw | None = None
) -> Generator[Batch, None, None]:
    """The batches of ``samples`` whose indices ``todo`` lists, in order.

    With ``draw`` they are augmented for training, without it they are as evaluation sees them.
    Close the iterator when it is left early: samples may have threads at work for it.
    """
    ahead = getattr(samples, "batches", None)
    if ahead is not None:
        yield from ahead(todo, draw)
        return
    for indices in todo:
        yield Batch(*samples[indices])


def sample_bytes(samples: Samples) -> int:
    """How large the input made of one sample is; a sample is read if it has no ``input_shape``."""
    shape = getattr(samples, "input_shape", None)
    return int(samples[np.arange(1)][0].nbytes if shape is None else 4 * math.prod(shape))


class ArraySamples:
    """Images and labels in memory; ``transform`` turns a batch of images into float32 inputs."""

    def __init__(
        self,
        images: npt.NDArray[Any],
        labels: npt.NDArray[Any],
        transform: Callable[[npt.NDArray[Any]], Array] | None = None,
    ) -> None:
        images, labels = np.asarray(images), np.asarray(labels)
        if labels.ndim < 1 or len(images) != len(labels):
            raise ValueError(
                f"ArraySamples: images and labels must be equally many, got images "
                f"{images.shape}, labels {labels.shape}"
            )
        self.images, self.labels, self.transform = images, labels, transform

    def to(self, device: Any) -> ArraySamples:
        """The same samples with images and labels on ``device``: no batch has to go up to a GPU."""
        place = _device.parse(device, "ArraySamples.to")
        moved = ArraySamples.__new__(ArraySamples)
        moved.images, moved.labels = (_device.to(a, place) for a in (self.images, self.labels))
        moved.transform = self.transform
        return moved

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Indices) -> tuple[Array, npt.NDArray[Any]]:
        if _device.is_cuda(self.images):
            indices = _device.namespace(self.images).asarray(indices)
        images = self.images[indices]
        if self.transform is not None:
            images = self.transform(images)
        return images, self.labels[indices]


class Subset:
    """Those of ``samples`` that stand at ``indices``."""

    def __init__(self, samples: Samples, indices: Indices) -> None:
        self.samples, self.indices = samples, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, indices: Indices) -> tuple[Array, npt.NDArray[Any]]:
        return self.samples[self.indices[indices]]

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Of one input, where ``samples`` knows it."""
        return getattr(self.samples, "input_shape", None)

    def batches(self, todo: Sequence[Indices], draw: Draw | None = None) -> Iterator[Batch]:
        """As the function: an augmentation depends on the index in ``samples``."""
        return batches(self.samples, [self.indices[indices] for indices in todo], draw)


@dataclass(frozen=True)
class Normalize:
    """uint8 images (n, H, W) -> float32 (n, 1, H + 2 pad, W + 2 pad): (pixel / 255 - mean) / std.

    The padding has pixel value 0. Raises TypeError or ValueError unless mean and std are finite,
    std > 0 and 0 <= pad <= 1024.
    """

    mean: float = 0.0
    std: float = 1.0
    pad: int = 0

    def __post_init__(self) -> None:
        finite(self.mean, "Normalize", "mean")
        if finite(self.std, "Normalize", "std") <= 0:
            raise ValueError(f"Normalize: std must be above 0, got {self.std}")
        if not isinstance(self.pad, int) or not 0 <= self.pad <= 1024:
            raise ValueError(f"Normalize: pad must be in 0 .. 1024, got {self.pad}")

    def __call__(self, images: npt.NDArray[Any]) -> Array:
        xp = _device.namespace(images)
        if images.dtype != np.uint8 or images.ndim != 3:
            raise ValueError(
                f"Normalize: images must be uint8 (n, height, width), got {images.dtype} "
                f"{images.shape}"
            )
        if self.pad:
            images = xp.pad(images, ((0, 0), (self.pad, self.pad), (self.pad, self.pad)))
        inputs: Array = _table(self, _device.device_of(images))[images][:, None]
        return inputs

    def describe(self) -> dict[str, Any]:
        """JSON-able; ``Normalize(**description)`` is equal to this."""
        return asdict(self)


@functools.cache
def _table(normalize: Normalize, device: str) -> Array:
    """What each pixel value becomes."""
    values = (np.arange(256) / 255 - normalize.mean) / normalize.std
    table: Array = _device.to(values.astype(np.float32), device)
    return table


def permutation(n: int, seed: int, stream: int) -> Indices:
    """The numbers 0 .. n - 1 in an order that depends on n, seed and stream only."""
    key = np.array([seed, stream], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).permutation(n)


def held_out(samples: int, fraction: float) -> int:
    """How many of ``samples`` a validation split of ``fraction`` takes."""
    return round(fraction * samples)


class ShuffledBatches:
    """The batches of each epoch, from the seed and the epoch's number alone: nothing to save."""

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples, self.batch_size, self.seed = samples, batch_size, seed

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def epoch(self, number: int) -> list[Indices]:
        """The index arrays of epoch ``number`` (1, 2, ...); the last one may be smaller."""
        order = permutation(self.samples, self.seed, number)
        return [order[i : i + self.batch_size] for i in range(0, self.samples, self.batch_size)]
