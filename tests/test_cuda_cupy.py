"""The stand-in for CuPy refuses what CuPy refuses, and captures as CUDA does."""

from __future__ import annotations

import copy
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import cuda_host_build

CAPTURING = "the current stream is capturing, so {} transfers are disallowed"


@pytest.fixture(scope="module")
def cp() -> Any:
    return cuda_host_build.import_cupy()


@pytest.fixture
def x(cp: Any) -> Any:
    return cp.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))


@pytest.fixture
def stream(cp: Any) -> Iterator[Any]:
    """A current stream with a pool of its own, whose blocks nobody used before."""
    with (
        cp.cuda.using_allocator(cp.cuda.MemoryPool().malloc),
        cp.cuda.Stream(non_blocking=True) as s,
    ):
        yield s


def warm(cp: Any, *arrays: tuple[Any, ...]) -> None:
    """Leaves free blocks for arrays of these shapes and types in the pool."""
    made = [cp.empty(*array) for array in arrays]
    del made


def test_answers_are_numpys(cp: Any, x: Any) -> None:
    host = x.get()
    for function in (
        lambda a, xp: a * 2 - a / 3,
        lambda a, xp: 1 - a,
        lambda a, xp: xp.float32(2) * a,
        lambda a, xp: a.sum(axis=1, keepdims=True),
        lambda a, xp: a.mean(dtype=np.float64),
        lambda a, xp: a.T @ a,
        lambda a, xp: a[:, ::-2],
        lambda a, xp: a[xp.asarray([1, 0, 1])],
        lambda a, xp: a[xp.asarray([0, 1]), xp.asarray([1, 2])],
        lambda a, xp: a[a > 2],
        lambda a, xp: xp.where(a > 2, a, 0.5),
        lambda a, xp: xp.pad(a, ((1, 0), (0, 2))),
        lambda a, xp: xp.concatenate([a, a + 1], axis=1),
        lambda a, xp: xp.stack(xp.split(a, 3, axis=1)),
        lambda a, xp: xp.take_along_axis(a, a.argmax(axis=1, keepdims=True), 1),
        lambda a, xp: xp.linalg.norm(a),
        lambda a, xp: xp.isfinite(xp.log(a)).all(axis=0),
        lambda a, xp: a.astype(np.float16).ravel(),
    ):
        with np.errstate(divide="ignore"):
            ours, theirs = function(x, cp), np.asarray(function(host, np))
        assert isinstance(ours, cp.ndarray)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours.get(), theirs)


def test_a_reduction_stays_on_the_device(cp: Any, x: Any) -> None:
    total = x.sum()
    assert isinstance(total, cp.ndarray)
    assert total.shape == ()
    assert float(total) == total.item() == 15
    assert bool((x == x).all())
    order = cp.argsort(cp.arange(100) % 2)  # stable
    assert order.tolist() == [*range(0, 100, 2), *range(1, 100, 2)]


@pytest.mark.parametrize(
    ("refused", "error", "text"),
    [
        (lambda x: np.asarray(x), TypeError, "Implicit conversion to a NumPy array is not allowed"),
        (lambda x: memoryview(x), TypeError, "bytes-like"),
        (lambda x: x + np.ones(3), TypeError, "Unsupported type <class 'numpy.ndarray'>"),
        (lambda x: np.ones(3) + x, TypeError, "Unsupported type <class 'numpy.ndarray'>"),
        (lambda x: x.__imul__(np.ones(3)), TypeError, "Unsupported type"),
        (lambda x: x > np.ones((2, 3)), TypeError, "Unsupported type"),
        (lambda x: x.__setitem__(..., np.ones((2, 3))), ValueError, "cannot be used for fill"),
        (lambda x: x.__setitem__(0, [1, 2, 3]), TypeError, "Unsupported type <class 'list'>"),
        (lambda x: x.set(np.ones((2, 3))), TypeError, "float64 array cannot be set to float32"),
        (lambda x: x.set(np.ones(3, np.float32)), ValueError, "Shape mismatch"),
        (lambda x: x[:, ::2].set(np.ones((2, 2), np.float32)), RuntimeError, "non-contiguous"),
        (lambda x: x.get(out=np.ones(3, np.float32)), ValueError, "Shape mismatch"),
        (lambda x: x.reshape(4), ValueError, "reshape"),
        (lambda x: x.__iadd__(1j), TypeError, "Cannot cast"),
        (lambda x: bool(x), ValueError, "ambiguous"),
        (lambda x: x.item(), ValueError, "size 1"),
        (lambda x: len(x.sum()), TypeError, "unsized"),
        (lambda x: hash(x), TypeError, "unhashable"),
        (lambda x: setattr(x, "name", 1), AttributeError, "name"),
        (lambda x: setattr(x, "data", None), AttributeError, "data"),
    ],
)
def test_what_cupy_refuses(
    x: Any, refused: Callable[[Any], Any], error: type[Exception], text: str
) -> None:
    before = x.get()
    with pytest.raises(error, match=text):
        refused(x)
    np.testing.assert_array_equal(x.get(), before)


def test_functions_refuse_arrays_of_the_host(cp: Any) -> None:
    host = np.ones(3, np.float32)
    for function in (cp.sqrt, cp.sum, cp.argmax, cp.linalg.norm, cp.ascontiguousarray):
        with pytest.raises(TypeError):
            function(host)
    with pytest.raises(TypeError):
        cp.concatenate([host, host])
    with pytest.raises(ValueError, match="cannot be used for copyto"):
        cp.copyto(cp.zeros(3), host)


def test_views_share_memory(cp: Any, x: Any) -> None:
    row = x[1]
    assert row.base is x
    assert row.data.mem is x.data.mem
    assert row.data.ptr == x.data.ptr + x.strides[0]
    row[...] = 7
    x.T[0, 0] = np.array(8)
    assert x.tolist() == [[8, 1, 2], [7, 7, 7]]
    assert (x.T.flags["F_CONTIGUOUS"], x.T.flags.c_contiguous) == (True, False)
    assert weakref.ref(x)() is x
    assert (cp.may_share_memory(x, row), cp.may_share_memory(x, x.copy())) == (True, False)


def test_exchange(cp: Any, x: Any) -> None:
    for strided in (x, x.T, x[:, 1:]):
        shared = cp.from_dlpack(strided)
        assert (shared.data.ptr, shared.strides) == (strided.data.ptr, strided.strides)
        interface = strided.__cuda_array_interface__
        assert (interface["version"], interface["stream"]) == (3, cp.cuda.runtime.streamLegacy)

        class Other:
            __cuda_array_interface__ = interface

        np.testing.assert_array_equal(cp.asarray(Other()).get(), strided.get())
    assert x.__dlpack_device__() == (2, 0)
    with pytest.raises((BufferError, RuntimeError), match="[Uu]nsupported device"):
        np.from_dlpack(x)
    with cp.cuda.Stream() as stream:
        assert x.__cuda_array_interface__["stream"] == stream.ptr
    for copied in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert copied.data.ptr != x.data.ptr
        np.testing.assert_array_equal(copied.get(), x.get())


def test_the_pool(cp: Any, stream: Any) -> None:
    pool = cp.cuda.MemoryPool()
    with cp.cuda.using_allocator(pool.malloc):
        a = cp.empty(100, np.float32)
        assert np.isnan(a.get()).all()
        assert (pool.used_bytes(), pool.total_bytes()) == (512, 512)
        ptr = a.data.ptr
        del a
        assert (pool.used_bytes(), pool.free_bytes()) == (0, 512)
        with cp.cuda.Stream():
            assert cp.empty(100, np.float32).data.ptr != ptr
        b = cp.empty(100, np.float32)
        assert b.data.ptr == ptr
        pool.set_limit(size=1024)
        with pytest.raises(cp.cuda.memory.OutOfMemoryError, match="allocating 4,096 bytes"):
            cp.empty(1000, np.float32)
        del b
        pool.free_all_blocks()
        assert pool.total_bytes() == 0
    with pytest.raises(MemoryError, match=r"^Out of memory allocating .* bytes \(allocated so far"):
        cp.cuda.MemoryPool().malloc(1 << 50)


def test_a_stream_is_current_in_its_thread(cp: Any, stream: Any) -> None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(cp.cuda.get_current_stream()))
    thread.start()
    thread.join()
    assert seen == [cp.cuda.Stream.null]
    assert cp.cuda.get_current_stream() is stream
    other = cp.cuda.Stream().use()
    assert cp.cuda.get_current_stream() is other
    with cp.cuda.Stream():
        pass
    assert cp.cuda.get_current_stream() is stream  # CuPy forgets what use() set, too


def test_a_copy_that_does_not_wait(cp: Any, x: Any, stream: Any) -> None:
    import cupyx

    host = cupyx.zeros_pinned(x.shape, np.float32)
    x.get(out=host, blocking=False)
    event = stream.record()
    assert np.isnan(host).all()
    x += 1
    event.synchronize()
    np.testing.assert_array_equal(host, x.get() - 1)


def test_capture_and_replay(cp: Any, x: Any, stream: Any) -> None:
    total = cp.zeros(2, np.float32)
    warm(cp, ((2, 3), np.float32), (2, np.float32))
    stream.begin_capture()
    assert stream.is_capturing()
    twice = x * 2
    total += twice.sum(axis=1)
    graph = stream.end_capture()
    assert np.isnan(twice.get()).all()
    assert total.tolist() == [0, 0]
    graph.launch()
    assert total.tolist() == [6, 24]
    x[...] = 1
    graph.launch(stream)
    assert total.tolist() == [12, 30]
    assert twice.tolist() == [[2] * 3] * 2


def test_a_replay_keeps_the_order_of_cupy_and_cuda(cp: Any, x: Any, stream: Any) -> None:
    stream.begin_capture()
    x += 1
    x.data.memset_async(0, x.nbytes)  # recorded by the emulation, as a kernel is
    x += 2
    graph = stream.end_capture()
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    graph.launch()
    assert x.tolist() == [[2] * 3] * 2


def test_what_a_capture_refuses(cp: Any, x: Any, stream: Any) -> None:
    host = np.ones((2, 3), np.float32)
    stream.begin_capture()
    for transfer in (x.get, lambda: float(x[0, 0]), lambda: repr(x), lambda: x[x > 1]):
        with pytest.raises(RuntimeError, match=CAPTURING.format("D2H")):
            transfer()
    for transfer in (lambda: x.set(host), lambda: cp.asarray(host), lambda: x[[0, 1]]):
        with pytest.raises(RuntimeError, match=CAPTURING.format("H2D")):
            transfer()
    with pytest.raises(ValueError, match="broadcast"):
        x += cp.ndarray((2,), np.float32, x.data)
    stream.end_capture()  # none of these reached CUDA


def test_an_allocation_in_a_capture(cp: Any, stream: Any) -> None:
    stream.begin_capture()  # relaxed, as CuPy does: the pool may grow
    made = cp.ones(99)
    stream.end_capture().launch()
    assert (made.get() == 1).all()
    warm(cp, (99,))
    stream.begin_capture(cp.cuda.runtime.streamCaptureModeGlobal)
    cp.empty(99)  # a free block of the pool
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
        cp.empty(98)
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="CaptureInvalidated"):
        stream.end_capture()


def test_a_wait_ends_a_capture(cp: Any, x: Any, stream: Any) -> None:
    stream.begin_capture()
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
        stream.synchronize()
    with pytest.raises(RuntimeError, match="invalidated"):
        x += 1
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="CaptureInvalidated"):
        stream.end_capture()
    x += 1


def test_the_default_stream_is_not_captured(cp: Any) -> None:
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cp.cuda.Stream.null.begin_capture()


def test_devices(cp: Any, x: Any) -> None:
    cp.cuda.runtime._set_device_count(2)
    try:
        stream = cp.cuda.Stream()
        with cp.cuda.Device(1):
            with pytest.raises(ValueError, match=r"resides \(0\) .* current device \(1\)"):
                x + 1
            with pytest.raises(RuntimeError, match="does not match with the current device"):
                stream.use()
            moved = cp.asarray(x)
            assert moved.device == cp.cuda.Device(1)
            assert copy.deepcopy(x).device.id == 0
        np.testing.assert_array_equal(moved.get(), x.get())
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="cudaErrorInvalidDevice"):
            cp.cuda.Device(2).use()
    finally:
        cp.cuda.runtime._set_device_count(1)
    assert cp.cuda.Device().compute_capability == "90"
