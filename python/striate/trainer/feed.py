"""The batches of an epoch on their way to the trainer: as they are, or up to a GPU, one ahead."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from striate._device import is_cuda
from striate.data.dataset import Batch


class Feed:
    """Iterates over ``batches``. ``prepare`` may be called while a step is under way."""

    def __init__(self, batches: Generator[Batch, None, None]) -> None:
        self._batches = batches

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> Batch:
        return next(self._batches)

    def prepare(self) -> None:
        """Gets ready what the next ``next`` will return, where that can be done ahead."""

    def close(self) -> None:
        """Ends the threads of the samples, if they have any."""
        self._batches.close()


class CudaFeed(Feed):
    """Sends each batch to the GPU through pinned memory, on a stream of its own.

    Two places take turns, so that a batch goes up while the step before it computes. The reader of
    a batch must be done with it when it asks for the one after the next.
    """

    def __init__(self, batches: Generator[Batch, None, None], uploads: Uploads) -> None:
        super().__init__(batches)
        self._uploads = uploads
        self._ready: Batch | BaseException | None = None

    def __next__(self) -> Batch:
        self.prepare()
        ready, self._ready = self._ready, None
        if isinstance(ready, BaseException):
            raise ready
        assert ready is not None
        self._uploads.wait()
        return ready

    def prepare(self) -> None:
        if self._ready is None:
            try:
                self._ready = self._uploads.send(next(self._batches))
            except Exception as error:  # it is the next batch's, and raised when that is asked for
                self._ready = error


class Uploads:
    """Two pairs of buffers, pinned and on the GPU, and the stream between them."""

    def __init__(self) -> None:
        import cupy

        self._cupy = cupy
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._sent = cupy.cuda.Event(disable_timing=True)
        self._turn = 0
        self._buffers: tuple[dict[Any, Any], dict[Any, Any]] = ({}, {})

    def send(self, batch: Batch) -> Batch:
        """``batch`` with its arrays on the GPU, where they will be after ``wait``."""
        self._turn ^= 1
        labels = np.asarray(batch.labels) if not is_cuda(batch.labels) else batch.labels
        if not is_cuda(labels) and labels.dtype.kind in "iu":
            labels = labels.astype(np.int64)
        sent = batch._replace(inputs=self._up("x", batch.inputs), labels=self._up("t", labels))
        self._sent.record(self._stream)
        return sent

    def wait(self) -> None:
        """Makes the current stream wait for what was sent."""
        self._cupy.cuda.get_current_stream().wait_event(self._sent)

    def _up(self, name: str, array: Any) -> Any:
        if is_cuda(array):
            return array
        import cupyx

        buffers, key = self._buffers[self._turn], (name, array.dtype)
        size = array.size
        if key not in buffers or buffers[key][0].size < size:
            pinned = cupyx.empty_pinned((max(1, size),), array.dtype)
            buffers[key] = pinned, self._cupy.empty(pinned.shape, array.dtype)
            # Work under way may still use the block that the pool gave.
            self._stream.wait_event(self._cupy.cuda.get_current_stream().record())
        pinned, on_gpu = (buffer[:size] for buffer in buffers[key])
        np.copyto(pinned.reshape(array.shape), array)
        on_gpu.set(pinned, stream=self._stream)
        return on_gpu.reshape(array.shape)
