"""Training, measuring and predicting on folders of pictures, from the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import striate
from picture_training import RECIPE, fails, train
from pictures import COLOURS
from striate import models, recipes
from striate.cli import main
from striate.data import ImageTransform
from striate.data.dataset import Normalize

pytestmark = pytest.mark.usefixtures("small_model")


def test_a_run(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out := tmp_path / "run").mkdir()
    shutil.copytree(photos, copied := tmp_path / "data")
    (copied / "classes.json").write_text('{"red": "rouge", "green": "vert"}')
    lines = train(copied, out, "--epochs", "6")
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
    for folder in (photos, photos / "val"):
        assert main(["eval", str(out), "--data", str(folder), "--workers", "0"]) == 0
        assert capsys.readouterr().out.split(" of ")[0] == first.split(" of ")[0]
    assert main(["eval", str(out), "--data", str(photos), "--ten-crop"]) == 0
    assert "on 12 images of" in (ten := capsys.readouterr().out)
    assert "(ten crops)" in ten

    # predict: names and preprocessing come from the checkpoint.
    pictures = [str(next((photos / "val" / name).iterdir())) for name in COLOURS]
    assert main(["predict", str(out), *pictures, "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["top"][0]["class"] for answer in answers] == ["rouge", "vert", "blue"]
    assert main(["predict", str(out), pictures[0], "--top", "2"]) == 0
    assert re.fullmatch(r".*: rouge \d+\.\d%   \w+ \d+\.\d%\n", capsys.readouterr().out)


def test_classes_that_do_not_fit(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "train" / "empty").mkdir()
    (copied / "val" / "mauve").mkdir()
    shutil.copy(copied / "val" / "red" / "00.png", copied / "val" / "mauve")
    train(copied, tmp_path / "run", "--epochs", "1")
    captured = capsys.readouterr()
    assert "note: " in captured.err
    assert "1 folder without a picture: 'empty'; left out" in captured.err
    assert "1 folder of no class of the training set, 1 picture: 'mauve'" in captured.err
    assert "12 test images" in captured.out
    error = fails(capsys, "train", "small", "--data", copied, "--strict-data", "--out",
                  tmp_path / "strict")  # fmt: skip
    assert "without a picture: 'empty'" in error
    assert not (tmp_path / "strict").exists()
    assert main(["eval", str(tmp_path / "run"), "--data", str(copied)]) == 0
    captured = capsys.readouterr()
    assert "1 folder of no class of the training set, 1 picture: 'mauve'; left out" in captured.err
    assert "on 12 images of" in captured.out
    error = fails(capsys, "eval", tmp_path / "run", "--data", copied, "--strict-data")
    assert "1 folder of no class of the training set, 1 picture: 'mauve'" in error
    shutil.rmtree(copied / "val" / "mauve")
    shutil.rmtree(copied / "val" / "red")
    assert main(["eval", str(tmp_path / "run"), "--data", str(copied)]) == 0
    assert "on 8 images" in capsys.readouterr().out


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
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    fraction: float,
) -> None:
    plateau = recipes.Recipe(RECIPE.transform, 1, 8, 0.01, 0.9, 0, "plateau", 0.25)
    monkeypatch.setitem(recipes.RECIPES, "small", plateau)
    train(photos, tmp_path / "run", *options)
    _, description = striate.load(tmp_path / "run" / "model.safetensors")
    assert description["settings"]["val_fraction"] == fraction


def test_pct_start(photos: Path, tmp_path: Path) -> None:
    rates = [
        [line["learning_rate"] for line in train(photos, tmp_path / x, "--pct-start", x)]
        for x in ("0.2", "0.8")
    ]
    assert rates[0][0] > rates[0][1]  # past the peak
    assert rates[1][0] < rates[1][1]


def test_refusals(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    train(photos, out, "--epochs", "1")
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
                                                                     photos],
        "--augment is for pictures, not for lenet5": ["train", "lenet5", "--augment", "crop"],
        "crop must be at most resize=20, got 24": ["train", "small", "--data", photos, "--crop",
                                                   "24"],
        "its images do not fit small": ["train", "small", "--data", photos, "--crop", "4"],
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


def test_out_is_no_file(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").touch()
    error = fails(capsys, "train", "small", "--data", str(photos), "--out", str(tmp_path / "run"))
    assert error == f"striate: error: --out {tmp_path / 'run'} is a file, expected a folder\n"
