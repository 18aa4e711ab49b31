"""Ctrl-C while a command imports."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN = 0.01  # seconds


def _importing(frame: FrameType | None, outermost: FrameType) -> bool:
    """Whether ``frame`` runs inside an import statement: importlib is among its callers."""
    while frame is not None and frame is not outermost:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@contextmanager
def after_imports(outermost: FrameType) -> Iterator[None]:
    """Ctrl-C inside an import interrupts when the import is over; a second one does at once.

    Raised inside, Python would drop it (in the callback of a module's lock), or a C extension make
    an ImportError of it. Imports that called ``outermost`` do not count. Where SIGINT or SIGALRM
    is handled already, or ignored, nothing changes; nor in another thread than the main one, which
    alone gets signals.
    """
    in_main = threading.current_thread() is threading.main_thread()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)]
    if not in_main or handlers != [signal.default_int_handler, signal.SIG_DFL]:
        yield
        return
    waits = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal waits
        if waits or not _importing(frame, outermost):
            waits = False
            signal.default_int_handler(number, frame)
        waits = True
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)

    def look_again(number: int, frame: FrameType | None) -> None:
        nonlocal waits
        if waits and not _importing(frame, outermost):
            waits = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.raise_signal(signal.SIGINT)  # the trainer may have a handler of its own by now

    signal.signal(signal.SIGALRM, look_again)
    signal.siginterrupt(signal.SIGALRM, False)
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        interrupted, waits = waits, False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if interrupted:  # and all was over before it was looked at again
            raise KeyboardInterrupt from None
