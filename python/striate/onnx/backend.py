"""The standard interface of ONNX backends: ``onnx.backend.test.BackendTest`` runs over this module.

    import striate.onnx.backend as backend
    outputs = backend.prepare(onnx.load("model.onnx")).run([images])

Models and single nodes go through the import that ``striate.onnx.load`` uses; what that refuses
raises BackendUnsupported, which test runners show as skipped.
"""

from __future__ import annotations

import unittest
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper
from onnx.backend.base import Backend, BackendRep

from striate.onnx.errors import NotConstant, OnnxError
from striate.onnx.importer import Importer
from striate.onnx.source import check
from striate.onnx.tensors import ANY


class BackendUnsupported(OnnxError, unittest.SkipTest):
    """A model that Striate refuses; a SkipTest, so that ONNX's test suite shows it as skipped."""


class StriateRep(BackendRep):
    """A prepared model. ``run`` takes arrays in the order of the model's inputs."""

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        initializers = {tensor.name for tensor in model.graph.initializer}
        self.inputs = [i.name for i in model.graph.input if i.name not in initializers]
        try:
            self._importer: Importer | None = _import(model, {})
        except NotConstant:  # its weights are inputs, as in ONNX's tests of single nodes
            self._importer = None

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The model's outputs, as a tuple, for a list of arrays or a mapping of names to arrays."""
        if kwargs:
            raise TypeError(f"run: unknown arguments {sorted(kwargs)}")
        given = self._named(inputs)
        importer = self._importer or _import(self._model, given)
        arrays = tuple(given[name] for name in importer.inputs)
        try:
            return (importer.graph(arrays if len(arrays) > 1 else arrays[0], save=False),)
        except (TypeError, ValueError) as error:
            raise BackendUnsupported(str(error)) from None

    def _named(self, inputs: Any) -> dict[str, ANY]:
        if isinstance(inputs, Mapping):
            given = dict(inputs)
        else:
            arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
            if len(arrays) != len(self.inputs):
                raise ValueError(
                    f"run: the model has {len(self.inputs)} inputs, {self.inputs}, got "
                    f"{len(arrays)} arrays"
                )
            given = dict(zip(self.inputs, arrays))
        missing = [name for name in self.inputs if name not in given]
        if missing:
            raise ValueError(f"run: the inputs {missing} are missing")
        given = {k: np.asarray(v) if isinstance(v, np.generic) else v for k, v in given.items()}
        wrong = [name for name, array in given.items() if not isinstance(array, np.ndarray)]
        if wrong:
            raise BackendUnsupported(f"the inputs {wrong} are sequences or optionals, not arrays")
        return given


class StriateBackend(Backend):
    """Runs ONNX models on the CPU by Striate's layers."""

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether ``prepare`` would take the model."""
        try:
            cls.prepare(model, device, **kwargs)
        except OnnxError:
            return False
        return True

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> StriateRep:
        """Imports a model; BackendUnsupported for one that Striate refuses."""
        if not cls.supports_device(device):
            raise BackendUnsupported(f"the device must be CPU, got {device!r}")
        return StriateRep(model)

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """``prepare`` and ``run`` in one."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Runs one operator, as a model of one node; ``opset_version`` says of which opset."""
        arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        names = [name for name in node.input if name]
        given = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in zip(names, arrays)
        ]
        results = [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in node.output
            if name
        ]
        opset = kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        model = helper.make_model(
            helper.make_graph([node], "node", given, results),
            opset_imports=[helper.make_opsetid("", opset)],
        )
        return cls.run_model(model, arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.split(":")[0] == "CPU"


def _import(model: ModelProto, feeds: Mapping[str, ANY]) -> Importer:
    """NotConstant (only without ``feeds``) says that the model's inputs are needed as weights."""
    try:
        importer = Importer(check(model, None, feeds), feeds)
        importer.run()
    except OnnxError as error:
        if isinstance(error, NotConstant) and not feeds:
            raise
        raise BackendUnsupported(str(error)) from None
    return importer


is_compatible = StriateBackend.is_compatible
prepare = StriateBackend.prepare
run_model = StriateBackend.run_model
run_node = StriateBackend.run_node
supports_device = StriateBackend.supports_device
