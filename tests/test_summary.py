"""The table of layers: against hand-worked numbers, and in the models' documentation."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

import striate
from striate import models, nn
from striate.cli import main


@pytest.mark.parametrize("name", models.MODELS)
def test_the_documentation_of_each_model_shows_its_table(name: str) -> None:
    table = str(nn.summary(models.create(name), models.INPUT_SHAPES[name]))
    documented = textwrap.dedent("    " + str(models.MODELS[name].__doc__))
    assert table in documented, f"put this into {name}'s docstring:\n{table}"


def test_alexnets_numbers() -> None:
    rows = {row.name: row for row in nn.summary(models.alexnet(), (3, 224, 224)).rows}
    conv1 = rows["features.0"]
    assert conv1.output == (64, 55, 55)
    assert conv1.parameters == 64 * 3 * 121 + 64
    assert conv1.multiply_adds == 55 * 55 * 64 * 3 * 121
    # 11, + 2*4, + 4*8, + 2*8, + 2*16 three times, + 2*16: well-known receptive fields of AlexNet
    seen = [rows[f"features.{i}"].receptive_field for i in (0, 2, 3, 5, 6, 8, 10, 12)]
    assert seen == [(n, n) for n in (11, 19, 51, 67, 99, 131, 163, 195)]
    assert rows["classifier.1"].receptive_field is None
    total = nn.summary(models.alexnet(), (3, 224, 224))
    assert total.parameters == 61_100_840
    assert total.multiply_adds == 714_188_480  # torchvision's documentation: 0.71 GFLOPS


@pytest.mark.parametrize("case", ["conv", "dilated", "pool", "adaptive", "nested"])
def test_the_receptive_field_is_where_a_pixel_matters(case: str) -> None:
    """Perturbs every input pixel: the box of those that change one output is what it sees."""
    model = {
        "conv": nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.Conv2d(2, 1, (2, 4))),
        "dilated": nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2), nn.Conv2d(1, 1, 3, stride=(1, 2))),
        "pool": nn.Sequential(nn.AvgPool2d(3, 2), nn.Conv2d(1, 1, 2), nn.AvgPool2d(2)),
        "adaptive": nn.Sequential(nn.Conv2d(1, 1, 2), nn.AdaptiveAvgPool2d(4)),
        "nested": nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Tanh()), nn.Conv2d(1, 1, 3)),
    }[case]
    size = 21
    x = np.random.default_rng(0).standard_normal((1, 1, size, size)).astype(np.float32)
    y = model(x, save=False)
    at = y.shape[2] // 2, y.shape[3] // 2
    changed = np.zeros((size, size), bool)
    for i in np.ndindex(size, size):
        other = x.copy()
        other[0, 0, i[0], i[1]] += 1
        changed[i] = model(other, save=False)[0, 0, at[0], at[1]] != y[0, 0, at[0], at[1]]
    box = tuple(int(np.ptp(np.nonzero(changed)[axis])) + 1 for axis in (0, 1))
    assert nn.summary(model, (1, size, size)).rows[-1].receptive_field == box


def test_branches_meet() -> None:
    class Add(nn.Layer):
        def apply(self, x, training=False, save=True):  # type: ignore[no-untyped-def]
            return x[0] + x[1], None

    shared = nn.Conv2d(1, 1, 3, padding=1)
    graph = nn.Graph([
        nn.Node("a", shared, (0,), 1),
        nn.Node("b", shared, (1,), 2),
        nn.Node("add", Add(), (2, 0), 3),
    ])  # fmt: skip
    result = nn.summary(graph, (1, 8, 8))
    assert [row.receptive_field for row in result.rows] == [(3, 3), (5, 5), (5, 5)]
    assert result.parameters == 10  # shared, so counted once
    assert result.multiply_adds == 2 * 64 * 9


def test_an_input_that_does_not_fit_names_the_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "alexnet", "--input", "3x40x40"]) == 2
    assert "error: layer 'features.12': " in capsys.readouterr().err
    assert main(["summary", "lenet5", "--input", "3x28x28"]) == 2
    assert "error: layer 'conv1': " in capsys.readouterr().err


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["summary", "lenet5"]) == 0
    table = capsys.readouterr().out
    assert table.splitlines()[-1].split() == ["total", "61,706", "416,520"]
    path = tmp_path / "model.safetensors"
    description = {"model": "lenet5", "arguments": {"num_classes": 10}}
    striate.save(path, models.lenet5().state_dict(), description)
    assert main(["summary", str(path)]) == 0
    assert capsys.readouterr().out == table
    assert main(["summary", "lenet5", "--num-classes", "3", "--input", "1x40x40"]) == 2
    assert "error: layer 'fc1': " in capsys.readouterr().err
    for bad in ("3x0x5", "3", "axbxc", "3x224x224x1"):
        with pytest.raises(SystemExit):
            main(["summary", "lenet5", "--input", bad])
        assert "must be CxHxW" in capsys.readouterr().err
    assert main(["summary", "resnet"]) == 2
    assert "MODEL must be one of lenet5," in capsys.readouterr().err


def test_graphs_of_several_inputs() -> None:
    """One may stand inside a model; alone it has no one image."""
    both = nn.Graph([nn.Node("add", nn.Add(), (0, 1), 2)], inputs=2)
    nodes = [nn.Node("conv", nn.Conv2d(1, 1, 3, padding=1), (0,), 1),
             nn.Node("both", both, (0, 1), 2)]  # fmt: skip
    rows = nn.summary(nn.Graph(nodes), (1, 5, 5)).rows
    assert [(row.name, row.receptive_field) for row in rows] == [("conv", (3, 3)),
                                                                 ("both.add", (3, 3))]  # fmt: skip
    with pytest.raises(ValueError, match="summary: model must have 1 input, got 2"):
        nn.summary(both, (1, 5, 5))
