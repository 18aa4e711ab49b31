"""How ``striate train MODEL`` trains by default: every number in one place."""

from __future__ import annotations

from dataclasses import dataclass

from striate.data.dataset import Normalize
from striate.data.pipeline import ImageTransform


@dataclass(frozen=True)
class Recipe:
    """``transform`` says which data the model takes: Normalize digits, ImageTransform pictures.

    ``schedule``: a key of SCHEDULES in striate.cli.train; ``lr`` is its peak. ``val_fraction`` of
    the training set is split off where the schedule needs it.
    """

    transform: Normalize | ImageTransform
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    schedule: str = "one-cycle"
    val_fraction: float = 0.0


# Mean and standard deviation of the 60,000 training images' pixels, / 255.
MNIST_NORMALIZE = Normalize(mean=0.1307, std=0.3081)
# The paper's section III.A: the background is -0.1 and the ink 1.175; 28x28 digits in 32x32.
PAPER_NORMALIZE = Normalize(mean=0.1 / 1.275, std=1 / 1.275, pad=2)

# Krizhevsky et al. 2012, section 5: SGD until the validation error stops improving, then at a tenth
# of the rate, about 90 epochs in all. A plateau is seen on a part of the training set, because the
# pictures in val/ are only measured.
_ALEXNET = (90, 128, 0.01, 0.9, 5e-4, "plateau", 0.05)

RECIPES = {
    "lenet5": Recipe(MNIST_NORMALIZE, 3, 64, 0.05, 0.9, 5e-4),
    "lenet5_1998": Recipe(PAPER_NORMALIZE, 12, 64, 0.02, 0.9, 1e-4),
    "alexnet": Recipe(ImageTransform("random-resized-crop", 256, 224), *_ALEXNET),
    "alexnet_2012": Recipe(ImageTransform("paper", 256, 227), *_ALEXNET),
}
