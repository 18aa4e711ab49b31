"""Ctrl-C at any moment: two more steps at most, and a checkpoint that ends with the same bits."""

from __future__ import annotations

import importlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import striate
from checks import draw
from striate import cli, models, optim
from striate.data.dataset import ArraySamples, Normalize
from striate.trainer import Callback, Trainer
from test_cli import write_idx

EPOCHS = 4


class Pace(Callback):
    """A step is long enough to be met somewhere inside."""

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        time.sleep(0.001)


def fit(out: Path, resume: Path | None = None, seconds: float | None = None) -> tuple[Trainer, int]:
    """The trainer after fit, and its step when Ctrl-C came after so many seconds; -1: never."""
    images = (draw("interrupt", (200, 28, 28)) * 50 + 128).clip(0, 255).astype(np.uint8)
    samples = ArraySamples(images, np.arange(200) % 10, Normalize(0.5, 0.25))
    striate.manual_seed(0)
    model = models.lenet5()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    trainer = Trainer(
        model, optimizer, epochs=EPOCHS, batch_size=20, out=out, callbacks=[Pace()]
    )  # fmt: skip
    step = -1
    over = threading.Event()

    def interrupt() -> None:
        nonlocal step
        if not over.wait(seconds):
            step = trainer.step
            os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Thread(target=interrupt)
    try:
        if seconds is not None:
            timer.start()
        trainer.fit(samples, validation=samples, resume=resume)
        over.set()
        if timer.ident is not None:
            timer.join()
    except KeyboardInterrupt:  # before the first step, or behind the last
        pass
    return trainer, step


@pytest.mark.parametrize("part", np.linspace(0, 0.95, 12))
def test_within_two_steps(part: float, tmp_path: Path) -> None:
    """Steps, validations and checkpoints are met as they come."""
    started = time.perf_counter()
    fit(tmp_path / "whole")
    whole = time.perf_counter() - started
    trainer, step = fit(tmp_path / "cut", seconds=part * whole)
    if step == -1:  # faster than the whole run: over before Ctrl-C came
        assert trainer.step == 40
    else:
        assert step <= trainer.step <= step + 2
    checkpoint = tmp_path / "cut" / "checkpoint.safetensors"
    assert trainer.step == 0 or checkpoint.exists()
    fit(tmp_path / "cut", checkpoint if checkpoint.exists() else None)
    for name in ("model", "checkpoint"):
        files = [tmp_path / run / f"{name}.safetensors" for run in ("whole", "cut")]
        whole_arrays, cut_arrays = (striate.load(file)[0] for file in files)
        for key, array in whole_arrays.items():
            np.testing.assert_array_equal(cut_arrays[key], array)


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 1,000 noisy pictures, half of them to test on."""
    folder = tmp_path_factory.mktemp("digits")
    images = (draw("interrupt/digits", (1000, 28, 28)) * 50 + 128).clip(0, 255).astype(np.uint8)
    for part, kept in (("train", images[:500]), ("t10k", images[500:])):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", kept)
        write_idx(folder / f"{part}-labels-idx1-ubyte", (np.arange(500) % 10).astype(np.uint8))
    return folder


def command(digits: Path, out: Path, *options: str) -> list[str]:
    arguments = ["--data", str(digits), "--epochs", "12", "--batch-size", "10", "--out", str(out)]
    return [sys.executable, "-m", "striate", "train", "lenet5", *(options or arguments)]


@pytest.fixture(scope="module")
def undisturbed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run's model, and how long all of it took."""
    out = tmp_path_factory.mktemp("whole") / "run"
    started = time.perf_counter()
    subprocess.run(command(digits, out), check=True, capture_output=True)
    return out / "model.safetensors", time.perf_counter() - started


def interrupt_and_resume(
    digits: Path, undisturbed: tuple[Path, float], out: Path, part: float
) -> str:
    """What a person reads of a run that gets Ctrl-C at this part of its time; then goes on."""
    expected, seconds = undisturbed
    with subprocess.Popen(
        command(digits, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(part * seconds)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    last = output.splitlines()[-1] if output else ""
    if last.startswith("test accuracy"):
        assert errors == ""
    elif last.startswith("stopped after step"):
        assert re.fullmatch(r"stopped after step \d+; go on with: striate train lenet5 .*", last)
        assert (process.returncode, errors) == (130, "")
    elif errors == "striate: interrupted\n":
        # Python itself ends by the signal where that came inside an exec(): 130 to a shell, too.
        assert process.returncode in (130, -signal.SIGINT)
    else:  # while Python starts, or imports striate: its own traceback, or nothing at all
        shown = 1 if "KeyboardInterrupt" in errors else -signal.SIGINT  # as a cause, in an import
        assert process.returncode in (shown, -signal.SIGINT)
        assert not out.exists()
    resumable = (out / "checkpoint.safetensors").exists()
    if not resumable:
        assert "stopped" not in output
        shutil.rmtree(out, ignore_errors=True)
    options = ["--resume", str(out)] if resumable else []
    subprocess.run(command(digits, out, *options), check=True, capture_output=True)
    answers = [striate.load(path)[0] for path in (expected, out / "model.safetensors")]
    for name, array in answers[0].items():
        np.testing.assert_array_equal(answers[1][name], array)
    assert sorted(os.listdir(out)) == ["checkpoint.safetensors", "metrics.jsonl",
                                       "model.safetensors"]  # fmt: skip
    return last


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_the_command(
    part: float, digits: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    interrupt_and_resume(digits, undisturbed, tmp_path / "run", part)


MODULES = {
    "callback": """
import os, signal
class Callback:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass
Callback()
""",
    "extension": """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000): pass
except KeyboardInterrupt:
    raise ImportError("initialization failed")
""",
}


@pytest.mark.parametrize("module", MODULES)
def test_inside_an_import(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python drops what is raised in a callback; an extension makes an ImportError of it."""
    (tmp_path / f"interrupted_{module}.py").write_text(MODULES[module])
    monkeypatch.syspath_prepend(tmp_path)

    def run(argv: object) -> int:
        importlib.import_module(f"interrupted_{module}")
        time.sleep(5)
        return 0

    monkeypatch.setattr(cli, "_run", run)
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "striate: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_a_second_one_inside_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An import that takes for ever can be left."""
    press = "os.kill(os.getpid(), signal.SIGINT)"
    lines = ("import os, signal, time", press, "time.sleep(0.1)", press, "time.sleep(20)")
    (tmp_path / "never_imported.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cli, "_run", lambda argv: importlib.import_module("never_imported"))
    started = time.perf_counter()
    assert cli.main([]) == 130
    assert time.perf_counter() - started < 10
    assert capsys.readouterr().err == "striate: interrupted\n"


def test_an_import_that_the_command_ends_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ends_with.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cli, "_run", lambda argv: importlib.import_module("ends_with"))
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "striate: interrupted\n"


@pytest.mark.slow
def test_the_command_at_many_moments(
    digits: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    def meet(i: int) -> str:
        part = random.Random(i).uniform(0.05, 1.2)
        return interrupt_and_resume(digits, undisturbed, tmp_path / str(i), part)

    with ThreadPoolExecutor(2) as pool:
        lines = list(pool.map(meet, range(24)))
    assert sum(line.startswith("stopped after step") for line in lines) >= 4
