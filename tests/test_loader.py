"""prefetch: in order, bounded, and no thread outlives it, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pictures import make_folder
from striate.data import DataError, ImageFolder, ImageTransform
from striate.data.dataset import Draw, ShuffledBatches, Subset, batches
from striate.data.loader import PREFETCH_BYTES, Job, look_ahead, prefetch

WORKERS = [0, 1, 2, 5]


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert not set(threading.enumerate()) - before


def jobs(count: int, task: Callable[[int, int], int], tasks: int = 3) -> Iterator[Job[int, int]]:
    for i in range(count):
        yield Job(i, [lambda i=i, k=k: task(i, k) for k in range(tasks)])


@pytest.mark.parametrize("workers", WORKERS)
def test_results_come_in_order(workers: int) -> None:
    def slow_at_first(job: int, task: int) -> int:
        time.sleep(0.02 if (job, task) in ((0, 0), (3, 2)) else 0)
        return 10 * job + task

    results = list(prefetch(jobs(7, slow_at_first), workers, 3))
    assert results == [(i, [10 * i, 10 * i + 1, 10 * i + 2]) for i in range(7)]
    assert list(prefetch(jobs(0, slow_at_first), workers, 3)) == []


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_never_more_under_way_than_said(workers: int) -> None:
    taken = 0

    def source() -> Iterator[Job[int, int]]:
        nonlocal taken
        for job in jobs(20, lambda i, k: i):
            taken += 1
            yield job

    with closing(prefetch(source(), workers, 3)) as stream:
        assert taken == 0
        for i, _ in enumerate(stream):
            time.sleep(0.001)
            assert taken <= i + 4
    assert taken == 20


def test_it_works_ahead_of_the_reader() -> None:
    done: list[int] = []
    with closing(prefetch(jobs(9, lambda i, k: done.append(i) or i, 1), 2, 4)) as stream:
        next(stream)
        for _ in range(500):
            if len(done) == 5:
                break
            time.sleep(0.01)
        assert sorted(done) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("workers", WORKERS)
def test_an_exception_arrives_at_its_job(workers: int) -> None:
    def task(job: int, task: int) -> int:
        if (job, task) == (2, 1):
            raise DataError("of job 2")
        return job

    stream = prefetch(jobs(9, task), workers, 4)
    assert [next(stream)[0], next(stream)[0]] == [0, 1]
    with pytest.raises(DataError, match="of job 2"):
        next(stream)
    assert list(stream) == []


@pytest.mark.parametrize("end", ["close", "throw", "forget"])
def test_leaving_early_ends_the_threads_after_the_tasks_under_way(end: str) -> None:
    begun: list[int] = []

    def task(job: int, task: int) -> int:
        begun.append(job)
        time.sleep(0.01)
        return job

    stream = prefetch(jobs(1000, task), 2, 50)
    next(stream)
    if end == "throw":
        with pytest.raises(KeyboardInterrupt):
            stream.throw(KeyboardInterrupt)
    elif end == "close":
        stream.close()
    else:
        del stream
    assert not [t for t in threading.enumerate() if t.name.startswith("striate-data")]
    assert len(begun) < 30


def test_look_ahead() -> None:
    assert look_ahead(tasks=16, job_bytes=1 << 26, workers=2) == 2
    assert look_ahead(tasks=1, job_bytes=1000, workers=8) == 17
    assert look_ahead(tasks=1, job_bytes=1 << 26, workers=8) == PREFETCH_BYTES >> 26
    assert look_ahead(tasks=1, job_bytes=1 << 40, workers=8) == 2
    assert look_ahead(tasks=0, job_bytes=0, workers=0) == 2


# --- batches of pictures -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_folder(tmp_path_factory.mktemp("pictures"))
    (root / "train" / "blue" / "03.png").write_text("no picture")
    (root / "train" / "red" / "07.JPEG").write_bytes(b"")
    return root


def digest(root: Path, workers: int, draw: Draw | None) -> list[tuple[bytes, bytes, list[str]]]:
    """All of an epoch's batches in a form that is equal only if they are, to the bit."""
    folder = ImageFolder(root / "train", ImageTransform("crop", 20, 16), num_workers=workers)
    subset = Subset(folder, np.arange(len(folder))[::-1][:-5].copy())
    todo = ShuffledBatches(len(subset), 13, 3).epoch(2)
    return [
        (inputs.tobytes(), labels.tobytes(), list(skipped))
        for inputs, labels, skipped in batches(subset, todo, draw)
    ]


@pytest.mark.parametrize("draw", [None, Draw(3, 2)])
def test_the_same_batches_for_any_number_of_workers(root: Path, draw: Draw | None) -> None:
    expected = digest(root, 0, draw)
    assert sum(len(skipped) for _, _, skipped in expected) == 1  # the other is not in the subset
    for workers in WORKERS:
        assert digest(root, workers, draw) == expected
    assert digest(root, 2, Draw(3, 3)) != expected


def test_a_picture_does_not_depend_on_its_batch(root: Path) -> None:
    folder = ImageFolder(root / "train", ImageTransform("random-resized-crop", 20, 16))
    for draw in (None, Draw(0, 1)):
        ((alone, _, _),) = batches(folder, [np.array([20])], draw)
        ((amid, labels, _),) = batches(folder, [np.arange(15, 28)], draw)
        np.testing.assert_array_equal(amid[5], alone[0])
        assert labels.tolist() == folder.labels[15:28].tolist()
    # A subset's samples are augmented as those of the whole, and evaluated as they are.
    subset = Subset(folder, np.array([30, 20]))
    for draw in (None, Draw(0, 1)):
        ((part, labels, _),) = batches(subset, [np.array([1])], draw)
        ((alone, _, _),) = batches(folder, [np.array([20])], draw)
        np.testing.assert_array_equal(part, alone)
        assert labels.tolist() == [folder.labels[20]]
    inputs, labels = folder[np.array([20])]
    np.testing.assert_array_equal(inputs, next(batches(folder, [np.array([20])])).inputs)


def test_what_cannot_be_read_is_left_out_with_a_sentence(root: Path) -> None:
    folder = ImageFolder(root / "train", ImageTransform("none", 20, 16))
    inputs, labels, skipped = next(batches(folder, [np.arange(36)]))
    assert inputs.shape == (34, 3, 16, 16)
    assert labels.tolist() == [0] * 11 + [1] * 12 + [2] * 11
    assert [text.split(": ")[0] for text in skipped] == [
        str(root / "train" / "blue" / "03.png"),
        str(root / "train" / "red" / "07.JPEG"),
    ]
    assert next(batches(folder, [np.array([3])])).inputs.shape == (0, 3, 16, 16)


@pytest.mark.parametrize("workers", WORKERS)
def test_strict_refuses_it_at_its_batch(root: Path, workers: int) -> None:
    folder = ImageFolder(
        root / "train", ImageTransform("none", 20, 16), strict=True, num_workers=workers
    )
    stream = batches(folder, [np.arange(3), np.arange(3, 6), np.arange(6, 9)])
    assert len(next(stream).labels) == 3
    with pytest.raises(DataError, match=r"03\.png: not a picture"):
        next(stream)


def read_in_a_child(root: Path) -> None:
    digest(root, 2, None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_its_own_threads(root: Path) -> None:
    """Forked while the parent's threads are at work, perhaps inside Pillow."""
    folder = ImageFolder(root / "train", ImageTransform("none", 20, 16), num_workers=2)
    stream = batches(folder, [np.arange(9)] * 50)
    next(stream)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=read_in_a_child, args=(root,))
    stale = context.Process(target=next, args=(stream,))  # its threads are in the parent
    for process, code in ((child, 0), (stale, 1)):
        process.start()
        process.join(30)
        assert process.exitcode == code
    assert len(list(stream)) == 49
