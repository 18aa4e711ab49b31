"""The speed gate's arithmetic (scripts/check_instructions.py); CI runs the gate itself."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def gate() -> ModuleType:
    path = ROOT / "scripts/check_instructions.py"
    spec = importlib.util.spec_from_file_location("check_instructions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(
    gate: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *options: str
) -> tuple[int, dict[str, dict[str, int]]]:
    """main() where Valgrind counts 1,100 instructions of conv2d."""
    program, kept = tmp_path / "instructions", tmp_path / "kept.json"
    program.touch()
    monkeypatch.setattr(gate.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(gate, "count", lambda program: ("GNU 12", {"conv2d": 1100, "relu": 100}))
    files = ["--program", str(program), "--kept", str(kept)]
    monkeypatch.setattr(sys, "argv", ["check_instructions.py", *files, *options])
    status = gate.main()
    return status, json.loads(kept.read_text()) if kept.exists() else {}


def test_ten_percent_more_is_one_clear_line(
    gate: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = {"GNU 12": {"conv2d": 1000, "relu": 100}}
    (tmp_path / "kept.json").write_text(json.dumps(kept))
    assert run(gate, monkeypatch, tmp_path)[0] == 1
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == (
        "error: conv2d executes +10.0% instructions: 1,100, 1,000 were kept (room for 5%)"
    )
    assert run(gate, monkeypatch, tmp_path, "--write")[1]["GNU 12"]["conv2d"] == 1100
    assert run(gate, monkeypatch, tmp_path)[0] == 0


def test_what_is_missing_is_an_error_and_what_is_faster_a_note(gate: ModuleType) -> None:
    wrong, notes = gate.compare({"a": 90, "b": 104, "new": 1}, {"a": 100, "b": 100, "gone": 1})
    assert wrong == ["gone is no longer counted", "new has no count yet"]
    assert notes == ["a executes -10.0% instructions: keep that by --write"]


def test_another_compiler_is_not_compared(
    gate: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "kept.json").write_text(json.dumps({"Clang 17": {"conv2d": 1}}))
    assert run(gate, monkeypatch, tmp_path)[0] == 0
    assert "built by GNU 12, but the counts that are kept come from Clang 17" in (
        capsys.readouterr().out
    )
    assert set(run(gate, monkeypatch, tmp_path, "--write")[1]) == {"Clang 17", "GNU 12"}


def test_every_op_is_counted() -> None:
    """Each header of the library has its line; a new op gets one, too."""
    counted = json.loads((ROOT / "cpp/bench/instructions.json").read_text())
    names = {name.split("/")[0] for counts in counted.values() for name in counts}
    files = {path.stem for path in (ROOT / "cpp/include/striate").glob("*.h")}
    stands_for = {"relu": "activation", "max_pool2d": "pool2d", "sgd_step": "sgd"}
    assert {stands_for.get(name, name) for name in names} >= files
    source = (ROOT / "cpp/bench/instructions.cc").read_text()
    assert set(re.findall(r'#include "striate/(\w+)\.h"', source)) == files
