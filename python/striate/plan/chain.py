"""The plan that a Graph runs itself by, while it is a chain of known layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from striate import _core, random
from striate._device import is_cuda
from striate.functional._arguments import Array
from striate.nn.layer import Gradients, Layer

if TYPE_CHECKING:
    from striate.nn.graph import Graph, Node


class Saved(NamedTuple):
    """What apply hands to grad."""

    chain: Chain
    forward: Any


class Chain:
    """A model whose layers follow one another, for inputs of one shape (without the batch)."""

    def __init__(self, model: Layer, input_shape: tuple[int, ...], training: bool) -> None:
        from striate.plan.steps import fuse, steps_of  # which knows Graph, which knows this file

        steps = fuse(steps_of(model, training))
        if any(step.inputs != (i,) for i, step in enumerate(steps)):
            raise ValueError("not a chain")
        self._parameters = [p for step in steps for p in step.parameters]
        self._drops = sum(step.op == "dropout" for step in steps)
        self._plan = _core.TrainingPlan(input_shape, [(s.op, s.options) for s in steps])

    def apply(self, x: Array, save: bool) -> tuple[Array, Saved | None]:
        keys = [random.next_key() for _ in range(self._drops)]
        y, saved = self._plan.forward(x, [p.data for p in self._parameters], keys, save)
        return y, Saved(self, saved) if save else None

    def grad(self, dy: Array, saved: Any, need: bool) -> tuple[Array | None, Gradients]:
        parameters = self._parameters
        dx, gradients = self._plan.backward(
            dy, saved, [p.data for p in parameters], [p.requires_grad for p in parameters], need
        )
        return dx, [pair for pair in zip(parameters, gradients) if pair[1] is not None]


_MOST = 8  # shapes of input that a model keeps plans for: pictures come in every size


class Chains:
    """The chains of one model, made when first needed and dropped when any layer changes."""

    def __init__(self) -> None:
        # One object, so that threads see a version and its plans together.
        self._made: tuple[int, dict[Any, Chain | None]] = (-1, {})
        self._fused: tuple[int, tuple[Node, ...]] = (-1, ())

    def nodes(self, graph: Graph, x: Any) -> tuple[Node, ...]:
        """The nodes that a graph runs one by one: on a GPU some are fused."""
        if not is_cuda(x):
            return graph.nodes
        version, nodes = self._fused
        if version != Layer._version:
            from striate.plan.fused import fused  # which knows Layer's layers

            version, nodes = self._fused = Layer._version, fused(graph)
        return nodes

    def of(self, model: Layer, x: Any, training: bool) -> Chain | None:
        """The plan for ``x``; None where there is none, and the layers then run one by one: for
        branches, layers of the user's own, the reference backend, and any input that does not fit.
        """
        if type(x) is not np.ndarray or x.dtype != np.float32 or x.ndim < 2:
            return None
        if _core.get_backend() == "reference":
            return None
        version, chains = self._made
        if version != Layer._version or len(chains) >= _MOST:
            version, chains = self._made = Layer._version, {}
        key = x.shape[1:], training
        try:
            return chains[key]
        except KeyError:
            chain = chains[key] = _chain(model, x.shape[1:], training)
            return chain


def _chain(model: Layer, shape: tuple[int, ...], training: bool) -> Chain | None:
    try:
        return Chain(model, shape, training)
    except (RuntimeError, TypeError, ValueError):  # the layers themselves say what is wrong
        return None
