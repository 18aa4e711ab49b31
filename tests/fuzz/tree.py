"""Changes to what JSON can hold, by its structure."""

from __future__ import annotations

import copy
import random
from typing import Any

# What a reader may not have thought of.
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 10, 255, 256, 2**31 - 1, 2**31, 2**32, 2**53, 2**64,
    10**30, 10**400, 0.0, -0.0, 0.5, 1.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"),
    "", "a", "0", "nan", "\n", "\x00", "\ud800", "é", "model", "../..", "x" * 300, [], {}, [0],
    [None], [[[[]]]], {"": 0}, {"a": {"a": {}}},
)  # fmt: skip


def mutate_tree(value: Any, generator: random.Random) -> Any:
    """A copy of ``value`` in which one to four things are changed, left out or doubled."""
    value = copy.deepcopy(value)
    for _ in range(generator.randint(1, 4)):
        value = _change(value, generator)
    return value


def _change(value: Any, generator: random.Random) -> Any:
    everywhere = list(places(value))
    if not everywhere:
        return copy.deepcopy(generator.choice(ODD))
    parent, key = generator.choice(everywhere)
    way = generator.randrange(8)
    if way < 3:
        parent[key] = copy.deepcopy(generator.choice(ODD))
    elif way == 3:
        del parent[key]
    elif way == 4:
        other, at = generator.choice(everywhere)
        parent[key] = copy.deepcopy(other[at]) if at in _keys(other) else None
    elif way == 5 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif way == 5:
        parent[str(generator.choice(ODD))] = parent[key]
    elif isinstance(parent[key], (int, float)) and not isinstance(parent[key], bool):
        parent[key] = _near(parent[key], generator)
    return value


def _near(number: float, generator: random.Random) -> float:
    by = generator.choice((1, -1, 2, 100, -number, number, 0.5))
    return number + by if abs(number) < 10**300 else -number  # which no float may be added to


def _keys(parent: Any) -> Any:
    return parent if isinstance(parent, dict) else range(len(parent))


def places(value: Any) -> Any:
    """Every (container, key) in ``value``."""
    todo = [value]
    while todo:
        parent = todo.pop()
        if not isinstance(parent, (dict, list)):
            continue
        for key in list(_keys(parent)):
            yield parent, key
            todo.append(parent[key])
