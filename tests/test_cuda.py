"""CUDA at its border: arrays of every kind, devices, what is missing, memory that runs out."""

from __future__ import annotations

import copy
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cuda_backend
import striate
import striate.functional as F
from checks import draw
from striate import _core, _device, cli, models, nn, optim, random

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=cuda_backend.NAMES)
def cupy(request: pytest.FixtureRequest) -> Any:
    return cuda_backend.load(request.param)[1]


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )


# --- without CUDA --------------------------------------------------------------------------------


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_import_needs_no_cuda_and_the_first_cuda_call_says_what_is_missing() -> None:
    code = """
import sys
sys.modules["striate._cuda"] = None  # as if it were not there
import striate
from striate import nn
assert not striate.cuda.is_available() and striate.cuda.device_count() == 0
assert "cupy" not in sys.modules
striate.set_precision("float32")
for call in (lambda: nn.Linear(2, 3).to("cuda"), lambda: striate.set_precision("tf32"),
             striate.cuda.synchronize):
    try:
        call()
    except RuntimeError as error:
        print(error)
"""
    lines = python(code).stdout.splitlines()
    assert len(lines) == 3
    assert len(set(lines)) == 1
    assert lines[0].startswith("CUDA cannot be used: Striate was installed without it (")
    assert "install it again from its sources" in lines[0]


class Fake:
    """striate._cuda of some machine."""

    def __init__(
        self,
        why: str = "",
        capability: str = "9.0",
        architectures: str = "90",
        version: str = _core.__version__,
    ) -> None:
        self.why_unavailable = lambda: why
        self.compute_capability = lambda device: capability
        self.architectures = lambda: architectures
        self.device_name = lambda device: "Some GPU"
        self.__version__ = version


@pytest.mark.parametrize(
    ("fake", "cupy_there", "expected"),
    [
        (Fake("the driver finds no GPU"), True, "the driver finds no GPU"),
        (Fake(architectures="native"), True, ""),
        (Fake(version="0.0"), True, "its extension is of version 0.0, the rest of Striate of "),
        (Fake(), False,
         "CuPy cannot be imported (no cupy here); install it with: pip install cupy"),
        (Fake(capability="7.5", architectures="80-real, 90-virtual"), True,
         "this build has code for the architectures 80-real, 90-virtual, and Some GPU has 7.5; "
         "install Striate from its sources on this machine"),
        (Fake(capability="8.6", architectures="80-real"), True, ""),
        (Fake(capability="9.0", architectures="80-real, 86-real"), True, "this build has code"),
        (Fake(capability="12.0", architectures="90-real, 90-virtual"), True, ""),
        (Fake(capability="12.0", architectures="90"), True, ""),
        (Fake(capability="8.0", architectures="86"), True, "this build has code"),
    ],
)  # fmt: skip
def test_says_which_part_is_missing(
    monkeypatch: pytest.MonkeyPatch, fake: Fake, cupy_there: bool, expected: str
) -> None:
    class Cupy:
        class cuda:
            class Device:
                id = 0

    def import_module(name: str) -> Any:
        if name == "cupy" and not cupy_there:
            raise ImportError("no cupy here", name="cupy")
        return {"striate._cuda": fake, "cupy": Cupy}[name]

    monkeypatch.setattr(importlib, "import_module", import_module)
    monkeypatch.setattr(striate.cuda, "_loaded", None)
    assert striate.cuda.why_unavailable()[: len(expected)] == expected
    assert striate.cuda.is_available() == (expected == "")


def test_the_build_decides_in_words() -> None:
    assert re.match("off: |built for ", _core.cuda_decision())


# --- arrays --------------------------------------------------------------------------------------


class Tensor:
    """A CUDA tensor of another library: nothing but DLPack."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)


def test_arrays_of_other_libraries_come_in_without_a_copy(cupy: Any) -> None:
    x = draw("cuda/x", (2, 3, 5))
    there = cupy.asarray(x)
    y = F.relu(Tensor(there))
    assert isinstance(y, cupy.ndarray)
    np.testing.assert_array_equal(y.get(), F.relu(x))
    parameter = nn.Parameter(there)
    optimizer = optim.SGD([parameter], lr=0.5)
    parameter.grad = Tensor(cupy.ones_like(there))
    optimizer.step()  # in place: the tensor's memory
    np.testing.assert_allclose(there.get(), x - 0.5, rtol=1e-6)


def test_strided_views_are_read(cupy: Any) -> None:
    x, w = draw("cuda/x", (2, 6, 9, 8)), draw("cuda/w", (4, 3, 3, 3))
    view = cupy.asarray(x)[:, ::2, ::-1, 1:]
    expected = F.conv2d(np.ascontiguousarray(x[:, ::2, ::-1, 1:]), w)
    np.testing.assert_allclose(F.conv2d(view, cupy.asarray(w)).get(), expected, atol=1e-5)


def test_ops_run_on_the_current_stream(cupy: Any) -> None:
    x = cupy.asarray(draw("cuda/stream", (1000,)))
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Stream.null.synchronize()
    stream.begin_capture()
    with stream:
        y = F.relu(x)
    graph = stream.end_capture()
    graph.launch(stream)
    stream.synchronize()
    np.testing.assert_array_equal(y.get(), np.maximum(x.get(), 0))


def _calls(cupy: Any) -> dict[str, tuple[Callable[[], Any], type[Exception], str]]:
    here = {n: draw(f"cuda/{n}", s) for n, s in {"x": (2, 3, 6, 6), "w": (4, 3, 3, 3)}.items()}
    there = {name: cupy.asarray(array) for name, array in here.items()}
    x, w = there["x"], there["w"]
    net = small_net()
    net.to("cuda")
    add = nn.Add()
    on_cpu = r"is on the CPU \(a NumPy array\), but the first array of the call is on cuda:0"
    on_gpu = "is on cuda:0, but the first array of the call is on the CPU"
    labels = np.array([0, 3])
    return {
        "weight on the CPU": (lambda: F.conv2d(x, here["w"]), TypeError, f"weight {on_cpu}"),
        "weight on the GPU": (lambda: F.conv2d(here["x"], w), TypeError, f"weight {on_gpu}"),
        "dy on the CPU": (lambda: F.relu_backward(x, here["x"]), TypeError, f"y {on_cpu}"),
        "model on the GPU": (lambda: net(draw("cuda/n", (1, 2, 4, 4))), TypeError, on_gpu),
        "labels on the CPU": (
            lambda: F.cross_entropy(x[:, :, 0, 0], labels), TypeError, f"target {on_cpu}"),
        "parameters and gradients": (lambda: _core.sgd_step([here["w"]], [w], None, [], lr=0.1),
                                     TypeError, r"grads\[0\] is on cuda:0"),
        "add": (lambda: add.apply((x, here["x"])), TypeError,
                "input 1 is on cpu, but input 0 is on cuda:0"),
        "dtype": (lambda: F.relu(x.astype("float64")), TypeError,
                  r"input must be float32, got float64; cast it with input.astype\(cupy.float32\)"),
        "shape": (lambda: F.relu_backward(x, w), ValueError,
                  r"relu_backward: dy must have shape \(4, 3, 3, 3\)"),
        "label": (lambda: F.cross_entropy(x[:, :, 0, 0], cupy.asarray(labels)), ValueError,
                  r"target\[1\] = 3 is not a class: input has 3 classes"),
        "device": (lambda: small_net().to("gpu"), ValueError,
                   "Sequential.to: device must be 'cpu', 'cuda' or 'cuda:<index>', got 'gpu'"),
        "index": (lambda: small_net().to("cuda:99"), ValueError, "there is no device cuda:99"),
        "prepare": (lambda: striate.prepare(net, (2, 4, 4)), TypeError,
                    "prepare: model is on cuda:0, and prepared models run on the CPU"),
        "precision": (lambda: striate.set_precision("fp8"), ValueError,
                      "precision must be 'float32', 'tf32' or 'bf16', got 'fp8'"),
        "precision type": (lambda: striate.set_precision(16), TypeError, "got 16"),
    }  # fmt: skip


NAMES = ["weight on the CPU", "weight on the GPU", "dy on the CPU", "model on the GPU",
         "labels on the CPU", "parameters and gradients", "add", "dtype", "shape", "label",
         "device", "index", "prepare", "precision", "precision type"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_refuses(cupy: Any, name: str) -> None:
    calls = _calls(cupy)
    assert list(calls) == NAMES
    call, error, message = calls[name]
    with pytest.raises(error, match=message):
        call()


def test_an_array_on_another_gpu_is_a_sentence(request: pytest.FixtureRequest) -> None:
    _, cupy = cuda_backend.load("cuda_host")  # a machine with two GPUs is a rare thing
    from cupy.cuda import runtime

    runtime._set_device_count(2)
    try:
        with cupy.cuda.Device(1):
            x = cupy.ones((2, 3), np.float32)
            model = nn.Linear(3, 2).to("cuda")
            assert _device.of_model(model) == "cuda:1"
            assert F.relu(x).device.id == 1
        message = "relu: input is on cuda:1, but the current device is cuda:0; move it, or work"
        with pytest.raises(ValueError, match=message):
            F.relu(x)
        assert _device.of_model(nn.Linear(3, 2).to("cuda:1")) == "cuda:1"
        with pytest.raises(ValueError, match="there is no device cuda:2, only 2 GPUs"):
            model.to("cuda:2")
    finally:
        runtime._set_device_count(1)


def test_an_empty_batch_gives_empty_results(cupy: Any) -> None:
    net = small_net().to("cuda")
    x = cupy.zeros((0, 2, 4, 4), np.float32)
    y = net(x)
    assert y.shape == (0, 3)
    assert net.backward(y).shape == x.shape
    for parameter in net.parameters():
        np.testing.assert_array_equal(parameter.grad.get(), np.zeros(parameter.shape))


def test_out_of_memory_says_how_much_and_the_process_goes_on(cupy: Any) -> None:
    pool = cupy.cuda.MemoryPool()
    pool.set_limit(size=1 << 20)
    with cupy.cuda.using_allocator(pool.malloc):
        x = cupy.ones((1, 1, 64, 64), np.float32)
        w = cupy.ones((200, 1, 3, 3), np.float32)
        message = r"^3,?075,?200 bytes were asked of the GPU, where \d+ of \d+ are free"
        with pytest.raises(MemoryError, match=message):
            F.conv2d(x, w)
        assert F.conv2d(x, w[:20]).shape == (1, 20, 62, 62)


def test_moving_a_model_that_does_not_fit_says_what_is_free_and_moves_nothing(cupy: Any) -> None:
    pool = cupy.cuda.MemoryPool()
    pool.set_limit(size=1 << 20)
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(600, 600))
    with (
        cupy.cuda.using_allocator(pool.malloc),
        pytest.raises(MemoryError, match=r"1,440,\d+ bytes .* of [\d,]+ bytes are free on the GPU"),
    ):
        model.to("cuda")
    assert {p.device for p in model.parameters()} == {"cpu"}


# --- models, checkpoints, the command line -------------------------------------------------------


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


# --- the rules of the house ----------------------------------------------------------------------


def test_sources_keep_the_rules() -> None:
    """One way to launch, no #ifdef, no library but the runtime; every op has its twin."""
    sources = [p for p in ROOT.glob("cuda/**/*") if p.suffix in (".cu", ".cuh", ".h", ".cc")]
    assert len(sources) > 30
    for path in sources:
        text = path.read_text()
        for pattern in ("<<<", "#if", "cublas", "cudnn", "<cub/", "atomicAdd(", "__ldcg"):
            assert pattern not in text, f"{path} has {pattern}"
        if "device" not in path.parts:
            assert "asm" not in text, f"{path}: PTX stands in cuda/device"
        if path.name not in ("launch.h", "launch.cc"):
            assert "cudaLaunchKernel" not in text, f"{path}: Op launches"
    twins = {p.stem for p in ROOT.glob("cpp/include/striate/*.h")}
    have = {p.stem for p in ROOT.glob("cuda/*.cu")} | {"pool2d"}
    assert {p.stem for p in ROOT.glob("cuda/*_pool2d.cu")} >= {"max_pool2d", "avg_pool2d"}
    assert twins <= have
