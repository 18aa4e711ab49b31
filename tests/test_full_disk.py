"""A disk that is full, or may only be read: one sentence, and nothing that was there is lost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import striate
from checks import draw
from striate import models, nn, optim
from striate.cli import main
from striate.data.dataset import ArraySamples, Normalize
from striate.trainer import Callback, Trainer

Disk = Callable[[str], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounts a file system in memory with the options given, or mounts it again with others."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        again = ["-o", f"remount,{options}"] if os.path.ismount(folder) else ["-o", options]
        command = ["mount", "-t", "tmpfs", *again, "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no file system can be mounted here: {error}")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room there is left."""
    path = folder / "filler"
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


def make_trainer(out: Path, *callbacks: Callback, epochs: int = 3) -> Trainer:
    striate.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 300), nn.ReLU(), nn.Linear(300, 3))
    optimizer = optim.SGD(model.parameters(), 0.05, momentum=0.9)
    return Trainer(model, optimizer, epochs=epochs, batch_size=8, out=out, callbacks=callbacks)


def samples() -> ArraySamples:
    draws = np.random.Generator(np.random.Philox(5))
    images, labels = draws.integers(0, 255, (40, 6, 6)), draws.integers(0, 3, 40)
    return ArraySamples(images.astype(np.uint8), labels, Normalize(0.5, 0.3))


class FillAfter(Callback):
    """Fills the disk after a step."""

    def __init__(self, step: int) -> None:
        self.step, self.filler = step, Path()

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        if trainer.step == self.step:
            assert trainer.out is not None
            self.filler = fill(trainer.out)


def weights(trainer: Trainer) -> list[bytes]:
    return [array.tobytes() for array in trainer.model.state_dict().values()]


def epochs_of(out: Path) -> list[int]:
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["epoch"] for line in lines]


def test_a_full_disk_while_training(disk: Disk, tmp_path: Path) -> None:
    """The checkpoint before is whole; both the trainer and a new one go on, once there is room."""
    whole = make_trainer(tmp_path / "whole")
    whole.fit(samples())
    out = disk("size=1m")
    full = FillAfter(8)
    trainer = make_trainer(out, full)
    with pytest.raises(OSError, match=r"checkpoint.safetensors: cannot be written .No space left"):
        trainer.fit(samples())
    assert striate.load(out / "checkpoint.safetensors")[1]["training"]["step"] == 5
    assert sorted(os.listdir(out)) == ["checkpoint.safetensors", "filler", "metrics.jsonl"]
    full.filler.unlink()
    resumed = make_trainer(tmp_path / "resumed")
    resumed.fit(samples(), resume=out / "checkpoint.safetensors")
    trainer.fit(samples())
    assert weights(resumed) == weights(trainer) == weights(whole)
    assert epochs_of(out) == [1, 2, 3]


def test_a_full_disk_at_the_end(disk: Disk) -> None:
    """The model cannot be written, and the checkpoint can finish it."""

    class Full(Callback):
        def on_epoch_end(self, trainer: Trainer, metrics: dict[str, Any]) -> None:
            fill(out)

    out = disk("size=1m")
    (out / "model.safetensors").write_bytes(b"another run's")
    trainer = make_trainer(out, Full(), epochs=1)
    with pytest.raises(OSError, match=r"model.safetensors: cannot be written .No space left"):
        trainer.fit(samples())
    assert (out / "model.safetensors").read_bytes() == b"another run's"
    (out / "filler").unlink()
    make_trainer(out, epochs=1).fit(samples(), resume=out / "checkpoint.safetensors")
    assert sorted(os.listdir(out)) == ["checkpoint.safetensors", "metrics.jsonl",
                                       "model.safetensors"]  # fmt: skip
    striate.load(out / "model.safetensors")


def test_a_full_disk_under_each_command_that_writes(
    disk: Disk, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = disk("size=64k")
    names = ("filtered.png", "bench.json", "model.safetensors")
    for name in names:
        (folder / name).write_bytes(b"old")
    fill(folder)
    Image.fromarray(np.arange(30000, dtype=np.uint32).astype(np.uint8).reshape(100, 300)).save(
        tmp_path / "x.png"
    )
    picture = ["filter", str(tmp_path / "x.png"), "--kernel", "sharpen"]
    for command, name in (
        ([*picture, "-o", str(folder / names[0])], names[0]),
        (["bench", "import", "--pairs", "1", "--json", str(folder / names[1])], names[1]),
    ):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"striate: error: {folder / name}: cannot be written (No space le")
        assert error.count("\n") == 1
    with pytest.raises(OSError, match=r"model.safetensors: cannot be written .No space left"):
        striate.save(folder / names[2], {"a": draw("full", (100, 100))})
    assert [(folder / name).read_bytes() for name in names] == [b"old"] * 3
    assert sorted(os.listdir(folder)) == sorted([*names, "filler"])


def test_a_full_disk_under_an_export(disk: Disk) -> None:
    pytest.importorskip("onnx")
    folder = disk("size=64k")
    (folder / "model.onnx").write_bytes(b"old")
    fill(folder)
    with pytest.raises(OSError, match=r"model.onnx: cannot be written .No space left"):
        striate.onnx.export(models.lenet5(), folder / "model.onnx", (1, 28, 28))
    assert (folder / "model.onnx").read_bytes() == b"old"
    assert sorted(os.listdir(folder)) == ["filler", "model.onnx"]


def test_no_room_for_a_name(disk: Disk) -> None:
    """The disk is full where the temporary file would be made."""
    folder = disk("size=64k,nr_inodes=2")
    (folder / "model.safetensors").write_bytes(b"old")
    with pytest.raises(OSError, match=r"model.safetensors: cannot be written .No space left"):
        striate.save(folder / "model.safetensors", {"a": draw("full", (3,))})
    assert (folder / "model.safetensors").read_bytes() == b"old"


class NoStep(Callback):
    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        raise AssertionError("the folder was to be looked at before the first step")


def test_a_folder_that_may_only_be_read(disk: Disk) -> None:
    """Known before the first step, and what is there stays."""
    out = disk("size=1m")
    make_trainer(out, epochs=1).fit(samples())
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    disk("ro")
    with pytest.raises(OSError, match=r"metrics.jsonl: cannot be written .Read-only file system"):
        make_trainer(out, NoStep()).fit(samples())
    with pytest.raises(OSError, match=r"new: the folder cannot be made .Read-only file system"):
        make_trainer(out / "new", NoStep()).fit(samples())
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs two users")
def test_a_folder_of_another_user(tmp_path: Path) -> None:
    """Not for root, to whom a folder's permissions mean nothing."""
    make_trainer(tmp_path / "all is imported", epochs=1).fit(samples())
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.seteuid(65534)
        try:
            with pytest.raises(OSError, match=r"jsonl: cannot be written .Permission denied"):
                make_trainer(Path(folder), NoStep()).fit(samples())
            with pytest.raises(OSError, match=r"new: the folder cannot be made .Permission denied"):
                make_trainer(Path(folder) / "new", NoStep()).fit(samples())
        finally:
            os.seteuid(0)
        assert os.listdir(folder) == []
