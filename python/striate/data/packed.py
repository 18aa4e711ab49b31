"""MNIST as it travels inside the package: lossless, 9.3 MB, decoded in parallel when asked for.

``mnist_xz/`` holds, for each split, the labels and the images as independent .xz files, which any
``xz`` can open. The images are sorted by label first (stably, so the labels alone tell how to undo
it): neighbours that look alike save 2 %. ``scripts/pack_mnist.py`` makes the files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from striate.data.idx import DataError, DataNotFoundError, Dataset, Split

FOLDER = Path(__file__).parent / "mnist_xz"
IMAGE_SHAPE = (28, 28)
SIZES = {"train": 60_000, "test": 10_000}
BLOCKS = {"train": 10, "test": 2}  # of equal size, so that threads end together
MEMORY = 16 << 20  # bytes that a decoder may ask for; pack_mnist.py's files want 9 MiB

# SHA-256 of the C-order arrays; equal to the hashes of the original files without their headers.
SHA256 = {
    "train-images": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "train-labels": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "test-images": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "test-labels": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}


def mnist() -> Dataset:
    """The MNIST handwritten digits: 60,000 to train on and 10,000 to test with.

    Returns a ``Dataset``: ``train.images`` uint8 (60000, 28, 28), ``train.labels`` uint8 (60000,),
    ``test.images`` uint8 (10000, 28, 28), ``test.labels`` uint8 (10000,); ink is 255, paper is 0.
    The arrays are new and writable; nothing is cached. Raises DataError if a packed file is
    corrupt, DataNotFoundError if it is missing.

    Source: Yann LeCun, Corinna Cortes, CC BY-SA 3.0; see ``mnist_xz/SOURCE.md``.
    """
    return unpack(FOLDER)


def unpack(folder: Path, sizes: Mapping[str, int] = SIZES) -> Dataset:
    """The data set in a folder that ``scripts/pack_mnist.py`` wrote; raises as ``mnist`` does.

    ``sizes``: how many digits each split has. A file that holds more is not read to its end.
    """
    splits = []
    jobs = []
    for name, blocks in BLOCKS.items():
        labels = _decode(folder / f"{name}-labels.xz", (sizes[name],)).copy()  # writable
        images = np.empty((len(labels), *IMAGE_SHAPE), np.uint8)
        order = np.argsort(labels, kind="stable")
        for k, rows in enumerate(np.array_split(order, blocks)):
            jobs.append((folder / f"{name}-images-{k}.xz", images, rows))
        splits.append(Split(images, labels))

    def decode_block(job: tuple[Path, np.ndarray, np.ndarray]) -> None:
        path, images, rows = job
        images[rows] = _decode(path, (len(rows), *IMAGE_SHAPE))

    with ThreadPoolExecutor() as pool:  # lzma releases the GIL while it decodes
        for _ in pool.map(decode_block, jobs):
            pass
    return Dataset(*splits)


def _decode(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """What one .xz file holds as a uint8 array of ``shape``, read-only."""
    try:
        import lzma
    except ImportError:
        raise DataError(
            f"{path}: this Python was built without the lzma module that unpacks it; "
            "give a folder of IDX files instead"
        ) from None
    expected = math.prod(shape)
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)
        content = decoder.decompress(path.read_bytes(), expected + 1)
    except FileNotFoundError:
        raise DataNotFoundError(f"{path}: this part of the packed MNIST is missing") from None
    except lzma.LZMAError as error:
        raise DataError(f"{path}: this part of the packed MNIST is corrupt ({error})") from None
    if len(content) != expected:
        found = "more" if len(content) > expected else f"{len(content)}"
        raise DataError(f"{path}: holds {found} bytes, expected {expected} for {shape}")
    if not decoder.eof:  # reading on to the end is also what verifies the checksum
        raise DataError(f"{path}: this part of the packed MNIST is truncated")
    if decoder.unused_data:
        raise DataError(f"{path}: {len(decoder.unused_data)} bytes follow its end")
    return np.frombuffer(content, np.uint8).reshape(shape)
