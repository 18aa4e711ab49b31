"""scripts/check_wheel.py on small wheels: what one may hold, and what it may weigh."""

from __future__ import annotations

import importlib.util
import os
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
INFO = "striate-1.2.3.dist-info"
FILES = {
    "striate/__init__.py": 10,
    "striate/nn/layer.py": 10,
    "striate/_core/__init__.pyi": 10,
    "striate/py.typed": 0,
    "striate/_core.cpython-311-x86_64-linux-gnu.so": 1000,
    "striate/data/mnist_xz/SOURCE.md": 10,
    "striate/data/mnist_xz/train-images-0.xz": 4_000_000,
    f"{INFO}/METADATA": 10,
    f"{INFO}/licenses/LICENSE": 10,
    f"{INFO}/licenses/LICENSES/CC-BY-SA-3.0.txt": 10,
}
GOMP = "striate.libs/libgomp-e985bcbb.so.1.0.0"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_wheel", ROOT / "scripts/check_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_wheel(folder: Path, files: dict[str, int]) -> zipfile.ZipFile:
    path = folder / "striate.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, size in files.items():
            wheel.writestr(name, os.urandom(size))
    return zipfile.ZipFile(path)


@pytest.mark.parametrize(
    ("changed", "threads", "faults"),
    [
        ({}, "team", []),
        ({GOMP: 9}, "openmp", []),
        ({GOMP: 9}, "team", ["holds 1 OpenMP runtimes, and its threads are of team"]),
        ({}, "openmp", ["holds 0 OpenMP runtimes, and its threads are of openmp"]),
        ({"striate.libs/libgomp.so.1": 9}, "openmp",  # meets another package's
         ["holds striate.libs/libgomp.so.1",
          "holds 0 OpenMP runtimes, and its threads are of openmp"]),
        ({"striate.libs/libstdc-0a1b2c3d.so.6": 9}, "team",
         ["holds striate.libs/libstdc-0a1b2c3d.so.6"]),
        ({"striate/conv2d.h": 9}, "team", ["holds striate/conv2d.h"]),
        ({"tests/test_conv2d.py": 9}, "team", ["holds tests/test_conv2d.py"]),
    ],
)  # fmt: skip
def test_contents(
    script: ModuleType, tmp_path: Path, changed: dict[str, int], threads: str, faults: list[str]
) -> None:
    with make_wheel(tmp_path, FILES | changed) as wheel:
        assert list(script.content_faults(wheel, threads)) == faults


@pytest.mark.parametrize("missing", [n for n in FILES if "LICENSE" in n or n.endswith("typed")])
def test_what_must_be_there(script: ModuleType, tmp_path: Path, missing: str) -> None:
    files = {name: size for name, size in FILES.items() if name != missing}
    with make_wheel(tmp_path, files) as wheel:
        (fault,) = script.content_faults(wheel, "team")
    assert fault.startswith("lacks ")
    assert missing.endswith(fault.removeprefix("lacks "))


def test_size(script: ModuleType, tmp_path: Path) -> None:
    """The digits do not count."""
    with make_wheel(tmp_path, FILES) as wheel:
        assert list(script.size_faults(wheel)) == []
    with make_wheel(tmp_path, FILES | {"striate/_core.abi3.so": 3_000_000}) as wheel:
        (fault,) = script.size_faults(wheel)
    assert fault == "weighs 3,001,060 bytes without MNIST's digits, more than 3,000,000"
