"""The benchmarks on a GPU, or with tiny sizes on its emulation: what is compared and told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cuda_backend
import cuda_host_build
import striate
from striate.bench import compare, conv, gemm, networks, report
from striate.bench.compare import Job, Row, Settings
from striate.bench.cuda import digits, gpu, layers, memory, works
from striate.bench.cuda import networks as cuda_networks
from striate.bench.lenet5 import NETWORK as LENET5
from striate.bench.worker import Worker
from striate.cli import main
from striate.data.dataset import ArraySamples

ROOT = Path(__file__).parents[1]
DEVICE = "cuda:0"


class InThisProcess:
    """compare._Process without a process: the emulation is loaded in this one alone."""

    def __init__(self, peer: str, settings: Settings) -> None:
        self._worker = Worker(peer, settings.turn)

    def ask(self, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(json.dumps(self._worker.answer(request)))
        return answer

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(params=cuda_backend.NAMES)
def tiny(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The works as they are, but for their sizes and processes."""
    cuda_backend.load(request.param)
    monkeypatch.setattr(compare, "_Process", InThisProcess)
    monkeypatch.setattr(compare, "PAUSE", 0)
    monkeypatch.setattr(gpu, "_COPIED", 1 << 20)
    monkeypatch.setattr(gpu, "_MOST_SETS", 2)
    monkeypatch.setattr(memory, "PLANES", (3, 9, 8))
    monkeypatch.setattr(memory, "WEIGHTS", 5000)
    monkeypatch.setitem(conv.LAYERS, "conv1", conv.Layer(10, 9, 12, 3, 2, 1))
    yield
    striate.cuda.set_precision("float32")


def figures(file: Path, *argv: str) -> dict[str, Any]:
    options = ["--device", "cuda", "--pairs", "1", "--turn", "0.0001", "--json", str(file)]
    assert main(["bench", *argv, *options]) == 0
    facts: dict[str, Any] = json.loads(file.read_text())
    return facts


def test_lenet5(tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recorded step and the eager one agree; without notes, so it was recorded."""
    options = ["--batch-size", "2", "--against", "striate-eager"]
    facts = figures(tmp_path / "f.json", "lenet5", *options)
    printed = capsys.readouterr().out
    assert [(row["work"], row["peer"]) for row in facts["rows"]] == [
        ("lenet5 step, batch 2, float32", "striate"),
        ("lenet5 step, batch 2, float32", "striate-eager"),
    ]
    for row in facts["rows"]:
        assert row["median"] > 0
        assert row["flop"] == 2 * 2 * (3 * 416_520 - 117_600)
        assert row["device"] == DEVICE
        assert row["peak_mb"] is None
    assert facts["command"] == (
        "striate bench lenet5 --device cuda --batch-size 2 --against striate-eager --pairs 1"
    )
    assert set(facts["gpu"]) == {"name", "capability", "driver", "runtime"}
    assert f" on {facts['gpu']['name']}, compute capability" in printed
    assert f"float32; {facts['date']}, 1 pairs, cupy " in printed
    assert "| TFLOP/s |" in printed
    assert "GFLOP/s" not in printed
    assert "of FMA peak" not in printed


def test_the_losses_of_the_first_steps_are_checked(tiny: None) -> None:
    """Those of the recording, too; the CPU computes the same."""
    steps = [
        make(LENET5, 2, "float32", DEVICE).check
        for make in (cuda_networks.recorded, cuda_networks.eager)
    ]
    on_cpu = networks.train(LENET5, 2).check
    before = 2 * 10 + 1 + 10
    assert len(steps[0]) == before + cuda_networks.LOSSES
    compare.check("lenet5", "eager", steps[1], steps[0], 1e-6)
    compare.check("lenet5", "cpu", on_cpu[:before], steps[0][:before], 1e-4)
    losses = steps[0][before:]
    assert losses == sorted(losses, reverse=True)
    assert losses[1] == pytest.approx(on_cpu[before], rel=1e-4)  # after one step


def test_a_step_that_is_not_recorded_is_not_timed(
    tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from striate.trainer.step import CudaStep

    def record(self: CudaStep, *args: Any) -> None:
        self._give_up("it looks at values")

    monkeypatch.setattr(CudaStep, "_record", record)
    with pytest.raises(RuntimeError, match="cannot be recorded as a CUDA graph.*looks at values"):
        cuda_networks.recorded(LENET5, 2, "float32", DEVICE)


@pytest.mark.parametrize("precision", gpu.PRECISIONS)
def test_gemm(tiny: None, precision: str, tmp_path: Path) -> None:
    facts = figures(tmp_path / "f", "gemm", "--size", "24", "--precision", precision,
                    "--against", "none")  # fmt: skip
    assert [row["work"] for row in facts["rows"]] == [
        f"gemm 24 {which}, {precision}" for which in ("NN", "NT", "TN")
    ]
    assert facts["precision"] == [precision]
    assert striate.cuda.get_precision() == precision
    numbers = {
        which: works.WORKS["gemm on cuda"]["striate"]
        .make(size=24, trans_a=which, trans_b=False, precision=precision, device=DEVICE)
        .check
        for which in (False, True)
    }
    a, b = (matrix.astype(np.float64) for matrix in gemm.matrices(24))
    for which, found in numbers.items():
        expected = ((a.T if which else a) @ b).ravel()[:: 24**2 // 19]
        compare.check("gemm", "double", expected.tolist(), found, gpu.TOLERANCES[precision])


def test_conv(tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--layers", "conv1", "--batch-size", "2", "--precision", "float32", "bf16"]
    facts = figures(tmp_path / "f", "conv", *options, "--against", "none")
    assert [row["work"] for row in facts["rows"]] == [
        f"conv1 {kind}, batch 2, {precision}"
        for precision in ("float32", "bf16")
        for kind in conv.PASSES
    ]
    assert "| error: RMS, largest |" in capsys.readouterr().out
    for row in facts["rows"]:
        least, most = (1e-9, 1e-6) if "float32" in row["work"] else (1e-4, 2e-2)
        assert least < row["facts"]["rms_error"] < most


def test_memory(tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = figures(tmp_path / "f", "memory", "--batch-size", "3")
    printed = capsys.readouterr().out
    rows = {row["work"].removesuffix(", batch 3"): row for row in facts["rows"]}
    assert list(rows) == [*memory.OPS, "sgd"]
    full, pooled = 4 * 3 * 3 * 9 * 8, 4 * 3 * 3 * 4 * 3
    assert {name: row["read"] for name, row in rows.items()} == {
        "relu forward": 2 * full,
        "relu backward": 3 * full,
        "max_pool2d forward": full + 2 * pooled,
        "max_pool2d backward": full + 2 * pooled,
        "avg_pool2d forward": full + pooled,
        "avg_pool2d backward": full + pooled,
        "local_response_norm forward": 2 * full,
        "local_response_norm backward": 3 * full,
        "sgd": 4 * 5 * 5000,
    }
    assert all(row["peak_read"] > 0 and row["peak_gflops"] is None for row in rows.values())
    assert "| GB/s | of a copy's |" in printed
    chosen = figures(tmp_path / "f", "memory", "--batch-size", "1", "--layers", "sgd")
    assert [row["work"] for row in chosen["rows"]] == ["sgd"]


def test_layers(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(layers, "NETWORKS", {"LeNet-5": LENET5})
    monkeypatch.setattr(layers, "_REPETITIONS", 1)
    facts = figures(tmp_path / "f", "layers", "--batch-size", "1")
    assert len(facts["layers"]) == 2 * (2 + 2 + 4 + 3)
    assert all(layer["seconds"] > 0 for layer in facts["layers"])
    printed = capsys.readouterr().out
    assert f" on {facts['gpu']['name']}" in printed
    assert "| LeNet-5 conv2 | backward |" in printed


def test_digits(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    images = generator.standard_normal((8, 1, 28, 28), np.float32)
    labels = generator.integers(0, 10, 8)

    def samples(recipe: Any, device: str) -> list[ArraySamples]:
        return [ArraySamples(images, labels).to(device) for _ in range(2)]

    monkeypatch.setattr(digits, "samples", samples)
    facts = figures(tmp_path / "f", "digits", "--seeds", "2", "--batch-size", "2")
    assert [run["seed"] for run in facts["runs"]] == [0, 1]
    assert all(run["seconds"] > 0 and 0 <= run["accuracy"] <= 1 for run in facts["runs"])
    mean = sum(run["seconds"] for run in facts["runs"]) / 2
    assert f", mean {mean:.2f}\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", cuda_backend.NAMES)
def test_digits_are_normalised_and_on_the_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda_backend.load(name)
    split = types.SimpleNamespace(
        images=np.full((3, 28, 28), 255, np.uint8), labels=np.arange(3, dtype=np.uint8)
    )
    monkeypatch.setattr("striate.data.mnist", lambda: (split, split))
    train, test = digits.samples(digits.RECIPE, DEVICE)
    for part in (train, test):
        x, labels = part[np.array([2, 0])]
        assert x.shape == (2, 1, 28, 28)
        assert x.get()[0, 0, 0, 0] == pytest.approx((1 - 0.1307) / 0.3081)
        assert labels.get().tolist() == [2, 0]
        assert labels.dtype == np.int64


def test_in_processes_of_their_own(tmp_path: Path) -> None:
    """As a user runs it; what the emulation needs comes by sitecustomize."""
    cuda_backend.load((cuda_backend.available() or ["cuda_host"])[0])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    if cuda_backend.available() == ["cuda_host"]:
        (tmp_path / "sitecustomize.py").write_text(
            "import importlib.machinery, importlib.util, sys\n"
            "class Finder:\n"
            "    def find_spec(name, path=None, target=None):\n"
            "        if name == 'striate._cuda':\n"
            f"            return importlib.util.spec_from_file_location(name, {module_file()!r})\n"
            "sys.meta_path.insert(0, Finder)\n"
        )
    kept = tmp_path / "f.json"
    answer = subprocess.run(
        [*(sys.executable, "-m", "striate", "bench", "memory", "--device", "cuda"),
         *("--layers", "relu", "--batch-size", "1", "--pairs", "2", "--turn", "0.001"),
         *("--json", str(kept))],
        capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    facts, rows = report.read(kept)
    assert [row.work for row in rows] == ["relu forward, batch 1", "relu backward, batch 1"]
    assert all(len(row.turns) == 2 for row in rows)
    assert report.heading(facts) in answer.stdout


def module_file() -> str:
    (path,) = cuda_host_build.build("_cuda").glob("_cuda.*.so")
    return str(path)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["import"], "--device: import is measured on the CPU alone, a GPU has lenet5, alexnet"),
        (["size"], "--device: size is measured on the CPU alone"),
        (["lenet5", "--infer"], "--infer: is of the CPU, got --device cuda beside it"),
        (["gemm", "--isa", "avx2"], "--isa: is of the CPU"),
        (["memory", "--precision", "bf16"], "--precision: memory is measured in float32 alone"),
        (["digits", "--precision", "tf32", "bf16"], "--precision: of digits it is one, got tf32"),
        (["layers", "--batch-size", "1", "2"], "--batch-size: of layers it is one, got 2"),
    ],
)
def test_refused(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before CUDA is looked for."""
    assert main(["bench", *argv, "--device", "cuda"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gemm", "--against", "jax"], "--against: gemm on cuda knows torch, got 'jax'"),
        (["memory", "--against", "torch"], "--against: memory on cuda knows none, got 'torch'"),
        (["memory", "--layers", "conv1"], "--layers: knows relu, max_pool2d, avg_pool2d,"),
    ],
)
def test_refused_on_a_gpu(
    tiny: None, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *argv, "--device", "cuda"]) == 2
    assert message in capsys.readouterr().err


def test_without_cuda_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(striate.cuda, "_loaded", None)
    monkeypatch.setattr(striate.cuda, "_load", lambda: (None, "there is no GPU"))
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert main(["bench", "gemm", "--device", "cuda"]) == 2
    assert capsys.readouterr().err == "striate: error: CUDA cannot be used: there is no GPU\n"
    assert main(["bench", "gemm", "--precision", "bf16"]) == 2
    assert "--precision: of products on a GPU, it needs --device cuda" in capsys.readouterr().err
    assert main(["bench", "memory"]) == 2
    assert "memory: is measured on a GPU, it needs --device cuda" in capsys.readouterr().err


def test_a_turn_is_warmed_up_and_lies_between_two_events() -> None:
    told: list[str] = []

    class Event:
        def record(self) -> None:
            told.append("mark")

        def synchronize(self) -> None:
            told.append("wait")

    clock = gpu.timed(lambda: told.append("step"), Event, lambda first, last: 250.0)
    assert clock(20) == 0.25
    assert told == ["step"] * 2 + ["mark"] + ["step"] * 20 + ["mark", "wait"]
    assert gpu.sets(1e9) == 1
    assert gpu.sets(100e6) == 3
    assert gpu.sets(0) == 16


def test_a_job_has_its_own_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"striate": [1.0], "torch": [1.05]}

    class Process(InThisProcess):
        def __init__(self, peer: str, settings: Settings) -> None:
            self.peer = peer

        def ask(self, **request: Any) -> dict[str, Any]:
            if "make" in request:
                facts: dict[str, Any] = {"imported_mb": 1.0, "flop": None, "read": None}
                return {**facts, "facts": {}, "check": numbers[self.peer]}
            return {"read": 2.0} if "peaks" in request else {"seconds": 1.0, "peak_mb": 1.0}

    monkeypatch.setattr(compare, "_Process", Process)
    monkeypatch.setattr(compare, "PAUSE", 0)
    settings = Settings(1, 1, device=DEVICE)
    (_, torch) = compare.compare([Job("gemm on cuda", "g", {}, 0.1)], ["torch"], settings)
    assert (torch.peak_read, torch.peak_gflops, torch.device) == (2.0, None, DEVICE)
    with pytest.raises(RuntimeError, match="g: torch computes 1.05, Striate 1"):
        compare.compare([Job("gemm on cuda", "g", {})], ["torch"], settings)


def test_the_table_of_a_gpu() -> None:
    row = Row("w", "striate", 1e-3, 1e-3, 1e-3, 1, flop=5e10, read=2e9, peak_read=2500.0)
    shown = report.table([row._replace(device=DEVICE)]).splitlines()
    assert shown[0].endswith("| TFLOP/s | GB/s | of a copy's | time / Striate's |")
    assert shown[2].endswith("| 50 | 2000.0 | 80% | 1.00 |")
