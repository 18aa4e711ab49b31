"""Pictures that cannot be read are left out of a training, named and counted, or refused."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from picture_training import RECIPE, fails, small, train, weights
from small_training import StopAfter
from striate import nn, optim
from striate.cli import main
from striate.data import ImageFolder
from striate.trainer import Callback, Trainer, TrainingError

pytestmark = pytest.mark.usefixtures("small_model")


def break_pictures(copied: Path) -> list[Path]:
    names = ("blue/00.png", "red/01.JPEG", "red/05.jpg", "green/08.jpg")
    broken = [copied / "train" / name for name in names]
    broken[0].write_text("no picture")
    broken[1].write_bytes(broken[1].read_bytes()[:400])
    broken[2].write_bytes(b"")
    broken[3].unlink()
    broken[3].symlink_to("nowhere")
    return broken


def test_broken_pictures_are_named_counted_and_left_out(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = break_pictures(copied)
    (copied / "val" / "red" / "00.png").write_text("no picture")
    lines = train(copied, tmp_path / "run", "--epochs", "2")
    assert [line["skipped"] for line in lines] == [4, 4]
    printed = capsys.readouterr().out
    said = re.findall(r"skipped 4 training pictures that cannot be read: (.*)", printed)
    assert len(said) == 2
    for line in said:
        assert sum(f"{path}: " in line for path in broken) == 3
        assert line.endswith("; ...")
    assert printed.count("skipped 1 validation picture that cannot be read: ") == 2
    assert "on 11 images" in printed.splitlines()[-1]
    # The losses are those of the pictures that were seen.
    for path in broken:
        path.unlink()
    assert main(["eval", str(tmp_path / "run")]) == 0
    assert "skipped 1 test picture that cannot be read" in capsys.readouterr().out


def test_strict_data_refuses_the_first_one_and_keeps_the_steps_before(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(copied, tmp_path / "whole")
    path = copied / "train" / "blue" / "00.png"
    content = path.read_bytes()
    path.write_text("no picture")
    out = tmp_path / "run"
    argv = ["train", "small", "--data", copied, "--out", out, "--strict-data"]
    assert f"error: {path}: not a picture" in fails(capsys, *argv)
    _, description = striate.load(out / "checkpoint.safetensors")
    assert 0 <= description["training"]["step"] < 5
    assert description["settings"]["strict_data"] is True
    path.write_bytes(content)  # repaired
    assert train(copied, out, "--resume", str(out))[-1]["train_loss"] == whole[-1]["train_loss"]
    assert weights(out) == weights(tmp_path / "whole")

    (path := copied / "val" / "red" / "00.png").write_text("no picture")
    argv = ["eval", out, "--data", copied, "--strict-data"]
    assert f"error: {path}: not" in fails(capsys, *argv)


def test_nothing_can_be_read(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(copied, tmp_path / "run", "--epochs", "1")
    for part, what in (("val", "none of the 12 samples"), ("train", "none of the 36 training")):
        for path in (copied / part).glob("*/*"):
            path.write_text("no picture")
        error = fails(capsys, "train", "small", "--data", copied, "--out", tmp_path / f"no {part}")
        assert what in error
        assert "not a picture" in error
    assert "none of the 12 samples can be read" in fails(capsys, "eval", tmp_path / "run")


def test_a_batch_without_a_picture_counts_as_a_step(copied: Path) -> None:
    """So that a resumed run stays exact; weights and momentum do not move."""
    for path in (copied / "train" / "blue").iterdir():
        path.write_text("no picture")
    folder = ImageFolder(copied / "train", RECIPE.transform)
    losses: list[float] = []

    class Watch(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            losses.append(loss)

    model = small(3)
    optimizer = optim.SGD(model.parameters(), 0.01)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=36, cycle_momentum=False)
    trainer = Trainer(
        model, optimizer, epochs=1, batch_size=1, schedule=schedule, callbacks=[Watch()]
    )
    (metrics,) = trainer.fit(folder)
    assert (trainer.step, schedule.last_epoch, metrics["skipped"]) == (36, 36, 12)
    assert sum(map(math.isnan, losses)) == 12
    seen = [loss for loss in losses if not math.isnan(loss)]
    assert metrics["train_loss"] == pytest.approx(np.mean(seen))
    for path in folder.paths:
        Path(path).write_text("no picture")
    before = [p.data.copy() for p in model.parameters()]
    with pytest.raises(TrainingError, match="none of the 36 training samples can be read"):
        Trainer(model, optimizer, epochs=1, batch_size=8).fit(folder)
    for parameter, kept in zip(model.parameters(), before):
        np.testing.assert_array_equal(parameter.data, kept)


def test_skipped_pictures_survive_a_stop(copied: Path, tmp_path: Path) -> None:
    break_pictures(copied)

    def make(*callbacks: Callback, out: Path | None = None) -> Trainer:
        striate.manual_seed(1)
        model = small(3)
        optimizer = optim.SGD(model.parameters(), 0.01)
        return Trainer(model, optimizer, epochs=1, batch_size=8, out=out, callbacks=callbacks)

    folder = ImageFolder(copied / "train", RECIPE.transform)
    (whole := make()).fit(folder)
    make(StopAfter(4), out=tmp_path / "run").fit(folder)
    rest = make(out=tmp_path / "run")
    rest.fit(folder, resume=tmp_path / "run" / "checkpoint.safetensors")
    assert rest.skipped == whole.skipped
    for name in ("train_loss", "skipped"):
        assert rest.history[0][name] == whole.history[0][name]


def test_skipped_pictures_are_counted_once_where_memory_ends_before_the_step(
    copied: Path,
) -> None:
    break_pictures(copied)
    folder = ImageFolder(copied / "train", RECIPE.transform)

    class Short(nn.CrossEntropyLoss):
        calls = 0

        def __call__(self, *arguments: Any) -> Any:
            self.calls += 1
            if self.calls in (1, 2, 4):
                raise MemoryError("100 bytes")
            return super().__call__(*arguments)

    def make(criterion: nn.CrossEntropyLoss) -> Trainer:
        striate.manual_seed(1)
        model = small(3)
        optimizer = optim.SGD(model.parameters(), 0.01)
        return Trainer(model, optimizer, criterion, epochs=1, batch_size=18)

    (whole := make(nn.CrossEntropyLoss())).fit(folder)
    short = make(Short())
    for step in (1, 1, 2):
        with pytest.raises(MemoryError, match=f"100 bytes at step {step} "):
            short.fit(folder)
    short.fit(folder)
    assert short.history[0]["skipped"] == whole.history[0]["skipped"] == 4
    assert short.history[0]["train_loss"] == whole.history[0]["train_loss"]
    assert short.skipped == whole.skipped
