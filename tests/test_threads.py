"""Many threads at once: equal bits. scripts/test_threads_sanitized.sh runs this under
ThreadSanitizer, where a race ends the process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest

import striate
import striate.functional as F
from backends import threads
from checks import draw
from striate import models, nn, optim
from striate.data.dataset import ArraySamples, Normalize
from striate.trainer import Trainer

Bits = list[bytes]


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """What the jobs return, each in a thread of its own; they start at once."""
    start = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)

    def run(i: int) -> None:
        start.wait()
        try:
            results[i] = jobs[i]()
        except BaseException as error:
            results[i] = error

    workers = [threading.Thread(target=run, args=(i,)) for i in range(len(jobs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def small_alexnet() -> nn.Sequential:
    """Its layers in small: strides, groups of pooling, normalisation, dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.LocalResponseNorm(5),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 16, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(144, 10),
    )


MODELS = {"lenet5": models.lenet5, "alexnet in small": small_alexnet}


def made(name: str) -> nn.Layer:
    """A model whose weights depend on its name alone."""
    model = MODELS[name]()
    for key, parameter in model.named_parameters():
        parameter.data[...] = draw(f"{name}/{key}", parameter.shape) * np.float32(0.1)
    return model


def trained(name: str, steps: int = 4, batch: int = 24) -> Bits:
    """The parameters after some steps of the trainer: plan, momentum, dropout, clipping."""
    model = made(name)
    images = (draw(f"{name}/x", (steps * batch, 28, 28)) * 50 + 128).clip(0, 255).astype(np.uint8)
    samples = ArraySamples(images, np.arange(steps * batch) % 10, Normalize(0.5, 0.25))
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    trainer = Trainer(model, optimizer, epochs=1, batch_size=batch, clip_grad_norm=5.0)
    trainer.fit(samples, validation=samples)
    return [p.data.tobytes() for p in model.parameters()]


@pytest.mark.parametrize("name", MODELS)
def test_a_step_has_the_same_bits_on_any_number_of_threads(name: str) -> None:
    bits = []
    for count in (1, 2, 3, 8):
        with threads(count):
            bits.append(trained(name))
    assert bits.count(bits[0]) == len(bits)


def test_two_models_train_in_two_threads() -> None:
    alone = [trained(name) for name in MODELS]
    with threads(3):
        assert together(*[lambda name=name: trained(name) for name in MODELS]) == alone


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["prepared", "eval"])
def test_many_threads_infer_on_one_model(name: str, kind: str) -> None:
    """Batches of several sizes, and of more shapes than a model keeps plans for."""
    model = made(name).eval()
    run: Callable[[Any], Any] = model
    if kind == "prepared":
        run = striate.prepare(model, (1, 28, 28))
    batches = [draw(f"infer/{n}", (n, 1, 28, 28)) for n in (1, 3, 8, 17)]
    if kind == "eval" and name != "lenet5":  # which ends in any number of pixels
        batches += [draw(f"infer/{side}", (2, 1, side, side)) for side in range(20, 30)]
    expected = [run(x).tobytes() for x in batches]

    def infer() -> None:
        for _ in range(3):
            assert [run(x).tobytes() for x in batches] == expected

    with threads(3):
        together(*[infer] * 4)


def test_one_thread_trains_while_others_infer_and_change_settings() -> None:
    """The others use what was prepared before; the number of threads changes meanwhile."""
    alone = trained("lenet5")
    prepared = striate.prepare(made("lenet5"), (1, 28, 28))
    x = draw("settings/x", (9, 1, 28, 28))
    expected = prepared(x).tobytes()
    done = threading.Event()

    def train() -> Bits:
        try:
            return trained("lenet5")
        finally:
            done.set()

    def infer() -> None:
        while not done.is_set():
            assert prepared(x).tobytes() == expected

    def disturb() -> None:
        for count in range(1, 10**9):
            if done.is_set():
                return
            striate.set_num_threads(1 + count % 4)
            striate.empty_cache()

    with threads(2):
        assert together(train, infer, disturb)[0] == alone


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """Other processes that compute all the time."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", "while True: pass"])
            )
            stack.callback(process.kill)
        yield


def conv_bits() -> Bits:
    """Forward and backward of one convolution for each algorithm and path."""
    bits = []
    for c, k, side, kernel, stride in (
        (3, 16, 33, 5, 2),  # direct, few channels
        (16, 24, 14, 3, 1),  # Winograd
        (64, 32, 9, 1, 1),
        (5, 7, 20, 3, 1),
    ):
        x = draw(f"busy/{c}", (8, c, side, side))
        w = draw(f"busy/{k}", (k, c, kernel, kernel))
        y = F.conv2d(x, w, stride=stride, padding=kernel // 2)
        dx, dw, _ = F.conv2d_backward(np.ones_like(y), x, w, stride=stride, padding=kernel // 2)
        bits += [y.tobytes(), dx.tobytes(), dw.tobytes()]
    return bits


def test_busy_neighbours_change_no_bit() -> None:
    """Eight threads on whatever cores there are, and other processes on the same."""
    with threads(1):
        undisturbed = trained("lenet5"), conv_bits()
    with threads(8), busy_neighbours(2):
        for _ in range(5):
            assert (trained("lenet5"), conv_bits()) == undisturbed
