"""``striate train small``: a small model's training on a folder of small pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import striate
from striate import nn, recipes
from striate.cli import main
from striate.data import ImageTransform

RECIPE = recipes.Recipe(ImageTransform("crop", 20, 16), 3, 8, 0.05, 0.9, 1e-4)


def small(num_classes: int = 1000) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.25),
        nn.Linear(36, num_classes),
    )  # fmt: skip


def train(photos: Path, out: Path, *options: str) -> list[dict[str, Any]]:
    assert main(["train", "small", "--data", str(photos), "--out", str(out), *options]) == 0
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path) -> dict[str, bytes]:
    arrays, _ = striate.load(run / "model.safetensors")
    return {name: array.tobytes() for name, array in arrays.items()}


def fails(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The error text of a command that must end with exit code 2 and one sentence."""
    try:
        code = main([str(arg) for arg in argv])
    except SystemExit as exit:
        code = exit.code
    assert code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error
