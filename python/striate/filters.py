"""The named 3x3 and 5x5 kernels, and one function that applies a kernel to a picture.

A filter is a convolution whose weights somebody chose instead of learned:

    from striate.filters import KERNELS, apply_filter
    sharper = apply_filter(picture, KERNELS["sharpen"])     # uint8 (H, W, 3) in and out

Source: Wikipedia, "Kernel (image processing)". OpenCV's ``filter2D`` gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from striate.functional import conv2d


def _kernel(rows: list[list[int]], divisor: int = 1) -> NDArray[np.float32]:
    kernel: NDArray[np.float32] = np.array(rows, np.float32) / np.float32(divisor)
    kernel.flags.writeable = False
    return kernel


_GAUSSIAN_5X5 = [
    [1, 4, 6, 4, 1],
    [4, 16, 24, 16, 4],
    [6, 24, 36, 24, 6],
    [4, 16, 24, 16, 4],
    [1, 4, 6, 4, 1],
]
# Twice the picture less its blur: only the middle, 256 * 2 - 36 = 476, differs from the blur's.
_UNSHARP = [[-n for n in row] for row in _GAUSSIAN_5X5]
_UNSHARP[2][2] = 476

KERNELS: Mapping[str, NDArray[np.float32]] = MappingProxyType(
    {
        "identity": _kernel([[0, 0, 0], [0, 1, 0], [0, 0, 0]]),
        "edge_4": _kernel([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]),
        "edge_8": _kernel([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
        "sharpen": _kernel([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
        "box_blur": _kernel([[1, 1, 1], [1, 1, 1], [1, 1, 1]], 9),
        "gaussian_3x3": _kernel([[1, 2, 1], [2, 4, 2], [1, 2, 1]], 16),
        "gaussian_5x5": _kernel(_GAUSSIAN_5X5, 256),
        "unsharp_masking": _kernel(_UNSHARP, 256),
    }
)
"""Read-only float32 arrays by name, each as large as it says: 3x3 or 5x5."""


def apply_filter(image: NDArray[np.uint8], kernel: NDArray[np.float32]) -> NDArray[np.uint8]:
    """y[h, w] = round(sum over r, s of kernel[r, s] * image[h + r - R // 2, w + s - S // 2]).

    image: uint8 (H, W) or (H, W, C) with C in 1..4; each channel is filtered by itself, but of
    2 or 4 channels the last is alpha and returned as it was. kernel: float32 (R, S), not flipped
    (cross-correlation). Beyond its border the picture is mirrored without repeating the edge
    pixel (OpenCV's BORDER_REFLECT_101), again and again if it is smaller than the kernel.

    Returns a new uint8 array of the image's shape, rounded half to even and clipped to 0..255.
    With the named kernels this equals OpenCV's ``filter2D``; with others, a sum that falls on a
    half to within float32's rounding may come out one apart. Raises TypeError for other dtypes,
    ValueError for other shapes.
    """
    _check(image, kernel)
    y = np.array(image, order="C")
    if y.size:
        pixels = y.reshape(*y.shape[:2], -1)  # (H, W, C), of a grey picture too
        colours = pixels.shape[2] - (pixels.shape[2] in (2, 4))
        channels = np.moveaxis(pixels, 2, 0)[:colours]
        pixels[..., :colours] = np.moveaxis(_filter_channels(channels, kernel), 0, 2)
    return y


def _filter_channels(channels: NDArray[np.uint8], kernel: NDArray[np.float32]) -> NDArray[np.uint8]:
    """uint8 (C, H, W) to the same; every channel is an image of its own in conv2d's batch."""
    (top, left), (height, width) = (n // 2 for n in kernel.shape), kernel.shape
    padded = np.pad(
        channels, ((0, 0), (top, height - 1 - top), (left, width - 1 - left)), mode="reflect"
    )
    y = conv2d(padded[:, None].astype(np.float32), np.array(kernel)[None, None])
    return np.clip(np.rint(y[:, 0]), 0, 255).astype(np.uint8)


def _check(image: NDArray[np.uint8], kernel: NDArray[np.float32]) -> None:
    for name, array, dtype in (("image", image, np.uint8), ("kernel", kernel, np.float32)):
        kind = getattr(array, "dtype", type(array).__name__)
        if not isinstance(array, np.ndarray) or array.dtype != dtype:
            expected = np.dtype(dtype).name
            raise TypeError(
                f"apply_filter: {name} is {kind}, expected a NumPy array of {expected}; "
                f"cast it with np.asarray({name}, np.{expected})"
            )
    if not (image.ndim == 2 or (image.ndim == 3 and 1 <= image.shape[2] <= 4)):
        raise ValueError(
            f"apply_filter: image has shape {image.shape}, expected (H, W) or (H, W, C) "
            "with C from 1 to 4"
        )
    if kernel.ndim != 2 or kernel.size == 0:
        raise ValueError(f"apply_filter: kernel has shape {kernel.shape}, expected (R, S)")
    if not np.isfinite(kernel).all():
        raise ValueError("apply_filter: kernel holds a value that is not finite")
