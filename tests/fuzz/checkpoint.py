"""Checkpoints whose description and tensors lie, under a checksum that does not.

The input is JSON: {"description": ..., "arrays": {name: [shape, value]}}; it is saved as a
checkpoint is, and then a run is resumed from it.
"""

from __future__ import annotations

import io
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.limits import folder, one_sentence
from fuzz.tree import mutate_tree
from striate import checkpoint, models, nn, optim, trainer
from striate.checkpoint import CheckpointError
from striate.data.dataset import ArraySamples
from striate.optim import lr_scheduler
from striate.trainer.failure import CHECKPOINT, check_weights
from striate.trainer.progress import Lines

KINDS = ("one-cycle", "step", "plateau")
_MOST = 1 << 16  # elements of a tensor


def memory(data: bytes) -> int:
    return 16 * len(data) + 64 * _MOST  # the tensors are the target's own


def check(data: bytes) -> None:
    path = written(data)
    if path is None:
        return
    for kind in KINDS:
        resume(path, kind)
    try:
        models.load(path)
    except CheckpointError as error:
        one_sentence(error, path)


def resume(path: Path, kind: str) -> None:
    """Goes on from ``path`` to the end, as the command does; what it leaves can be resumed."""
    left = _out() / CHECKPOINT
    left.unlink(missing_ok=True)
    run = new_run(kind)
    run.callbacks.append(Lines("test", io.TextIOWrapper(io.BytesIO(), "utf-8")))
    before = _state(run)
    try:
        history = run.fit(samples(), resume=path)
    except CheckpointError as error:
        one_sentence(error, path)
        assert _state(run) == before, "a refused checkpoint has changed the run"
    except trainer.TrainingError:  # weights from the file that are not finite, or explode
        pass
    else:
        assert len(history) == run.epochs
        check_weights(run)
        if left.exists():
            new_run(kind).fit(samples(), resume=left)


def written(data: bytes) -> Path | None:
    """The checkpoint that the input describes; None where ``checkpoint.save`` refuses it."""
    path = folder() / "checkpoint.safetensors"
    try:
        given = json.loads(data)
        arrays = {}
        for name, (shape, value) in given["arrays"].items():
            if not all(type(n) is int for n in shape) or len(shape) > 8:
                return None
            if math.prod(shape) > _MOST:
                return None
            arrays[name] = np.full(shape, value, np.float32)
        checkpoint.save(path, arrays, given["description"])
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError,
            MemoryError):  # fmt: skip
        return None  # it was ``save`` that refused, or the input is no such JSON
    return path


def new_run(kind: str) -> trainer.Trainer:
    """A run of two epochs of two steps, always the same."""
    weights = {"weight": np.full((3, 4), 0.1, np.float32), "bias": np.zeros(3, np.float32)}
    model = nn.Sequential({"flatten": nn.Flatten(), "fc": nn.Linear(4, 3)})
    model.load_state_dict({f"fc.{name}": array for name, array in weights.items()})
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    schedule = {
        "one-cycle": lambda: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=4),
        "step": lambda: lr_scheduler.StepLR(optimizer, 1),
        "plateau": lambda: lr_scheduler.ReduceLROnPlateau(optimizer),
    }[kind]()
    watched = {"val_fraction": 0.5, "patience": 2} if kind == "plateau" else {}
    return trainer.Trainer(
        model, optimizer, epochs=2, batch_size=2, schedule=schedule,
        out=_out(), description={"model": "fuzz", "data_sha256": "0"}, **watched,
    )  # fmt: skip


def _out() -> Path:
    return folder() / "run"


def samples() -> ArraySamples:
    images = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 1, 2, 2)
    return ArraySamples(images, np.array([0, 1, 2, 0]))


def _state(run: trainer.Trainer) -> list[Any]:
    """All that a refused checkpoint must leave as it is."""
    optimizer = run.optimizer.state_dict()
    momenta = {k: v["momentum_buffer"].tobytes() for k, v in optimizer["state"].items()}
    weights = {k: v.tobytes() for k, v in run.model.state_dict().items()}
    schedule = run.schedule.state_dict() if run.schedule else None
    rest = (run.step, run.epoch, run.history, run._partial, run._best, run._best_weights)
    return [weights, momenta, repr(optimizer["param_groups"]), repr(schedule), repr(rest)]


def mutate(data: bytes, generator: random.Random, bend: Callable[[bytes], bytes]) -> bytes:
    try:
        return json.dumps(mutate_tree(json.loads(data), generator)).encode()
    except (ValueError, RecursionError):
        return b""
