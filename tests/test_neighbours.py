"""In one process with torch, scikit-learn and OpenCV, imported in every order."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest

OTHERS = [name for name in ("torch", "sklearn", "cv2") if find_spec(name) is not None]
ORDERS = list(itertools.permutations(["striate", *OTHERS]))

# Every library brings threads of its own (libgomp, OpenBLAS, TBB, pthreads) and settings of the
# floating-point unit. Each works while the others' threads are there; two rounds, so that each also
# comes after all others.
WORK = """
import hashlib, sys
import numpy as np

def striate_work():
    import striate
    from striate import models, nn, optim
    striate.set_num_threads(2)
    striate.manual_seed(0)
    model, criterion = models.lenet5(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    generator = np.random.default_rng(0)
    for _ in range(3):
        x = generator.standard_normal((32, 1, 28, 28), np.float32)
        criterion(model(x), np.arange(32) % 10)
        model.backward(criterion.backward())
        optimizer.step()
        optimizer.zero_grad()
    prepared = striate.prepare(model, (1, 28, 28))
    return b"".join([*(p.data.tobytes() for p in model.parameters()), prepared(x).tobytes()])

def torch_work():
    import torch
    x = torch.linspace(-1, 1, 16 * 8 * 28 * 28).reshape(16, 8, 28, 28).requires_grad_()
    torch.nn.functional.conv2d(x, x.detach()[:8, :, :3, :3]).square().sum().backward()
    return x.grad.numpy().tobytes()

def sklearn_work():
    from sklearn.cluster import KMeans
    points = np.random.default_rng(1).standard_normal((600, 6))
    return KMeans(4, n_init=2, random_state=0).fit(points).labels_.tobytes()

def cv2_work():
    import cv2
    picture = np.random.default_rng(2).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    return cv2.GaussianBlur(cv2.resize(picture, None, fx=1.5, fy=1.5), (9, 9), 2).tobytes()

order = sys.argv[1].split(",")
for name in order:
    __import__(name)
for _ in range(2):
    for name in order:
        answer = hashlib.sha256(globals()[f"{name}_work"]()).hexdigest()
        if name == "striate":
            print(answer)
"""


def answers(order: tuple[str, ...]) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", WORK, ",".join(order)], capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    len(OTHERS) < 3 and not os.environ.get("STRIATE_REQUIRE_PARITY"),
    reason="needs torch, scikit-learn and OpenCV",
)
def test_every_order_of_imports_gives_the_bits_of_striate_alone() -> None:
    alone = answers(("striate",))
    assert (alone[0], alone[2], len(set(alone[1].split()))) == (0, "", 1)
    with ThreadPoolExecutor(2) as pool:  # processes, two at a time
        for order, answer in zip(ORDERS, pool.map(answers, ORDERS)):
            assert answer == alone, order
    assert len(ORDERS) == 24
