"""evaluate: top-5, several crops a picture, bounded memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pictures import make_folder
from striate import nn
from striate.data import ImageFolder, ImageTransform
from striate.data.dataset import ArraySamples
from striate.trainer import evaluate


class Logits(nn.Layer):
    """Gives back its input: (n, C) samples are their own logits."""

    def apply(self, x: Any, training: bool = False, save: bool = True) -> tuple[Any, Any]:
        return x.reshape(len(x), -1), None


def logits_of(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_top5() -> None:
    nan = math.nan
    cases = [
        ([9, 8, 7, 6, 5, 4, 3], 4, True), ([9, 8, 7, 6, 5, 4, 3], 5, False),
        ([1, 1, 1, 1, 1, 1, 1], 4, True), ([1, 1, 1, 1, 1, 1, 1], 5, False),
        ([nan, nan, nan, nan, nan, 9, 1], 5, False), ([nan] * 7, 3, False),
        ([0, 0, 0, 0, 0, 0, 1], 6, True),
    ]  # fmt: skip
    for row, label, expected in cases:
        samples = ArraySamples(logits_of(row), np.array([label]))
        assert evaluate(Logits(), samples).top5 == expected, (row, label)
    first = [case for case in cases if not math.isnan(case[0][0])]
    samples = ArraySamples(logits_of(*(c[0] for c in first)), np.array([c[1] for c in first]))
    result = evaluate(Logits(), samples, batch_size=2)
    assert result.top5 == pytest.approx(3 / 5)
    assert result.accuracy == pytest.approx(1 / 5)
    assert result.samples == 5


def test_crops_are_averaged_after_softmax() -> None:
    crops = np.random.default_rng(0).normal(0, 3, (6, 10, 2, 2, 3)).astype(np.float32)
    labels = np.array([0, 5, 11, 3, 2, 7])
    result = evaluate(Logits(), ArraySamples(crops, labels), batch_size=4)
    logits = crops.reshape(6, 10, 12).astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    mean = softmax.mean(axis=1)
    assert result.loss == pytest.approx(-np.log(mean[np.arange(6), labels]).mean(), rel=1e-5)
    assert result.accuracy == (mean.argmax(axis=1) == labels).mean()


def test_evaluation_bounds_its_memory(tmp_path: Path) -> None:
    """As many samples at a time as 32 MiB of inputs hold, at most 500."""
    data = make_folder(tmp_path, train=1, val=4)
    sizes: list[int] = []

    class Spy(Logits):
        def apply(self, x: Any, training: bool = False, save: bool = True) -> tuple[Any, Any]:
            sizes.append(len(x))
            return np.zeros((len(x), 3), np.float32), None

    evaluate(Spy(), ArraySamples(np.zeros((1100, 4), np.float32), np.zeros(1100, int)))
    assert sizes == [500, 500, 100]
    sizes.clear()
    folder = ImageFolder(data / "val", ImageTransform("none", 1024, 1024))
    counts: list[int] = []
    evaluate(Spy(), folder, on_batch=counts.append)
    assert sizes == counts == [2] * 6
    sizes.clear()
    folder = ImageFolder(data / "val", ImageTransform("none", 500, 500), ten_crop=True)
    evaluate(Spy(), folder)
    assert sizes == [10] * 12
