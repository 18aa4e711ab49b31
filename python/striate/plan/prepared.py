"""prepare: a model's weights and steps, frozen for inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from striate import _core
from striate._device import of_model
from striate._text import aligned
from striate.functional._arguments import Array, as_array, integer
from striate.nn.graph import Graph
from striate.nn.layer import Layer
from striate.plan.steps import NoStep, Step, fuse, steps_of


class PlanRow(NamedTuple):
    """One step: the layers it stands for, the ops, the output's shape without the batch."""

    layers: tuple[str, ...]
    ops: str  # "conv2d + relu + max_pool2d"
    output: tuple[int, ...]
    algorithm: str  # of a convolution: "gemm", "direct" or "winograd"
    multiply_adds: int  # for one sample


class PreparedModel:
    """What ``prepare`` returns: call it with a batch. Immutable, and safe to call from any thread.

    ``input_shape`` and ``output_shape`` have no batch axis; ``weight_bytes`` is what its weights
    take, transformed ones included.
    """

    def __init__(self, steps: Sequence[Step], input_shape: tuple[int, ...]) -> None:
        nodes = [
            (s.op, s.inputs, s.options, [parameter.data for parameter in s.parameters])
            for s in steps
        ]
        self._plan = _core.InferencePlan(input_shape, nodes)
        self._rows = [
            PlanRow(step.names, _ops(step), tuple(output), algorithm, multiply_adds)
            for step, (output, algorithm, multiply_adds) in zip(steps, self._plan.steps())
        ]
        self.input_shape = input_shape
        self.output_shape: tuple[int, ...] = self._plan.output_shape
        self.weight_bytes: int = self._plan.weight_bytes

    def __call__(self, x: Array) -> Array:
        """The model's result for ``x``, float32 (N, *input_shape), as (N, *output_shape).

        Raises TypeError for another dtype, ValueError for another shape.
        """
        return self._plan.run(as_array(x))

    def plan(self) -> list[PlanRow]:
        """The steps, in the order in which they run."""
        return list(self._rows)

    def __reduce__(self) -> Any:
        raise TypeError("PreparedModel cannot be copied or pickled: prepare the model again")

    def __repr__(self) -> str:
        return (
            f"PreparedModel({self.input_shape} -> {self.output_shape}, {len(self._rows)} steps, "
            f"{self.weight_bytes / 1e6:.1f} MB of weights)"
        )


def prepare(model: Layer, input_shape: Sequence[int]) -> PreparedModel:
    """``model`` for inference on inputs of ``input_shape``, (C, H, W), in batches of any size.

    Layers are fused (a convolution with its bias, ReLU, pooling and a channel affine map behind
    it), weights laid out and transformed once, and one call runs all of it without the GIL. The
    weights are copied: what becomes of the model later is not seen. Dropout does nothing, whatever
    mode the model is in. The result differs from the model's by rounding (about 1e-6 of its size).

    Raises ValueError for an input shape that does not fit the model, TypeError for a layer that has
    no prepared form (one of your own), and for a model on a GPU.
    """
    if not isinstance(model, Layer):
        raise TypeError(f"prepare: model must be a Layer, got {type(model).__name__}")
    if not isinstance(input_shape, Sequence) or isinstance(input_shape, (str, bytes)):
        raise TypeError(f"prepare: input_shape must be (C, H, W), got {input_shape!r}")
    device = of_model(model)
    if device != "cpu":
        raise TypeError(
            f"prepare: model is on {device}, and prepared models run on the CPU; use "
            "model.to('cpu')"
        )
    shape = tuple(integer(n, "prepare", "input_shape", 1) for n in input_shape)
    if isinstance(model, Graph) and model.inputs != 1:
        raise ValueError(f"prepare: model must have 1 input, got {model.inputs}")
    try:
        steps = fuse(steps_of(model, training=False), fold=True)
    except NoStep as error:
        raise TypeError(
            f"prepare: layer {error.name!r} is of the class {type(error.layer).__name__}, which "
            "has no prepared form"
        ) from None
    try:
        return PreparedModel(steps, shape)
    except (RuntimeError, TypeError, ValueError) as error:
        # The layers themselves say best what does not fit.
        model.apply(np.zeros((1, *shape), np.float32), training=False, save=False)
        raise ValueError(f"prepare: input_shape {shape} does not fit the model: {error}") from None


def _ops(step: Step) -> str:
    options = step.options
    names = [step.op]
    names += ["relu"] * bool(options.get("relu")) + ["max_pool2d"] * bool(options.get("pool"))
    return " + ".join(names)


def plan_table(prepared: PreparedModel) -> str:
    """The plan as a table: for ``striate summary --plan``."""
    head = ("step", "ops", "output", "algorithm", "multiply-adds")
    body = [
        (
            ", ".join(row.layers),
            row.ops,
            "x".join(map(str, row.output)),
            row.algorithm,
            f"{row.multiply_adds:,}" if row.multiply_adds else "",
        )
        for row in prepared.plan()
    ]
    total = sum(row.multiply_adds for row in prepared.plan())
    last = (
        "total",
        f"{len(body)} steps",
        "",
        f"{prepared.weight_bytes / 1e6:.1f} MB",
        f"{total:,}",
    )
    return aligned([head, *body, last], left=4)
