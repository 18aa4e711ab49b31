"""A smoke test of the installed package, which needs nothing else.

    python scripts/smoke_test.py [--isa NAME] [--threads NAME]

Each op, forward and backward, against the naked loops; ten steps of LeNet on 64 MNIST digits. It is
for where the tests are not run: a wheel on a fresh machine, an emulated CPU. Fails, too, where
another instruction set was chosen than --isa, or threads come from elsewhere than --threads. The
last line has a digest of the trained weights: equal bits, equal digests.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import striate
import striate.functional as F
from striate import _core, data, models, nn, optim
from striate.data.dataset import Normalize

Arrays = list[NDArray[np.float32]]
RNG = np.random.default_rng(0)


def normal(*shape: int) -> NDArray[np.float32]:
    return RNG.standard_normal(shape, np.float32)


X, FLAT = normal(3, 5, 17, 21), normal(9, 37)


def conv2d(w: tuple[int, ...], **options: int) -> Callable[[], Arrays]:
    x, weight, bias = normal(2, 6, 21, 18), normal(*w), normal(w[0])
    dy = normal(*F.conv2d(x, weight, bias, **options).shape)

    def run() -> Arrays:
        y = F.conv2d(x, weight, bias, **options)
        return [y, *F.conv2d_backward(dy, x, weight, bias, **options)]

    return run


def max_pool2d() -> Arrays:
    y, indices = F.max_pool2d(X, 3, 2, return_indices=True)
    return [y, F.max_pool2d_backward(y, indices, X.shape, 3, 2)]


def linear() -> Arrays:
    w, b = FLAT[:7] * 1, FLAT[0, :7] * 1
    y = F.linear(FLAT, w, b)
    return [y, *F.linear_backward(y, FLAT, w, b)]


LABELS, KEY = np.arange(9) % 5, striate.random.Key(1, 2, 3)
OPS: dict[str, Callable[[], Arrays]] = {
    "relu": lambda: [y := F.relu(X), F.relu_backward(X, y)],
    "tanh": lambda: [y := F.tanh(X), F.tanh_backward(X, y)],
    "sigmoid": lambda: [y := F.sigmoid(X), F.sigmoid_backward(X, y)],
    "softmax": lambda: [y := F.softmax(FLAT, 1), F.softmax_backward(FLAT, y, 1)],
    "log_softmax": lambda: [y := F.log_softmax(X, 1), F.log_softmax_backward(X, y, 1)],
    "cross_entropy": lambda: [
        np.float32(F.cross_entropy(FLAT, LABELS)).reshape(1),
        F.cross_entropy_backward(1.0, FLAT, LABELS),
    ],
    "dropout": lambda: [F.dropout(X, 0.3, key=KEY), F.dropout_backward(X, KEY, 0.3)],
    "linear": linear,
    "gemm": lambda: [_core.gemm(FLAT, FLAT, False, True)],
    "conv2d": conv2d((7, 6, 4, 2), stride=2, padding=1),
    "conv2d 3x3": conv2d((64, 6, 3, 3), padding=1),
    "conv2d 5x5": conv2d((16, 6, 5, 5), padding=2),
    "conv2d depthwise": conv2d((12, 1, 3, 3), groups=6),
    "max_pool2d": max_pool2d,
    "avg_pool2d": lambda: [y := F.avg_pool2d(X, 2), F.avg_pool2d_backward(y, X.shape, 2)],
    "adaptive_avg_pool2d": lambda: [
        y := F.adaptive_avg_pool2d(X, 6),
        F.adaptive_avg_pool2d_backward(y, X.shape, 6),
    ],
    "local_response_norm": lambda: [
        F.local_response_norm(X, 5),
        F.local_response_norm_backward(X, X, 5),
    ],
}


def check_op(name: str, run: Callable[[], Arrays]) -> None:
    striate.set_backend("reference")
    expected = run()
    striate.set_backend("cpu")
    for algorithm in ("gemm", "direct", "winograd", "auto"):  # of conv2d
        _core.set_conv2d_algorithm(algorithm)
        for got, wanted in zip(run(), expected):
            atol = 1e-4 * max(1.0, float(np.sqrt(np.mean(wanted**2))))
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=atol, err_msg=name)


def train_lenet() -> tuple[list[float], str]:
    """The loss of each of ten steps, and a digest of the weights."""
    striate.manual_seed(0)
    train, _ = data.mnist()
    model, criterion = models.lenet5(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, labels = Normalize(mean=0.1307, std=0.3081)(train.images[:64]), train.labels[:64]
    losses = []
    for _ in range(10):
        losses.append(criterion(model(x), labels))
        model.backward(criterion.backward())
        optimizer.step()
        optimizer.zero_grad()
    weights = b"".join(p.data.tobytes() for p in model.parameters())
    return losses, hashlib.sha256(weights).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description="A smoke test of the installed package.")
    parser.add_argument("--isa", metavar="NAME", help="the instruction set that must run")
    parser.add_argument("--threads", metavar="NAME", help="how the threading runtime must start")
    args = parser.parse_args()
    isa, runtime = _core.isa_name(), _core.threading_runtime()
    print(f"striate {_core.__version__} on {isa}, {_core.get_num_threads()} threads of {runtime}; "
          f"NumPy {np.__version__}")  # fmt: skip
    assert args.isa in (None, isa), f"{isa} runs, expected {args.isa}"
    assert runtime.startswith(args.threads or ""), f"{runtime}, expected {args.threads}"
    for name, run in OPS.items():
        check_op(name, run)
    print(f"{len(OPS)} ops answer as the naked loops do")
    losses, digest = train_lenet()
    assert np.isfinite(losses).all(), losses
    assert losses == sorted(losses, reverse=True), losses
    print(f"ten steps of LeNet: loss {losses[0]:.3f} to {losses[-1]:.3f}, weights {digest}")


if __name__ == "__main__":
    main()
