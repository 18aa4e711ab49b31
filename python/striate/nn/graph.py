"""Graph: the one container underneath. Sequential is a graph whose list is a chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from striate.nn.layer import Gradients, Layer
from striate.plan.chain import Chains, Saved


class Node(NamedTuple):
    """``layer`` reads the values ``inputs`` and writes the value ``output``."""

    name: str
    layer: Layer
    inputs: tuple[int, ...]
    output: int


class Graph(Layer):
    """A net as a list of nodes in topological order.

    Value 0 is the graph's input, and the last node's output is its result. With ``inputs`` above 1
    the values 0 .. inputs - 1 are the arrays of a tuple (and backward returns a tuple). A node with
    one input hands its layer an array, one with several a tuple of arrays (and gets a tuple of
    gradients back). A value that several nodes read gets the sum of their gradients, added in the
    order of the nodes. A layer may stand in several nodes: its gradients add up.
    """

    def __init__(self, nodes: Iterable[Node], inputs: int = 1) -> None:
        super().__init__()
        self.inputs = inputs
        self.nodes = tuple(nodes)
        self._chains = Chains()
        self._check()

    def _check(self) -> None:
        written = set(range(self.inputs))
        names = set()
        for node in self.nodes:
            if not isinstance(node.layer, Layer):
                raise TypeError(
                    f"{type(self).__name__}: {node.name!r} must be a Layer, got "
                    f"{type(node.layer).__name__}"
                )
            missing = [v for v in node.inputs if v not in written]
            if missing or node.output in written:
                raise ValueError(
                    f"{type(self).__name__}: node {node.name!r} reads values {node.inputs} and "
                    f"writes {node.output}, but before it only {sorted(written)} are written"
                )
            if node.name in names or "." in node.name or hasattr(type(self), node.name):
                raise ValueError(
                    f"{type(self).__name__}: the name {node.name!r} must be unique, have no dot, "
                    "and be none that every layer has"
                )
            written.add(node.output)
            names.add(node.name)

    def named_children(self) -> Iterator[tuple[str, Layer]]:
        return ((node.name, node.layer) for node in self.nodes)

    def __setattr__(self, name: str, value: Any) -> None:
        """``model.fc3 = layer`` puts another layer in the place of the one of that name."""
        for i, node in enumerate(self.__dict__.get("nodes", ())):
            if node.name == name:
                return self._replace(i, value)
        super().__setattr__(name, value)

    def _replace(self, index: int, layer: Any) -> None:
        node = self.nodes[index]
        if not isinstance(layer, Layer):
            raise TypeError(
                f"{type(self).__name__}: {node.name!r} must be a Layer, got {type(layer).__name__}"
            )
        nodes = [*self.nodes]
        nodes[index] = node._replace(layer=layer)
        self.nodes = tuple(nodes)

    def __getattr__(self, name: str) -> Any:
        for node in self.__dict__.get("nodes", ()):
            if node.name == name:
                return node.layer
        raise AttributeError(f"{type(self).__name__} has no attribute or layer {name!r}")

    def apply(self, x: Any, training: bool = False, save: bool = True) -> tuple[Any, Any]:
        """Runs the nodes. A layer that is itself in eval mode stays so in a graph that trains.

        On the CPU a chain of Striate's own layers runs as one plan, in C++ and with fused steps.
        """
        if self.inputs == 1:
            chain = self._chains.of(self, x, training)
            if chain is not None:
                return chain.apply(x, save)
        values: dict[int, Any] = dict(enumerate(self._given(x)))
        nodes = self._chains.nodes(self, values[0])
        last_use = {v: i for i, node in enumerate(nodes) for v in node.inputs}
        saved = []
        for i, node in enumerate(nodes):
            inputs = tuple(values[v] for v in node.inputs)
            try:
                y, kept = node.layer.apply(
                    inputs[0] if len(inputs) == 1 else inputs,
                    training and node.layer.training,
                    save,
                )
            except (TypeError, ValueError) as error:
                if type(error) not in (TypeError, ValueError):
                    raise
                raise type(error)(f"layer {node.name!r}: {error}") from None
            values[node.output] = y
            saved.append(kept)
            for v in node.inputs:  # nobody reads it again: its memory may go
                if last_use[v] == i:
                    values.pop(v, None)
        result = values[nodes[-1].output] if nodes else x
        return result, (nodes, saved) if save else None

    def grad(self, dy: Any, saved: Any, need: bool = True) -> tuple[Any, Gradients]:
        if isinstance(saved, Saved):
            return saved.chain.grad(dy, saved.forward, need)
        nodes, kept_by_nodes = saved
        # A value's gradient is needed if the caller needs the input's, or if something trainable
        # stands before it.
        needed = dict.fromkeys(range(self.inputs), need)
        for node in nodes:
            needed[node.output] = node.layer.trainable() or any(needed[v] for v in node.inputs)

        arrived: dict[int, list[Any]] = {nodes[-1].output if nodes else 0: [dy]}
        gradients: list[Gradients] = []
        for node, kept in zip(reversed(nodes), reversed(kept_by_nodes)):
            parts = arrived.pop(node.output, None)
            if parts is None or not needed[node.output]:
                continue
            need_inputs = any(needed[v] for v in node.inputs)
            dx, own = node.layer.grad(_sum(parts), kept, need_inputs)
            gradients.append(own)
            if need_inputs:
                for v, d in zip(node.inputs, (dx,) if len(node.inputs) == 1 else dx):
                    arrived.setdefault(v, []).insert(0, d)
        dx = [_sum(arrived[v]) if need and v in arrived else None for v in range(self.inputs)]
        return dx[0] if self.inputs == 1 else tuple(dx), [
            pair for own in reversed(gradients) for pair in own
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_chains": Chains()}

    def _given(self, x: Any) -> tuple[Any, ...]:
        if self.inputs == 1:
            return (x,)
        if not isinstance(x, tuple) or len(x) != self.inputs:
            got = f"a tuple of {len(x)}" if isinstance(x, tuple) else type(x).__name__
            raise TypeError(
                f"{type(self).__name__}: input must be a tuple of {self.inputs} arrays, got {got}"
            )
        return x


def _sum(parts: list[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


class Sequential(Graph):
    """Layers one after another: ``Sequential(layer, ...)`` or ``Sequential({name: layer, ...})``.

    Unnamed children are called "0", "1", ... as in torch; ``model.name`` and ``model[i]`` give a
    child, ``len`` and iteration work.
    """

    def __init__(self, *layers: Layer | Mapping[str, Layer]) -> None:
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            named = list(layers[0].items())
        else:
            named = [(str(i), layer) for i, layer in enumerate(layers)]  # type: ignore[misc]
        super().__init__(Node(name, layer, (i,), i + 1) for i, (name, layer) in enumerate(named))

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Layer]:
        return (node.layer for node in self.nodes)

    def __getitem__(self, index: int | slice) -> Layer:
        if isinstance(index, slice):
            part = Sequential({node.name: node.layer for node in self.nodes[index]})
            part.training = self.training
            return part
        return self.nodes[index].layer

    def __setitem__(self, index: int, layer: Layer) -> None:
        self._replace(index, layer)
