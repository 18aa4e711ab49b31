"""The benchmarks: what is compared before it is timed, what the table and the file say."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from striate import _core
from striate.bench import compare, conv, digits, networks, report, size, works
from striate.bench.alexnet import NETWORK as ALEXNET
from striate.bench.compare import Job, Row, Settings
from striate.bench.lenet5 import NETWORK as LENET5
from striate.bench.work import Peer, Work
from striate.cli import main
from striate.cli.bench import _DEFAULT

ROOT = Path(__file__).parents[1]


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def figures(file: Path, *argv: str) -> list[dict[str, Any]]:
    options = ["--pairs", "1", "--turn", "0.005", "--json", str(file)]
    assert main(["bench", *argv, *options]) == 0
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"]
    return rows


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([1.0, 2.001], "alexnet: torch computes 2.001, Striate 2 (number 1)"),
        ([1.0, float("nan")], "torch computes nan, Striate 2"),
        ([1.0], "torch gives 1 numbers to check, not 2"),
    ],
)
def test_peers_that_disagree_are_not_timed(theirs: list[float], message: str) -> None:
    with pytest.raises(RuntimeError, match=re.escape(message)):
        compare.check("alexnet", "torch", theirs, [1.0, 2.0], 1e-4)


def test_peers_that_agree_up_to_rounding() -> None:
    compare.check("alexnet", "torch", [1.00001, 0.0, -2.0], [1.0, 1e-6, -2.00001], 1e-4)
    compare.check("alexnet", "openvino-bf16", [1.01, 0.0], [1.0, 4e-3], 0.05)


def test_the_check_covers_every_gradient() -> None:
    work = networks.train(LENET5, batch_size=2)
    assert len(work.check) == 2 * 10 + 1 + 10 + 1
    assert np.isfinite(work.check).all()
    assert work.check[-1] < work.check[20]  # the loss fell
    assert work.flop == 2 * 2 * (3 * 416_520 - 117_600)


def test_what_is_bound_by_memory() -> None:
    """AlexNet's weights for one image; not LeNet's, which caches hold, nor those of a batch."""
    assert networks.infer(LENET5, 1).read is None
    work = networks.infer(ALEXNET, 1)
    assert (work.flop, work.read) == (2 * 714_188_480, 4 * 61_100_840)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["--train", "--infer"])
def test_lenet5(mode: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Every peer that is installed computes the same, in a process of its own."""
    rows = figures(tmp_path / "f.json", "lenet5", mode, "--batch-size", "3")
    captured = capsys.readouterr()
    what = "step" if mode == "--train" else "inference"
    peers = [peer for peer in works.WORKS[f"lenet5 {mode}"] if installed(works.module(peer))]
    assert "striate" in peers
    assert [(row["work"], row["peer"]) for row in rows] == [
        (f"lenet5 {what}, batch 3", peer)
        for peer in ["striate", *_DEFAULT[f"lenet5 {mode}"]]
        if peer in peers
    ]
    for peer in works.WORKS[f"lenet5 {mode}"]:
        if peer not in peers:
            assert f"{peer} is not installed, so it is left out" in captured.err
    assert "| of FMA peak |" in captured.out
    for row in rows:
        assert 0 < row["gflops"] < row["peak_gflops"]
        assert row["variant"] in captured.out
        assert (row["variant"] != "") == (row["peer"] == "torch")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["--train", "--infer"])
def test_alexnet(mode: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Inference beside torch where it is installed: the weights and the net are the same, then."""
    beside = ["torch"] if installed("torch") and mode == "--infer" else []
    options = [mode, "--batch-size", "2", "--against", *(beside or ["none"])]
    rows = figures(tmp_path / "figures.json", "alexnet", *options)
    printed = capsys.readouterr().out
    assert f"| alexnet {'step' if mode == '--train' else 'inference'}, batch 2 | str" in printed
    assert "| peak MB (import) |" in printed
    assert [row["peer"] for row in rows] == ["striate", *beside]
    weights = 61_100_840 * 4e-6
    for row in rows:
        assert row["peak_mb"] > row["imported_mb"] + weights
        assert row["gflops"] > 0


def test_avx2_pins_both_sides(tmp_path: Path) -> None:
    if "avx2" not in _core.supported_isas():
        pytest.skip("needs AVX2")
    options = ["gemm", "--size", "48", "--isa", "avx2", "--against", "numpy", "--threads", "1"]
    rows = figures(tmp_path / "f.json", *options)
    assert [row["work"][-2:] for row in rows[::2]] == ["NN", "NT", "TN", "TT"]
    facts = json.loads((tmp_path / "f.json").read_text())
    assert facts["isa"] == "avx2"
    command = "striate bench gemm --size 48 --against numpy --threads 1 --pairs 1 --isa avx2"
    assert facts["command"] == command
    with compare._Process("striate", Settings(1, 1, isa="avx2")) as process:
        process.ask(peaks=True)  # it has started
        environment = Path(f"/proc/{process._process.pid}/environ")
        if environment.exists():
            assert b"\0STRIATE_ISA=avx2\0" in environment.read_bytes()


def test_a_peer_that_cannot_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "striate": {"check": [], "imported_mb": 1.0, "flop": None, "read": None, "facts": {}},
        "torch": {"error": "RuntimeError: no memory"},
    }

    class Process:
        def __init__(self, peer: str, settings: Settings) -> None:
            self.peer = peer

        def ask(self, **request: Any) -> dict[str, Any]:
            if "peaks" in request:
                return {"gflops": 1.0, "read": 2.0}
            if "turn" in request:
                return {"seconds": 0.5, "peak_mb": 3.0}
            return answers[self.peer]

        def __enter__(self) -> Process:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(compare, "_Process", Process)
    monkeypatch.setattr(compare, "PAUSE", 0)
    refused: dict[str, str] = {}
    rows = compare.compare([Job("gemm", "gemm 7", {})], ["torch"], Settings(1, 2), refused)
    assert [(row.peer, row.median, row.turns) for row in rows] == [("striate", 0.5, [0.5, 0.5])]
    assert refused == {"torch": "gemm 7: RuntimeError: no memory"}
    answers["striate"] = {"error": "ValueError: what"}
    with pytest.raises(RuntimeError, match="gemm 7: ValueError: what"):
        compare.compare([Job("gemm", "gemm 7", {})], [], Settings(1, 1))


def test_the_fastest_variant_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    from striate.bench import worker

    def make(pause: str) -> Work:
        return Work(lambda: time.sleep(float(pause)))

    variants = [{"pause": "0.004"}, {"pause": "0.001"}, {"pause": "0.008"}]
    monkeypatch.setitem(works.WORKS, "sleep", {"striate": Peer(make, variants)})
    answer = worker.Worker("striate", 0.002).answer({"choose": "sleep", "arguments": {}})
    assert answer == {"variant": {"pause": "0.001"}}


def test_table() -> None:
    rows = compare.make_rows("w", ["striate", "torch"], [[2e-3, 1e-3, 4e-3], [3e-3, 3e-3, 8e-3]])
    assert [row.ratio for row in rows] == [1, 2]
    told = {"flop": 2e8, "peak_gflops": 200.0, "variant": "NCHW"}
    shown = report.table([rows[0], rows[1]._replace(**told)]).splitlines()
    assert shown[0] == (
        "| work | by | median | fastest .. slowest | GFLOP/s | of FMA peak | time / Striate's |"
    )
    assert shown[2] == "| w | striate | 2 ms | 1 ms .. 4 ms |  |  | 1.00 |"
    assert shown[3] == "| w | torch (NCHW) | 3 ms | 3 ms .. 8 ms | 67 | 33% | 2.00 |"


def test_files_come_back(tmp_path: Path) -> None:
    row = Row("w", "striate", 1, 1, 1, 1, facts={"rms_error": 1e-7}, turns=[1.0])
    report.write(str(tmp_path / "f"), {"command": "c"}, [row])
    assert report.read(tmp_path / "f") == ({"command": "c"}, [row])


@pytest.mark.parametrize("kind", conv.PASSES)
def test_the_double_reference_of_conv(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = conv.Layer(C=2, H=9, K=3, R=3, stride=2, padding=1)
    monkeypatch.setitem(conv.LAYERS, "tiny", layer)
    x, w, b, dy = (array.astype(np.float64) for array in conv.arrays("tiny", 2, None))
    sizes = (2, 2), (1, 1, 1, 1), (1, 1), 1
    if kind == "forward":
        expected = _core.float64.conv2d_forward(x, w, b, *sizes)
    else:
        need = (kind == "backward_data", kind == "backward_weight", False)
        expected = _core.float64.conv2d_backward(dy, x, w, *sizes, need)[need.index(True)]
    np.testing.assert_allclose(conv.reference(layer, kind, x, w, b, dy), expected, atol=1e-12)
    facts = conv.by_striate("tiny", kind, 2).facts
    assert 1e-9 < facts["rms_error"] < facts["largest_error"] < 2e-6


def test_conv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--layers", "conv4", "--batch-size", "1", "--against", "none"]
    rows = figures(tmp_path / "f.json", "conv", *options)
    assert [row["work"] for row in rows] == [f"conv4 {kind}, batch 1" for kind in conv.PASSES]
    assert "| error: RMS, largest |" in capsys.readouterr().out
    for row in rows:  # the issue's limits
        assert row["facts"]["rms_error"] < 4e-6
        assert row["facts"]["largest_error"] < 5e-5


def test_digits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def runs(seeds: range, threads: int) -> list[digits.Run]:
        return [digits.Run(seed, 1.0 + seed, 0.9899 + 0.0003 * seed) for seed in seeds]

    monkeypatch.setattr(digits, "runs", runs)
    assert main(["bench", "digits", "--seeds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "| 1 | 2.00 | 99.02% |" in printed
    assert "1 of 2 reach 99.0% (the least 98.99%); seconds 1.00 .. 2.00" in printed


def test_digits_run_the_command(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$@"; echo "test accuracy 99.25% on 10,000 images after"\n')
    fake.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(fake))
        (run,) = digits.runs([3], 1)
    assert (run.seed, run.accuracy) == (3, 0.9925)
    fake.write_text("#!/bin/sh\necho no digits >&2; exit 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(fake))
        with pytest.raises(RuntimeError, match="--seed 3: no digits"):
            list(digits.runs([3], 1))


def test_size(capsys: pytest.CaptureFixture[str]) -> None:
    """The bars: 20 MB installed; the compiled ops are most of what is not the digits."""
    assert main(["bench", "size"]) == 0
    assert "| installed, Striate's own files, without MNIST's digits |" in capsys.readouterr().out
    found = size.sizes()
    assert sum(found["own"].values()) < 20e6
    assert set(size.DEPENDENCIES) <= set(found["dependencies"])
    text = (ROOT / "pyproject.toml").read_text()
    (line,) = re.findall(r"^dependencies = .*$", text, re.MULTILINE)
    assert re.findall(r'"([a-z]+)', line) == list(size.DEPENDENCIES)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gemm", "--infer"], "--infer: only lenet5 and alexnet have it, got 'gemm'"),
        (["conv", "--train"], "--train: only lenet5 and alexnet have it, got 'conv'"),
        (["gemm", "--against", "jax"], "--against: gemm knows numpy, torch, got 'jax'"),
        (["conv", "--layers", "conv9"], "--layers: knows conv1, conv2, conv3, conv4, conv5, got"),
        (["conv", "--real", "model"], "--real: needs the pictures' folder, --data"),
        (["size", "--wheel", __file__], "is no wheel (a zip file)"),
    ],
)
def test_refused(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *argv]) == 2
    assert message in capsys.readouterr().err
