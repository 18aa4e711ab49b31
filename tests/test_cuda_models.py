"""Models on CUDA: moved, trained, saved, by hand and by the command line."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from checks import draw
from cuda_backend import small_net
from striate import _device, cli, models, nn, optim, random


def test_a_model_moves_there_and_back(cupy: Any) -> None:
    striate.manual_seed(3)
    net = small_net()
    x = draw("cuda/move", (3, 2, 4, 4))
    expected = net.eval()(x)
    before = [p.data.copy() for p in net.parameters()]
    assert net.to("cuda") is net
    assert {p.device for p in net.parameters()} == {"cuda:0"}
    np.testing.assert_allclose(net(cupy.asarray(x)).get(), expected, atol=1e-5)
    net.cpu()
    for parameter, data in zip(net.parameters(), before):
        np.testing.assert_array_equal(parameter.data, data)
    assert net.cuda().to("cuda:0") is net


def test_gradients_add_up_and_state_goes_in_and_out(cupy: Any, tmp_path: Path) -> None:
    net, there = small_net(), small_net().to("cuda")
    there.load_state_dict(net.state_dict())
    x, dy = draw("cuda/x", (3, 2, 4, 4)), draw("cuda/dy", (3, 3))
    for _ in range(2):
        net(x), net.backward(dy)
        there(cupy.asarray(x)), there.backward(cupy.asarray(dy))
    for a, b in zip(net.parameters(), there.parameters()):
        np.testing.assert_allclose(b.grad.get(), a.grad, atol=1e-5)
    striate.save(tmp_path / "m.safetensors", there.state_dict())
    arrays, _ = striate.load(tmp_path / "m.safetensors")
    net.load_state_dict(there.state_dict())  # device to host, without detour
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, arrays[name])


def test_a_number_is_a_parameter_there_too(cupy: Any) -> None:
    layer = nn.Bias(()).to("cuda")
    optimizer = optim.SGD(layer.parameters(), 0.5, momentum=0.9)
    layer(cupy.ones((2, 3), np.float32))
    layer.backward(cupy.ones((2, 3), np.float32))
    optimizer.step()
    layer.load_state_dict(layer.to("cpu").state_dict())
    layer.to("cuda")
    optimizer.load_state_dict(optimizer.state_dict())
    assert layer.bias.shape == ()
    assert float(layer.bias.data) == -3
    view = cupy.ones((4, 6), np.float32)[:, ::2]
    assert nn.Parameter(view).data.flags.c_contiguous


def test_an_optimiser_follows_its_model(cupy: Any) -> None:
    """Made and used on the CPU, then on the GPU: the velocities come along."""
    results = []
    for devices in (("cpu", "cpu"), ("cpu", "cuda"), ("cuda", "cpu")):
        striate.manual_seed(0)
        net = small_net()
        optimizer = optim.SGD(net.parameters(), 0.1, momentum=0.9)
        for step, device in enumerate(devices):
            net.to(device)
            for p in net.parameters():
                gradient = draw(f"cuda/g{step}", p.shape)
                p.grad = cupy.asarray(gradient) if device == "cuda" else gradient
            optimizer.step()
        state = optimizer.state_dict()["state"]
        results.append([_device.to_host(e["momentum_buffer"]) for e in state.values()])
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_allclose(b, a, rtol=1e-6)


def test_a_model_on_the_gpu_is_summarised_exported_and_copied(cupy: Any, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = models.lenet5()
    told = str(nn.summary(model, (1, 28, 28)))
    striate.onnx.export(model, tmp_path / "cpu.onnx", (1, 28, 28))
    model.to("cuda")
    assert str(nn.summary(model, (1, 28, 28))) == told
    striate.onnx.export(model, tmp_path / "gpu.onnx", (1, 28, 28))
    assert onnx.load(tmp_path / "gpu.onnx") == onnx.load(tmp_path / "cpu.onnx")
    twin = copy.deepcopy(model)
    twin.to("cpu")
    assert {p.device for p in model.parameters()} == {"cuda:0"}


def test_the_same_units_drop_on_both(cupy: Any) -> None:
    layer, x = nn.Dropout(0.4), draw("cuda/dropout", (3, 7, 11))
    with random.use(random.Generator(5)):
        here = layer(x)
    with random.use(random.Generator(5)):
        there = layer(cupy.asarray(x))
    np.testing.assert_array_equal(there.get(), here)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("lenet5", (2, 1, 28, 28)), ("lenet5_1998", (2, 1, 32, 32)), ("alexnet", (1, 3, 63, 63))],
)
def test_models_give_the_cpus_logits(cupy: Any, name: str, shape: tuple[int, ...]) -> None:
    striate.manual_seed(0)
    model = models.create(name, num_classes=10).eval()
    x = draw("cuda/models", shape)
    expected = model(x)
    got = model.to("cuda")(cupy.asarray(x)).get()
    np.testing.assert_allclose(got, expected, atol=2e-4 * np.abs(expected).max())


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A few MNIST digits as a folder of IDX files."""
    from striate import data

    folder = tmp_path / "digits"
    folder.mkdir()
    for split, name, count in zip(data.mnist(), ("train", "t10k"), (60, 20)):
        images, labels = split.images[:count], split.labels[:count]
        labels[:10] = np.arange(10)
        header = np.array([0x803, count, 28, 28], ">u4").tobytes()
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = np.array([0x801, count], ">u4").tobytes()
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.astype("u1").tobytes())
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_train_eval_predict_and_info_take_the_device(
    cupy: Any, digits: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--data", str(digits), "--epochs", "1", "--batch-size", "20", "--out", str(out)]
    assert cli.main(["train", "lenet5", "--device", "cuda", *settings]) == 0
    told = capsys.readouterr().out
    assert re.search(r"60 training and 20 test images, cuda:0 \(.+\)", told)
    accuracy = re.search(r"test accuracy ([\d.]+%) on 20 images", told)
    assert accuracy is not None
    for device in ("cuda", "cpu", "cuda:0"):
        arguments = ["eval", str(out), "--data", str(digits), "--device", device]
        assert cli.main(arguments) == 0
        assert f"accuracy {accuracy[1]}" in capsys.readouterr().out
    from PIL import Image

    picture = out / "seven.png"
    Image.fromarray(np.pad(np.full((20, 6), 255, np.uint8), ((4, 4), (11, 11)))).save(picture)
    answers = []
    for device in ("cpu", "cuda"):
        assert cli.main(["predict", str(out), str(picture), "--json", "--device", device]) == 0
        answers.append(json.loads(capsys.readouterr().out)["top"])
    for a, b in zip(*answers):
        assert a["class"] == b["class"]
        assert a["probability"] == pytest.approx(b["probability"], rel=1e-4)
    assert cli.main(["info"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"CUDA +on, built for .+; products in float32", told)
    assert re.search(r"GPU +cuda:0 .+, compute capability \d+\.\d", told)
    assert "CUDA driver" in told
    assert "CUDA runtime" in told
    assert cli.main(["train", "lenet5", "--device", "cuda:7", *settings]) == 2
    assert "--device: there is no device cuda:7" in capsys.readouterr().err
