"""The script that writes docs/benchmarks.md, and the layers' roofline."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from striate.bench import layers, report
from striate.bench.compare import Row
from striate.bench.lenet5 import NETWORK
from striate.cli import main

ROOT = Path(__file__).parents[1]
MACHINE = {"striate": "1", "processor": "P", "cores": 2, "python": "3", "numpy": "2"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "scripts/write_benchmarks.py"
    spec = importlib.util.spec_from_file_location("write_benchmarks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        spec.loader.exec_module(module)
    return module


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *argv: object) -> None:
    monkeypatch.setattr(sys, "argv", ["write_benchmarks.py", *map(str, argv)])
    assert script.main() == 0


def test_every_section_has_its_place(script: ModuleType) -> None:
    text = script.DOCUMENT.read_text()
    sections = [*script.SECTIONS, *script.CUDA_SECTIONS, "cuda-bars"]
    for name in sections:
        assert script.put(text, name, "TABLE").count("TABLE") == text.count("TABLE") + 1
    assert text.count("<!-- ") == 2 * len(sections)
    with pytest.raises(ValueError, match="has no <!-- train -->"):
        script.put(text, "train", "")


def test_a_stopped_run_goes_on(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is measured stays, and what is measured again replaces its table."""
    document, folder = tmp_path / "page.md", tmp_path / "figures"
    marks = "".join(f"<!-- {name} -->\n<!-- end -->\n" for name in script.SECTIONS)
    document.write_text(f"# Head\n{marks}tail\n")
    measured: list[str] = []

    def bench(command: list[str], check: bool) -> None:
        assert check
        name = command[4]
        measured.append(name)
        if len(measured) == 3:
            raise KeyboardInterrupt
        facts = {
            "command": f"striate bench {name}",
            "isa": "avx2",
            "threads": 2,
            "pairs": 9,
            "machine": MACHINE,
            "versions": {},
            "left_out": {"jax": "not installed"},
        }
        report.write(command[-1], facts, [Row(name, "striate", len(measured), 1, 1, 1)])

    sections = {"a": "gemm", "b": "conv --batch-size 2", "c": "import"}
    monkeypatch.setattr(script, "SECTIONS", sections)
    monkeypatch.setattr(script.subprocess, "run", bench)
    document.write_text("".join(f"<!-- {name} -->\n<!-- end -->\n" for name in sections))
    options = ["--folder", folder, "--document", document]
    with pytest.raises(KeyboardInterrupt):
        run(script, monkeypatch, *options)
    assert measured == ["gemm", "conv", "import"]
    run(script, monkeypatch, *options)
    assert measured == ["gemm", "conv", "import", "import"]
    text = document.read_text()
    assert (
        "<!-- a -->\n\n    striate bench gemm\n\nstriate 1 on avx2, 2 threads, 9 pairs; P" in text
    )
    assert "| gemm | striate | 1 s |" in text
    assert text.count("Left out: jax (not installed).") == 3
    run(script, monkeypatch, *options, "--only", "a")
    assert measured[4:] == ["gemm"]
    assert "| gemm | striate | 5 s |" in document.read_text()
    assert "| gemm | striate | 1 s |" not in document.read_text()


def test_the_part_on_the_gpu(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Bars say that nothing was measured, or what was; a work that fails leaves its place."""
    bars = script.cuda_bars
    assert bars.table(tmp_path).count(f"| {bars.NOT_MEASURED} |") == len(bars.BARS)
    assert bars.table(tmp_path / "none") in script.DOCUMENT.read_text()
    gpu = {"name": "H", "capability": "9.0", "driver": "580", "runtime": "CUDA 13.0"}
    facts = {"command": "c", "gpu": gpu, "precision": ["float32"], "date": "2026-01-02",
             "machine": MACHINE, "versions": {"torch": "2"}, "left_out": {}, "pairs": 1,
             "target": 0.99}  # fmt: skip
    rows = [
        Row("step", "striate", 1, 1, 1, 1, device="cuda:0"),
        Row("step", "torch", 6, 6, 6, 6, device="cuda:0"),
        Row("step", "torch-graph", 2, 2, 2, 1.6, device="cuda:0"),
        Row("copied", "striate", 1, 1, 1, 1, read=9e11, peak_read=1000.0, device="cuda:0"),
    ]
    runs = [{"seed": 0, "seconds": 0.4, "accuracy": 0.991}]

    def bench(command: list[str], check: bool, timeout: float) -> None:
        assert timeout == 7
        if command[4] == "conv":
            raise subprocess.TimeoutExpired(command, timeout)
        if command[4] == "alexnet":
            raise subprocess.CalledProcessError(1, command)
        report.write(command[-1], {**facts, "runs": runs}, rows)

    monkeypatch.setattr(script.subprocess, "run", bench)
    names = [name for name in script.CUDA_SECTIONS if name != "cuda-layers"]
    marks = [*script.SECTIONS, *script.CUDA_SECTIONS, "cuda-bars"]
    document = tmp_path / "page.md"
    document.write_text("".join(f"<!-- {name} -->\n\n-\n\n<!-- end -->\n" for name in marks))
    (tmp_path / "cuda-sanitize.json").write_text('{"memcheck": "0 errors"}')
    options = ["--limit", 7, "--document", document, "--folder", tmp_path]
    monkeypatch.setattr(sys, "argv", ["w", *map(str, options), "--only", *names])
    assert script.main() == 1
    text = document.read_text()
    assert "| 6.00 times faster than eager at least, 1.60 times faster than its best" in text
    assert "| 90% of cuBLAS | `striate bench gemm --device cuda --precision" in text
    assert "| 600% .. 600% |" in text
    assert "| 90% .. 90% |" in text
    assert "| 0.40 s, 1 of 1 reach it |" in text
    assert "| memcheck: 0 errors |" in text
    assert text.count(f"| {bars.NOT_MEASURED} |") == 2  # alexnet, conv
    assert "<!-- cuda-conv -->\n\n-\n" in text
    head = "striate 1 on H, compute capability 9.0, driver 580, CUDA 13.0; float32; 2026-01-02"
    assert f"    c\n\n{head}, 1 pairs, torch 2.\n" in text
    assert f"    c\n\n{head}.\n\n| seed |" in text


def test_layers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: ModuleType) -> None:
    monkeypatch.setattr(layers, "_NETWORKS", {"LeNet-5": NETWORK})
    kept = tmp_path / "layers.json"
    options = ["--batch-size", "2", "--pairs", "1", "--json", str(kept)]
    assert main(["bench", "layers", *options]) == 0
    facts: dict[str, Any] = json.loads(kept.read_text())
    found = {
        (layer["name"], layer["direction"]): layers.Layer(**layer) for layer in facts["layers"]
    }
    assert len(found) == 2 * (2 + 2 + 4 + 3)
    conv1, conv2 = found["conv1", "forward"], found["conv2", "forward"]
    assert (conv1.flop, conv2.flop) == (2 * 2 * 117_600, 2 * 2 * 240_000)
    assert conv1.bytes == 4 * (2 * 784 + 2 * 6 * 784 + 156)
    assert found["conv1", "backward"].flop == conv1.flop  # no gradient of the images
    assert found["conv2", "backward"].flop == 2 * conv2.flop
    assert found["relu4", "backward"].bytes == 4 * 3 * 2 * 84
    section = script.section("layers", kept)
    assert "    striate bench layers --batch-size 2" in section
    assert "| LeNet-5 conv2 | backward |" in section

    pytest.importorskip("matplotlib")
    picture = tmp_path / "roofline.png"
    plot = ROOT / "scripts/plot_roofline.py"
    facts["layers"] += [{**layer, "network": "AlexNet"} for layer in facts["layers"]]
    kept.write_text(json.dumps(facts))
    subprocess.run([sys.executable, plot, kept, "-o", picture], check=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
