"""One body of tests over every implementation: the reference, each instruction set, CUDA."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

import cuda_backend
import picture_training
import small_training
from backends import IMPLEMENTATIONS, running
from pictures import make_folder
from striate import _core, models, recipes

settings.register_profile("striate", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("striate")


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test over the reference, each instruction set that this machine has, and CUDA."""
    with running(request.param):
        yield request.param


@pytest.fixture(params=["cpu", *cuda_backend.NAMES])
def device(request: pytest.FixtureRequest) -> str:
    """Where a model is to be moved: "cpu", or "cuda" on a GPU or on the host."""
    if request.param == "cpu":
        return "cpu"
    cuda_backend.load(request.param)
    return "cuda"


@pytest.fixture(params=cuda_backend.NAMES)
def cupy(request: pytest.FixtureRequest) -> Any:
    """CuPy, or its stand-in."""
    return cuda_backend.load(request.param)[1]


@pytest.fixture
def training_device(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers of small_training are on the CPU, and on CUDA, where steps are recorded."""
    monkeypatch.setattr(small_training, "device", device)


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """The tests of Ctrl-C hold in a background job, too: a shell starts it with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """striate.functional over the reference in double precision, for finite differences.

    The public border refuses float64; this swaps the border, not the code behind it.
    """
    import sys

    for name, module in list(sys.modules.items()):
        if name.startswith("striate.functional.") and hasattr(module, "ops"):
            monkeypatch.setattr(module, "ops", lambda array: _core.float64)


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``striate train small``; and no thread outlives a command."""
    monkeypatch.setitem(models.MODELS, "small", picture_training.small)
    monkeypatch.setitem(recipes.RECIPES, "small", picture_training.RECIPE)
    before = set(threading.enumerate())
    yield
    assert not set(threading.enumerate()) - before


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small pictures of three classes, in train/ and val/."""
    return make_folder(tmp_path_factory.mktemp("data"), train=12, val=4)


@pytest.fixture
def copied(photos: Path, tmp_path: Path) -> Path:
    """A copy of the pictures that a test may damage."""
    return Path(shutil.copytree(photos, tmp_path / "copy"))
