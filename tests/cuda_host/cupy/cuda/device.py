"""The current device, which the emulation keeps for each thread."""

from __future__ import annotations

import threading
from typing import Any

from . import runtime
from .stream import deliver

_local = threading.local()


def get_device_id() -> int:
    return runtime.getDevice()


class Device:
    def __init__(self, device: int | Device | None = None) -> None:
        self.id = runtime.getDevice() if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash((Device, self.id))

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        before = runtime.getDevice()
        runtime.setDevice(self.id)
        _local.__dict__.setdefault("entered", []).append(before)
        return self

    def __exit__(self, *args: Any) -> None:
        runtime.setDevice(_local.entered.pop())

    def use(self) -> None:
        runtime.setDevice(self.id)

    def synchronize(self) -> None:
        with self:
            runtime.deviceSynchronize()
            deliver()

    @property
    def compute_capability(self) -> str:
        return "".join(
            str(runtime.deviceGetAttribute(part, self.id))
            for part in (
                runtime._cudaDevAttrComputeCapabilityMajor,
                runtime._cudaDevAttrComputeCapabilityMinor,
            )
        )

    @property
    def mem_info(self) -> tuple[int, int]:
        with self:
            return runtime.memGetInfo()
