"""The benchmarks' own arithmetic: what is compared before it is timed, and what the table says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from striate.bench import compare
from striate.bench.alexnet import alexnet_striate
from striate.cli import main


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([1.0, 2.001], "alexnet: torch computes 2.001, Striate 2 (number 1)"),
        ([1.0, float("nan")], "torch computes nan, Striate 2"),
        ([1.0], "torch gives 1 numbers to check, not 2"),
    ],
)
def test_peers_that_disagree_are_not_timed(theirs: list[float], message: str) -> None:
    with pytest.raises(RuntimeError, match=message.replace("(", r"\(").replace(")", r"\)")):
        compare._check("alexnet", "torch", theirs, [1.0, 2.0])


def test_peers_that_agree_up_to_rounding() -> None:
    compare._check("alexnet", "torch", [1.00001, 0.0, -2.0], [1.0, 1e-6, -2.00001])


@pytest.mark.slow
@pytest.mark.parametrize("mode", [[], ["--infer"]])
def test_alexnet(mode: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Beside torch where it is installed: it then must compute the same before it is timed."""
    file = tmp_path / "figures.json"
    options = ["--batch-size", "2", "--pairs", "1", "--json", str(file)]
    assert main(["bench", "alexnet", *mode, *options]) == 0
    printed = capsys.readouterr().out
    assert f"| alexnet {'inference' if mode else 'step'}, batch 2 | striate |" in printed
    assert "| peak MB (import) |" in printed
    rows = json.loads(file.read_text())["rows"]
    installed = importlib.util.find_spec("torch") is not None
    assert [row["peer"] for row in rows] == ["striate", "torch"][: 1 + installed]
    weights = 61_100_840 * 4e-6
    for row in rows:
        assert row["peak_mb"] > row["imported_mb"] + weights
        assert row["gflops"] > 0


def test_the_check_covers_every_gradient() -> None:
    work = alexnet_striate(batch_size=1, infer=False)
    assert len(work.check) == 2 * 20 + 1 + 16 + 1
    assert np.isfinite(work.check).all()
    losses = work.check[40], work.check[-1]
    assert losses[1] < losses[0]
    assert work.flop == 2 * (3 * 714_188_480 - 70_276_800)


def test_infer_is_refused_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "gemm", "--infer"]) == 2
    assert "--infer: only alexnet has it, got 'gemm'" in capsys.readouterr().err
