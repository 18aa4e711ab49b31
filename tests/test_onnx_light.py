"""The onnx package's light models, with random weights in the place of their constant ones.

As they ship, every weight of a layer is the same number, and any input gets the same answer.
"""

from __future__ import annotations

import gc
import math
from pathlib import Path

import numpy as np
import pytest

import striate
from checks import draw
from onnx_models import numpy_helper, onnx, runtime, save

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def randomized(name: str) -> tuple[onnx.ModelProto, list[int]]:
    """The model with He-normal weights and small biases, and the shape of its images."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    graph = model.graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {n.output[0]: arrays[n.input[0]] for n in graph.node if n.op_type == "ConstantOfShape"}
    for key, array in arrays.items():  # vgg19 holds two of its biases
        if array.dtype == np.float32:
            made[key] = np.array(array.shape)
    kept = [n for n in graph.node if n.op_type != "ConstantOfShape"]
    rest = [t for t in graph.initializer if t.name not in made and not t.name.endswith("__SHAPE")]
    inputs = [i for i in graph.input if i.name not in made and not i.name.endswith("__SHAPE")]
    del graph.node[:], graph.initializer[:], graph.input[:]
    graph.node.extend(kept)
    graph.initializer.extend(rest)
    graph.input.extend(inputs)
    # A prime period: long enough for rows that differ, and quicker than 144 million numbers.
    some = np.random.default_rng(0).standard_normal(1_000_003, np.float32)
    for key, shape in made.items():
        values = np.resize(some, tuple(shape))
        values *= np.float32(math.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1)
        graph.initializer.append(numpy_helper.from_array(values, key))
        graph.input.append(onnx.helper.make_tensor_value_info(key, 1, values.shape))
    image = next(i for i in graph.input if i.name.endswith("data_0"))
    return model, [d.dim_value for d in image.type.tensor_type.shape.dim]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bvlc_alexnet", "zfnet512", "vgg19", "squeezenet"])
def test_light_models_equal_onnx_runtime(name: str, tmp_path: Path) -> None:
    made, shape = randomized(name)
    path = save(made, tmp_path / "model.onnx")
    del made
    images = np.concatenate([draw(f"light/{name}/{i}", tuple(shape)) for i in range(2)])
    expected = np.concatenate([runtime(path, image[None]) for image in images])
    gc.collect()
    graph = striate.onnx.load(path)
    path.unlink()
    y = graph(images)  # the file is made for one image at a time; the import is not
    np.testing.assert_allclose(y, expected.reshape(y.shape), rtol=2e-4, atol=1e-7)
    # Probabilities that say something: neither all equal nor a single one, and other for each.
    assert 0.002 < y.max() < 0.99
    assert y.std() > 1e-4
    assert np.abs(y[0] - y[1]).max() > 1e-3
