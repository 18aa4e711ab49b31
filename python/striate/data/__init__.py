"""Data sets: MNIST from inside the package, any other in the IDX format from a folder.

    from striate.data import mnist
    train, test = mnist()
    train.images, train.labels      # uint8 (60000, 28, 28), uint8 (60000,)

Importing this package reads no data and no imaging library.
"""

from striate.data.idx import (
    DataError,
    DataNotFoundError,
    Dataset,
    Split,
    load_idx_folder,
    read_idx,
)
from striate.data.packed import mnist

__all__ = [
    "DataError",
    "DataNotFoundError",
    "Dataset",
    "Split",
    "load_idx_folder",
    "mnist",
    "read_idx",
]
