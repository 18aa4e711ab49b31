"""Tasks done ahead by threads, their results in order: bounded, and gone when the reader goes.

Threads, not processes: Pillow decodes and scales outside the GIL, nothing is copied between
processes, and a worker cannot die in silence.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
Tag = TypeVar("Tag")

PREFETCH_BYTES = 1 << 29  # of batches made ahead, unless two of them are larger


@dataclass(frozen=True)
class Job(Generic[Tag, T]):
    """Tasks whose results are wanted together; ``tag`` comes back with them."""

    tag: Tag
    tasks: list[Callable[[], T]]


def look_ahead(tasks: int, job_bytes: int, workers: int) -> int:
    """How many jobs of so many tasks and bytes to have under way: at least 2.

    Enough for two tasks a worker while one job waits for the reader, if PREFETCH_BYTES allow it.
    """
    wanted = 1 + -(-2 * workers // max(1, tasks))
    return max(2, min(wanted, PREFETCH_BYTES // max(1, job_bytes)))


def prefetch(
    jobs: Iterable[Job[Tag, T]], workers: int, ahead: int
) -> Generator[tuple[Tag, list[T]], None, None]:
    """(tag, results) of each job in order, its tasks done by ``workers`` threads.

    While the reader is busy with a job, ``ahead`` further ones are under way; with 0 workers none,
    and the reader does the tasks. What a task raises is raised at its job. Closing the iterator, or
    an exception, ends the threads before it returns, after the tasks under way.
    """
    if workers == 0:
        for job in jobs:
            yield job.tag, [task() for task in job.tasks]
        return
    process = os.getpid()
    source = iter(jobs)
    under_way: deque[tuple[Tag, list[Future[T]]]] = deque()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="striate-data")
    try:
        while True:
            while len(under_way) <= ahead and (new := next(source, None)) is not None:
                under_way.append((new.tag, [executor.submit(task) for task in new.tasks]))
            if not under_way:
                return
            tag, futures = under_way.popleft()
            if os.getpid() != process:  # its threads have stayed with the parent: do not wait
                raise RuntimeError("prefetch: a forked child cannot go on where its parent was")
            yield tag, [future.result() for future in futures]
    finally:
        if os.getpid() == process:
            executor.shutdown(cancel_futures=True)
