"""Every input of the fuzzers' corpus, once: what reached new code, and what was a fault."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from fuzz import TARGETS, limits

CORPUS = Path(__file__).parent / "fuzz" / "corpus"
NEEDS = {"onnx": "onnx"}


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
