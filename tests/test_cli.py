"""The command line, as a person uses it: what it prints, writes and refuses."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import striate
from striate import data
from striate.cli import main


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(header + array.tobytes())


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small IDX folder: 1,200 training and 300 test digits, some plain and some gzipped."""
    folder = tmp_path_factory.mktemp("digits")
    train, test = data.mnist()
    write_idx(folder / "train-images-idx3-ubyte.gz", train.images[:1200])
    write_idx(folder / "train-labels-idx1-ubyte", train.labels[:1200])
    write_idx(folder / "t10k-images-idx3-ubyte", test.images[:300])
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", test.labels[:300])
    return folder


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "lenet5"
    assert main(["train", "lenet5", "--data", str(digits), "--epochs", "6", "--lr", "0.02",
                 "--batch-size", "16", "--out", str(out)]) == 0  # fmt: skip
    return out


def fails(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The error text of a command that must end with exit code 2 and one sentence."""
    try:
        code = main(argv)
    except SystemExit as exit:  # argparse's own
        code = exit.code
    assert code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_train_writes_a_run(run: Path) -> None:
    assert sorted(os.listdir(run)) == ["checkpoint.safetensors", "metrics.jsonl",
                                       "model.safetensors"]  # fmt: skip
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["val_accuracy"] > 0.85


def test_init_and_freeze(
    run: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = striate.load(run / "model.safetensors")
    weights = {name: array for name, array in before.items() if name != "fc3.bias"}
    np.savez(tmp_path / "weights.npz", **weights, **{"fc3.bias": np.zeros(7, np.float32)})
    arguments = ["train", "lenet5", "--data", str(digits), "--init", str(tmp_path / "weights.npz"),
                 "--freeze", "conv1", "--freeze", "conv2.weight", "--epochs", "2",
                 "--out", str(tmp_path / "run")]  # fmt: skip
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert ("weights.npz: 9 of 10 parameters loaded; of another shape or dtype: fc3.bias: (7,) in "
            "the file, (10,) in the model\n") in output  # fmt: skip
    assert "frozen: conv1.weight, conv1.bias, conv2.weight; 59,150 parameters train\n" in output
    after, _ = striate.load(tmp_path / "run" / "model.safetensors")
    same = {name for name in after if np.array_equal(after[name], before[name])}
    assert same == {"conv1.weight", "conv1.bias", "conv2.weight"}
    # A resumed run keeps what is frozen, and does not load again.
    (tmp_path / "weights.npz").unlink()
    assert main(["train", "lenet5", "--resume", str(tmp_path / "run")]) == 0
    assert main(["train", "lenet5", "--resume", str(tmp_path / "run"), "--freeze", "fc1"]) == 2
    assert "--freeze fc1 differs from conv1, conv2.weight" in capsys.readouterr().err


def test_eval(run: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for name in ("model.safetensors", "checkpoint.safetensors", ""):
        assert main(["eval", str(run / name), "--data", str(digits)]) == 0
        outputs.append(capsys.readouterr().out)
    assert re.match(r"lenet5: test accuracy [89]\d\.\d\d%, loss 0\.\d{4} on 300 images", outputs[0])
    assert len(set(outputs)) == 1


def test_predict(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, test = data.mnist()
    right = 0
    for i in range(20):  # dark on white, large, as from a scanner
        page = np.full((300, 240), 235, np.uint8)
        big = np.asarray(Image.fromarray(test.images[i]).resize((140, 140), Image.BICUBIC))
        page[80:220, 50:190] = np.minimum(235, 255 - big)
        path = tmp_path / f"{i}.png"
        Image.fromarray(page).save(path)
        assert main(["predict", str(run), str(path), "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["image"] == str(path)
        assert abs(sum(t["probability"] for t in answer["top"])) <= 1 + 1e-6
        assert any("dark" in note for note in answer["preparation"])
        right += answer["top"][0]["class"] == str(test.labels[i])
    assert right >= 16
    assert main(["predict", str(run), str(path), "--top", "2"]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{path}: ")
    assert len(re.findall(r"\d \d+\.\d%", line)) == 2


def test_interrupt_and_resume_equal_an_undisturbed_run(digits: Path, tmp_path: Path) -> None:
    """A real process, a real SIGINT, at whatever step it meets."""
    command = [sys.executable, "-c", "import sys; from striate.cli import main; sys.exit(main())",
               "train", "lenet5", "--data", str(digits)]  # fmt: skip
    options = ["--epochs", "4", "--batch-size", "8", "--seed", "5"]
    subprocess.run([*command, *options, "--out", str(tmp_path / "whole")], check=True)
    with subprocess.Popen([*command, *options, "--out", str(tmp_path / "cut")],
                          stdout=subprocess.PIPE, text=True) as process:  # fmt: skip
        assert process.stdout is not None
        while not process.stdout.readline().startswith("epoch 1"):
            pass
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "stopped after step" in rest
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    subprocess.run([*command, "--resume", str(tmp_path / "cut")], check=True)
    whole, cut = (striate.load(tmp_path / n / "model.safetensors")[0] for n in ("whole", "cut"))
    for name, array in whole.items():
        np.testing.assert_array_equal(cut[name], array)


def test_resume_and_eval_know_their_data(
    digits: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data of the run is the default; other data, even of the same size, is refused."""
    assert main(["eval", str(run)]) == 0
    assert str(digits) in capsys.readouterr().out
    other = tmp_path / "other"
    shutil.copytree(digits, other)
    labels = 9 - data.read_idx(other / "train-labels-idx1-ubyte")
    write_idx(other / "train-labels-idx1-ubyte", labels)
    error = fails(capsys, "train", "lenet5", "--resume", str(run), "--data", str(other))
    assert "was trained with data=" in error


def test_a_damaged_file_is_a_sentence(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("checkpoint.safetensors", "model.safetensors", "metrics.jsonl"):
        shutil.copy(run / name, tmp_path)
    for name, array in (("checkpoint", "optimizer/9"), ("model", "fc3.weight")):
        path = tmp_path / f"{name}.safetensors"
        data = bytearray(path.read_bytes())
        data[-10] ^= 4
        path.write_bytes(data)
        commands = [["eval", str(path)], ["predict", str(path), "x.png"], ["summary", str(path)]]
        if name == "checkpoint":
            commands.append(["train", "lenet5", "--resume", str(tmp_path)])
        for command in commands:
            error = fails(capsys, *command)
            assert error.startswith(f"striate: error: {path}: {array} is damaged: its CRC-32 is ")
            assert error.count("\n") == 1


def test_a_learning_rate_that_is_too_high_is_a_sentence(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for lr in ("1e6", "1e38"):
        error = fails(capsys, "train", "lenet5", "--data", str(digits), "--lr", lr,
                      "--out", str(tmp_path / lr))  # fmt: skip
        assert re.fullmatch(r"striate: error: the loss is (nan|inf) at step \d+ \(epoch 1\); a "
                            r"lower learning rate may help\n", error)  # fmt: skip


def test_data_that_does_not_fit_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, count in (("train", 20), ("t10k", 10)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", np.zeros((count, 32, 32), np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", np.zeros(count, np.uint8))
    out = tmp_path / "out"
    error = fails(capsys, "train", "lenet5", "--data", str(tmp_path), "--out", str(out))
    assert f"{tmp_path}: its images do not fit lenet5" in error
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((0, 32, 32), np.uint8))
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.zeros(0, np.uint8))
    assert "has no test images" in fails(capsys, "train", "lenet5", "--data", str(tmp_path))
    assert not out.exists()


def test_a_description_that_lies_is_a_sentence(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays, description = striate.load(run / "model.safetensors")
    lies = [{"classes": ["a"]}, {"classes": None}, {"classes": ["\x1b[2J"] * 10},
            {"transform": {"std": 0}}, {"transform": {"mean": 10**400}},
            {"transform": {"mean": 1, "stride": 2}}]  # fmt: skip
    path = tmp_path / "lie.safetensors"
    for lie in lies:
        striate.save(path, arrays, description | lie)
        assert f"error: {path}: " in fails(capsys, "eval", str(path))
        assert f"error: {path}: " in fails(capsys, "predict", str(path), "x.png")


def test_validation_split_plateau_and_early_stopping(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "lenet5", "--data", str(digits), "--epochs", "2", "--val-fraction", "0.2",
                 "--batch-size", "48", "--schedule", "plateau", "--patience", "3",
                 "--clip-grad-norm", "5", "--lr", "0.02",
                 "--out", str(tmp_path / "run")]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "validation accuracy" in out
    assert "test accuracy" in out.splitlines()[-1]


def test_info_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for word in ("instruction set", "threads", "threading runtime"):
        assert word in out
    assert re.search(r"CUDA +(off: \w|on, built for )", out)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"striate {striate.__version__}\n"


@pytest.mark.parametrize("command", ["train", "eval", "predict", "bench", "filter", "info"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([command, "--help"])
    assert exit.value.code == 0
    assert command in capsys.readouterr().out


def test_bench_import(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["bench", "import", "--pairs", "1", "--json", str(tmp_path / "x.json")]) == 0
    assert "| import | numpy |" in capsys.readouterr().out
    rows = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert [row["peer"] for row in rows] == ["striate", "striate.nn", "numpy"]


def test_bench_gemm(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--size", "32", "64", "--against", "numpy", "--turn", "0.005"]
    assert main(["bench", "gemm", *options, "--pairs", "1"]) == 0
    printed = capsys.readouterr().out
    assert (printed.count("| gemm 32"), printed.count("| gemm 64")) == (8, 8)


def test_errors_are_a_sentence(
    run: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((run / "model.safetensors").read_bytes()[:-7])
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    cases = {
        "alexnet, alexnet_2012, got 'resnet'": ["train", "resnet"],
        "no parameter starts with 'features'; there are conv1,":
            ["train", "lenet5", "--freeze", "features", "--out", str(tmp_path / "f")],
        "nothing.npz: no such file":
            ["train", "lenet5", "--init", "nothing.npz", "--out", str(tmp_path / "f")],
        "--out": ["train", "lenet5", "--out", str(run)],
        "already holds a run; go on with --resume": ["train", "lenet5", "--out", str(run)],
        "differs from 6, with which": ["train", "lenet5", "--resume", str(run), "--epochs", "7"],
        f"{run / 'checkpoint.safetensors'}: holds lenet5, not lenet5_1998":
            ["train", "lenet5_1998", "--resume", str(run)],
        f"{run / 'model.safetensors'}: holds a model but no training to resume":
            ["train", "lenet5", "--data", str(digits), "--resume",
             str(run / "model.safetensors"), "--out", str(tmp_path / "r")],
        "nothing: no such file": ["eval", "nothing"],
        f"{broken}: not a whole safetensors file": ["eval", str(broken)],
        "no-such-folder": ["eval", str(run), "--data", str(tmp_path / "no-such-folder")],
        str(text): ["predict", str(run), str(text)],
        "nowhere.png": ["predict", str(run), str(tmp_path / "nowhere.png")],
        "must be between 1 and": ["train", "lenet5", "--epochs", "0"],
        "--patience": ["train", "lenet5", "--patience", "x"],
        "patience watches a validation set": ["train", "lenet5", "--data", str(digits),
                                              "--patience", "2", "--out", str(tmp_path / "p")],
        "gemm knows numpy, torch, got 'jax'": ["bench", "gemm", "--against", "jax"],
        "invalid choice": ["fly"],
    }  # fmt: skip
    for message, argv in cases.items():
        assert message in fails(capsys, *argv), argv


def test_without_a_command_it_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


def test_an_error_is_no_escape_sequence(capsys: pytest.CaptureFixture[str]) -> None:
    assert "error: a\\x1b[31m: no such file" in fails(capsys, "eval", "a\x1b[31m")
