"""Memory that ends: a MemoryError, what was there is kept, and the process goes on."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
import striate.functional as F
from fuzz.limits import memory_limit
from striate import nn, optim
from striate.data.dataset import ArraySamples, Normalize
from striate.trainer import Callback, Trainer

ROOT = Path(__file__).parents[1]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")


def test_a_result_that_no_machine_can_hold_says_how_much_it_is() -> None:
    one, seven = np.ones((1, 1, 1, 1), np.float32), np.ones((7, 1, 1, 1), np.float32)
    count = (2**21 + 1) ** 2 * 7 * 4  # bytes: no such gap is left between stack and heap
    with pytest.raises(MemoryError, match=f"^{count} bytes could not be had$"):
        F.conv2d(one, seven, padding=2**20)
    assert F.conv2d(one, one).item() == 1


@LINUX
@pytest.mark.slow
def test_every_limit_of_memory() -> None:
    """scripts/limit_memory.py, in larger steps than by default."""
    command = [sys.executable, ROOT / "scripts/limit_memory.py", "--step", "256"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MemoryError" in done.stdout


class Short(Callback):
    """Limits the memory after the first epoch."""

    def __init__(self, limit: contextlib.ExitStack) -> None:
        self.limit = limit

    def on_epoch_end(self, trainer: Trainer, metrics: dict[str, Any]) -> None:
        if trainer.epoch == 1:
            striate.empty_cache()
            self.limit.enter_context(memory_limit(64 << 20))


def make_trainer(out: Path, *callbacks: Callback) -> Trainer:
    striate.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 128, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(128, 3),
    )  # fmt: skip
    optimizer = optim.SGD(model.parameters(), 0.05, momentum=0.9)
    return Trainer(model, optimizer, epochs=2, batch_size=64, out=out, callbacks=callbacks)


@LINUX
def test_memory_ends_while_training(tmp_path: Path) -> None:
    """The last checkpoint is kept; with more memory the same trainer ends with the same bits."""
    images = np.random.default_rng(0).integers(0, 255, (128, 64, 64)).astype(np.uint8)
    samples = ArraySamples(images, np.arange(128) % 3, Normalize(0.5, 0.3))
    whole = make_trainer(tmp_path / "whole")
    whole.fit(samples)
    out = tmp_path / "short"
    with contextlib.ExitStack() as limit:
        trainer = make_trainer(out, Short(limit))
        message = (
            r" at step 3 \(epoch 2\); a smaller batch size may help; the last good checkpoint is "
            rf"{re.escape(str(out))}/checkpoint.safetensors$"
        )
        with pytest.raises(MemoryError, match=message):
            trainer.fit(samples)
    assert striate.load(out / "checkpoint.safetensors")[1]["training"]["step"] == 2
    trainer.callbacks.pop()
    trainer.fit(samples)
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(array, trainer.model.state_dict()[name])


@LINUX
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(
            ("train", "lenet5", "--batch-size", "60000"),
            r".* at step 1 \(epoch 1\); a smaller batch size may help",
            id="a batch",
        ),
        pytest.param(
            ("summary", "lenet5", "--num-classes", "2147483647"),
            r"Unable to allocate 672. GiB for an array with shape \(2147483647, 84\) .*",
            id="a layer",
        ),
        pytest.param(
            ("summary", "lenet5", "--input", "1x99999x99999"),
            r"Unable to allocate 37.3 GiB for an array with shape \(1, 1, 99999, 99999\) .*",
            id="an image",
        ),
    ],
)
def test_what_is_too_large_is_a_sentence(
    tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    """The command line, with MNIST and 400 MB."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import striate.trainer\n"
        "from striate.cli import main; from fuzz.limits import memory_limit\n"
        "with memory_limit(400 << 20): sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, str(ROOT / "tests"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(rf"striate: error: not enough memory: {sentence}\n", done.stderr)
