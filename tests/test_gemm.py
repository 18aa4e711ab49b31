"""gemm where it is cut: slices of the sum, steps of C, few rows; more stand in test_linear.py."""

from __future__ import annotations

import numpy as np
import pytest

from backends import here, running, threads
from checks import assert_close, draw
from striate import _core

# M, N, K: just beyond what one slice (512), one step (2048) and the few rows (128) hold.
SHAPES = {
    "slices": (150, 90, 1100),
    "few_rows_slices": (40, 70, 1100),
    "steps_across": (140, 2100, 20),
    "steps_down": (2100, 33, 30),
    "steps_both_ways": (2060, 2070, 3),
    "one_panel": (129, 31, 513),
}


@pytest.mark.parametrize("trans", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("name", SHAPES)
def test_blocks_meet(name: str, trans: tuple[bool, bool]) -> None:
    m, n, k = SHAPES[name]
    a = draw("gemm/a", (k, m) if trans[0] else (m, k))
    b = draw("gemm/b", (n, k) if trans[1] else (k, n))
    c = draw("gemm/c", (m, n))
    left, right = (a.T if trans[0] else a), (b.T if trans[1] else b)
    expected = (c - 0.5 * (left.astype(np.float64) @ right.astype(np.float64))).astype(np.float32)
    for name in here():
        with running(name) as ops:
            assert_close(ops.gemm(a, b, *trans, -0.5, 1.0, c), expected, depth=k)


@pytest.mark.parametrize("name", SHAPES)
def test_same_bits_for_any_number_of_threads(name: str) -> None:
    m, n, k = SHAPES[name]
    a, b = draw("gemm/a", (m, k)), draw("gemm/b", (k, n))
    results = []
    for count in (1, 2, 5):
        with threads(count):
            results.append(_core.gemm(a, b))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
