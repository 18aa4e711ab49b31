"""Processes made in every way and at every moment; threads that are at work when one ends."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import pytest

from backends import threads
from test_threads import trained

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", [pytest.param("fork", marks=forks), "spawn"])
def test_a_pool_of_processes_computes_the_parents_bits(method: str) -> None:
    """The parent has trained, so it has threads; a forked child has none of them."""
    with threads(3):
        expected = trained("lenet5")
        with multiprocessing.get_context(method).Pool(2) as pool:
            answers = pool.map_async(trained, ["lenet5"] * 4).get(timeout=120)
        assert answers == [expected] * 4
        assert trained("lenet5") == expected


# Ops that hold, for a moment, every lock that there is: the team's, the pool's.
AT_WORK = """
import os, sys, threading, time, warnings
import numpy as np
import striate
import striate.functional as F
from striate import models
warnings.simplefilter("ignore", DeprecationWarning)
striate.set_num_threads(2)
striate.manual_seed(0)
x = np.random.default_rng(0).standard_normal((16, 1, 28, 28), np.float32)
w = x[:6, :, :5, :5].copy()
scores = x[:, 0].reshape(-1, 7).repeat(8, 0)
labels = (np.arange(len(scores)) % 7).astype(np.int32)
prepared = striate.prepare(models.lenet5(), (1, 28, 28))

class Tensor:
    def __dlpack_device__(self):
        return scores.__dlpack_device__()

    def __dlpack__(self, **options):
        return scores.__dlpack__(**options)

JOBS = {
    "conv2d": lambda: F.conv2d(x, w).tobytes(),
    "strided": lambda: F.conv2d(x[:, :, ::2, ::2], w).tobytes(),
    "labels": lambda: F.cross_entropy(scores, labels, reduction="none").tobytes(),
    "buffer": lambda: F.relu(memoryview(scores)).tobytes(),
    "dlpack": lambda: F.relu(Tensor()).tobytes(),
    "prepared": lambda: prepared(x).tobytes(),
    "empty_cache": striate.empty_cache,
}

def forever(job):
    while True:
        job()

def start(jobs):
    for job in jobs:
        threading.Thread(target=forever, args=(job,), daemon=True).start()
    time.sleep(0.05)
"""


def run(code: str, timeout: float = 120) -> None:
    """Runs ``code`` behind AT_WORK in a process of its own, which must end well and in silence."""
    answer = subprocess.run(
        [sys.executable, "-c", AT_WORK + code], capture_output=True, text=True, timeout=timeout
    )
    assert (answer.returncode, answer.stderr) == (0, "")


@forks
def test_forked_while_other_threads_are_inside_ops() -> None:
    """The child gets their locks as they are, and none of the threads that would open them."""
    run("""
expected = {name: job() for name, job in JOBS.items()}
start(JOBS.values())
for i in range(60):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if {name: job() for name, job in JOBS.items()} == expected else 1)
    assert os.waitpid(pid, 0)[1] == 0, i
os._exit(0)
""")


@forks
def test_a_child_of_a_process_that_used_cuda_is_told() -> None:
    """In one sentence, and the CPU goes on; a child of one that never did may use it."""
    run("""
class Fake:
    __version__ = striate.__version__
    why_unavailable = staticmethod(lambda: "")
    compute_capability = staticmethod(lambda device: "9.0")
    architectures = staticmethod(lambda: "90")

class Cupy:
    class cuda:
        class Device:
            id = 0

sys.modules["striate._cuda"], sys.modules["cupy"] = Fake, Cupy
for used in (False, True):
    assert not used or striate.cuda.is_available()
    pid = os.fork()
    if pid == 0:
        assert striate.cuda.is_available() is not used
        try:
            striate.cuda.module()
        except RuntimeError as error:
            assert used
            assert str(error).startswith("CUDA cannot be used: this process was forked from one "
                                         "that had used it, "), error
        JOBS["conv2d"]()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
assert striate.cuda.is_available()
""")


@pytest.mark.parametrize("job", ["conv2d", "strided", "labels", "buffer", "dlpack", "prepared"])
def test_a_daemon_thread_inside_an_op_when_python_ends(job: str) -> None:
    """It cannot have the GIL back, and must not take the process down for want of it."""
    for _ in range(2):
        run(f"start([JOBS[{job!r}]] * 3)")
