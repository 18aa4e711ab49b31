"""The package as installed: stubs, imports, environment variables, forks."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
import striate.functional as F
from checks import draw
from striate import _core

PACKAGE = Path(striate.__file__).parent


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_stubs_are_what_the_module_says(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "pybind11_stubgen", "striate._core", "-o", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    made = {p.relative_to(tmp_path / "striate"): p.read_text() for p in tmp_path.rglob("*.pyi")}
    kept = {p.relative_to(PACKAGE): p.read_text() for p in PACKAGE.rglob("_core/*.pyi")}
    assert kept == made, "run scripts/make_stubs.py"


def test_import_loads_numpy_and_nothing_else() -> None:
    code = """
import sys, json, numpy
before = set(sys.modules)
import striate
print(json.dumps(sorted(m.split(".")[0] for m in set(sys.modules) - before)))
"""
    loaded = set(json.loads(python(code).stdout))
    third_party = loaded - set(sys.stdlib_module_names) - {"striate"}
    assert not third_party


def test_no_named_tuple_has_another_base() -> None:
    """Python 3.10 refuses such a class where it is defined; no linter knows."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and len(node.bases) > 1:
                assert "NamedTuple" not in map(ast.unparse, node.bases), f"{path}: {node.name}"


def test_every_public_name_is_there() -> None:
    for module in (striate, striate.functional, striate.nn, striate.optim, striate.data):
        for name in module.__all__:
            assert getattr(module, name) is not None
    assert striate.nn.Module is striate.nn.Layer
    with pytest.raises(AttributeError, match="module 'striate' has no attribute 'tensor'"):
        striate.tensor  # noqa: B018


def test_every_op_has_its_twin_and_its_documentation() -> None:
    ops = [name for name in F.__all__ if not name.endswith("_backward")]
    assert len(ops) == 13
    for name in ops:
        assert f"{name}_backward" in F.__all__
        assert len(getattr(F, name).__doc__.splitlines()) > 3


USE = "import numpy, striate, striate.functional as F; F.relu(numpy.ones(3, 'f'));"


@pytest.mark.parametrize(
    ("environment", "code", "expected"),
    [
        ({"STRIATE_ISA": "baseline"}, "print(striate._core.isa_name())", "baseline"),
        ({"STRIATE_BACKEND": "reference"}, "print(striate.get_backend())", "reference"),
        ({"OMP_NUM_THREADS": "3"}, "print(striate.get_num_threads())", "3"),
        ({}, "striate.set_num_threads(5); print(striate.get_num_threads())", "5"),
        ({}, "striate.set_backend('reference'); print(striate.get_backend())", "reference"),
    ],
)
def test_environment_and_settings(environment: dict[str, str], code: str, expected: str) -> None:
    assert python(USE + code, **environment).stdout.strip() == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"STRIATE_ISA": "sse9"}, "STRIATE_ISA: this CPU and build have no instruction set 'sse9'"),
        ({"STRIATE_BACKEND": "gpu"}, "STRIATE_BACKEND: backend must be 'cpu' or 'reference'"),
    ],
)
def test_a_wrong_environment_is_one_clear_error(environment: dict[str, str], message: str) -> None:
    error = python(USE, **environment).stderr
    assert f"ValueError: {message}" in error
    assert python("import striate", **environment).returncode == 0


@pytest.mark.parametrize("call", [lambda: striate.set_num_threads(0),
                                  lambda: striate.set_num_threads(10**6),
                                  lambda: striate.set_num_threads(2**40),
                                  lambda: striate.set_backend("fast")])  # fmt: skip
def test_settings_refuse(call: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        call()


def test_a_forked_child_computes() -> None:
    """None of the parent's threads is there; libgomp would wait for them for ever."""
    code = """
import os, sys, warnings, numpy, striate, striate.functional as F
warnings.simplefilter("ignore", DeprecationWarning)
striate.set_num_threads(4)
x = numpy.random.default_rng(0).standard_normal((64, 3, 30, 30), numpy.float32)
w = x[:5, :, :3, :3].copy()
expected = F.conv2d(x, w)
pid = os.fork()
if pid == 0:
    serial = "OpenMP" not in striate._core.threading_runtime() or striate.get_num_threads() == 1
    os._exit(0 if (F.conv2d(x, w) == expected).all() and serial else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert python(code).returncode == 0


def test_denormals_are_flushed_and_the_callers_mode_comes_back() -> None:
    tiny = np.full(1000, 1e-39, np.float32)
    assert not F.linear(tiny[None], np.ones((1, 1000), np.float32)).any()
    assert (tiny * np.float32(0.5)).all()  # NumPy's own arithmetic still keeps them


def test_results_outlive_the_cache_and_blocks_are_used_again() -> None:
    x = draw("cache", (300, 300))
    y = F.relu(x)
    del y
    kept = _core.cached_bytes()
    assert kept >= x.nbytes
    y = F.relu(x)
    assert _core.cached_bytes() < kept
    striate.empty_cache()
    assert _core.cached_bytes() == 0
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_licences_are_there() -> None:
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        facts = metadata("striate")
    except PackageNotFoundError:
        pytest.skip("not installed: runs from a checkout")
    assert facts["License-Expression"] == "MIT AND CC-BY-SA-3.0"
    assert {"LICENSE", "LICENSES/CC-BY-SA-3.0.txt"} <= set(facts.get_all("License-File"))


def test_the_wheel_carries_no_cpp_library() -> None:
    """Headers and archive are a CMake component of their own: see tests/test_cpp_install.py."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        installed = files("striate")
    except PackageNotFoundError:
        pytest.skip("not installed: runs from a checkout")
    assert not [f for f in installed or [] if f.suffix in (".h", ".a", ".cmake", ".cc")]
