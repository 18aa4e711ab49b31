"""Identity, Add and Concat: what a graph with branches needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from striate._device import is_cuda, namespace
from striate.functional._arguments import Array, expect_together, float32_array, integer
from striate.nn.layer import Gradients, Layer
from striate.plan.op import IDENTITY, Op


class Identity(Layer):
    """y = x. Arguments are accepted and unused, as in torch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def apply(self, x: Any, training: bool = False, save: bool = True) -> tuple[Any, Any]:
        return x, None

    def grad(self, dy: Any, saved: Any, need: bool = True) -> tuple[Any, Gradients]:
        return dy if need else None, []

    def op(self, training: bool) -> tuple[Op, ...]:
        return IDENTITY


class Add(Layer):
    """The sum of a tuple of arrays of equal shape; nothing is broadcast. (Not in torch.)

    For a node of ``Graph`` with several inputs. Raises ValueError for shapes that differ.
    """

    def apply(
        self, x: tuple[Array, ...], training: bool = False, save: bool = True
    ) -> tuple[Array, Any]:
        arrays = _several("Add", x)
        shapes = [array.shape for array in arrays]
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(f"Add: inputs must have equal shapes, got {_listed(shapes)}")
        y = arrays[0] + arrays[1] if len(arrays) > 1 else arrays[0]
        for array in arrays[2:]:
            y += array
        return y, len(arrays) if save else None

    def grad(
        self, dy: Array, saved: int, need: bool = True
    ) -> tuple[tuple[Array, ...] | None, Gradients]:
        return (dy,) * saved if need else None, []

    def op(self, training: bool) -> Op:
        return Op("add", {"relu": False})


class Concat(Layer):
    """Joins a tuple of arrays along ``dim``, by default the channels. (torch.cat, as a layer.)

    For a node of ``Graph`` with several inputs. Raises ValueError for shapes that differ in another
    axis than ``dim``.
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = integer(dim, "Concat", "dim", least=-(2**31))

    def apply(
        self, x: tuple[Array, ...], training: bool = False, save: bool = True
    ) -> tuple[Array, Any]:
        arrays = _several("Concat", x)
        shapes = [array.shape for array in arrays]
        rank = len(shapes[0])
        if not -rank <= self.dim < rank:
            raise ValueError(f"Concat: dim={self.dim} is none of an input of shape {shapes[0]}")
        dim = self.dim % rank
        rest = {(len(shape), shape[:dim], shape[dim + 1 :]) for shape in shapes}
        if len(rest) > 1:
            raise ValueError(
                f"Concat: inputs must have equal shapes but for axis {self.dim}, got "
                f"{_listed(shapes)}"
            )
        y = _joined(arrays, dim)
        return y, (dim, [shape[dim] for shape in shapes]) if save else None

    def grad(
        self, dy: Array, saved: Any, need: bool = True
    ) -> tuple[tuple[Array, ...] | None, Gradients]:
        if not need:
            return None, []
        dim, sizes = saved
        xp = namespace(dy)
        parts = xp.split(dy, np.cumsum(sizes)[:-1].tolist(), axis=dim)
        return tuple(xp.ascontiguousarray(part) for part in parts), []

    def op(self, training: bool) -> Op:
        return Op("concat", {"dim": self.dim})

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def _joined(arrays: list[Array], dim: int) -> Array:
    if not is_cuda(arrays[0]):
        return np.concatenate(arrays, axis=dim)
    # CuPy's concatenate sends addresses up, which cannot be recorded in a CUDA graph.
    shape = list(arrays[0].shape)
    shape[dim] = sum(array.shape[dim] for array in arrays)
    y: Array = namespace(arrays[0]).empty(shape, np.float32)
    start = 0
    for array in arrays:
        end = start + array.shape[dim]
        y[(slice(None),) * dim + (slice(start, end),)] = array
        start = end
    return y


def _several(op: str, x: Any) -> list[Array]:
    if not isinstance(x, (tuple, list)) or not x:
        raise TypeError(f"{op}: input must be a tuple of arrays, got {type(x).__name__}")
    arrays = [float32_array(array, op, f"input {i}") for i, array in enumerate(x)]
    expect_together(op, arrays, [f"input {i}" for i in range(len(arrays))])
    return arrays


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join(str(shape) for shape in shapes)
