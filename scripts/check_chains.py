"""Draws chains of layers with odd numbers, and images of odd shapes, and runs them in every way.

    python scripts/check_chains.py --count 10000 --seed 1

What the layers answer one by one, the model answers by its plan, and prepared; what they refuse, it
refuses. Nothing but a ValueError, a TypeError or a MemoryError comes out of any of them, and
training hands back a gradient of the input's shape. Each chain is a process of its own, with little
memory and little time, so that one that ends it is named by its number. Needs fork (Linux, macOS).
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import striate
from striate import nn

Images = tuple[int, ...]

USUAL = (1, 1, 1, 2, 2, 2, 3, 3, 4, 8)
ODD = (0, -1, 5, 7, 65535, 2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**64)
SHAPES: tuple[Images, ...] = (
    (1, 2, 4, 4), (2, 2, 5, 7), (3, 4, 8, 8), (2, 1, 1, 9), (1, 2, 1, 3000), (1, 1, 28, 28), (2, 4),
    (4, 8), (0, 2, 4, 4), (2, 0, 4, 4), (2, 2, 0, 4), (2, 2, 4, 0),
)  # fmt: skip
MEMORY, SECONDS = 2 << 30, 30
REFUSALS = (ValueError, TypeError, MemoryError)


class Draw:
    """Layers and shapes from one number."""

    def __init__(self, seed: int, number: int) -> None:
        self.random = random.Random(f"{seed}/{number}")

    def number(self) -> int:
        return self.random.choice(ODD if self.random.random() < 0.1 else USUAL)

    def pair(self, less: int = 0) -> tuple[int, int]:
        return self.number() - less, self.number() - less

    def layer(self) -> nn.Layer:
        choice, number, pair = self.random.choice, self.number, self.pair
        channels = choice((1, 2, 4)), choice((1, 2, 4, 6))
        odd_pads = (number() - 1, number() - 1, number() - 1, number() - 1)
        makers: list[Callable[[], nn.Layer]] = [
            lambda: nn.Conv2d(*channels, pair(), pair(), pair(1), pair(), choice((1, 1, 2))),
            lambda: nn.Conv2d(2, 4, 3, padding=odd_pads),
            lambda: nn.MaxPool2d(pair(), pair(), number() - 1, ceil_mode=choice((False, True))),
            lambda: nn.AvgPool2d(
                pair(), pair(), number() - 1, choice((False, True)), choice((False, True))
            ),
            lambda: nn.AdaptiveAvgPool2d(pair()),
            lambda: nn.LocalResponseNorm(
                number(), 1e-4, choice((0.75, 0.5, 0.0)), choice((1.0, 2.0))
            ),
            lambda: nn.Linear(choice((2, 4, 8, 16, 32)), number()),
            lambda: nn.Flatten(choice((0, 1, 1, 1, 2, -1, 5)), choice((-1, -1, 1, 2, -5))),
            lambda: nn.Softmax(choice((0, 1, 2, 3, -1, -2, 7))),
            lambda: nn.LogSoftmax(choice((0, 1, 2, 3, -1, -2, 7))),
            lambda: nn.ConstantPad2d(odd_pads, choice((0.0, 1.0, float("nan")))),
            lambda: nn.Dropout(0.5),
            nn.ReLU,
            nn.Tanh,
            nn.Sigmoid,
            nn.Identity,
        ]
        return choice(makers)()


def check(seed: int, number: int) -> bool:
    """Whether the chain answers; AssertionError where one way answers otherwise than another."""
    draw = Draw(seed, number)
    try:
        layers = [draw.layer() for _ in range(draw.random.randint(1, 4))]
    except REFUSALS:
        return False
    shape = draw.random.choice(SHAPES)
    x = np.random.default_rng(number).standard_normal(shape).astype(np.float32)
    model = nn.Sequential(*layers)
    wanted = _answer(lambda: _one_by_one(layers, x))
    planned = _answer(lambda: model.eval()(x))
    prepared = _answer(lambda: striate.prepare(model.eval(), shape[1:])(x))
    gradient = _answer(lambda: _gradient(model.train(), x))
    if any(isinstance(y, MemoryError) for y in (wanted, planned, prepared, gradient)):
        return False
    refused, about = isinstance(wanted, Exception), f"{model} of {shape}"
    assert isinstance(planned, Exception) is refused, f"{about}: {planned!r}, not {wanted!r}"
    if not refused:
        assert _equal(planned, wanted), f"{about}: its plan differs from its layers"
    if not refused and not isinstance(prepared, Exception):
        assert _equal(prepared, wanted), f"{about}: prepared, it differs from its layers"
    if not isinstance(gradient, Exception):
        assert gradient.shape == shape, f"{about}: a gradient of shape {gradient.shape}"
    return not refused


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except REFUSALS as error:
        return error


def _one_by_one(layers: list[nn.Layer], x: Any) -> Any:
    for layer in layers:
        x, _ = layer.apply(x, training=False, save=False)
    return x


def _gradient(model: nn.Layer, x: Any) -> Any:
    return model.backward(np.ones_like(model(x)))


def _equal(a: Any, b: Any) -> bool:
    return a.shape == b.shape and np.allclose(a, b, 1e-3, 1e-3, equal_nan=True)


def alone(seed: int, number: int) -> str:
    """``check`` in a process of its own: "answered", "refused", or what is wrong."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.alarm(SECONDS)
        try:
            said = "answered" if check(seed, number) else "refused"
        except MemoryError:  # of the comparison
            said = "refused"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode()[:4000])
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8", errors="replace") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return said if status == 0 else f"ended by {signal.Signals(status & 127).name}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="chains")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", type=int, help="only this one, in this process")
    options = parser.parse_args()
    if options.number is not None:
        print("answered" if check(options.seed, options.number) else "refused")
        return 0
    results = [alone(options.seed, number) for number in range(options.count)]
    wrong = [n for n, result in enumerate(results) if result not in ("answered", "refused")]
    for number in wrong:
        print(f"{results[number]} (seed {options.seed}, number {number})")
    print(f"{options.count} chains, {results.count('answered')} answered, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
