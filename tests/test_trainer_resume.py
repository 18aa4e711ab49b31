"""A run that was stopped and resumed equals one that was not; what is refused changes nothing."""

from __future__ import annotations

import copy
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

import striate
from checks import draw
from small_training import StopAfter, make_trainer, samples, state, undisturbed
from striate import nn
from striate.checkpoint import CheckpointError
from striate.optim import lr_scheduler
from striate.trainer import Callback, Trainer, TrainingError
from striate.trainer.progress import Lines

pytestmark = pytest.mark.usefixtures("training_device")


@pytest.mark.parametrize("step", [1, 5, 11, 12, 13, 24, 30, 35])
def test_a_run_stopped_after_any_step_and_resumed_is_equal(
    tmp_path: Path, device: str, step: int
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
    assert state(second) == undisturbed(device)
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


def test_resuming_on_another_instruction_set_says_so(tmp_path: Path) -> None:
    make_trainer(tmp_path, callbacks=[StopAfter(3)]).fit(samples())
    path = tmp_path / "checkpoint.safetensors"
    arrays, description = striate.load(path)
    description["training"]["isa"] = "avx1024"
    striate.save(path, arrays, description)
    trainer = make_trainer()
    trainer.fit(samples(), resume=path)
    assert trainer.notes[0].startswith("the checkpoint was written with isa avx1024, this is")


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


def test_refuses_a_checkpoint_of_another_model_and_changes_nothing(
    tmp_path: Path, device: str
) -> None:
    make_trainer(tmp_path, callbacks=[StopAfter(3)]).fit(samples())
    trainer = make_trainer()
    other = nn.Parameter(draw("other", (4, 1, 2, 2)))
    trainer.model.nodes[0].layer.weight = other.to(device)
    before = state(trainer)
    with pytest.raises(CheckpointError, match=r"shape of 0.weight: \(4, 1, 3, 3\) given"):
        trainer.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert state(trainer) == before
    striate.save(tmp_path / "m", trainer.model.state_dict(), {})
    with pytest.raises(CheckpointError, match="holds a model but no training to resume"):
        trainer.fit(samples(), resume=tmp_path / "m")


@pytest.mark.parametrize(
    "lie",
    [
        {"step": "x"}, {"step": 10**30}, {"epoch": -5}, {"epoch": 2}, {"partial": {}},
        {"partial": {"loss": "inf", "seconds": 1}},
        {"partial": {"loss": 1, "seconds": 1, "seen": 17}},
        {"partial": {"loss": 1, "seconds": 1, "seen": 0, "skipped": 0}},
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
        ("step", "last_epoch", -1), ("step", "last_epoch", 10**20),
        ("step", "last_epoch", 2**31 - 1), ("step", "base_lrs", 3),
        ("step", "base_lrs", [float("nan")]), ("step", "base_lrs", [-0.1]),
        ("step", "_last_lr", [0.1, 0.1]), ("step", "_last_lr", None),
        ("one-cycle", "total_steps", 0), ("one-cycle", "total_steps", 9),
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


def test_refuses_an_optimizer_that_lies(tmp_path: Path) -> None:
    make_trainer(tmp_path, callbacks=[StopAfter(14)]).fit(samples())
    path = tmp_path / "checkpoint.safetensors"
    arrays, description = striate.load(path)
    for name in ("lr", "max_lr", "initial_lr"):
        for value, must in (("fast", "a number"), (-0.1, "a finite float32 number, at least 0")):
            lie = copy.deepcopy(description)
            lie["training"]["optimizer"][0][name] = value
            striate.save(path, arrays, lie)
            with pytest.raises(CheckpointError, match=f"{name} must be {must}, got {value!r}"):
                make_trainer().fit(samples(), resume=path)


@pytest.mark.parametrize("floor", [0.0, -1.0])
def test_a_run_of_options_that_no_file_may_say_stays_as_it_was(
    tmp_path: Path, floor: float
) -> None:
    """What is refused is put back as it was, which need not pass for a file's."""

    def make() -> Trainer:
        trainer = make_trainer(tmp_path, "plateau", val_fraction=0.2, callbacks=[StopAfter(14)])
        trainer.schedule = lr_scheduler.ReduceLROnPlateau(trainer.optimizer, min_lr=floor)
        return trainer

    make().fit(samples())
    path = tmp_path / "checkpoint.safetensors"
    make().fit(samples(), resume=path)
    arrays, description = striate.load(path)
    description["training"]["schedule"]["_last_lr"] = "x"
    striate.save(path, arrays, description)
    trainer = make()
    trainer.optimizer.param_groups[0]["lr"] = -0.5
    before, schedule = state(trainer), trainer.schedule.state_dict()
    with pytest.raises(CheckpointError, match="_last_lr must be like"):
        trainer.fit(samples(), resume=path)
    assert state(trainer) == before
    assert trainer.schedule.state_dict() == schedule
    assert trainer.optimizer.param_groups[0]["lr"] == -0.5


def test_a_linear_cycle_that_has_ended_resumes(tmp_path: Path) -> None:
    def make() -> Trainer:
        trainer = make_trainer(tmp_path)
        trainer.schedule = lr_scheduler.OneCycleLR(
            trainer.optimizer, 0.1, total_steps=36, anneal_strategy="linear"
        )
        return trainer

    whole, again = make(), make()
    whole.fit(samples())
    again.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert state(again) == state(whole)


def test_a_cycle_that_patience_may_end_before_resumes(tmp_path: Path) -> None:
    def make(stop: int) -> Trainer:
        options: dict[str, Any] = {"schedule_every": "epoch", "val_fraction": 0.2, "patience": 1}
        trainer = make_trainer(tmp_path, epochs=8, callbacks=[StopAfter(stop)], **options)
        trainer.schedule = lr_scheduler.OneCycleLR(trainer.optimizer, 0.1, total_steps=4)
        return trainer

    make(14).fit(samples())
    resumed = make(20)
    resumed.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert resumed.step == 20


@pytest.mark.parametrize("group", ["model", "best"])
def test_weights_that_are_not_finite_are_never_a_result(tmp_path: Path, group: str) -> None:
    """Those of a run that had ended, too, which takes no step any more."""
    options: dict[str, Any] = {"val_fraction": 0.2, "patience": 5}
    make_trainer(tmp_path, "step", **options).fit(samples())
    path = tmp_path / "checkpoint.safetensors"
    arrays, description = striate.load(path)
    arrays[f"{group}/5.bias"][0] = float("nan")
    if group == "model":
        arrays = {name: array for name, array in arrays.items() if not name.startswith("best/")}
    striate.save(path, arrays, description)
    whole = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(TrainingError, match=r"^5\.bias is not finite at step 27"):
        make_trainer(tmp_path, "step", **options).fit(samples(), resume=path)
    assert (tmp_path / "model.safetensors").read_bytes() == whole


def test_the_names_of_a_file_are_shown_as_text(tmp_path: Path) -> None:
    make_trainer(tmp_path, callbacks=[StopAfter(14)]).fit(samples())
    path = tmp_path / "checkpoint.safetensors"
    arrays, description = striate.load(path)
    lie = {"seen": 15, "skipped": 1, "named": ["a\x1b[31m\n\ud800"]}
    description["training"]["partial"] |= lie
    striate.save(path, arrays, description)
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
    make_trainer(callbacks=[Lines("test", stream)]).fit(samples(), resume=path)
    stream.seek(0)
    assert stream.read().splitlines()[1].endswith(r"read: a\x1b[31m\n\ud800")
