"""Every input of the fuzzers' corpus, once: what reached new code, and what was a fault."""

from __future__ import annotations

import importlib
import itertools
import json
import random
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import striate
from fuzz import TARGETS, limits, tree
from small_training import StopAfter

CORPUS = Path(__file__).parent / "fuzz" / "corpus"
NEEDS = {"onnx": "onnx"}
ODD_KINDS = (None, True, -1, 10**400, 0.5, "", "\ud800", [], [None], {})


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore")  # a picture's may warn; the library's own tests see to that
def test_corpus(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    target = importlib.import_module(f"fuzz.{name}")
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for path in inputs:
        try:
            limits.run(target, path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{path}: {error!r}") from error


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one-cycle", "plateau"])  # in an epoch, and with best weights
def test_each_value_of_a_checkpoint_may_be_of_any_kind(kind: str) -> None:
    """The fuzzer changes several at a time; which of them it comes upon is chance."""
    target = importlib.import_module("fuzz.checkpoint")
    run = target.new_run(kind)
    run.callbacks.append(StopAfter(1))
    run.fit(target.samples())
    arrays, description = striate.load(run.out / "checkpoint.safetensors")
    whole = {
        "description": description,
        "arrays": {name: [array.shape, float(array.flat[0])] for name, array in arrays.items()},
    }
    places = len(list(tree.places(whole)))
    assert places > 70
    for place, value in itertools.product(range(places), ODD_KINDS):
        lie = json.loads(json.dumps(whole))
        parent, key = list(tree.places(lie))[place]
        parent[key] = value
        path = target.written(json.dumps(lie).encode())
        if path is not None:
            try:
                target.resume(path, kind)
            except Exception as error:
                raise AssertionError(f"{key!r} is {value!r}: {error!r}") from error


def test_each_fuzzer_has_its_hour_a_week() -> None:
    workflow = (CORPUS.parents[2] / ".github/workflows/fuzz.yml").read_text()
    (targets,) = re.findall(r"target: \[(.*)\]", workflow)
    assert tuple(targets.split(", ")) == TARGETS


def test_any_model_can_be_mutated() -> None:
    """Also one of a node that has no operands, and nothing that another could have."""
    onnx = pytest.importorskip("onnx")
    target = importlib.import_module("fuzz.onnx")
    bare = onnx.ModelProto(graph=onnx.GraphProto(node=[onnx.NodeProto(op_type="Relu")]))
    models = [path.read_bytes() for path in sorted((CORPUS / "onnx").iterdir())]
    for data in (bare.SerializeToString(), *models):
        for seed in range(30):
            assert isinstance(target.mutate(data, random.Random(seed), lambda part: part), bytes)


def test_what_is_no_documented_exception_gets_through() -> None:
    def check(data: bytes) -> None:
        raise KeyError(data)

    with pytest.raises(KeyError):
        limits.run(SimpleNamespace(check=check, memory=len), b"data")


def test_more_memory_than_an_input_justifies_is_noticed() -> None:
    def check(data: bytes) -> None:
        np.empty(64 << 20, np.uint8)  # asked for and not touched

    with pytest.raises(limits.TooMuchMemoryError, match="4 bytes took 64 MiB .* but justify 48"):
        limits.run(SimpleNamespace(check=check, memory=len), b"data")
    limits.run(SimpleNamespace(check=check, memory=lambda data: 32 << 20), b"data")
