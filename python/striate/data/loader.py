"""Tasks done ahead by threads, their results in order: bounded, and gone when the reader goes.

Threads, not processes: Pillow decodes and scales outside the GIL, nothing is copied between
processes, and a worker cannot die in silence.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
Tag = TypeVar("Tag")

PREFETCH_BYTES = 1 << 29  # of batches made ahead, at most, where there are more than two of them


class Job(NamedTuple, Generic[Tag, T]):
    """Tasks whose results are wanted together; ``tag`` comes back with them."""

    tag: Tag
    tasks: list[Callable[[], T]]


def look_ahead(job_bytes: int, workers: int) -> int:
    """How many jobs of so many bytes to have under way: at least 2, at most 2 a worker."""
    return max(2, min(2 * workers, PREFETCH_BYTES // max(1, job_bytes)))


def prefetch(
    jobs: Iterable[Job[Tag, T]], workers: int, ahead: int
) -> Iterator[tuple[Tag, list[T]]]:
    """(tag, results) of each job in order, its tasks done by ``workers`` threads.

    At most ``ahead`` jobs are taken from ``jobs`` before the reader has asked for the first of
    them; with 0 workers one, and its tasks are done by the reader. What a task raises is raised
    at its job. Closing the iterator, or an exception, ends the threads before it returns, after
    the tasks under way.
    """
    if workers == 0:
        for tag, tasks in jobs:
            yield tag, [task() for task in tasks]
        return
    process = os.getpid()
    source = iter(jobs)
    under_way: deque[tuple[Tag, list[Future[T]]]] = deque()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="striate-data")
    try:
        while True:
            while len(under_way) < ahead and (job := next(source, None)) is not None:
                under_way.append((job.tag, [executor.submit(task) for task in job.tasks]))
            if not under_way:
                return
            tag, futures = under_way.popleft()
            if os.getpid() != process:  # its threads have stayed with the parent: do not wait
                raise RuntimeError("prefetch: a forked child cannot go on where its parent was")
            yield tag, [future.result() for future in futures]
    finally:
        if os.getpid() == process:
            executor.shutdown(cancel_futures=True)
