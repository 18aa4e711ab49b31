"""models.load: no file makes a model that it does not hold."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from striate import models
from striate.checkpoint import CheckpointError


@pytest.mark.parametrize("name", models.MODELS)
def test_how_many_numbers_a_model_has(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for draw in ("normal_", "uniform_"):  # zeros will do, and are made at once
        monkeypatch.setattr(f"striate.nn.init.{draw}", lambda p, *_: p.data.fill(0) or p)
    fixed, each = models._NUMBERS[name]
    for classes in (2, 3):
        model = models.create(name, num_classes=classes)
        assert sum(p.data.size for p in model.parameters()) == fixed + classes * each


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"model": "alexnet", "arguments": {"num_classes": 10**6}},
         "alexnet with 1000000 classes needs 4154003840 numbers, but the file holds 1000000"),
        ({"model": "alexnet"}, "needs 57007937 numbers, but the file holds 1000000"),
        *(({"model": "alexnet", "arguments": {"num_classes": classes}},
           f"num_classes must be an integer above 0, got {re.escape(repr(classes))}")
          for classes in (1e300, None, True, "10", [10], 0, -14000)),
        ({"model": ["lenet5"]}, r"must be a name with arguments, got \['lenet5'\]"),
        ({"model": "lenet5", "arguments": [10]}, r"must be a name with arguments, got .*\[10\]"),
        ({"model": "vgg"}, "model must be one of lenet5, .* got 'vgg'"),
    ],
)  # fmt: skip
def test_a_model_larger_than_its_file_is_not_made(
    tmp_path: Path, description: dict[str, Any], message: str
) -> None:
    path = tmp_path / "model.safetensors"
    striate.save(path, {"classifier.6.bias": np.zeros(10**6, np.float32)}, description)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=f"{path}: .*{message}"):
            models.load(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
