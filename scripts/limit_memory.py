#!/usr/bin/env python3
"""Runs ops, a training step and files under every limit of memory, in steps.

    python scripts/limit_memory.py --step 64      # KiB; also --threads N, --only NAME

Each time a fresh process (a fork, before any thread) may have so much more memory than it has, as
by `ulimit -v`. It must come to the right result or to a MemoryError, and after a MemoryError, once
the limit is gone, to the right result: never to a crash, a hang or other bits. Linux only.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy  # noqa: F401  (a child that must load it may have no room for that)

import striate
import striate.functional as F
from striate import models, nn, optim

Work = Callable[[], list[np.ndarray]]
RIGHT, SHORT, WRONG, RAISED = 0, 1, 2, 3  # exit codes of a child
ENOUGH = 6  # right results one after the other, after which more memory changes nothing
LONGEST = 60.0  # seconds
STACK = 512 << 10  # of a thread, so that some limits end between the threads


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape, np.float32)


def convolution(algorithm: str, x: tuple[int, ...], w: tuple[int, ...], padding: int) -> Work:
    inputs, weight = draw(*x), draw(*w)

    def work() -> list[np.ndarray]:
        os.environ["STRIATE_CONV"] = algorithm
        y = F.conv2d(inputs, weight, padding=padding)
        gradients = F.conv2d_backward(np.ones_like(y), inputs, weight, padding=padding)
        return [y, *(gradient for gradient in gradients if gradient is not None)]

    return work


def training_step() -> list[np.ndarray]:
    striate.manual_seed(0)
    model, criterion = models.lenet5(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), 0.01, momentum=0.9)
    for _ in range(2):
        criterion(model(draw(64, 1, 28, 28)), np.arange(64) % 10)
        model.backward(criterion.backward())
        optimizer.step()
        optimizer.zero_grad()
    return [np.array(p.data) for p in model.parameters()]


def prepared_model() -> list[np.ndarray]:
    striate.manual_seed(0)
    prepared = striate.prepare(models.lenet5(), (1, 28, 28))
    return [prepared(draw(n, 1, 28, 28)) for n in (1, 16)]


def other_ops() -> list[np.ndarray]:
    striate.manual_seed(0)
    x = draw(8, 16, 30, 30)
    flat = x.reshape(8, -1)
    y, indices = F.max_pool2d(x, 3, 2, return_indices=True)
    return [
        y, indices, F.avg_pool2d(x, 3, 2, 1), F.adaptive_avg_pool2d(x, (6, 6)), F.relu(x),
        F.local_response_norm(x, 5), F.softmax(flat, 1), F.linear(flat, draw(32, flat.shape[1])),
        F.dropout(x, 0.5), np.array(F.cross_entropy(flat, np.arange(8))),
    ]  # fmt: skip


def files() -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        striate.save(Path(folder, "x"), {"a": draw(300, 1000), "b": draw(5)}, {"c": 1})
        return list(striate.load(Path(folder, "x"))[0].values())


def a_file() -> Work:
    folder = tempfile.TemporaryDirectory()  # kept by what follows
    path = Path(folder.name, "x")
    striate.save(path, {str(i): draw(250_000) for i in range(8)}, {"c": 1})

    def work() -> list[np.ndarray]:
        assert folder
        return list(striate.load(path)[0].values())

    return work


WORKS: dict[str, Work] = {
    "conv2d direct": convolution("direct", (4, 16, 32, 32), (32, 16, 3, 3), 1),
    "conv2d direct, one channel": convolution("direct", (16, 1, 28, 28), (6, 1, 5, 5), 0),
    "conv2d gemm": convolution("gemm", (4, 16, 32, 32), (32, 16, 3, 3), 1),
    "conv2d winograd": convolution("winograd", (4, 16, 32, 32), (32, 16, 3, 3), 1),
    "training step": training_step,
    "prepared model": prepared_model,
    "other ops": other_ops,
    "files": files,
    "a file": a_file(),
}


def used() -> int:
    """Bytes of addresses that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def limited(work: Work, expected: list[bytes], more: int, threads: int) -> int:
    """What a child does: its exit code."""
    striate.set_num_threads(threads)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used() + more, hard))
    code = RIGHT
    try:
        found = work()
    except MemoryError:
        code = SHORT
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    if code == SHORT:
        found = work()
    return code if [array.tobytes() for array in found] == expected else WRONG


def forked(call: Callable[[], int]) -> str:
    """How a child that calls ``call`` ends."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = RAISED
        try:
            code = call()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            names = {RIGHT: "right", SHORT: "MemoryError", WRONG: "other bits", RAISED: "raised"}
            died = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return names.get(code, died)
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hang"


def expected_of(work: Work) -> list[bytes]:
    """The right result, found in a child: this process shall have no threads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.npz")

        def call() -> int:
            np.savez(path, *work())
            return RIGHT

        if forked(call) != "right":
            raise RuntimeError("without a limit it fails, too")
        with np.load(path) as arrays:
            return [arrays[name].tobytes() for name in arrays.files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--step", type=int, default=64, metavar="KIB")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4], metavar="N")
    parser.add_argument("--only", choices=list(WORKS), metavar="NAME")
    args = parser.parse_args()
    if resource.getrlimit(resource.RLIMIT_STACK)[0] != STACK:  # glibc looks when a program starts
        resource.setrlimit(resource.RLIMIT_STACK, (STACK, resource.RLIM_INFINITY))
        os.execv(sys.executable, [sys.executable, *sys.argv])
    started, bad, total = time.monotonic(), [], 0
    for name in WORKS if args.only is None else [args.only]:
        expected = expected_of(WORKS[name])
        for threads in args.threads:
            ends: Counter[str] = Counter()
            more, row = 0, 0
            while row < ENOUGH or more < 2 * threads * STACK:
                end = forked(lambda: limited(WORKS[name], expected, more, threads))  # noqa: B023
                ends[end] += 1
                row = row + 1 if end == "right" else 0
                if end not in ("right", "MemoryError"):
                    bad.append(f"{name}, {threads} threads, {more >> 10} KiB: {end}")
                more += args.step << 10
            total += ends.total()
            told = ", ".join(f"{count} {end}" for end, count in ends.most_common())
            print(f"{name}, {threads} threads, up to {more >> 10} KiB: {told}", flush=True)
    print(f"{total} limits in {time.monotonic() - started:.0f} s, {len(bad)} of them bad")
    if bad:
        sys.exit("\n".join(bad))


if __name__ == "__main__":
    main()
