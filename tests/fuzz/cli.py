"""The command line: any words end with 0, 1 or 2 and a sentence, never with a traceback.

The input is the arguments, one a line. They run in a fresh copy of a folder with small data sets,
runs, pictures and files that are nothing of the kind.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

import striate
from fuzz.idx import idx
from fuzz.limits import folder
from fuzz.tree import ODD
from striate import data, models, nn
from striate.cli import COMMANDS, bench, main

# Values in between would take minutes, or as much memory as they say: (at most, below).
_TAMED = {
    "--epochs": (2, 2**31), "--threads": (4, 1025), "--workers": (4, 1025), "--resize": (40, 4097),
    "--crop": (32, 4097), "--num-classes": (100, 2**31), "--seeds": (1, 2**31),
}  # fmt: skip
_WORDS = (
    *COMMANDS, "lenet5", "lenet5_1998", "alexnet", "digits", "pictures", "run", "picture-run",
    "run/model.safetensors", "run/checkpoint.safetensors", "digit.png", "photo.jpg", "weights.npz",
    "model.onnx", "text", "empty", "new", "out.png", "out.xyz", "none", "size", "gemm", "sharpen",
    "[[0, 1], [2, 3]]", "3x8x8", "1x28x28", "1x99999x99999", "cpu", "cuda", "cuda:7", "conv1", "fc",
    "features", "one-cycle", "plateau", "paper", "--", "-", "-h", "--help", "1_0", "1e3", "nan",
    "inf", "--epochs=1",
)  # fmt: skip
_ANSWERS = {0, 1, 2}


def memory(data: bytes) -> int:
    return 512 << 20  # a training step of the models that it names


def check(given: bytes) -> None:
    with inside():
        run(_tame(given.decode("utf-8", "surrogateescape").split("\n")[:40]))


def run(words: list[str]) -> None:
    """Refuses all but the documented ends of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as ended:  # argparse's
            code = ended.code
        finally:
            striate.set_num_threads(2)
    text = err.getvalue()
    assert code in _ANSWERS, code
    assert "Traceback" not in text, text
    if code == 2:
        assert text.strip() or out.getvalue().strip(), "an error without a sentence"


def _tame(words: list[str]) -> list[str]:
    tamed: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if not equals:
            option, value = tamed[-1] if tamed else "", word
        known = [name for name in _TAMED if len(option) > 2 and name.startswith(option)]
        known = [] if option == "--seed" else known
        for most, below in (_TAMED[name] for name in known):
            with contextlib.suppress(ValueError):
                if most < int(value) < below:
                    value = str(most)
        sizes = re.findall(r"\d+", value) if re.fullmatch(r"\d+x\d+x\d+", value) else []
        if sizes and np.prod([float(n) for n in sizes]) > 10**5:
            value = "1x28x28"
        tamed.append(f"{option}={value}" if equals else value)
    return tamed


# --- where it runs -------------------------------------------------------------------------------


@contextlib.contextmanager
def inside() -> Iterator[Path]:
    """In a fresh copy of the fixtures, with what would take minutes put out of reach."""
    before, here = os.getcwd(), folder() / "here"
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(fixtures(), here)
    os.chdir(here)
    _guard.root = str(folder())
    try:
        with _small():
            yield here
    finally:
        _guard.root = None
        os.chdir(before)


@contextlib.contextmanager
def _small() -> Iterator[None]:
    """A small MNIST, a small AlexNet, and no benchmark."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "dont_write_bytecode", True))
        names = ("alexnet", "alexnet_2012")
        stack.enter_context(mock.patch.object(data, "mnist", _mnist))
        stack.enter_context(mock.patch.dict(models.MODELS, dict.fromkeys(names, _alexnet)))
        stack.enter_context(mock.patch.dict(models._NUMBERS, dict.fromkeys(names, (0, 1))))
        for name in ("_compare", "_digits", "_layers"):
            stack.enter_context(mock.patch.object(bench, name))
        yield


def _mnist() -> data.Dataset:
    return data.load_idx_folder(fixtures() / "digits")


def _alexnet(num_classes: int = 1000, dropout: float = 0.5) -> nn.Layer:
    return nn.Sequential({
        "features": nn.Sequential(nn.Conv2d(3, 2, 3, stride=2), nn.AdaptiveAvgPool2d(2)),
        "flatten": nn.Flatten(),
        "dropout": nn.Dropout(dropout),
        "classifier": nn.Linear(8, num_classes),
    })  # fmt: skip


class _Guard:
    """Refuses what would be written outside ``root``, as a disk does that may only be read."""

    root: str | None = None

    def __call__(self, event: str, arguments: Any) -> None:
        if self.root is None or event not in ("open", "os.mkdir", "os.rename", "os.remove"):
            return
        path = arguments[1] if event == "os.rename" else arguments[0]
        if event == "open":
            writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
            if not (arguments[2] or 0) & writes or isinstance(path, int):
                return
        place = os.path.abspath(os.fsdecode(path))
        if not (place.startswith(self.root) or place == os.devnull):
            raise PermissionError(13, "Permission denied", place)


_guard = _Guard()
sys.addaudithook(_guard)


@functools.cache
def fixtures() -> Path:
    root = folder() / "fixtures"
    for name in ("digits", "empty"):
        (root / name).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("t10k", 4)):
        images = generator.integers(0, 256, (count, 28, 28), np.uint8)
        (root / f"digits/{part}-images-idx3-ubyte").write_bytes(idx(images))
        labels = np.arange(count, dtype=np.uint8) % 10
        (root / f"digits/{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    for name in ("train/cat", "train/dog", "val/cat", "val/dog"):
        (root / "pictures" / name).mkdir(parents=True)
        for k in range(2):
            pixels = generator.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(root / f"pictures/{name}/{k}.png")
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 13:16] = 255
    Image.fromarray(digit).save(root / "digit.png")
    Image.fromarray(pixels).save(root / "photo.jpg")
    (root / "text").write_text("not what it should be\n")
    state = models.lenet5().state_dict()
    np.savez(root / "weights.npz", **{k: v for k, v in state.items() if "conv" in k})
    with contextlib.suppress(ImportError):
        net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
        striate.onnx.export(net, root / "model.onnx", (3, 8, 8))
    with _small(), contextlib.redirect_stdout(io.StringIO()):
        for model, source, out in (("lenet5", "digits", "run"), ("alexnet", "pictures",
                                                                 "picture-run")):  # fmt: skip
            small = (
                ["--crop", "32", "--resize", "40", "--schedule", "step"]
                if model == "alexnet"
                else []
            )
            code = main(["train", model, "--data", str(root / source), "--epochs", "1",
                         "--out", str(root / out), *small])  # fmt: skip
            assert code == 0
    return root


# --- mutation ------------------------------------------------------------------------------------


def mutate(data: bytes, generator: random.Random, bend: Callable[[bytes], bytes]) -> bytes:
    """Puts in, takes out and exchanges words."""
    words = data.decode("utf-8", "surrogateescape").split("\n")
    for _ in range(generator.randint(1, 3)):
        at = generator.randrange(len(words) + 1)
        way = generator.randrange(6)
        if way == 0 and len(words) > 1:
            del words[min(at, len(words) - 1)]
        elif way == 1:
            words[min(at, len(words) - 1)] = _word(generator)
        elif way == 2:
            words[at:at] = [generator.choice(_options()), _word(generator)]
        elif way == 3:
            words.insert(at, generator.choice(_options()))
        elif way == 4:
            words.insert(at, _word(generator))
        else:
            words.append(_word(generator))
    return "\n".join(words[:40]).encode("utf-8", "surrogateescape")


def _word(generator: random.Random) -> str:
    odd = str(generator.choice(ODD)).encode("utf-8", "replace").decode()
    return generator.choice((generator.choice(_WORDS), odd, str(generator.randrange(70))))


def _options() -> list[str]:
    """All that any command knows, as the help of each has it."""
    if not _known:
        for command in COMMANDS:
            shown = io.StringIO()
            with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
                main([command, "--help"])
            _known.extend(sorted(set(re.findall(r"--?[a-z][a-z-]*", shown.getvalue()))))
    return _known


_known: list[str] = []
