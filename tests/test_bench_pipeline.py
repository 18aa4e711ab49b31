"""The benchmark of the image pipeline: both ways do the same work, and the command shows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pictures import make_folder
from striate.bench import pipeline
from striate.cli import main


def test_both_ways_make_the_same_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "PICTURES", 12)
    folder = str(pipeline.make_pictures(tmp_path))
    ours, plain = (
        make(folder).step() for make in (pipeline.pipeline_striate, pipeline.pipeline_pillow)
    )
    assert ours.shape == plain.shape == (12, 3, 224, 224)
    # A JPEG decoded smaller is not bit for bit the large one scaled down.
    assert np.abs(ours - plain).mean() < 0.02
    assert np.abs(plain).mean() > 0.2


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_folder(tmp_path / "data", train=3, val=1) / "train"
    report = tmp_path / "report.json"
    argv = [
        "bench",
        "pipeline",
        "--pairs",
        "1",
        "--turn",
        "0.01",
        "--data",
        str(data),
        "--json",
        str(report),
    ]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert printed.count(" images/s on one core") == 2
    rows = json.loads(report.read_text())["rows"]
    assert [row["peer"] for row in rows] == ["striate", "PIL"]
    assert all(0 < row["median"] < 1 for row in rows)
