"""Runs whose description lies, under checksums that do not: predicted with, measured, resumed.

The input is JSON: {"run": the name of one of the command line's, "description": ...}; "{here}" in
it stands for the folder that it lies in.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz import cli
from fuzz.tree import mutate_tree
from striate import checkpoint

memory = cli.memory
_COMMANDS = {
    "run": ("predict run digit.png", "eval run", "train lenet5 --resume run"),
    "picture-run": (
        "predict picture-run photo.jpg", "eval picture-run", "eval picture-run --data pictures",
        "train alexnet --resume picture-run",
    ),
}  # fmt: skip


def check(data: bytes) -> None:
    with cli.inside() as here:
        run = _write(data, here)
        for command in _COMMANDS.get(run, ()):
            cli.run(command.split())


def _write(data: bytes, here: Path) -> str:
    """Gives the run that the input names its description; the name, or "" where it is no such."""
    try:
        given = json.loads(data.replace(b"{here}", str(here).encode()))
        run, description = given["run"], given["description"]
        if run not in _COMMANDS or not _is_short(description):
            return ""
        for name in ("checkpoint", "model"):
            path = here / run / f"{name}.safetensors"
            arrays, _ = checkpoint.load(path)
            checkpoint.save(path, arrays, description)
            description = {k: v for k, v in description.items() if k != "training"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ""
    return str(run)


def _is_short(description: Any) -> bool:
    """Whether a run so described would not go on for ever, as it is meant to."""
    settings = description.get("settings") if isinstance(description, dict) else None
    epochs = settings.get("epochs") if isinstance(settings, dict) else None
    return not isinstance(epochs, (int, float)) or epochs <= 3


def mutate(data: bytes, generator: random.Random, bend: Callable[[bytes], bytes]) -> bytes:
    try:
        given = json.loads(data)
        given["description"] = mutate_tree(given["description"], generator)
        return json.dumps(given).encode()
    except (ValueError, TypeError, KeyError, RecursionError):
        return b""
