"""PyTorch on a GPU: eager, and the whole step captured as a CUDA graph, also of compiled code.

In float32 neither matrices nor convolutions round to TF32 (cuDNN's would by default). bf16 is
autocast to bfloat16 with float32 weights. cuDNN tries its algorithms out and keeps the fastest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from striate.bench import torch_peer
from striate.bench.cuda import gpu
from striate.bench.cuda.networks import LOSSES
from striate.bench.networks import SGD, Network, norms, sample
from striate.bench.work import Work

KINDS = ("eager", "graph", "compile")
_WARM = 3  # steps before one is captured, as PyTorch's documentation asks


def start(device: str, precision: str) -> Any:
    """Makes ``device`` the current one, sets the precision; returns torch."""
    import torch

    if device != "cpu":
        torch.cuda.set_device(device)
        torch.cuda.empty_cache()
    tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cudnn.benchmark = True
    return torch


def timer(step: Callable[[], Any], device: str) -> Callable[[int], float] | None:
    """By events; None on the CPU, where the tests run what they can of this file."""
    if device == "cpu":
        return None
    import torch

    event: Any = torch.cuda.Event
    return gpu.timed(
        step,
        lambda: event(enable_timing=True),
        lambda first, last: float(first.elapsed_time(last)),
    )


def train(
    network: Network,
    batch_size: int,
    precision: str,
    device: str,
    kind: str = "eager",
    layout: str = "NCHW",
    sgd: str = "foreach",
) -> Work:
    """The step of ``striate.bench.cuda.networks``; ``kind`` is one of KINDS."""
    torch = start(device, precision)
    model, x, labels = torch_peer.prepare(network, batch_size, layout, device)
    forward = model
    if kind == "compile":
        forward = torch.compile(model, mode="max-autotune-no-cudagraphs")
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), **SGD, **{sgd: True})
    half = {"dtype": torch.bfloat16, "enabled": precision == "bf16"}

    def loss_of(x: Any, labels: Any) -> tuple[Any, Any]:
        with torch.autocast(torch.device(device).type, **half):
            logits = forward(x)
            return criterion(logits, labels), logits

    def take(x: Any, labels: Any) -> Any:
        loss, _ = loss_of(x, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    loss, logits = loss_of(x, labels)
    check = [*sample(logits.detach().float().cpu().numpy()), loss.item()]
    loss.backward()
    check += norms(p.grad.contiguous().cpu().numpy() for p in model.parameters())
    optimizer.zero_grad()
    del loss, logits
    stepper = take if kind == "eager" else Captured(take)
    check += [float(stepper(x, labels)) for _ in range(LOSSES)]

    model.train()
    stepper = take if kind == "eager" else Captured(take)
    each = x.element_size() * x.nelement()
    batches = itertools.cycle([(x.clone(), labels.clone()) for _ in range(gpu.sets(each))])

    def step() -> float:
        return float(stepper(*next(batches)))

    for _ in range(_WARM + 1):
        step()
    return Work(step, check, time=timer(step, device))


class Captured:
    """``take(x, labels)``: run as it is at first, then captured as a CUDA graph and replayed."""

    def __init__(self, take: Callable[[Any, Any], Any]) -> None:
        self._take, self._taken = take, 0
        self._graph: Any = None
        self._inputs: tuple[Any, ...] = ()
        self._outcome: Any = None

    def __call__(self, *inputs: Any) -> Any:
        import torch

        if self._taken < _WARM:
            self._taken += 1
            stream: Any = torch.cuda.Stream
            side = stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                outcome = self._take(*inputs)
            torch.cuda.current_stream().wait_stream(side)
            return outcome
        if self._graph is None:
            self._inputs = tuple(part.clone() for part in inputs)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outcome = self._take(*self._inputs)
        for kept, part in zip(self._inputs, inputs):
            kept.copy_(part)
        self._graph.replay()
        return self._outcome
