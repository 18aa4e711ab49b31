"""set_precision: products of factors rounded to tf32 or bf16 on the GPU, and float32 by default.

Products are held against those of equally rounded factors, summed in double; tf32 rounds ties away
from zero, bf16 to even.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import cuda_backend
import striate
import striate.functional as F
from backends import running
from checks import assert_close, draw
from striate import nn, optim
from striate._device import device_of
from striate.data.dataset import ArraySamples
from striate.models import lenet5
from striate.trainer import Trainer
from test_conv2d import CASES, Case, arrays

LOWER = ("tf32", "bf16")
FEW = 8  # rows or columns of sums: fewer are left to float32


@pytest.fixture(params=cuda_backend.NAMES, autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    cuda_backend.load(request.param)
    yield request.param
    striate.set_precision("float32")


@contextmanager
def precision(name: str) -> Iterator[None]:
    striate.set_precision(name)
    try:
        yield
    finally:
        striate.set_precision("float32")


def rounded(array: np.ndarray, name: str) -> np.ndarray:
    bits = array.view(np.uint32)
    if name == "tf32":
        bits = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    else:
        odd = bits >> np.uint32(16) & np.uint32(1)
        bits = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def test_cuda_rounding_of_these_tests() -> None:
    def values(*bits: int) -> np.ndarray:
        return np.array(bits, np.uint32).view(np.float32)

    one = 0x3F800000
    ties = values(one + 0x1000, one + 0x3000, one + 0xFFF, one + 0x1001, (1 << 31) + one + 0x1000)
    tf32 = values(one + 0x2000, one + 0x4000, one, one + 0x2000, (1 << 31) + one + 0x2000)
    np.testing.assert_array_equal(rounded(ties, "tf32"), tf32)
    ties = values(one + 0x8000, one + 0x18000, one + 0x7FFF, one + 0x8001)
    bf16 = values(one, one + 0x20000, one, one + 0x10000)
    np.testing.assert_array_equal(rounded(ties, "bf16"), bf16)


def check(
    backend: str,
    name: str,
    run: Callable[..., list[np.ndarray]],
    factors: list[np.ndarray],
    depths: list[int],
    on_tensor_cores: list[bool],
) -> None:
    """run(*factors) in the precision, against the reference's of rounded factors.

    Where tensor cores have too little to do, the bits are float32's.
    """
    with running("reference"):
        expected = run(*(rounded(factor, name) for factor in factors))
    with running(backend):
        before = run(*factors)
        with precision(name):
            got = run(*factors)
        after = run(*factors)
    assert len(got) == len(depths) == len(on_tensor_cores)
    for i, depth in enumerate(depths):
        assert got[i].dtype == np.float32
        assert before[i].tobytes() == after[i].tobytes()
        if on_tensor_cores[i]:
            assert_close(got[i], expected[i], depth=depth)
            assert not np.allclose(got[i], before[i], rtol=0, atol=1e-5 if name == "tf32" else 1e-4)
        else:
            assert got[i].tobytes() == before[i].tobytes()


@pytest.mark.parametrize("name", LOWER)
@pytest.mark.parametrize("trans", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("shape", [(9, 9, 300), (33, 130, 40), (70, 21, 1), (8, 40, 30)])
def test_cuda_gemm(
    backend: str, name: str, shape: tuple[int, int, int], trans: tuple[bool, bool]
) -> None:
    m, n, k = shape
    a = draw("precision/a", (k, m) if trans[0] else (m, k))
    b = draw("precision/b", (n, k) if trans[1] else (k, n))
    c = draw("precision/c", (m, n))

    def run(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
        return [F.convolution.ops(a).gemm(a, b, *trans, -0.5, 1.0, c)]

    check(backend, name, run, [a, b], [k], [min(m, n) > FEW])


@pytest.mark.parametrize("name", LOWER)
@pytest.mark.parametrize("shape", [(20, 31, 12), (9, 8, 16), (7, 40, 33)])
def test_cuda_linear(backend: str, name: str, shape: tuple[int, int, int]) -> None:
    n, c, k = shape
    bias = draw("precision/bias", (k,))

    def run(x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
        return [F.linear(x, w, bias), *F.linear_backward(dy, x, w, need=(True, True, False))[:2]]

    factors = [draw(f"precision/{a}", s) for a, s in (("x", (n, c)), ("w", (k, c)), ("dy", (n, k)))]
    taken = [min(n, k) > FEW, min(n, c) > FEW, min(k, c) > FEW]
    check(backend, name, run, factors, [c, k, n], taken)


CONVOLUTIONS = {
    **{name: CASES[name] for name in ("lenet_conv2", "deep", "many_small_images_grouped")},
    **{name: CASES[name] for name in ("one_by_one_kernel", "many_channels_strided", "depthwise")},
    "channels": Case((2, 12, 9, 8), (20, 12, 3, 3), stride=(2, 1), padding=1, dilation=(1, 2)),
    "channels_grouped": Case((3, 20, 6, 7), (24, 10, 2, 3), groups=2),
}


@pytest.mark.parametrize("name", LOWER)
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_cuda_conv2d(backend: str, name: str, case: str) -> None:
    conv = CONVOLUTIONS[case]
    x, w, bias = arrays(case, conv)
    with running("reference"):
        shape = F.conv2d(x, w, bias, *conv.arguments).shape
    dy = draw(f"precision/{case}/dy", shape)

    def run(x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> list[Any]:
        need = (True, True, False)
        gradients = F.conv2d_backward(dy, x, w, None, *conv.arguments, need=need)
        return [F.conv2d(x, w, bias, *conv.arguments), *gradients[:2]]

    k, c = w.shape[0] // conv.groups, w.shape[1]
    depths = [conv.depth, k * w.shape[2] * w.shape[3], dy.size // w.shape[0]]
    taken = [k > FEW, c > FEW, min(k, conv.depth) > FEW]
    check(backend, name, run, [x, w, dy], depths, taken)


@pytest.mark.parametrize(
    ("name", "error"), [("half", ValueError), ("TF32", ValueError), ("", ValueError)]
)
def test_cuda_refuses_other_names(name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"must be 'float32', 'tf32' or 'bf16', got '{name}'"):
        striate.set_precision(name)
    with pytest.raises(TypeError, match="must be 'float32', 'tf32' or 'bf16', got None"):
        striate.set_precision(None)  # type: ignore[arg-type]
    assert striate.get_precision() == "float32"


def test_cuda_says_which_precision_is_set() -> None:
    for name in (*LOWER, "float32"):
        striate.set_precision(name)
        assert striate.get_precision() == name


@pytest.fixture
def capability(backend: str) -> Iterator[Callable[[int, int], None]]:
    """Changes the emulated GPU's compute capability."""
    if backend != "cuda_host":
        pytest.skip("the GPU is what it is")
    from cupy.cuda import runtime

    yield runtime._set_compute_capability
    runtime._set_compute_capability(9, 0)


@pytest.mark.parametrize("name", LOWER)
def test_cuda_refuses_gpus_without_tensor_cores_for_it(
    name: str, capability: Callable[[int, int], None]
) -> None:
    needs = f"^set_precision: '{name}' needs a GPU of compute capability 8.0 .*, this one has 7.5$"
    capability(7, 5)
    with pytest.raises(RuntimeError, match=needs):
        striate.set_precision(name)
    assert striate.get_precision() == "float32"
    x = draw("precision/x", (20, 30))
    with running("cuda_host"):
        F.linear(x, x)
    # Where a newer GPU stands beside it, the name is good, and the older one refuses the product.
    capability(8, 0)
    striate.set_precision(name)
    with running("cuda_host"):
        F.linear(x, x)
        capability(7, 5)
        with pytest.raises(RuntimeError, match=needs):
            F.linear(x, x)


def small_alexnet() -> nn.Sequential:
    """Large kernels with a stride, overlapping pools, normalisation, groups, dropout."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.LocalResponseNorm(5),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(16, 32, 5, padding=2, groups=2),
        nn.ReLU(),
        nn.Conv2d(32, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(24 * 2 * 2, 32),
        nn.ReLU(),
        nn.Linear(32, 5),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "shape", "momentum"),
    [(lenet5, (20, 1, 28, 28), 0.5), (small_alexnet, (20, 3, 43, 43), 0.9)],
)
def test_cuda_networks_learn_in_bf16(
    make: Callable[[], Any], shape: tuple[int, ...], momentum: float
) -> None:
    striate.manual_seed(0)
    model = make().to("cuda")
    labels = np.arange(shape[0]) % 5
    classes = 3 * draw("precision/classes", (5, *shape[1:]))
    images = classes[labels] + draw("precision/noise", shape)
    x = ArraySamples(images, labels).to("cuda").images
    in_float32 = model.eval()(x).get()
    with precision("bf16"):
        assert not np.array_equal(model(x).get(), in_float32)
        model.train()
        optimizer = optim.SGD(model.parameters(), 0.02, momentum=momentum)
        trainer = Trainer(model, optimizer, epochs=6, batch_size=10)
        history = trainer.fit(ArraySamples(images, labels))
        logits = model.eval()(x)
    assert trainer.notes == []
    losses = [epoch["train_loss"] for epoch in history]
    assert losses[-1] < 0.8 * losses[0], losses
    assert logits.dtype == np.float32
    for parameter in model.parameters():
        assert parameter.data.dtype == np.float32
        assert device_of(parameter.data) == "cuda:0"
        # They are no bfloat16 numbers either.
        assert not np.array_equal(parameter.data.get(), rounded(parameter.data.get(), "bf16"))
