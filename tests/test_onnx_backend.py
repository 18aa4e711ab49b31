"""ONNX's own tests over striate.onnx.backend: what passes, and that docs/onnx.md lists the rest."""

from __future__ import annotations

import unittest
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from checks import assert_close, draw
from onnx_models import model, node, onnx
from striate.onnx import OnnxError, backend
from striate.onnx.source import OPERATORS

DOCUMENT = Path(__file__).parent.parent / "docs" / "onnx.md"


class Answers(NamedTuple):
    passed: set[str]
    refused: dict[str, str]  # name -> reason
    wrong: dict[str, str]
    planes: set[str]  # those over a float32 matrix or images, of 2 or 4 dimensions


@pytest.fixture(scope="module")
def answers() -> Answers:
    """ONNX's node tests of which every operator is one that Striate reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making the tests' data divides by 0, on purpose
        from onnx.backend.test import BackendTest
        from onnx.backend.test.loader import load_model_tests

        suite = BackendTest(backend, __name__)
        cases = suite.test_cases["OnnxBackendNodeModelTest"]
        tests = {test.name: test for test in load_model_tests(kind="node")}
    found = Answers(set(), {}, {}, set())
    for name, test in tests.items():
        nodes = test.model.graph.node
        if any(n.domain or n.op_type not in OPERATORS for n in nodes):
            continue
        result = unittest.TestResult()
        cases(f"{name}_cpu").run(result)
        if result.failures or result.errors:
            found.wrong[name] = (result.failures + result.errors)[0][1]
        elif result.skipped:
            found.refused[name] = result.skipped[0][1]
        else:
            found.passed.add(name)
        data = test.data_sets[0][0]
        if data and getattr(data[0], "dtype", None) == np.float32 and data[0].ndim in (2, 4):
            found.planes.add(name)
    return found


def test_none_is_wrong(answers: Answers) -> None:
    assert not answers.wrong


def test_enough_pass(answers: Answers) -> None:
    passed = answers.passed & answers.planes
    assert len(passed) >= 60, sorted(passed)
    assert f" {len(answers.passed)} pass, none is wrong" in DOCUMENT.read_text()


def test_the_document_lists_what_is_refused_and_why(answers: Answers) -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `test_")]
    expected = [f"| `{name}` | {answers.refused[name]} |" for name in sorted(answers.refused)]
    assert rows == expected, "the table in docs/onnx.md should be:\n" + "\n".join(expected)


def test_devices() -> None:
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA")
    with pytest.raises(unittest.SkipTest, match="the device must be CPU, got 'CUDA:1'"):
        backend.prepare(model([node("Relu", "x")]), "CUDA:1")


def test_a_node_a_model_and_a_prepared_model() -> None:
    x, w, b = draw("run/x", (3, 4)), draw("run/w", (5, 4)), draw("run/b", (5,))
    gemm = node("Gemm", "x", "w", "b", transB=1, alpha=2.0)
    expected = 2 * x @ w.T + b
    assert_close(backend.run_node(gemm, [x, w, b])[0], expected, depth=8)
    assert_close(backend.run_node(gemm, [x, w, b], opset_version=11)[0], expected, depth=8)
    made = model([gemm], ("N", 4), {"w": w, "b": b})
    assert backend.is_compatible(made)
    (y,) = backend.run_model(made, x)
    assert_close(y, expected, depth=8)
    prepared = backend.prepare(made)
    np.testing.assert_array_equal(prepared.run([x])[0], y)
    np.testing.assert_array_equal(prepared.run({"x": x})[0], y)
    with pytest.raises(ValueError, match=r"the model has 1 inputs, \['x'\], got 2 arrays"):
        prepared.run([x, x])
    with pytest.raises(ValueError, match=r"the inputs \['x'\] are missing"):
        prepared.run({})
    with pytest.raises(TypeError, match=r"unknown arguments \['colour'\]"):
        prepared.run([x], colour=3)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda x: backend.run_node(node("Selu", "x"), [x]), "operator Selu is not supported"),
        (lambda x: backend.run_node(node("Relu", "x"), [x.astype(int)]), "contradicts itself"),
        (
            lambda x: backend.run_node(node("Add", "x", "z"), [x, x.T.copy()]),
            "Incompatible dim",
        ),
    ],
)
def test_a_refusal_is_a_skipped_test_and_an_onnx_error(run: Any, message: str) -> None:
    with pytest.raises(unittest.SkipTest, match=message) as caught:
        run(draw("run/x", (3, 4)))
    assert isinstance(caught.value, OnnxError)
    assert isinstance(caught.value, backend.BackendUnsupported)


def test_the_interface_is_onnx_own() -> None:
    assert issubclass(backend.StriateBackend, onnx.backend.base.Backend)
    assert issubclass(backend.StriateRep, onnx.backend.base.BackendRep)
    assert not backend.is_compatible(model([node("Selu", "x")]))
