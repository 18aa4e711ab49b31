"""Training, resuming, measuring and predicting on folders of pictures, from the command line."""

from __future__ import annotations

import json
import math
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from pictures import COLOURS, make_folder, photo
from striate import models, nn, optim, recipes
from striate.cli import main
from striate.data import ImageFolder, ImageTransform
from striate.data.dataset import Normalize
from striate.trainer import Callback, Trainer, TrainingError

SIDE = 16
RECIPE = recipes.Recipe(ImageTransform("crop", 20, SIDE), 3, 8, 0.05, 0.9, 1e-4)


def small(num_classes: int = 1000) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.25),
        nn.Linear(36, num_classes),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``striate train small``; and no thread outlives a command."""
    monkeypatch.setitem(models.MODELS, "small", small)
    monkeypatch.setitem(recipes.RECIPES, "small", RECIPE)
    before = set(threading.enumerate())
    yield
    assert not set(threading.enumerate()) - before


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data"), train=12, val=4)


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data, tmp_path / "copy"))


def train(data: Path, out: Path, *options: str) -> list[dict[str, Any]]:
    assert main(["train", "small", "--data", str(data), "--out", str(out), *options]) == 0
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path) -> dict[str, bytes]:
    arrays, _ = striate.load(run / "model.safetensors")
    return {name: array.tobytes() for name, array in arrays.items()}


def fails(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The error text of a command that must end with exit code 2 and one sentence."""
    try:
        code = main([str(arg) for arg in argv])
    except SystemExit as exit:
        code = exit.code
    assert code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_a_run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out := tmp_path / "run").mkdir()
    shutil.copytree(data, copy := tmp_path / "data")
    (copy / "classes.json").write_text('{"red": "rouge", "green": "vert"}')
    lines = train(copy, out, "--epochs", "6")
    printed = capsys.readouterr().out
    assert "36 training and 12 test images" in printed
    assert "3 classes; pictures 16x16 from 20 (random crop, mirror)" in printed
    assert lines[-1]["val_accuracy"] > 0.8
    assert all(0 <= line["data_seconds"] <= line["seconds"] for line in lines)
    assert {line["skipped"] for line in lines} == {0}
    _, description = striate.load(out / "model.safetensors")
    assert description["class_folders"] == ["blue", "green", "red"]
    assert description["classes"] == ["blue", "vert", "rouge"]
    assert ImageTransform.from_description(description["transform"]) == RECIPE.transform

    # eval: the run's own data, DIR with val/, and DIR with classes, are the same pictures.
    assert main(["eval", str(out)]) == 0
    first = capsys.readouterr().out
    accuracy = f"{lines[-1]['val_accuracy']:.2%}"
    assert re.match(rf"small: test accuracy {accuracy}, loss \d\.\d+ on 12 images of", first)
    for folder in (data, data / "val"):
        assert main(["eval", str(out), "--data", str(folder), "--workers", "0"]) == 0
        assert capsys.readouterr().out.split(" of ")[0] == first.split(" of ")[0]
    assert main(["eval", str(out), "--data", str(data), "--ten-crop"]) == 0
    assert "on 12 images of" in (ten := capsys.readouterr().out)
    assert "(ten crops)" in ten

    # predict: names and preprocessing come from the checkpoint.
    pictures = [str(next((data / "val" / name).iterdir())) for name in COLOURS]
    assert main(["predict", str(out), *pictures, "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["top"][0]["class"] for answer in answers] == ["rouge", "vert", "blue"]
    assert main(["predict", str(out), pictures[0], "--top", "2"]) == 0
    assert re.fullmatch(r".*: rouge \d+\.\d%   \w+ \d+\.\d%\n", capsys.readouterr().out)


@pytest.mark.parametrize("augment", ["paper", "random-resized-crop"])
def test_resumed_in_an_epoch_with_other_workers_equals_unbroken(
    data: Path, tmp_path: Path, augment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--augment", augment, "--seed", "5", "--val-fraction", "0.2", "--pct-start", "0.5",
               "--resize", "18", "--crop", "16", "--lr", "0.001"]  # fmt: skip
    whole = train(data, tmp_path / "whole", *options, "--workers", "0")

    class StopAfter(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.step == 6:  # of 4 an epoch
                trainer.stop()

    with monkeypatch.context() as patched:
        patched.setattr("striate.trainer.progress.progress", lambda watched: StopAfter())
        command = ["train", "small", "--data", str(data), "--out", str(tmp_path / "cut"), *options]
        assert main([*command, "--workers", "3"]) == 130
    rest = train(data, tmp_path / "cut", "--resume", str(tmp_path / "cut"), "--workers", "1")
    times = {"seconds": 0, "data_seconds": 0, "images_per_second": 0}
    assert [line | times for line in rest] == [line | times for line in whole]
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    other = train(data, tmp_path / "other", *options, "--augment", "none")
    assert other[0]["train_loss"] != whole[0]["train_loss"]


# --- what cannot be read -------------------------------------------------------------------------


def break_pictures(copy: Path) -> list[Path]:
    broken = [copy / "train" / "blue" / "00.png", copy / "train" / "red" / "01.JPEG",
              copy / "train" / "red" / "05.jpg", copy / "train" / "green" / "08.jpg"]  # fmt: skip
    broken[0].write_text("no picture")
    broken[1].write_bytes(broken[1].read_bytes()[:400])
    broken[2].write_bytes(b"")
    broken[3].unlink()
    broken[3].symlink_to("nowhere")
    return broken


def test_broken_pictures_are_named_counted_and_left_out(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = break_pictures(copy)
    (copy / "val" / "red" / "00.png").write_text("no picture")
    lines = train(copy, tmp_path / "run", "--epochs", "2")
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
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(copy, tmp_path / "whole")
    path = copy / "train" / "blue" / "00.png"
    content = path.read_bytes()
    path.write_text("no picture")
    out = tmp_path / "run"
    argv = ["train", "small", "--data", copy, "--out", out, "--strict-data"]
    assert f"error: {path}: not a picture" in fails(capsys, *argv)
    _, description = striate.load(out / "checkpoint.safetensors")
    assert 0 <= description["training"]["step"] < 5
    assert description["settings"]["strict_data"] is True
    path.write_bytes(content)  # repaired
    assert train(copy, out, "--resume", str(out))[-1]["train_loss"] == whole[-1]["train_loss"]
    assert weights(out) == weights(tmp_path / "whole")

    (copy / "val" / "red" / "00.png").write_text("no picture")
    argv = ["eval", out, "--data", copy]
    assert f"error: {copy / 'val' / 'red' / '00.png'}: not" in fails(capsys, *argv, "--strict-data")


def test_nothing_can_be_read(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(copy, tmp_path / "run", "--epochs", "1")
    for part, what in (("val", "none of the 12 samples"), ("train", "none of the 36 training")):
        for path in (copy / part).glob("*/*"):
            path.write_text("no picture")
        error = fails(capsys, "train", "small", "--data", copy, "--out", tmp_path / f"no {part}")
        assert what in error
        assert "not a picture" in error
    assert "none of the 12 samples can be read" in fails(capsys, "eval", tmp_path / "run")


def test_a_batch_without_a_picture_counts_as_a_step(copy: Path) -> None:
    """So that a resumed run stays exact; weights and momentum do not move."""
    for path in (copy / "train" / "blue").iterdir():
        path.write_text("no picture")
    folder = ImageFolder(copy / "train", RECIPE.transform)
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
    for parameter, data in zip(model.parameters(), before):
        np.testing.assert_array_equal(parameter.data, data)


def test_skipped_pictures_survive_a_stop(copy: Path, tmp_path: Path) -> None:
    break_pictures(copy)

    class StopAfter(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.step == 4:
                trainer.stop()

    def make(*callbacks: Callback, out: Path | None = None) -> Trainer:
        striate.manual_seed(1)
        model = small(3)
        optimizer = optim.SGD(model.parameters(), 0.01)
        return Trainer(model, optimizer, epochs=1, batch_size=8, out=out, callbacks=callbacks)

    folder = ImageFolder(copy / "train", RECIPE.transform)
    (whole := make()).fit(folder)
    make(StopAfter(), out=tmp_path / "run").fit(folder)
    rest = make(out=tmp_path / "run")
    rest.fit(folder, resume=tmp_path / "run" / "checkpoint.safetensors")
    assert rest.skipped == whole.skipped
    for name in ("train_loss", "skipped"):
        assert rest.history[0][name] == whole.history[0][name]


def test_skipped_pictures_are_counted_once_where_memory_ends_before_the_step(copy: Path) -> None:
    break_pictures(copy)
    folder = ImageFolder(copy / "train", RECIPE.transform)

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


def test_classes_that_do_not_fit(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "train" / "empty").mkdir()
    (copy / "val" / "mauve").mkdir()
    shutil.copy(copy / "val" / "red" / "00.png", copy / "val" / "mauve")
    train(copy, tmp_path / "run", "--epochs", "1")
    captured = capsys.readouterr()
    assert "note: " in captured.err
    assert "1 folder without a picture: 'empty'; left out" in captured.err
    assert "1 folder of no class of the training set, 1 picture: 'mauve'" in captured.err
    assert "12 test images" in captured.out
    error = fails(capsys, "train", "small", "--data", copy, "--strict-data", "--out",
                  tmp_path / "strict")  # fmt: skip
    assert "without a picture: 'empty'" in error
    assert not (tmp_path / "strict").exists()
    assert main(["eval", str(tmp_path / "run"), "--data", str(copy)]) == 0
    captured = capsys.readouterr()
    assert "1 folder of no class of the training set, 1 picture: 'mauve'; left out" in captured.err
    assert "on 12 images of" in captured.out
    error = fails(capsys, "eval", tmp_path / "run", "--data", copy, "--strict-data")
    assert "1 folder of no class of the training set, 1 picture: 'mauve'" in error
    shutil.rmtree(copy / "val" / "mauve")
    shutil.rmtree(copy / "val" / "red")
    assert main(["eval", str(tmp_path / "run"), "--data", str(copy)]) == 0
    assert "on 8 images" in capsys.readouterr().out


# --- settings ------------------------------------------------------------------------------------


def test_recipes_are_the_papers() -> None:
    for name, augment, crop in (("alexnet", "random-resized-crop", 224),
                                ("alexnet_2012", "paper", 227)):  # fmt: skip
        recipe = recipes.RECIPES[name]
        assert (recipe.batch_size, recipe.momentum, recipe.weight_decay) == (128, 0.9, 5e-4)
        assert (recipe.lr, recipe.schedule, recipe.epochs) == (0.01, "plateau", 90)
        assert recipe.val_fraction == 0.05
        assert isinstance(recipe.transform, ImageTransform)
        shape = (recipe.transform.augment, recipe.transform.resize, recipe.transform.crop)
        assert shape == (augment, 256, crop)


@pytest.mark.parametrize(
    ("options", "fraction"),
    [
        ([], 0.25), (["--schedule", "plateau"], 0.25), (["--schedule", "one-cycle"], 0.0),
        (["--schedule", "constant", "--patience", "1"], 0.25),
        (["--schedule", "cosine", "--val-fraction", "0.5"], 0.5),
    ],
)  # fmt: skip
def test_the_recipes_split_is_made_where_something_watches_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], fraction: float
) -> None:
    plateau = recipes.Recipe(RECIPE.transform, 1, 8, 0.01, 0.9, 0, "plateau", 0.25)
    monkeypatch.setitem(recipes.RECIPES, "small", plateau)
    train(data, tmp_path / "run", *options)
    _, description = striate.load(tmp_path / "run" / "model.safetensors")
    assert description["settings"]["val_fraction"] == fraction


def test_pct_start(data: Path, tmp_path: Path) -> None:
    rates = [
        [line["learning_rate"] for line in train(data, tmp_path / x, "--pct-start", x)]
        for x in ("0.2", "0.8")
    ]
    assert rates[0][0] > rates[0][1]  # past the peak
    assert rates[1][0] < rates[1][1]


def test_refusals(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    train(data, out, "--epochs", "1")
    capsys.readouterr()
    text = tmp_path / "text.jpeg"
    text.write_text("no picture")
    halves = {name: tmp_path / name for name in ("half-train", "half-val", "neither")}
    (halves["half-train"] / "train").mkdir(parents=True)
    (halves["half-val"] / "val").mkdir(parents=True)
    halves["neither"].mkdir()
    lie = tmp_path / "lie.safetensors"
    arrays, description = striate.load(out / "model.safetensors")
    striate.save(lie, arrays, description | {"class_folders": ["x"]})
    worse = tmp_path / "worse.safetensors"
    striate.save(worse, arrays, description | {"transform": {"kind": "images", "crop": -1}})
    cases = {
        "half-train: there is train/ in it, but no val/": ["train", "small", "--data",
                                                           halves["half-train"]],
        "half-val: there is val/ in it, but no train/": ["train", "small", "--data",
                                                         halves["half-val"]],
        "neither: holds neither pictures (train/<class>/*": ["train", "small", "--data",
                                                             halves["neither"]],
        "nowhere": ["train", "small", "--data", tmp_path / "nowhere"],
        "small is trained on pictures: give --data DIR with train/": ["train", "small"],
        "is a folder of pictures, but lenet5 is trained on digits": ["train", "lenet5", "--data",
                                                                     data],
        "--augment is for pictures, not for lenet5": ["train", "lenet5", "--augment", "crop"],
        "crop must be at most resize=20, got 24": ["train", "small", "--data", data, "--crop",
                                                   "24"],
        "its images do not fit small": ["train", "small", "--data", data, "--crop", "4"],
        "--augment none differs from crop, with which": ["train", "small", "--resume", out,
                                                         "--augment", "none"],
        "--ten-crop is for pictures": ["eval", digits_model(tmp_path), "--ten-crop"],
        "describes no folders for its 3 classes": ["eval", lie],
        "crop must be in 1 .. 4096, got -1": ["eval", worse],
        "neither in val/<class>/ nor in <class>/": ["eval", out, "--data", halves["neither"]],
        f"{text}: not a picture in a format that Pillow reads": ["predict", out, text],
    }  # fmt: skip
    for message, argv in cases.items():
        options = [] if argv[0] != "train" or "--resume" in argv else ["--out", tmp_path / "never"]
        assert message in fails(capsys, *argv, *options), argv
    assert not (tmp_path / "never").exists()


def digits_model(folder: Path) -> Path:
    path = folder / "digits.safetensors"
    description = {"model": "lenet5", "arguments": {"num_classes": 10},
                   "classes": [str(i) for i in range(10)],
                   "transform": Normalize().describe()}  # fmt: skip
    striate.save(path, models.lenet5().state_dict(), description)
    return path


def test_other_pictures_are_refused_when_resuming(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(copy, tmp_path / "run", "--epochs", "1")
    photo("new", 30, 30).save(copy / "train" / "red" / "new.png")
    (copy / "train" / "red" / "00.png").unlink()
    error = fails(capsys, "train", "small", "--resume", tmp_path / "run")
    assert "was trained with data=" in error


# --- stopped, resumed ----------------------------------------------------------------------------


def test_a_stop_in_the_middle_of_validation(data: Path, tmp_path: Path) -> None:
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

    folder = ImageFolder(data / "train", RECIPE.transform)
    val = ImageFolder(data / "val", RECIPE.transform)
    (whole := make()).fit(folder, val)
    (first := make(StopInValidation())).fit(folder, val)
    assert (first.step, first.epoch, first.stopped) == (5, 0, True)
    rest = make()
    rest.fit(folder, val, resume=tmp_path / "run" / "checkpoint.safetensors")
    assert [m["val_loss"] for m in rest.history] == [m["val_loss"] for m in whole.history]


def test_an_older_checkpoint_is_resumed(data: Path, tmp_path: Path) -> None:
    """Settings and sums that it does not hold stand at their defaults."""
    whole = train(data, tmp_path / "whole")
    train(data, out := tmp_path / "run")
    arrays, description = striate.load(out / "checkpoint.safetensors")
    for name in ("pct_start", "workers", "strict_data"):
        del description["settings"][name]
    assert set(description["training"]["partial"]) > {"loss", "seconds"}
    description["training"]["partial"] = {"loss": 0.0, "seconds": 0.0}
    striate.save(out / "checkpoint.safetensors", arrays, description)
    again = train(data, out, "--resume", str(out))
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
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: tuple[str, ...],
    value: Any,
    message: str,
) -> None:
    train(data, out := tmp_path / "run", "--epochs", "1")
    arrays, description = striate.load(out / "checkpoint.safetensors")
    inner = description
    for name in key[:-1]:
        inner = inner[name]
    inner[key[-1]] = value
    striate.save(out / "checkpoint.safetensors", arrays, description)
    error = fails(capsys, "train", "small", "--resume", str(out))
    assert re.search(rf"checkpoint.safetensors: {message}$", error.strip())


def test_out_is_no_file(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").touch()
    error = fails(capsys, "train", "small", "--data", str(data), "--out", str(tmp_path / "run"))
    assert error == f"striate: error: --out {tmp_path / 'run'} is a file, expected a folder\n"
