"""Streams, events and graphs; and how the double's own operations take part in a capture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import runtime

_local = threading.local()
_captured: dict[int, list[Any]] = {}  # what the captures of each stream use
_deliveries: dict[int, list[Callable[[], None]]] = {}  # copies to the host, by stream


def _state() -> Any:
    """Of this thread: each device's current stream, and the streams that were entered there."""
    if not hasattr(_local, "current"):
        _local.current, _local.entered, _local.devices = {}, {}, []
    return _local


def get_current_stream(device_id: int = -1) -> _BaseStream:
    device = runtime.getDevice() if device_id == -1 else device_id
    return _state().current.get(device, Stream.null)


def enqueue(work: Callable[[], None]) -> None:
    """Runs `work` in the current stream's order: now, or when the captured graph is launched."""

    def quietly() -> None:
        with np.errstate(all="ignore"):
            work()

    stream = get_current_stream().ptr
    if runtime.streamIsCapturing(stream):
        _captured.setdefault(stream, []).append(runtime._record(stream, quietly))
    else:
        quietly()


def _keep(stream: int, used: Any) -> None:
    """What a capture has recorded lives as long as the graph."""
    if stream in _captured:
        _captured[stream].append(used)


def refuse_transfer(stream: int, direction: str) -> None:
    if runtime.streamIsCapturing(stream):
        raise RuntimeError(
            f"the current stream is capturing, so {direction} transfers are disallowed"
        )


def deliver_later(stream: int, delivery: Callable[[], None]) -> None:
    """A copy to the host that did not wait: its bytes arrive when somebody waits for `stream`."""
    _deliveries.setdefault(stream, []).append(delivery)


def deliver(stream: int | None = None) -> None:
    for waited in list(_deliveries) if stream is None else [stream]:
        for delivery in _deliveries.pop(waited, []):
            delivery()


class Event:
    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        self.ptr = 0
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        flags = runtime.eventBlockingSync * block + runtime.eventDisableTiming * disable_timing
        self.ptr = runtime.eventCreateWithFlags(flags)
        self._stream: int | None = None

    def __del__(self) -> None:
        if self.ptr and runtime is not None:
            runtime.eventDestroy(self.ptr)

    @property
    def done(self) -> bool:
        done = runtime.eventQuery(self.ptr) == 0
        self._deliver()
        return done

    def record(self, stream: _BaseStream | None = None) -> None:
        self._stream = (get_current_stream() if stream is None else stream).ptr
        runtime.eventRecord(self.ptr, self._stream)
        _keep(self._stream, self)

    def synchronize(self) -> None:
        runtime.eventSynchronize(self.ptr)
        self._deliver()

    def _deliver(self) -> None:
        if self._stream is not None:
            deliver(self._stream)


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    return runtime.eventElapsedTime(start_event.ptr, end_event.ptr)


class Graph:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "currently this class cannot be initiated by the user and must be created via stream "
            "capture"
        )

    @staticmethod
    def _from_stream(graph: int, closures: list[Any]) -> Graph:
        self = object.__new__(Graph)
        self.graph = 0
        self.graphExec = runtime._graphInstantiate(graph, 0)
        self._closures = closures
        runtime.graphDestroy(graph)
        return self

    def __del__(self) -> None:
        if getattr(self, "graphExec", 0) and runtime is not None:
            runtime.graphExecDestroy(self.graphExec)

    def launch(self, stream: _BaseStream | None = None) -> None:
        stream = get_current_stream() if stream is None else stream
        runtime.graphLaunch(self.graphExec, stream.ptr)
        _keep(stream.ptr, self)
        if runtime._failures:
            first = runtime._failures[0]
            runtime._failures.clear()
            raise first

    def upload(self, stream: _BaseStream | None = None) -> None:
        stream = get_current_stream() if stream is None else stream
        runtime.graphUpload(self.graphExec, stream.ptr)


class _BaseStream:
    ptr: int
    device_id: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BaseStream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ptr} (device {self.device_id})>"

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.ptr

    def _device(self) -> int:
        current = runtime.getDevice()
        if self.device_id not in (-1, current):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with "
                f"the current device ({current})"
            )
        return current

    def __enter__(self) -> _BaseStream:
        device, state = self._device(), _state()
        state.devices.append(device)
        state.entered.setdefault(device, [Stream.null]).append(self)
        state.current[device] = self
        return self

    def __exit__(self, *args: Any) -> None:
        state = _state()
        device = state.devices.pop()
        state.entered[device].pop()
        state.current[device] = state.entered[device][-1]  # what use() set is forgotten

    def use(self) -> _BaseStream:
        _state().current[self._device()] = self
        return self

    @property
    def done(self) -> bool:
        done = runtime.streamQuery(self.ptr) == 0
        deliver(self.ptr)
        return done

    def synchronize(self) -> None:
        runtime.streamSynchronize(self.ptr)
        deliver(self.ptr)

    def record(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        runtime.streamWaitEvent(self.ptr, event.ptr, 0)

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr in (runtime.streamDefault, runtime.streamLegacy):
            raise RuntimeError("cannot capture on the default (legacy) stream")
        runtime.streamBeginCapture(
            self.ptr, runtime.streamCaptureModeRelaxed if mode is None else mode
        )
        _captured[self.ptr] = []

    def end_capture(self) -> Graph:
        closures = _captured.pop(self.ptr, [])
        return Graph._from_stream(runtime.streamEndCapture(self.ptr), closures)

    def is_capturing(self) -> bool:
        return runtime.streamIsCapturing(self.ptr)


class Stream(_BaseStream):
    null: Stream

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: int | None = None,
    ) -> None:
        if ptds:
            raise NotImplementedError("per-thread default streams are not in the double")
        self.is_non_blocking = non_blocking
        self.ptr, self.device_id = 0, -1
        if not null:
            self.ptr = runtime.streamCreateWithFlags(
                runtime.streamNonBlocking if non_blocking else runtime.streamDefault
            )
            self.device_id = runtime.getDevice()

    def __del__(self) -> None:
        if getattr(self, "ptr", 0) and runtime is not None:
            deliver(self.ptr)
            runtime.streamDestroy(self.ptr)


class ExternalStream(_BaseStream):
    def __init__(self, ptr: int, device_id: int = -1) -> None:
        self.ptr, self.device_id = ptr, device_id


Stream.null = Stream(null=True)
