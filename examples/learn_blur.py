#!/usr/bin/env python3
"""Learns a blur from pictures before and after it: a filter is a convolution with known weights.

    python examples/learn_blur.py

The nine numbers of the kernel are treated as parameters and learned by gradient descent; nothing
else tells the model what was done to the pictures. Takes a few seconds. See docs/lecture.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import striate
import striate.functional as F
from striate import nn, optim
from striate.data import mnist

BLUR = np.array([[0.1, 0.1, 0.1], [0.1, 0.2, 0.1], [0.1, 0.1, 0.1]], np.float32)


def mean_squared_error(y: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """L = mean((y - target)^2) and dL/dy = 2 (y - target) / n."""
    difference = y - target
    return float(np.mean(difference**2)), 2 * difference / np.float32(difference.size)


def learn(steps: int, batch_size: int = 64, seed: int = 0) -> tuple[np.ndarray, float]:
    """The kernel after ``steps`` steps, float32 (3, 3), and its largest distance from BLUR."""
    striate.manual_seed(seed)
    rng = np.random.default_rng(seed)
    digits = mnist().test.images[:1000, None].astype(np.float32) / np.float32(255)

    model = nn.Conv2d(1, 1, 3, bias=False)
    optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for step in range(steps):
        before = digits[rng.choice(len(digits), batch_size, replace=False)]
        after = F.conv2d(before, BLUR[None, None])

        loss, dy = mean_squared_error(model(before), after)
        model.backward(dy)
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:4d}   loss {loss:.2e}")

    kernel = np.array(model.weight.data[0, 0])
    return kernel, float(np.abs(kernel - BLUR).max())


def main(argv: Sequence[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description="Learn a 3x3 blur from pairs of pictures.")
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args(argv)

    kernel, distance = learn(args.steps)
    print("the kernel it learned:")
    for row in kernel:
        print("   " + "  ".join(f"{value:.4f}" for value in row))
    print(f"farthest from the blur that was used: {distance:.1e}")
    return distance


if __name__ == "__main__":
    main()
