"""Some hundred random geometries; scripts/check_geometries.py checks a million."""

from __future__ import annotations

import math

import numpy as np
import pytest

import geometries
from geometries import Result

SEED, COUNT = 6, 60


@pytest.mark.parametrize("op", geometries.OPS)
def test_every_instruction_set_equals_the_reference(op: str) -> None:
    for index in range(COUNT):
        geometries.check(op, SEED, index)


@pytest.mark.parametrize("wrong", [0.1, np.nan, np.inf])
def test_one_wrong_element_is_seen(wrong: float) -> None:
    for result in geometries.draw("conv2d", SEED, 1).run():
        broken = result.array.copy()
        broken.flat[-1] += wrong
        assert geometries.distance(Result("", broken, 0), result) > 1
        assert geometries.distance(result, result) == 0


def test_infinities_and_shapes_are_compared() -> None:
    wanted = Result("y", np.array([np.inf, np.nan, 1], np.float32), 1e-3)
    assert geometries.distance(wanted, wanted) == 0
    for array in (np.array([-np.inf, np.nan, 1]), np.array([np.inf, 1, 1]), np.zeros(2)):
        got = Result("y", array.astype(np.float32), None)
        assert geometries.distance(got, wanted) == math.inf


def test_a_geometry_is_named_by_two_numbers() -> None:
    texts = [geometries.draw("max_pool2d", 3, index).text for index in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]
