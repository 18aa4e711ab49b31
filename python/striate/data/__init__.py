"""Data sets: MNIST from inside the package, others in the IDX format or as folders of pictures.

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
from striate.data.image_folder import ImageFolder
from striate.data.packed import mnist
from striate.data.pipeline import ImageTransform

__all__ = [
    "DataError",
    "DataNotFoundError",
    "Dataset",
    "ImageFolder",
    "ImageTransform",
    "Split",
    "load_idx_folder",
    "mnist",
    "read_idx",
]
