"""Ctrl-C while a command imports."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN = 0.01  # seconds


def _imports(frame: FrameType | None, outermost: FrameType) -> bool:
    while frame is not None and frame is not outermost:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@contextmanager
def not_inside_imports(outermost: FrameType) -> Iterator[None]:
    """Ctrl-C inside an import comes again every ``AGAIN`` seconds until the import is over.

    Raised there, Python would drop it (in the callback of a module's lock), or a C extension make
    an ImportError of it. Imports below the frame ``outermost`` do not count. Only the main thread
    gets signals; in another one nothing changes.
    """
    usual = signal.default_int_handler
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    waits = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal waits
        waits = _imports(frame, outermost)
        if waits:
            signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
        else:
            usual(number, frame)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if waits:  # the command ended sooner
            signal.setitimer(signal.ITIMER_REAL, 0)
