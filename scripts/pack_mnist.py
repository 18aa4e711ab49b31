#!/usr/bin/env python3
"""Packs the four original MNIST files into the .xz blocks that the package carries.

    python scripts/pack_mnist.py FOLDER [--out python/striate/data/mnist_xz]

The arrays in FOLDER must have the known SHA-256; the blocks are decoded again and compared before
the script ends. The same version of liblzma writes the same bytes every time. Takes about a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import lzma
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from striate.data import DataError, Dataset, load_idx_folder
from striate.data.packed import BLOCKS, FOLDER, SHA256, unpack

# lc=4: the high nibble of the pixel to the left is the best context a literal can have (pixel-major
# order, prediction from neighbours and lp/pb > 0 all came out larger). The dictionary covers one
# block and no more, because the decoder allocates all of it.
FILTERS = [
    {
        "id": lzma.FILTER_LZMA2,
        "dict_size": 8 << 20,
        "lc": 4,
        "lp": 0,
        "pb": 0,
        "mode": lzma.MODE_NORMAL,
        "mf": lzma.MF_BT4,
        "nice_len": 273,
        "depth": 1000,
    }
]


def check_hashes(data: Dataset) -> None:
    """Raises DataError unless the four arrays are exactly MNIST."""
    for split, name in zip(data, BLOCKS, strict=True):
        for kind, array in split._asdict().items():
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            if digest != SHA256[f"{name}-{kind}"]:
                raise DataError(
                    f"the {name} {kind} have SHA-256 {digest}, expected {SHA256[f'{name}-{kind}']}"
                )


def encode(array: np.ndarray) -> bytes:
    return lzma.compress(array.tobytes(), check=lzma.CHECK_CRC32, filters=FILTERS)


def pack(data: Dataset, out: Path) -> None:
    """Writes ``data`` into the folder ``out``, in the layout that ``striate.data.packed`` reads."""
    out.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for split, (name, blocks) in zip(data, BLOCKS.items(), strict=True):
        order = np.argsort(split.labels, kind="stable")
        arrays[f"{name}-labels.xz"] = split.labels
        for k, rows in enumerate(np.array_split(order, blocks)):
            arrays[f"{name}-images-{k}.xz"] = split.images[rows]
    with ThreadPoolExecutor() as pool:
        for name, packed in zip(arrays, pool.map(encode, arrays.values()), strict=True):
            (out / name).write_bytes(packed)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Pack the MNIST files for the package.")
    parser.add_argument("folder", type=Path, help="holds the four files, plain or gzipped")
    parser.add_argument("--out", type=Path, default=FOLDER, help="default: %(default)s")
    args = parser.parse_args(argv)

    data = load_idx_folder(args.folder)
    check_hashes(data)
    pack(data, args.out)
    check_hashes(unpack(args.out))
    total = sum(path.stat().st_size for path in args.out.glob("*.xz"))
    print(f"{args.out}: {total:,} bytes, decoded again and equal to the original")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"pack_mnist: error: {error}")
