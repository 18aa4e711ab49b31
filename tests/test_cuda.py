"""CUDA at its border: arrays of every kind, devices, what is missing, memory that runs out."""

from __future__ import annotations

import importlib
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
from cuda_backend import small_net
from striate import _core, _device, nn, optim

ROOT = Path(__file__).parents[1]


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
