"""A training step of Striate on a GPU: the trainer's, recorded as a CUDA graph, and the eager one.

Every side reads its loss after each step, as the trainer does, which stops where one is not finite.
Beside what ``striate.bench.networks`` compares, the losses of the first steps must agree: the later
ones of them come from the recording.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from striate.bench.cuda import gpu
from striate.bench.networks import SGD, Network, fill, images, norms, sample, step_flop
from striate.bench.work import Work

LOSSES = 6  # of the first steps, without dropout


def recorded(network: Network, batch_size: int, precision: str, device: str) -> Work:
    """The step as Trainer takes it."""
    from striate import random
    from striate.trainer import Trainer
    from striate.trainer.step import CudaStep

    def steps(model: Any, optimizer: Any) -> tuple[Any, Any, Callable[[], None]]:
        trainer = Trainer(model, optimizer, epochs=1, batch_size=batch_size)
        trainer.samples = batch_size
        generator = random.Generator(0)
        step = CudaStep(trainer, device, generator)

        @contextlib.contextmanager
        def running() -> Iterator[None]:
            with random.use(generator), step.running():
                yield

        def take(x: Any, labels: Any) -> float:
            generator.set_step(trainer.step)
            loss = float(step.take(x, labels).loss)
            trainer.step += 1
            return loss

        def check() -> None:
            if trainer.notes:
                raise RuntimeError(trainer.notes[0])

        return running, take, check

    return _work(network, batch_size, precision, device, steps)


def eager(network: Network, batch_size: int, precision: str, device: str) -> Work:
    """The step op by op, as a loop of one's own takes it."""
    from striate import nn

    def steps(model: Any, optimizer: Any) -> tuple[Any, Any, Callable[[], None]]:
        criterion = nn.CrossEntropyLoss()

        def take(x: Any, labels: Any) -> float:
            loss = criterion(model(x), labels)
            model.backward(criterion.backward(), input_grad=False)
            optimizer.step()
            optimizer.zero_grad()
            return float(loss)

        return contextlib.nullcontext, take, lambda: None

    return _work(network, batch_size, precision, device, steps)


def _work(
    network: Network,
    batch_size: int,
    precision: str,
    device: str,
    steps: Callable[[Any, Any], tuple[Any, Any, Callable[[], None]]],
) -> Work:
    """``steps(model, optimizer)``: what the steps run in, one of them, and a check of them all."""
    import striate
    from striate import nn, optim
    from striate._device import to_host

    cupy = gpu.start(device, precision)
    striate.manual_seed(0)
    model, criterion = network.striate(), nn.CrossEntropyLoss()
    fill(parameter.data for parameter in model.parameters())
    flop = step_flop(nn.summary(model, network.image), batch_size)
    model.to(device)
    x, labels = (cupy.asarray(array) for array in images(network, batch_size))
    optimizer = optim.SGD(model.parameters(), **SGD)

    model.train()
    for layer in model.layers():
        if isinstance(layer, nn.Dropout):
            layer.eval()
    logits = model(x)
    check = [*sample(to_host(logits)), float(criterion(logits, labels))]
    model.backward(criterion.backward(), input_grad=False)
    check += norms(to_host(parameter.grad) for parameter in model.parameters())
    optimizer.zero_grad()
    del logits
    running, take, check_steps = steps(model, optimizer)
    with running():
        check += [take(x, labels) for _ in range(LOSSES)]

    model.train()
    batches = itertools.cycle([(x.copy(), labels.copy()) for _ in range(gpu.sets(x.nbytes))])

    def step() -> float:
        loss: float = take(*next(batches))
        return loss

    def once() -> float:
        with running():
            return step()

    with running():
        for _ in range(4):  # with dropout: it is recorded anew
            step()
    check_steps()
    return Work(once, check, flop, time=gpu.timed_by_cupy(step, running))
