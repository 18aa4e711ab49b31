"""Trainings on pictures that stopped are resumed to the bit, or refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import striate
from picture_training import RECIPE, fails, small, train, weights
from pictures import photo
from small_training import StopAfter
from striate import optim
from striate.cli import main
from striate.data import ImageFolder
from striate.trainer import Callback, Trainer

pytestmark = pytest.mark.usefixtures("small_model")


@pytest.mark.parametrize("augment", ["paper", "random-resized-crop"])
def test_resumed_in_an_epoch_with_other_workers_equals_unbroken(
    photos: Path, tmp_path: Path, augment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--augment", augment, "--seed", "5", "--val-fraction", "0.2", "--pct-start", "0.5",
               "--resize", "18", "--crop", "16", "--lr", "0.001"]  # fmt: skip
    whole = train(photos, tmp_path / "whole", *options, "--workers", "0")

    with monkeypatch.context() as patched:
        stop = StopAfter(6)  # of 4 steps an epoch
        patched.setattr("striate.trainer.progress.progress", lambda watched: stop)
        command = ["train", "small", "--data", str(photos), "--out", str(tmp_path / "cut")]
        assert main([*command, *options, "--workers", "3"]) == 130
    rest = train(photos, tmp_path / "cut", "--resume", str(tmp_path / "cut"), "--workers", "1")
    times = {"seconds": 0, "data_seconds": 0, "images_per_second": 0}
    assert [line | times for line in rest] == [line | times for line in whole]
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    other = train(photos, tmp_path / "other", *options, "--augment", "none")
    assert other[0]["train_loss"] != whole[0]["train_loss"]


def test_other_pictures_are_refused_when_resuming(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(copied, tmp_path / "run", "--epochs", "1")
    photo("new", 30, 30).save(copied / "train" / "red" / "new.png")
    (copied / "train" / "red" / "00.png").unlink()
    error = fails(capsys, "train", "small", "--resume", tmp_path / "run")
    assert "was trained with data=" in error


def test_a_stop_in_the_middle_of_validation(photos: Path, tmp_path: Path) -> None:
    """The epoch's training is kept; resuming measures again, and ends as an unbroken run."""

    class StopInValidation(Callback):
        def on_validation_batch(self, trainer: Trainer, count: int, total: int) -> None:
            trainer.stop()

    def make(*callbacks: Callback) -> Trainer:
        striate.manual_seed(2)
        model = small(3)
        optimizer = optim.SGD(model.parameters(), 0.01, momentum=0.9)
        out = tmp_path / "run" if callbacks else None
        return Trainer(model, optimizer, epochs=2, batch_size=8, out=out, callbacks=callbacks)

    folder = ImageFolder(photos / "train", RECIPE.transform)
    val = ImageFolder(photos / "val", RECIPE.transform)
    (whole := make()).fit(folder, val)
    (first := make(StopInValidation())).fit(folder, val)
    assert (first.step, first.epoch, first.stopped) == (5, 0, True)
    rest = make()
    rest.fit(folder, val, resume=tmp_path / "run" / "checkpoint.safetensors")
    assert [m["val_loss"] for m in rest.history] == [m["val_loss"] for m in whole.history]


def test_an_older_checkpoint_is_resumed(photos: Path, tmp_path: Path) -> None:
    """Settings and sums that it does not hold stand at their defaults."""
    whole = train(photos, tmp_path / "whole")
    train(photos, out := tmp_path / "run")
    arrays, description = striate.load(out / "checkpoint.safetensors")
    for name in ("pct_start", "workers", "strict_data"):
        del description["settings"][name]
    assert set(description["training"]["partial"]) > {"loss", "seconds"}
    description["training"]["partial"] = {"loss": 0.0, "seconds": 0.0}
    striate.save(out / "checkpoint.safetensors", arrays, description)
    again = train(photos, out, "--resume", str(out))
    assert [line["train_loss"] for line in again] == [line["train_loss"] for line in whole]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (("arguments",), [3], r"the arguments of its model are \[3\], not named"),
        (("settings", "val_fraction"), 1e308, r"val_fraction is 1e\+308, not in \[0, 1\)"),
        (("settings", "val_fraction"), "a", "val_fraction is 'a', expected int or float"),
        (("settings", "patience"), "a", "patience is 'a', expected int"),
        (("settings", "clip_grad_norm"), {}, "clip_grad_norm is {}, expected int or float"),
        (("settings", "lr"), True, "lr is True, expected int or float"),
        (("settings", "epochs"), 0, "epochs is 0, expected at least 1"),
        (("settings", "freeze"), [1], r"freeze is \[1\], not a list of names"),
        (("data_folder",), 3, "data_folder is 3, expected str"),
    ],
)
def test_a_checkpoint_that_lies_is_refused(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: tuple[str, ...],
    value: Any,
    message: str,
) -> None:
    train(photos, out := tmp_path / "run", "--epochs", "1")
    arrays, description = striate.load(out / "checkpoint.safetensors")
    inner = description
    for name in key[:-1]:
        inner = inner[name]
    inner[key[-1]] = value
    striate.save(out / "checkpoint.safetensors", arrays, description)
    error = fails(capsys, "train", "small", "--resume", str(out))
    assert re.search(rf"checkpoint.safetensors: {message}$", error.strip())
