"""dropout against its contract: Philox, the same mask everywhere, keys; and at its border."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate.functional as F
from checks import draw, finite_differences
from striate import _core, random
from striate.random import Generator, Key

MASK32 = 0xFFFFFFFF


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> list[int]:
    """philox4x32-10 of Salmon et al. 2011, once more, in Python's integers."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (p1 >> 32) ^ b ^ k0, p1 & MASK32, (p0 >> 32) ^ d ^ k1, p0 & MASK32
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    return [a, b, c, d]


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((MASK32,) * 4, (MASK32,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_the_philox_of_this_test_gives_the_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], words: str
) -> None:
    assert [f"{word:08x}" for word in philox(counter, key)] == words.split()


def word(i: int, key: Key) -> int:
    return philox((i // 4, key.call, key.step, 0), (key.seed & MASK32, key.seed >> 32))[i % 4]


def kept(n: int, key: Key, offset: int = 0) -> list[int]:
    """The words behind n elements, read back by bisection over p: keep means word >= floor(p 2^32).

    Thresholds are exact in float64, so each pass pins one bit.
    """
    low = np.zeros(n, np.uint64)
    x = np.ones(n, np.float32)
    for bit in range(31, -1, -1):
        thresholds = low + np.uint64(1 << bit)
        for threshold in np.unique(thresholds):
            y = _core.dropout_forward(x, int(threshold) / 2**32, *key, offset)
            chosen = (thresholds == threshold) & (y != 0)
            low[chosen] = threshold
    return [int(v) for v in low]


@pytest.mark.parametrize(
    ("key", "offset"),
    [
        (Key(0, 0, 0), 0),
        (Key(0x299F31D0A4093822, 0x85A308D3, 0x13198A2E), 4 * 0x243F6A88),
        (Key(2**64 - 1, MASK32, MASK32), 2**34 - 8),
        (Key(5, 1, 2), 3),
    ],
)
def test_every_word_is_philox(implementation: str, key: Key, offset: int) -> None:
    assert kept(8, key, offset) == [word(offset + i, key) for i in range(8)]


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 0.9, 1 - 2.0**-40])
def test_keeps_and_scales(implementation: str, p: float) -> None:
    key, x = Key(7, 1, 3), draw("dropout/x", (3, 5, 17))
    keep = [word(i, key) >= int(p * 2**32) for i in range(x.size)]
    scaled = x * np.float32(1 / (1 - p))
    expected = np.where(np.reshape(keep, x.shape), scaled, np.float32(0))
    np.testing.assert_array_equal(F.dropout(x, p, key=key), expected)
    np.testing.assert_array_equal(F.dropout_backward(x, key, p), expected)


def test_drops_all_for_p_1_and_what_is_dropped_is_zero(implementation: str) -> None:
    x = np.full(333, np.nan, np.float32)
    np.testing.assert_array_equal(F.dropout(x, 1.0), np.zeros_like(x))
    y = F.dropout(x, 0.5, key=Key(1, 2, 3))
    assert 0 < np.isnan(y).sum() < x.size
    assert (y[~np.isnan(y)] == 0).all()


def test_same_mask_for_every_implementation_and_number_of_threads(implementation: str) -> None:
    x, key = draw("dropout/threads", (40_001,)), Key(11, 0, 1)
    before = _core.get_backend()
    _core.set_backend("reference")
    expected = _core.dropout_forward(x, 0.3, *key)
    _core.set_backend(before)
    threads_before = _core.get_num_threads()
    try:
        for threads in (1, 2, 3, 5, 8):
            _core.set_num_threads(threads)
            np.testing.assert_array_equal(F.dropout(x, 0.3, key=key), expected)
    finally:
        _core.set_num_threads(threads_before)
    assert 0.29 < (expected == 0).mean() < 0.31


@given(
    size=st.integers(0, 300), cut=st.integers(0, 300), step=st.sampled_from([1, 2, -1]),
    offset=st.integers(0, 200), isa=st.sampled_from(_core.supported_isas()),
)  # fmt: skip
def test_a_batch_may_be_split_anywhere(
    size: int, cut: int, step: int, offset: int, isa: str
) -> None:
    x, key = draw("dropout/split", (size,))[::step], Key(3, 4, 5)
    cut = min(cut, len(x))
    _core.set_isa(isa)
    try:
        whole = _core.dropout_forward(x, 0.5, *key, offset)
        parts = [
            _core.dropout_forward(part, 0.5, *key, offset + start)
            for part, start in ((x[:cut], 0), (x[cut:], cut))
        ]
    finally:
        _core.set_isa("auto")
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_does_nothing_outside_training() -> None:
    x, key = draw("dropout/eval", (5,)), Key(0, 0, 0)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout_backward(x, key, training=False) is x
    before = random.current().get_state()
    F.dropout(x, training=False)
    assert random.current().get_state() == before


def test_gradient_by_finite_differences(float64: None) -> None:
    key, x = Key(1, 0, 0), draw("dropout/gradient", (50,)).astype(np.float64)
    dy = draw("dropout/gradient/dy", x.shape).astype(np.float64)
    numeric = finite_differences(lambda: float((F.dropout(x, 0.4, key=key) * dy).sum()), x)
    np.testing.assert_allclose(F.dropout_backward(dy, key, 0.4), numeric, atol=1e-8)


def test_keys_follow_seed_step_and_call() -> None:
    generator = Generator(9)
    assert [generator.next_key() for _ in range(2)] == [Key(9, 0, 0), Key(9, 1, 0)]
    generator.set_step(4)
    assert generator.next_key() == Key(seed=9, call=0, step=4)
    state = generator.get_state()
    assert state == {"seed": 9, "step": 4, "call": 1}
    other = Generator()
    other.set_state(state)
    assert other.next_key() == generator.next_key()
    generator.set_state({"seed": 1, "step": 2, "call": MASK32})
    assert [generator.next_key() for _ in range(2)] == [Key(1, MASK32, 2), Key(1, 0, 3)]


def test_the_current_generator_belongs_to_its_thread() -> None:
    own = Generator(5)
    seen = []

    def other_thread() -> None:
        seen.append(random.current())

    with random.use(own) as generator:
        assert generator is own
        assert random.current() is own
        random.manual_seed(6)
        with random.use(Generator(7)) as inner:
            assert random.current() is inner
        assert random.current() is own
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
    assert own.get_state()["seed"] == 6
    assert seen == [random.default_generator]
    assert random.current() is random.default_generator


def test_seeding_repeats_the_masks() -> None:
    x = np.ones(100, np.float32)
    with random.use(Generator()):
        random.manual_seed(3)
        first = [F.dropout(x), F.dropout(x)]
        assert not np.array_equal(*first)
        random.manual_seed(3)
        np.testing.assert_array_equal([F.dropout(x), F.dropout(x)], first)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.dropout(x, 1.5), ValueError, "dropout: p must be between 0 and 1, got 1.5"),
        (lambda x: F.dropout(x, -0.1, training=False), ValueError, "dropout: p must be between"),
        (lambda x: F.dropout(x, float("nan")), ValueError, "dropout: p must be between 0 and 1"),
        (lambda x: F.dropout(x, "1"), TypeError, "dropout: p must be a number, got '1'"),
        (lambda x: F.dropout(x, inplace=True), ValueError, "inplace=True is not supported"),
        (lambda x: F.dropout(x.astype(np.float64)), TypeError, "dropout: input must be float32"),
        (lambda x: F.dropout_backward(x.astype(np.float64), Key(0, 0, 0)), TypeError,
         "dropout_backward: dy must be float32"),
        (lambda x: F.dropout_backward(x, Key(0, 0, 0), 2), ValueError, "dropout_backward: p must"),
        (lambda x: _core.dropout_forward(x, 2.0, 0, 0, 0), ValueError, "p must be between 0 and 1"),
        (lambda x: F.dropout(x, key=Key(0, 2**32, 0)), ValueError, "call must be between 0 and 2"),
        (lambda x: F.dropout(x, key=Key(0, 0, -1)), ValueError,
         r"step must be between 0 and 2\^32"),
        (lambda x: _core.dropout_forward(x, 0.5, 0, 0, 0, 2**34 - 5), ValueError,
         r"offset=17179869179 and 6 elements go beyond the 2\^34"),
        (lambda x: _core.dropout_forward(x, 0.5, 0, 0, 0, -1), ValueError, "offset=-1"),
        (lambda x: Generator(-1), ValueError, "seed must be between 0 and 18446744073709551615"),
        (lambda x: Generator(1.5), TypeError, "seed must be an integer, got 1.5"),
        (lambda x: Generator().set_step(2**32), ValueError, "step must be between 0 and 42"),
        (lambda x: Generator().set_state({"seed": 1}), ValueError, "expected the keys call, seed"),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(np.zeros((2, 3), np.float32))
