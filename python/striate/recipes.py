"""How ``striate train MODEL`` trains by default: every number in one place."""

from __future__ import annotations

from dataclasses import dataclass

from striate.data.dataset import Normalize


@dataclass(frozen=True)
class Recipe:
    """``schedule``: a key of SCHEDULES in striate.cli.train; ``lr`` is its peak."""

    transform: Normalize
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    schedule: str = "one-cycle"


# Mean and standard deviation of the 60,000 training images' pixels, / 255.
MNIST_NORMALIZE = Normalize(mean=0.1307, std=0.3081)
# The paper's section III.A: the background is -0.1 and the ink 1.175; 28x28 digits in 32x32.
PAPER_NORMALIZE = Normalize(mean=0.1 / 1.275, std=1 / 1.275, pad=2)

RECIPES = {
    "lenet5": Recipe(MNIST_NORMALIZE, 6, 64, 0.05, 0.9, 5e-4),
    "lenet5_1998": Recipe(PAPER_NORMALIZE, 12, 64, 0.02, 0.9, 1e-4),
}
