"""One training step, on the CPU and on a GPU, there recorded as a CUDA graph and replayed.

A step of a small network is dozens of short kernels, and what a launch from Python costs does not
shrink with the kernel. So the trainer's step is run twice as it is, then
recorded, and from then on replayed by one call. What differs from step to step lives in device
memory: the batch, the rates of the optimiser, the step's number (from which dropout draws its
masks), the loss. A batch of another size is run as it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from striate import cuda, nn, random
from striate._device import is_cuda, telling_of_gpu_memory, use
from striate.nn.layer import Layer
from striate.trainer.failure import check_finite

if TYPE_CHECKING:
    from striate.trainer.trainer import Trainer


class Outcome(NamedTuple):
    """Of a step: numbers, or arrays () on the GPU, which ``float`` waits for."""

    loss: Any
    norm: Any = 0.0  # of the gradients, where it is clipped


class Step:
    """Forward, backward and update as they are."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Around all steps of a fit."""
        yield

    def take(self, x: Any, labels: Any) -> Outcome:
        """Takes the step ``trainer.step`` on a batch."""
        loss = self._forward(x, labels)
        check_finite(self.trainer, "the loss", float(loss))
        norm = self._backward()
        check_finite(self.trainer, "the gradients' norm", float(norm))
        self.trainer.optimizer.step()
        self.trainer.optimizer.zero_grad()
        return Outcome(loss, norm)

    def _forward(self, x: Any, labels: Any) -> Any:
        return self.trainer.criterion(self.trainer.model(x), labels)

    def _backward(self) -> Any:
        """The norm of the gradients, where it is clipped."""
        trainer = self.trainer
        trainer.model.backward(trainer.criterion.backward(), input_grad=False)
        if trainer.clip_grad_norm is None:
            return 0.0
        return nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.clip_grad_norm)


_PLAIN = (bool, int, float, str, type(None))  # attributes that are compared by value
_WATCHING = ("STRIATE_SYNC", "STRIATE_VERBOSE")
_MOST = 8  # changes, after which a model that changes all the time is left unrecorded


class CudaStep(Step):
    """The same on a GPU, recorded. Nothing waits for a step: ``float`` of its outcome does."""

    def __init__(self, trainer: Trainer, device: str, generator: random.Generator) -> None:
        super().__init__(trainer)
        import cupy

        self._cupy, self._device, self._generator = cupy, device, generator
        with use(device):
            self.stream = cupy.cuda.Stream(non_blocking=True)
            self._pool = cupy.cuda.MemoryPool()  # a graph keeps its addresses: nobody else's
        self._warm: _State | None = None  # of the last step that was run to be recorded next
        self._recorded: _Recorded | None = None
        self._parameters: tuple[int, list[Any]] = (-1, [])
        self._changes = 0
        self._why_not = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with use(self._device), telling_of_gpu_memory():
            self._cupy.cuda.Device().synchronize()  # what other streams still write
            try:
                with self.stream:
                    yield
            finally:
                self._cupy.cuda.Device().synchronize()  # other streams do not wait for this one

    def take(self, x: Any, labels: Any) -> Outcome:
        if not self._may_record(x, labels):
            return self._run(x, labels)
        key = x.shape, labels.shape, labels.dtype
        state, recorded = self._state(key), self._recorded
        if self._warm is None or not self._warm.holds(state):
            # As it is: velocities that it makes outlive the pool of a recording.
            outcome = self._run(x, labels)
            self._warm, self._recorded = self._state(key), None
            self._changes += 1
            if self._changes > _MOST:
                self._give_up(f"the model has changed {_MOST} times")
            return outcome
        with self._cupy.cuda.using_allocator(self._pool.malloc):
            if recorded is None:
                return self._rehearse(x, labels)
            if recorded.graph is None and not self._record(recorded):
                return self._run(x, labels)
            recorded.send(x, labels, self.trainer.step, self.trainer.optimizer.rates())
            recorded.graph.launch(self.stream)
            return recorded.outcome

    def _may_record(self, x: Any, labels: Any) -> bool:
        """Batches of the full size; the last, smaller one of an epoch is run as it is."""
        full = len(labels) == min(self.trainer.batch_size, self.trainer.samples)
        return full and not self._why_not and is_cuda(x) and is_cuda(labels) and not _watched()

    def _run(self, x: Any, labels: Any, rates: Any = None) -> Outcome:
        loss = self._forward(x, labels)
        norm = self._backward()
        self.trainer.optimizer._step(rates)
        self.trainer.optimizer.zero_grad()
        return Outcome(loss, norm)

    def _state(self, key: Any) -> _State:
        trainer = self.trainer
        version, parameters = self._parameters
        if version != Layer._version:
            parameters = list(trainer.model.parameters())
            self._parameters = Layer._version, parameters
        groups = [
            (group["momentum"] != 0, group["nesterov"], group["maximize"])
            for group in trainer.optimizer.param_groups
        ]
        settings = {k: v for k, v in _attributes(trainer.criterion).items() if k != "_saved"}
        numbers = {k: v for k, v in settings.items() if isinstance(v, _PLAIN)}
        flags = (
            key, Layer._version, [p.requires_grad for p in parameters], groups, numbers,
            trainer.clip_grad_norm, cuda.get_precision(),
        )  # fmt: skip
        arrays = [p.data for p in parameters] + trainer.optimizer._velocities
        held = [trainer.criterion, *(v for v in settings.values() if not isinstance(v, _PLAIN))]
        return _State(arrays + held, flags)

    def _rehearse(self, x: Any, labels: Any) -> Outcome:
        """Runs a step from a recording's memory, which loads its kernels and fills its pool."""
        rates = self.trainer.optimizer.rates()
        recorded = _Recorded(self._cupy, self.stream, x, labels, rates)
        recorded.send(x, labels, self.trainer.step, rates)
        self._recorded = recorded
        return self._run_from(recorded)

    def _run_from(self, recorded: _Recorded) -> Outcome:
        with self._generator.recorded(recorded.step):
            return self._run(recorded.x, recorded.labels, recorded.rates)

    def _record(self, recorded: _Recorded) -> bool:
        """Whether the step could be recorded; a note says if not, and why."""
        failure = ""  # in words: the exception itself would keep all that the step has made
        self.stream.begin_capture()
        try:
            recorded.outcome = self._run_from(recorded)
        except Exception as error:  # a layer or criterion of the user's that looks at values, say
            failure = str(error) or type(error).__name__
        except BaseException:  # Ctrl-C
            with contextlib.suppress(Exception):
                self.stream.end_capture()
            self.trainer.optimizer.zero_grad()
            raise
        try:
            recorded.graph = self.stream.end_capture()
        except Exception as error:
            failure = failure or str(error)
        if not failure:
            return True
        recorded.graph = None
        self.trainer.optimizer.zero_grad()
        self._give_up(failure)
        return False

    def _give_up(self, why: str) -> None:
        """The training goes on, unrecorded."""
        self._why_not = why
        self.trainer.notes.append(
            f"the training step cannot be recorded as a CUDA graph, and runs slower: {why}"
        )


def _attributes(criterion: Any) -> dict[str, Any]:
    return getattr(criterion, "__dict__", {})


def _watched() -> bool:
    """Whether every op is to be waited for, or told of: a replay does neither."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in _WATCHING)


class _State(NamedTuple):
    """What a recording holds fast: it is made anew when any of this changes.

    The arrays themselves, not what names them: a new array may have the name of one that is gone.
    """

    objects: list[Any]
    flags: Any

    def holds(self, other: _State) -> bool:
        same = all(a is b for a, b in zip(self.objects, other.objects))
        return same and len(self.objects) == len(other.objects) and self.flags == other.flags


class _Recorded:
    """A recorded step and the memory that it reads and writes."""

    graph: Any = None
    outcome: Outcome

    def __init__(self, cupy: Any, stream: Any, x: Any, labels: Any, rates: Any) -> None:
        import cupyx

        self._stream = stream
        self.x, self.labels = cupy.empty_like(x), cupy.empty_like(labels)
        # One small block goes up before each step: the rates of all groups, the step's number.
        count = rates.size
        self._pinned = cupyx.empty_pinned((count + 1,), np.uint32)
        self._control = cupy.empty((count + 1,), np.uint32)
        self.rates = self._control[:count].view(np.float32).reshape(rates.shape)
        self.step = self._control[count:].reshape(())

    def send(self, x: Any, labels: Any, step: int, rates: Any) -> None:
        """Puts in place what differs from step to step.

        The outcome of the step before must have been read: its numbers lie where these go.
        """
        self.x[...] = x
        self.labels[...] = labels
        self._pinned[:-1] = rates.reshape(-1).view(np.uint32)
        self._pinned[-1] = step
        self._control.set(self._pinned, stream=self._stream)
