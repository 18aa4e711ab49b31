"""From a model to a list of steps, and from a list to one with fused steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from striate.nn.graph import Graph
from striate.nn.layer import Layer, Parameter
from striate.plan.op import ops_of


class Step(NamedTuple):
    """Reads the values ``inputs`` and writes ``output``; value 0 is the model's input.

    ``names``: the layers that it stands for, "features.0".
    """

    names: tuple[str, ...]
    op: str
    inputs: tuple[int, ...]
    output: int
    options: dict[str, Any]
    parameters: tuple[Parameter, ...]


class NoStep(ValueError):
    """A layer that no plan can run: its name and itself."""

    def __init__(self, name: str, layer: Layer) -> None:
        super().__init__(name)
        self.name, self.layer = name, layer


def steps_of(model: Layer, training: bool) -> list[Step]:
    """The steps of ``model``, at least one for each layer that computes anything. Raises NoStep."""
    steps: list[Step] = []
    wanted = {_walk(model, "", (0,), training, steps)}
    kept = []
    for step in reversed(steps):  # what nobody reads is left out: the last step makes the result
        if step.output in wanted:
            wanted.update(step.inputs)
            kept.append(step)
    return kept[::-1]


def _walk(
    layer: Layer, name: str, inputs: tuple[int, ...], training: bool, steps: list[Step]
) -> int:
    if _is_plain_graph(layer):
        values = dict(enumerate(inputs))
        for node in layer.nodes:
            path = f"{name}.{node.name}" if name else node.name
            given = tuple(values[v] for v in node.inputs)
            values[node.output] = _walk(
                node.layer, path, given, training and node.layer.training, steps
            )
        return values[layer.nodes[-1].output] if layer.nodes else inputs[0]
    ops = ops_of(layer, training)
    if ops is None or (not ops and len(inputs) > 1):
        raise NoStep(name, layer)
    for op in ops:
        output = len(steps) + 1
        steps.append(Step((name,), op.name, inputs, output, op.options, op.parameters))
        inputs = (output,)
    return inputs[0]


def _is_plain_graph(layer: Layer) -> TypeGuard[Graph]:
    own = (getattr(type(layer), name) is getattr(Graph, name, None) for name in ("apply", "grad"))
    return isinstance(layer, Graph) and all(own) and {"apply", "grad"}.isdisjoint(vars(layer))


def fuse(steps: Sequence[Step], fold: bool = False) -> list[Step]:
    """Steps that do the same in fewer passes over memory.

    A ReLU goes into the convolution, linear layer or sum before it, and a max pooling into the
    convolution before it, where nobody else reads what lies between. With ``fold``, for inference,
    the weights of a convolution take over a channel_affine behind it.
    """
    readers = Counter(v for step in steps for v in step.inputs)
    if steps:
        readers[steps[-1].output] += 1  # the caller
    fused: list[Step] = []
    writer: dict[int, int] = {}  # of each value: its place in fused
    for step in steps:
        place = writer.get(step.inputs[0])
        if place is not None and len(step.inputs) == 1 and readers[step.inputs[0]] == 1:
            both = _joined(fused[place], step, fold)
            if both is not None:
                fused[place] = both
                writer[step.output] = place
                continue
        writer[step.output] = len(fused)
        fused.append(step)
    return _renumbered(fused)


def _joined(first: Step, then: Step, fold: bool) -> Step | None:
    options: dict[str, Any] = {}
    parameters = first.parameters
    pooled = first.options.get("pool") is not None
    if then.op == "relu" and first.options.get("relu") is False and not pooled:
        options = {"relu": True}
    elif then.op == "max_pool2d" and first.op == "conv2d" and not pooled:
        options = {"pool": then.options}
    elif then.op == "channel_affine" and fold and first.op == "conv2d":
        same = then.options["channels"] == first.options["out_channels"]
        if first.options["relu"] or pooled or not same:
            return None
        options, parameters = {"bias": True}, _folded(first, then)
        if then.options["relu"]:
            options["relu"] = True
    else:
        return None
    return first._replace(
        names=first.names + then.names,
        options={**first.options, **options},
        output=then.output,
        parameters=parameters,
    )


def _folded(first: Step, affine: Step) -> tuple[Parameter, ...]:
    """a (w x + b) + c = (a w) x + (a b + c), for each output channel."""
    scale, shift = (p.data.astype(np.float64) for p in affine.parameters)
    weight = first.parameters[0].data
    bias = first.parameters[1].data if first.options["bias"] else np.zeros(len(weight))
    scaled = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    arrays = (scaled, scale * bias + shift)
    return tuple(Parameter(array.astype(np.float32)) for array in arrays)


def _renumbered(steps: list[Step]) -> list[Step]:
    """Values as a plan counts them: step i writes value i + 1."""
    number = {0: 0} | {step.output: i + 1 for i, step in enumerate(steps)}
    return [
        step._replace(inputs=tuple(number[v] for v in step.inputs), output=number[step.output])
        for step in steps
    ]
