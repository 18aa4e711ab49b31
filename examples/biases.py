"""What the biases of the 2012 AlexNet do to the start of its training.

    python examples/biases.py DIR [STEPS]       DIR: a folder train/<class>/* of pictures

The paper lets five layers' biases start at 1, models.alexnet_2012 at 0.1. This trains both on
batches of 32, one after the other, and prints the mean loss of every 25 steps.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import striate
from striate import models, nn, optim
from striate.data import ImageFolder, ImageTransform
from striate.data.dataset import Draw, ShuffledBatches, batches
from striate.data.statistics import for_training_set


def losses(folder: ImageFolder, bias: float) -> Iterator[float]:
    """The loss of every step of the first epochs, without an end."""
    striate.manual_seed(0)
    model = models.alexnet_2012(len(folder.classes), bias=bias).train()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    criterion, order, epoch = nn.CrossEntropyLoss(), ShuffledBatches(len(folder), 32, seed=0), 0
    while True:
        epoch += 1
        for x, labels, _ in batches(folder, order.epoch(epoch), Draw(0, epoch)):
            yield float(criterion(model(x), labels))
            model.backward(criterion.backward(), input_grad=False)
            optimizer.step()
            optimizer.zero_grad()


def main(root: str, steps: int = 225) -> None:
    folder = ImageFolder(f"{root}/train", ImageTransform("paper", 256, 227))
    folder.transform = for_training_set(folder.transform, folder)
    for bias in (0.1, 1.0):
        print(f"biases of {bias}:", end="", flush=True)
        run = losses(folder, bias)
        for _ in range(0, steps, 25):
            print(f" {sum(next(run) for _ in range(25)) / 25:.3f}", end="", flush=True)
        print()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
