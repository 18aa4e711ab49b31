"""Trainer: same seed, same bits; what it writes, its options, Ctrl-C, early stopping."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from checks import draw
from small_training import StopAfter, make_trainer, samples, state, undisturbed
from striate import nn
from striate._device import to_host
from striate.data.dataset import ArraySamples, Normalize
from striate.trainer import Callback, Trainer, evaluate

pytestmark = pytest.mark.usefixtures("training_device")


def test_same_seed_same_bits_for_any_number_of_threads(device: str) -> None:
    threads = striate.get_num_threads()
    try:
        for count in (1, 2, 3, 5, 8):
            striate.set_num_threads(count)
            trainer = make_trainer()
            trainer.fit(samples(), validation=samples())
            assert state(trainer) == undisturbed(device)
    finally:
        striate.set_num_threads(threads)
    other = make_trainer(seed=4)
    other.fit(samples(), validation=samples())
    assert state(other) != undisturbed(device)


def test_what_it_writes(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, description={"model": "small"})
    history = trainer.fit(samples(), validation=samples())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == history
    assert list(lines[0]) == ["epoch", "train_loss", "val_loss", "val_accuracy", "learning_rate",
                              "seconds", "data_seconds", "images_per_second",
                              "skipped"]  # fmt: skip
    arrays, description = striate.load(tmp_path / "model.safetensors")
    assert description == {"model": "small"}
    assert list(arrays) == sorted(trainer.model.state_dict())
    result = evaluate(trainer.model, samples())
    assert (result.loss, result.accuracy) == (lines[-1]["val_loss"], lines[-1]["val_accuracy"])


def test_early_stopping_keeps_the_best_weights_also_when_resumed(tmp_path: Path) -> None:
    class Worsen(Callback):
        """Ruins the weights after the first epoch, which so remains the best."""

        weights: dict[str, np.ndarray]

        def on_epoch_end(self, trainer: Trainer, metrics: dict[str, Any]) -> None:
            if trainer.epoch == 1:
                self.weights = {k: v.copy() for k, v in trainer.model.state_dict().items()}

        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.epoch > 0:
                for parameter in trainer.model.parameters():
                    parameter.data[...] = 5

    worsen = Worsen()
    options: dict[str, Any] = {"schedule": "step", "val_fraction": 0.3, "patience": 2, "epochs": 20}
    make_trainer(tmp_path, callbacks=[worsen, StopAfter(11)], **options).fit(samples())
    trainer = make_trainer(tmp_path, callbacks=[Worsen()], **options)
    trainer.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert len(trainer.history) == 3
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(to_host(array), to_host(worsen.weights[name]))


def test_ctrl_c_ends_after_the_step_and_leaves_a_checkpoint(tmp_path: Path) -> None:
    class Interrupt(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.step == 7:
                os.kill(os.getpid(), signal.SIGINT)

    trainer = make_trainer(tmp_path, callbacks=[Interrupt()])
    trainer.fit(samples())
    assert trainer.stopped
    assert striate.load(tmp_path / "checkpoint.safetensors")[1]["training"]["step"] in (7, 8)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_clip_grad_norm_is_torchs() -> None:
    layer = nn.Linear(5, 4)
    layer.weight.grad, layer.bias.grad = draw("clip/w", (4, 5)), draw("clip/b", (4,))
    joint = np.sqrt((layer.weight.grad**2).sum() + (layer.bias.grad**2).sum())
    expected = layer.weight.grad * 0.1 / joint
    assert abs(nn.utils.clip_grad_norm_(layer.parameters(), 0.1) / joint - 1) < 1e-6
    np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-4)
    assert nn.utils.clip_grad_norm_(layer.parameters(), 5.0) == pytest.approx(0.1, rel=1e-4)
    assert nn.utils.clip_grad_norm_(layer.parameters(), math.inf) == pytest.approx(0.1, rel=1e-4)
    np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "max_norm", [-1, math.nan, pytest.param(10**400, id="beyond all floats"), None, "5"]
)
def test_clip_grad_norm_refuses(max_norm: Any) -> None:
    layer = nn.Linear(5, 4)
    layer.weight.grad = draw("clip/w", (4, 5))
    before = layer.weight.grad.copy()
    with pytest.raises((TypeError, ValueError), match="^clip_grad_norm_: max_norm (must be|is) "):
        nn.utils.clip_grad_norm_(layer.parameters(), max_norm)
    np.testing.assert_array_equal(layer.weight.grad, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 1}, "patience watches a validation set, which val_fraction splits off"),
        ({"schedule": "plateau"}, "ReduceLROnPlateau watches a validation set"),
        ({"batch_size": 0}, "batch_size must be between 1 and"),
        ({"val_fraction": 1.0}, r"val_fraction must be in \[0, 1\), got 1.0"),
        ({"seed": -1}, "seed must be between 0"),
        ({"clip_grad_norm": 0}, "clip_grad_norm must be positive and finite, got 0"),
        ({"clip_grad_norm": math.inf}, "clip_grad_norm must be positive and finite, got inf"),
    ],
)
def test_refuses_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_trainer(**options)


@pytest.mark.parametrize("name", ["seed", "val_fraction", "patience", "clip_grad_norm"])
def test_refuses_options_of_another_type(name: str) -> None:
    with pytest.raises(TypeError, match=f"^Trainer: {name} must be an? (integer|number), got 'x'$"):
        make_trainer(**{name: "x"})


def test_options_may_be_numbers_of_numpys(tmp_path: Path) -> None:
    """They go into the checkpoint, and come back equal."""
    options = {"epochs": np.int64(1), "batch_size": np.int32(8), "seed": np.uint64(2**64 - 1),
               "val_fraction": np.float32(0.25), "patience": np.int64(1),
               "clip_grad_norm": np.float32(1.5)}  # fmt: skip
    make_trainer(tmp_path, **options).fit(samples())
    plain = {name: value.item() for name, value in options.items()}
    trainer = make_trainer(**plain)
    trainer.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert trainer.epoch == 1


def test_refuses_samples() -> None:
    with pytest.raises(ValueError, match="the training set has no samples"):
        make_trainer().fit(samples(0))
    with pytest.raises(ValueError, match="val_fraction=0.01 of 9 samples leaves 9 to train and 0"):
        make_trainer(val_fraction=0.01).fit(samples(9))
    with pytest.raises(ValueError, match=r"images \(3, 2\), labels \(2,\)"):
        ArraySamples(np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(ValueError, match=r"images must be uint8 \(n, height, width\)"):
        Normalize()(np.zeros((3, 2, 2), np.float32))
