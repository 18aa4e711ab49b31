"""What a model is made of: a row for each layer, measured on the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from striate._device import of_model, to
from striate._text import aligned
from striate.functional._arguments import integer
from striate.nn.graph import Graph
from striate.nn.layer import Layer, Window

Pair = tuple[int, int]


class Row(NamedTuple):
    """One layer. ``output``: its shape without the batch axis."""

    name: str
    layer: str
    output: tuple[int, ...]
    receptive_field: Pair | None  # pixels of the input that an output sees; None: all of it
    parameters: int
    multiply_adds: int  # for one sample


class _Value(NamedTuple):
    """What flows along an edge: an array, and how it lies over the input image.

    An element sees ``field`` pixels of the input, down and across, and its neighbour the same
    ``step`` pixels further on. Dumoulin, Visin: A guide to convolution arithmetic, 2016.
    """

    array: Any
    field: Pair | None
    step: Pair

    def under(self, window: Window, array: Any) -> _Value:
        """The value that a layer with ``window`` makes of this one: ``array``."""
        if window is None or self.field is None:
            return _Value(array, None, self.step)
        size, stride = window
        field = tuple(f + (n - 1) * s for f, n, s in zip(self.field, size, self.step))
        step = tuple(s * t for s, t in zip(self.step, stride))
        return _Value(array, field, step)  # type: ignore[arg-type]


class Summary:
    """The layers of a model in the order in which they run; ``str`` of it is a table."""

    def __init__(self, rows: Sequence[Row], input_shape: tuple[int, ...], parameters: int) -> None:
        self.rows = list(rows)
        self.input_shape, self.parameters = input_shape, parameters
        self.multiply_adds = sum(row.multiply_adds for row in self.rows)

    def __str__(self) -> str:
        head = ("layer", "", "output", "sees", "parameters", "multiply-adds")
        body = [
            (
                row.name,
                row.layer,
                _by(row.output),
                "all" if row.receptive_field is None else _by(row.receptive_field),
                f"{row.parameters:,}" if row.parameters else "",
                f"{row.multiply_adds:,}" if row.multiply_adds else "",
            )
            for row in self.rows
        ]
        first = ("input", "", _by(self.input_shape), "", "", "")
        last = ("total", "", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")
        return aligned([head, first, *body, last], left=4)


def summary(model: Layer, input_shape: Sequence[int]) -> Summary:
    """Runs ``model`` once on one image of zeros, (C, H, W) = ``input_shape``, and writes down what
    each layer did: its output's shape, the receptive field, parameters and multiply-adds.

    A layer that stands twice has two rows; the total counts its parameters once. Raises ValueError
    for an input that does not fit the model, or a model of several inputs.
    """
    shape = tuple(integer(n, "summary", "input_shape", 1) for n in input_shape)
    if len(shape) != 3:
        raise ValueError(f"summary: input_shape must be (C, H, W), got {shape}")
    if isinstance(model, Graph) and model.inputs != 1:
        raise ValueError(f"summary: model must have 1 input, got {model.inputs}")
    zeros = to(np.zeros((1, *shape), np.float32), of_model(model))
    start = _Value(zeros, (1, 1), (1, 1))
    rows: list[Row] = []
    _run(model, "", (start,), rows)
    return Summary(rows, shape, sum(p.data.size for p in model.parameters()))


def _run(layer: Layer, name: str, inputs: tuple[_Value, ...], rows: list[Row]) -> _Value:
    if isinstance(layer, Graph):
        return _run_graph(layer, name, inputs, rows)
    arrays = tuple(value.array for value in inputs)
    y, _ = layer.apply(arrays[0] if len(arrays) == 1 else arrays, training=False, save=False)
    window = layer.window(arrays[0].shape)
    values = [value.under(window, y) for value in inputs]
    fields = [value.field for value in values if value.field is not None]
    whole = len(fields) < len(values)  # of several inputs the one that sees most counts
    field = None if whole else (max(f[0] for f in fields), max(f[1] for f in fields))
    parameters = sum(p.data.size for p in layer.parameters())
    kind = type(layer).__name__
    rows.append(Row(name, kind, y.shape[1:], field, parameters, layer.multiply_adds(y.shape)))
    step = max(v.step[0] for v in values), max(v.step[1] for v in values)
    return _Value(y, field, step)


def _run_graph(graph: Graph, name: str, given: tuple[_Value, ...], rows: list[Row]) -> _Value:
    values = dict(enumerate(given))
    for node in graph.nodes:
        path = f"{name}.{node.name}" if name else node.name
        try:
            inputs = tuple(values[v] for v in node.inputs)
            values[node.output] = _run(node.layer, path, inputs, rows)
        except ValueError as error:
            if str(error).startswith("layer "):
                raise
            raise ValueError(f"layer {path!r}: {error}") from None
    return values[graph.nodes[-1].output] if graph.nodes else given[0]


def _by(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))
