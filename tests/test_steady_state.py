"""After warm-up a training step takes no memory from the system and faults no page in."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from striate import _core, models, nn, optim

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="counts faults and the heap as Linux and glibc do"
)

STEPS, ROUNDS = 20, 10


class MallInfo2(ctypes.Structure):
    """glibc's struct mallinfo2: what malloc has taken from the system, in bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd",
                     "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


def taken() -> dict[str, int]:
    """Bytes of malloc's arena and of its mappings, and the pages that were faulted in so far."""
    import resource

    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = MallInfo2
    heap = mallinfo2()
    return {
        "arena": heap.arena,
        "mapped": heap.hblkhd,
        "pool": _core.cached_bytes(),
        "faults": resource.getrusage(resource.RUSAGE_SELF).ru_minflt,
    }


def conv_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 24, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.LocalResponseNorm(5),
        nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(6), nn.Flatten(),
        nn.Dropout(), nn.Linear(48 * 36, 200), nn.Tanh(), nn.Linear(200, 10),
    )  # fmt: skip


NETS: dict[str, Any] = {
    "lenet5": lambda: (models.lenet5(), (64, 1, 28, 28)),
    "conv_net": lambda: (conv_net(), (16, 3, 33, 33)),
}


def measure(name: str) -> dict[str, int]:
    model, shape = NETS[name]()
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    labels = np.arange(shape[0]) % 10
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        criterion(model(x), labels)
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()
        optimizer.zero_grad()

    # Warm-up ends when every thread has once held its scratch while the others held theirs, as the
    # scheduler pleases: a round that takes nothing must come, and with a leak it never does.
    for _ in range(ROUNDS):
        before = taken()
        for _ in range(STEPS):
            step()
        after = taken()
        grown = {key: after[key] - before[key] for key in after}
        if grown["faults"] <= STEPS and not any(grown[key] for key in ("arena", "mapped", "pool")):
            break
    return grown


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("name", NETS)
def test_a_step_takes_nothing(name: str, threads: str) -> None:
    """In a process of its own, where no other test's garbage is collected meanwhile."""
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("needs glibc 2.33")
    answer = subprocess.run(
        [sys.executable, __file__, name],
        env={**os.environ, "OMP_NUM_THREADS": threads},
        capture_output=True,
        text=True,
        check=True,
    )
    grown = json.loads(answer.stdout)
    assert (grown["arena"], grown["mapped"], grown["pool"]) == (0, 0, 0)
    assert grown["faults"] <= STEPS  # Python's own; a single array of a batch would be hundreds


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
