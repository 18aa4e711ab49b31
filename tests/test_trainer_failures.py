"""What ends a training: a sentence, the last good checkpoint, a process that goes on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from small_training import StopAfter, make_trainer, samples, state, undisturbed
from striate import models, nn
from striate._device import to_host
from striate.data.dataset import ShuffledBatches, permutation
from striate.trainer import Callback, Trainer, TrainingError

pytestmark = pytest.mark.usefixtures("training_device")


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(tmp_path: Path) -> None:
    class Poison(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.step == 14:
                next(iter(trainer.model.parameters())).data[...] = np.nan

    trainer = make_trainer(tmp_path, callbacks=[Poison()])
    message = (
        r"the loss is nan at step 15 \(epoch 2\); a lower learning rate may help; the last good "
        r"checkpoint is .*checkpoint.safetensors"
    )
    with pytest.raises(TrainingError, match=message):
        trainer.fit(samples())
    arrays, description = striate.load(tmp_path / "checkpoint.safetensors")
    assert description["training"]["step"] == 12
    assert all(np.isfinite(a).all() for a in arrays.values())


def test_after_a_loss_that_is_not_finite_the_process_goes_on(tmp_path: Path, device: str) -> None:
    """The same trainer from its last checkpoint; or its weights in a new one, at a lower rate."""

    class Poison(Callback):
        done = False

        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.step == 14 and not self.done:
                self.done = True
                for parameter in trainer.model.parameters():
                    parameter.data[...] = np.inf

    trainer = make_trainer(tmp_path, callbacks=[Poison()])
    with pytest.raises(TrainingError):
        trainer.fit(samples(), validation=samples())
    path = tmp_path / "checkpoint.safetensors"
    lower = make_trainer(schedule="step")
    models.load_fitting(lower.model, path)
    assert math.isfinite(lower.fit(samples())[-1]["train_loss"])
    trainer.fit(samples(), validation=samples(), resume=path)
    assert state(trainer) == undisturbed(device)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (1.0, r"the gradients' norm is (nan|inf) at step 14 \(epoch 2\); a lower learning rate"),
        (
            None,
            r"the loss is (nan|inf) at step 15 \(epoch 2\); a lower learning rate may help; the",
        ),
    ],
)
def test_an_exploding_gradient(
    tmp_path: Path, device: str, clip: float | None, message: str
) -> None:
    """With clipping it is found before the update, without it at the next loss."""

    class Explode(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            trainer.criterion.factor = np.float32(3e38 if trainer.step == 13 else 1)

    class Criterion(nn.CrossEntropyLoss):
        factor = np.float32(1)

        def backward(self) -> Any:
            return super().backward() * self.factor

    if device != "cpu":
        pytest.skip("what a recorded step multiplies by is recorded with it")
    options: dict[str, Any] = {"clip_grad_norm": clip, "criterion": Criterion()}
    trainer = make_trainer(tmp_path, callbacks=[Explode()], **options)
    with pytest.raises(TrainingError, match=message):
        trainer.fit(samples())
    assert striate.load(tmp_path / "checkpoint.safetensors")[1]["training"]["step"] == 12


def test_a_validation_loss_that_is_not_finite_is_no_better(tmp_path: Path) -> None:
    """The weights are finite, but a picture that was not trained on overflows."""
    data = samples()
    order = permutation(len(data), 3, 0)
    data.images = data.images.astype(np.float32)
    data.images[order[0]] = np.inf  # held out
    data.transform = lambda images: images[:, None] / np.float32(255)
    trainer = make_trainer(tmp_path, "plateau", val_fraction=0.25)
    assert [m["val_loss"] for m in trainer.fit(data)] == [None] * 3
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """The loss before the last update may be finite, and that update not."""

    class Poison(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.step == 24:  # the last one of epoch 2
                next(iter(trainer.model.parameters())).data[...] = np.inf

    trainer = make_trainer(tmp_path, callbacks=[Poison()])
    with pytest.raises(TrainingError, match=r"0.weight is not finite at step 24 \(epoch 2\)"):
        trainer.fit(samples())
    arrays, description = striate.load(tmp_path / "checkpoint.safetensors")
    assert description["training"]["step"] == 12
    assert all(np.isfinite(a).all() for a in arrays.values())


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open

    class Full(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            monkeypatch.setattr("builtins.open", self.open)

        def open(self, path: Any, mode: str = "r", **options: Any) -> Any:
            if mode == "a":
                raise OSError(28, "No space left on device")
            return opened(path, mode, **options)

    trainer = make_trainer(tmp_path, callbacks=[Full()])
    with pytest.raises(OSError, match=r"metrics.jsonl: cannot be written \(No space left"):
        trainer.fit(samples())


def test_memory_that_ends_while_resuming_makes_no_checkpoint_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_trainer(tmp_path, callbacks=[StopAfter(14)]).fit(samples())
    trainer = make_trainer()
    before = state(trainer)
    load = trainer.optimizer.load_state_dict

    def short(state_dict: Any) -> None:
        monkeypatch.setattr(trainer.optimizer, "load_state_dict", load)
        raise MemoryError("100 bytes")

    monkeypatch.setattr(trainer.optimizer, "load_state_dict", short)
    with pytest.raises(MemoryError, match="100 bytes"):
        trainer.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert state(trainer) == before


def test_an_epoch_is_ended_again_where_memory_ends_for_the_best_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options: dict[str, Any] = {"schedule": "step", "val_fraction": 0.25, "patience": 2}
    (whole := make_trainer(**options)).fit(samples())
    trainer = make_trainer(**options)

    def short(array: Any) -> Any:
        monkeypatch.setattr("striate.trainer.trainer.to_host", to_host)
        raise MemoryError("100 bytes")

    monkeypatch.setattr("striate.trainer.trainer.to_host", short)
    with pytest.raises(MemoryError, match="100 bytes"):
        trainer.fit(samples())
    trainer.fit(samples())
    assert state(trainer) == state(whole)
    assert trainer.schedule.state_dict() == whole.schedule.state_dict()


def test_an_epoch_without_a_sample_needs_no_name(tmp_path: Path) -> None:
    """A checkpoint may say that nothing was read, and not why."""
    make_trainer(tmp_path, callbacks=[StopAfter(11)]).fit(samples())
    path = tmp_path / "checkpoint.safetensors"
    arrays, description = striate.load(path)
    steps = len(ShuffledBatches(len(samples()), 8, 3))
    description["training"]["step"], description["training"]["epoch"] = steps, 0
    description["training"]["partial"] = {"loss": 0.0, "seconds": 0.0, "seen": 0}
    striate.save(path, arrays, description)
    with pytest.raises(TrainingError, match="none of the .* training samples can be read$"):
        make_trainer().fit(samples(), resume=path)
