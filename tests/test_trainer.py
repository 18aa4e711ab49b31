"""Trainer: same seed, same bits, however it is stopped; what it writes, refuses and survives."""

from __future__ import annotations

import copy
import functools
import json
import math
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from checks import draw
from striate import models, nn, optim
from striate._device import to_host
from striate.checkpoint import CheckpointError
from striate.data.dataset import ArraySamples, Normalize, ShuffledBatches, permutation
from striate.optim import lr_scheduler
from striate.trainer import Callback, Trainer, TrainingError, evaluate

SAMPLES = 90  # 12 batches of 8, the last one of 2
_device = "cpu"


@pytest.fixture(autouse=True)
def everywhere(device: str) -> Iterator[None]:
    """Every test here runs on the CPU, and on CUDA, where the step is recorded and replayed."""
    global _device
    _device = device
    yield
    _device = "cpu"


def samples(count: int = SAMPLES) -> ArraySamples:
    """Images of three kinds that a small net can tell apart: bright top, middle or bottom."""
    generator = np.random.Generator(np.random.Philox(5))
    labels = generator.integers(0, 3, count)
    images = generator.integers(0, 120, (count, 6, 6)).astype(np.uint8)
    for image, label in zip(images, labels):
        image[2 * label : 2 * label + 2] += 100
    return ArraySamples(images, labels, Normalize(0.3, 0.3))


class StopAfter(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        if trainer.step == self.step:
            trainer.stop()


def make_trainer(out: Path | None = None, schedule: str = "one-cycle", **options: Any) -> Trainer:
    striate.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.25),
        nn.Linear(16, 3),
    )  # fmt: skip
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    schedules = {
        "one-cycle": lambda: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=36),
        "step": lambda: lr_scheduler.StepLR(optimizer, 1, 0.5),
        "plateau": lambda: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
    }
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 8, "seed": 3, "out": out}
    settings["device"] = _device
    return Trainer(model, optimizer, schedule=schedules[schedule](), **(settings | options))


def state(trainer: Trainer) -> dict[str, Any]:
    """All that must be equal, to the bit."""
    velocities = trainer.optimizer.state_dict()["state"]
    times = ("seconds", "data_seconds", "images_per_second")
    history = [{k: v for k, v in m.items() if k not in times} for m in trainer.history]
    arrays = {**trainer.model.state_dict(),
              **{f"v{i}": e["momentum_buffer"] for i, e in velocities.items()}}  # fmt: skip
    return {"history": history, "step": trainer.step,
            "arrays": {k: to_host(v).tobytes() for k, v in arrays.items()}}  # fmt: skip


@pytest.fixture
def undisturbed(device: str) -> dict[str, Any]:
    return _undisturbed(device)


@functools.cache
def _undisturbed(device: str) -> dict[str, Any]:
    trainer = make_trainer()
    trainer.fit(samples(), validation=samples())
    assert trainer.history[-1]["val_accuracy"] > 0.9  # it learns
    assert trainer.notes == []
    return state(trainer)


def test_same_seed_same_bits_for_any_number_of_threads(undisturbed: dict[str, Any]) -> None:
    threads = striate.get_num_threads()
    try:
        for count in (1, 2, 3, 5, 8):
            striate.set_num_threads(count)
            trainer = make_trainer()
            trainer.fit(samples(), validation=samples())
            assert state(trainer) == undisturbed
    finally:
        striate.set_num_threads(threads)
    other = make_trainer(seed=4)
    other.fit(samples(), validation=samples())
    assert state(other) != undisturbed


@pytest.mark.parametrize("step", [1, 5, 11, 12, 13, 24, 30, 35])
def test_a_run_stopped_after_any_step_and_resumed_is_equal(
    tmp_path: Path, undisturbed: dict[str, Any], step: int
) -> None:
    first = make_trainer(tmp_path, callbacks=[StopAfter(step)])
    first.fit(samples(), validation=samples())
    assert first.stopped
    assert first.step == step
    assert not (tmp_path / "model.safetensors").exists()
    second = make_trainer(tmp_path)
    striate.manual_seed(99)  # what happened outside the trainer does not matter
    second.fit(samples(), validation=samples(), resume=tmp_path / "checkpoint.safetensors")
    assert not second.stopped
    assert state(second) == undisturbed
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize(
    ("schedule", "options"),
    [("step", {"clip_grad_norm": 0.5}), ("plateau", {"val_fraction": 0.2, "patience": 2})],
)
def test_resumes_schedules_validation_and_early_stopping(
    tmp_path: Path, schedule: str, options: dict[str, Any]
) -> None:
    whole = make_trainer(schedule=schedule, **options)
    whole.fit(samples())
    half = make_trainer(tmp_path, schedule, callbacks=[StopAfter(14)], **options)
    half.fit(samples())
    rest = make_trainer(tmp_path, schedule, **options)
    rest.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert state(rest) == state(whole)


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


def test_after_a_loss_that_is_not_finite_the_process_goes_on(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
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
    assert state(trainer) == undisturbed


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
def test_an_exploding_gradient(tmp_path: Path, clip: float | None, message: str) -> None:
    """With clipping it is found before the update, without it at the next loss."""

    class Explode(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            trainer.criterion.factor = np.float32(3e38 if trainer.step == 13 else 1)

    class Criterion(nn.CrossEntropyLoss):
        factor = np.float32(1)

        def backward(self) -> Any:
            return super().backward() * self.factor

    if _device != "cpu":
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


@pytest.mark.parametrize(
    "lie",
    [
        {"step": "x"}, {"step": 10**30}, {"epoch": -5}, {"epoch": 2}, {"partial": {}},
        {"partial": {"loss": "inf", "seconds": 1}},
        {"partial": {"loss": 1, "seconds": 1, "seen": 17}},
        {"partial": {"loss": 1, "seconds": 1, "seen": 15, "skipped": 2}},
        {"partial": {"loss": 1, "seconds": 1, "seen": 15, "skipped": 1, "named": ["a", "b"]}},
        {"history": "x"}, {"history": [1]}, {"best": {}}, {"best": {"loss": 1, "epoch": 9}},
        {"best": {"loss": "nan", "epoch": 1}}, {"step": 14.5},
        {"step": True, "epoch": False}, {"optimizer": []}, {"schedule": {}},
        {"settings": 3}, {"format": 99},
    ],
)  # fmt: skip
def test_refuses_a_checkpoint_that_lies_and_changes_nothing(
    tmp_path: Path, lie: dict[str, Any]
) -> None:
    make_trainer(tmp_path, callbacks=[StopAfter(14)]).fit(samples())
    path = tmp_path / "checkpoint.safetensors"
    arrays, description = striate.load(path)
    description["training"] |= lie
    striate.save(path, {k: v + 1 for k, v in arrays.items()}, description)
    trainer = make_trainer()
    before, schedule = state(trainer), trainer.schedule.state_dict()
    with pytest.raises(CheckpointError, match=re.escape(f"{path}: ")):
        trainer.fit(samples(), resume=path)
    assert state(trainer) == before
    assert trainer.schedule.state_dict() == schedule


@pytest.mark.parametrize(
    ("schedule", "name", "value"),
    [
        ("step", "gamma", 1e300), ("step", "step_size", 0), ("step", "last_epoch", "1"),
        ("step", "last_epoch", -1), ("step", "last_epoch", 10**20), ("step", "base_lrs", 3),
        ("step", "base_lrs", [float("nan")]), ("step", "_last_lr", [0.1, 0.1]),
        ("step", "_last_lr", None), ("one-cycle", "total_steps", 0),
        ("one-cycle", "total_steps", 9),
        ("one-cycle", "anneal_strategy", "up"), ("one-cycle", "three_phase", "yes"),
        ("one-cycle", "pct_start", [0.3]), ("plateau", "best", "low"), ("plateau", "mode", "max"),
        ("plateau", "num_bad_epochs", 0.5), ("plateau", "min_lrs", {}),
    ],
)  # fmt: skip
def test_refuses_a_schedule_that_lies(tmp_path: Path, schedule: str, name: str, value: Any) -> None:
    options: dict[str, Any] = {"val_fraction": 0.2} if schedule == "plateau" else {}
    make_trainer(tmp_path, schedule, callbacks=[StopAfter(14)], **options).fit(samples())
    path = tmp_path / "checkpoint.safetensors"
    arrays, description = striate.load(path)
    description["training"]["schedule"][name] = value
    description = json.loads(json.dumps(description), parse_constant=str)  # NaN is no JSON
    striate.save(path, arrays, description)
    trainer = make_trainer(schedule=schedule, **options)
    before, kept = state(trainer), trainer.schedule.state_dict()
    with pytest.raises(CheckpointError, match=re.escape(f"{path}: ")):
        trainer.fit(samples(), resume=path)
    assert state(trainer) == before
    assert trainer.schedule.state_dict() == kept


class Warmup(lr_scheduler.StepLR):
    """One of a user's own, with what it was made with and what it counts."""

    def __init__(self, optimizer: Any) -> None:
        self.shape, self.until, self.offset = (1, 2), None, -1
        self.counts = {"steps": 0}
        super().__init__(optimizer, 1, 0.5)

    def step(self) -> None:
        self.counts = {"steps": self.counts["steps"] + 1}
        super().step()


def test_a_schedule_of_a_users_own_resumes(tmp_path: Path) -> None:
    def make(out: Path, *callbacks: Callback) -> Trainer:
        trainer = make_trainer(out, "step", callbacks=callbacks)
        trainer.schedule = Warmup(trainer.optimizer)
        return trainer

    whole = make(tmp_path / "whole")
    whole.fit(samples())
    make(tmp_path, StopAfter(14)).fit(samples())
    resumed = make(tmp_path / "resumed")
    resumed.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert state(resumed) == state(whole)
    assert resumed.schedule.counts == {"steps": 4}


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


def test_refuses_an_optimizer_that_lies(tmp_path: Path) -> None:
    make_trainer(tmp_path, callbacks=[StopAfter(14)]).fit(samples())
    path = tmp_path / "checkpoint.safetensors"
    arrays, description = striate.load(path)
    for name in ("lr", "max_lr", "initial_lr"):
        lie = copy.deepcopy(description)
        lie["training"]["optimizer"][0][name] = "fast"
        striate.save(path, arrays, lie)
        with pytest.raises(CheckpointError, match=f"{name} must be a number, got 'fast'"):
            make_trainer().fit(samples(), resume=path)


def test_resuming_on_another_instruction_set_says_so(tmp_path: Path) -> None:
    make_trainer(tmp_path, callbacks=[StopAfter(3)]).fit(samples())
    path = tmp_path / "checkpoint.safetensors"
    arrays, description = striate.load(path)
    description["training"]["isa"] = "avx1024"
    striate.save(path, arrays, description)
    trainer = make_trainer()
    trainer.fit(samples(), resume=path)
    assert trainer.notes[0].startswith("the checkpoint was written with isa avx1024, this is")


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "was trained with seed=3, so it cannot be resumed with seed=4"),
        ({"batch_size": 9}, "was trained with batch_size=8"),
        ({"epochs": 4}, "was trained with epochs=3"),
        ({"schedule": "step"}, "was trained with schedule=OneCycleLR"),
    ],
)
def test_refuses_to_resume_with_other_settings(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    make_trainer(tmp_path, callbacks=[StopAfter(3)]).fit(samples())
    trainer = make_trainer(tmp_path / "new", **change)
    before = state(trainer)
    with pytest.raises(CheckpointError, match=message):
        trainer.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert state(trainer) == before


def test_refuses_a_checkpoint_of_another_model_and_changes_nothing(tmp_path: Path) -> None:
    make_trainer(tmp_path, callbacks=[StopAfter(3)]).fit(samples())
    trainer = make_trainer()
    other = nn.Parameter(draw("other", (4, 1, 2, 2)))
    trainer.model.nodes[0].layer.weight = other.to(_device)
    before = state(trainer)
    with pytest.raises(CheckpointError, match=r"shape of 0.weight: \(4, 1, 3, 3\) given"):
        trainer.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert state(trainer) == before
    striate.save(tmp_path / "m", trainer.model.state_dict(), {})
    with pytest.raises(CheckpointError, match="holds a model but no training to resume"):
        trainer.fit(samples(), resume=tmp_path / "m")


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
