"""AlexNet: torchvision's names, shapes and answers; the paper's numbers."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from checks import Arrays, draw, from_torch, torch
from striate import models, nn

# torchvision.models.alexnet().state_dict(): names and shapes.
TORCHVISION = {
    "features.0.weight": (64, 3, 11, 11),
    "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5),
    "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3),
    "features.6.bias": (384,),
    "features.8.weight": (256, 384, 3, 3),
    "features.8.bias": (256,),
    "features.10.weight": (256, 256, 3, 3),
    "features.10.bias": (256,),
    "classifier.1.weight": (4096, 9216),
    "classifier.1.bias": (4096,),
    "classifier.4.weight": (4096, 4096),
    "classifier.4.bias": (4096,),
    "classifier.6.weight": (1000, 4096),
    "classifier.6.bias": (1000,),
}
CASES = {"224": (2, 3, 224, 224), "63": (3, 3, 63, 63), "100x300": (1, 3, 100, 300)}


@functools.cache
def weights() -> dict[str, np.ndarray]:
    """He et al.'s size, so that no layer's activations vanish or grow."""
    return {
        name: draw(f"alexnet/{name}", shape)
        * np.float32(math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.1)
        for name, shape in TORCHVISION.items()
    }


def torch_logits(torch: Any, state: Any, x: Any) -> Any:
    """torchvision's AlexNet in inference, written out."""
    F = torch.nn.functional

    def layer(function: Any, name: str, x: Any, **arguments: Any) -> Any:
        return function(x, state[f"{name}.weight"], state[f"{name}.bias"], **arguments)

    x = F.max_pool2d(layer(F.conv2d, "features.0", x, stride=4, padding=2).relu(), 3, 2)
    x = F.max_pool2d(layer(F.conv2d, "features.3", x, padding=2).relu(), 3, 2)
    x = layer(F.conv2d, "features.6", x, padding=1).relu()
    x = layer(F.conv2d, "features.8", x, padding=1).relu()
    x = F.max_pool2d(layer(F.conv2d, "features.10", x, padding=1).relu(), 3, 2)
    x = F.adaptive_avg_pool2d(x, (6, 6)).flatten(1)
    x = layer(F.linear, "classifier.1", x).relu()
    x = layer(F.linear, "classifier.4", x).relu()
    return layer(F.linear, "classifier.6", x)


def torch_run(torch: Any, case: str) -> Arrays:
    state = {name: torch.from_numpy(array) for name, array in weights().items()}
    x = torch.from_numpy(draw(f"alexnet/x{case}", CASES[case]))
    return {"logits": torch_logits(torch, state, x).numpy()}


def test_names_shapes_and_number_of_parameters() -> None:
    model = models.alexnet()
    assert {name: array.shape for name, array in model.state_dict().items()} == TORCHVISION
    assert list(model.state_dict()) == list(TORCHVISION)
    assert sum(p.data.size for p in model.parameters()) == 61_100_840
    assert models.alexnet(10).state_dict()["classifier.6.weight"].shape == (10, 4096)


def test_the_papers_number_of_parameters_and_what_they_start_with() -> None:
    striate.manual_seed(0)
    model = models.alexnet_2012()
    state = model.state_dict()
    assert sum(p.data.size for p in model.parameters()) == 60_965_224
    assert model(np.zeros((1, 3, 227, 227), np.float32)).shape == (1, 1000)
    biases = {name.removesuffix(".bias"): set(array) for name, array in state.items()
              if name.endswith("bias")}  # fmt: skip
    start = np.float32(0.1)
    assert biases == {"conv1": {0}, "conv2": {start}, "conv3": {0}, "conv4": {start},
                      "conv5": {start}, "fc6": {start}, "fc7": {start}, "fc8": {0}}  # fmt: skip
    for name in ("conv1", "conv4", "fc6", "fc8"):
        assert float(state[f"{name}.weight"].std()) == pytest.approx(0.01, rel=0.02)
        assert abs(float(state[f"{name}.weight"].mean())) < 2e-4
    assert set(models.alexnet_2012(bias=1.0).state_dict()["fc7.bias"]) == {1}


@pytest.mark.parametrize("case", CASES)
def test_torchvision_weights_give_torchs_logits(case: str, tmp_path: Path) -> None:
    expected = from_torch("alexnet", case, lambda torch: torch_run(torch, case))["logits"]
    path = tmp_path / "alexnet.safetensors"
    if torch is None:
        from safetensors.numpy import save_file

        save_file(weights(), path)
    else:
        from safetensors.torch import save_file

        save_file({name: torch.from_numpy(array) for name, array in weights().items()}, path)
    arrays, description = striate.load(path)
    assert description == {}
    model = models.alexnet().eval()
    model.load_state_dict(arrays)
    logits = model(draw(f"alexnet/x{case}", CASES[case]))
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)


def test_striates_file_loads_into_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    model = models.alexnet().eval()
    striate.save(tmp_path / "alexnet.safetensors", model.state_dict())
    state = load_file(tmp_path / "alexnet.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == TORCHVISION
    x = draw("alexnet/back", (2, 3, 127, 127))
    expected = torch_logits(torch, state, torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model(x), expected, atol=1e-4, rtol=0)


def test_torch_tensors_load_without_a_copy_until_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from striate.nn import _state

    linear = nn.Linear(300, 200)
    state = {"weight": torch.randn(200, 300, requires_grad=True), "bias": torch.randn(200)}
    seen = {}
    as_array = _state.as_array

    def spy(value: Any, name: str) -> Any:
        seen[name] = as_array(value, name)
        return seen[name]

    monkeypatch.setattr(_state, "as_array", spy)
    linear.load_state_dict(state)
    for name, tensor in state.items():
        assert seen[name].ctypes.data == tensor.data_ptr()  # a view of torch's memory
        assert linear.state_dict()[name].ctypes.data != tensor.data_ptr()
        np.testing.assert_array_equal(linear.state_dict()[name], tensor.detach().numpy())


def test_another_architecture_is_refused_with_the_keys() -> None:
    state = models.lenet5().state_dict()
    model = models.alexnet(10)
    before = model.state_dict()["features.0.weight"].copy()
    with pytest.raises(ValueError, match=r"missing: features\.0\.weight.*unexpected: conv1"):
        model.load_state_dict(state)
    with pytest.raises(ValueError, match=r"shape of classifier\.6\.weight: \(1000, 4096\) given, "
                                         r"\(10, 4096\) wanted"):  # fmt: skip
        model.load_state_dict(weights())
    np.testing.assert_array_equal(model.state_dict()["features.0.weight"], before)
