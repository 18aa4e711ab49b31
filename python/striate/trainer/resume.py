"""A trainer's whole state as named arrays and a description, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from striate import _core, checkpoint, cuda
from striate._device import of_model
from striate._text import printable
from striate.checkpoint import CheckpointError
from striate.functional._arguments import LARGEST, number
from striate.optim.lr_scheduler import MADE_WITH, LRScheduler, OneCycleLR, ReduceLROnPlateau
from striate.trainer.epoch import Partial
from striate.trainer.evaluation import finite_or_none

if TYPE_CHECKING:
    from striate.trainer.trainer import Trainer

FORMAT = 1


def _settings(trainer: Trainer) -> dict[str, Any]:
    """What must be equal for a resumed run to equal one that was not stopped."""
    return {
        "model": trainer.description.get("model"),
        "data": trainer.description.get("data_sha256"),
        "samples": trainer.samples,
        "epochs": trainer.epochs,
        "batch_size": trainer.batch_size,
        "seed": trainer.seed,
        "val_fraction": trainer.val_fraction,
        "patience": trainer.patience,
        "clip_grad_norm": trainer.clip_grad_norm,
        "schedule": None if trainer.schedule is None else type(trainer.schedule).__name__,
    }


def _isa(trainer: Trainer) -> str:
    """What the bits depend on besides the version: the instruction set, or the GPU's."""
    device = of_model(trainer.model)
    if device == "cpu":
        return _core.isa_name()
    index = int(device.removeprefix("cuda:"))
    return f"cuda {cuda.module().compute_capability(index)}"


def snapshot(trainer: Trainer) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, description) of a checkpoint."""
    optimizer = trainer.optimizer.state_dict()
    velocities = {f"optimizer/{i}": e["momentum_buffer"] for i, e in optimizer["state"].items()}
    arrays = {f"model/{k}": v for k, v in trainer.model.state_dict().items()}
    arrays |= velocities
    arrays |= {f"best/{k}": v for k, v in trainer._best_weights.items()}
    training = {
        "format": FORMAT,
        "version": _core.__version__,
        "isa": _isa(trainer),
        "settings": _settings(trainer),
        "step": trainer.step,
        "epoch": trainer.epoch,
        "partial": trainer._partial.describe(),
        "best": {**trainer._best, "loss": finite_or_none(trainer._best["loss"])},
        "history": trainer.history,
        "optimizer": optimizer["param_groups"],
        "schedule": None if trainer.schedule is None else trainer.schedule.state_dict(),
    }
    return arrays, {**trainer.description, "training": training}


def restore(trainer: Trainer, path: Path) -> list[str]:
    """Puts a checkpoint into ``trainer``; returns notes on what differs but may.

    All or nothing: a checkpoint that does not fit raises CheckpointError and changes nothing.
    """
    arrays, description = checkpoint.load(path)
    training = description.get("training")
    if not isinstance(training, dict) or training.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: holds a model but no training to resume"
            if training is None
            else f"{path}: was written in a format that this version does not read"
        )
    schedule = None if trainer.schedule is None else trainer.schedule.state_dict()
    put_back = _keep(trainer, schedule)
    try:
        _check_settings(training["settings"], _settings(trainer))
        groups: dict[str, dict[str, np.ndarray]] = {"model": {}, "optimizer": {}, "best": {}}
        for key, array in arrays.items():
            kind, _, name = key.partition("/")
            groups[kind][name] = array
        counters = _counters(training, trainer)
        trainer.model.load_state_dict(groups["best"] or groups["model"])  # the best must fit, too
        trainer.model.load_state_dict(groups["model"])
        velocities = {i: {"momentum_buffer": v} for i, v in groups["optimizer"].items()}
        trainer.optimizer.load_state_dict(
            {"state": velocities, "param_groups": training["optimizer"]}
        )
        if trainer.schedule is not None:
            made_with = {k: v for k, v in (schedule or {}).items() if k in MADE_WITH}
            _check_settings(training["schedule"], made_with)
            trainer.schedule.load_state_dict(training["schedule"])
            _check_end(trainer, *counters[:2])
    except Exception as error:
        put_back()
        if isinstance(error, MemoryError):
            raise
        whole = "" if isinstance(error, ValueError) else "not whole: "
        what = str(error) if isinstance(error, (ValueError, TypeError)) else repr(error)
        raise CheckpointError(f"{path}: {whole}{what}") from None
    trainer.step, trainer.epoch, trainer.history, trainer._partial, trainer._best = counters
    trainer._best_weights = groups["best"]
    here = {"version": _core.__version__, "isa": _isa(trainer)}
    return [
        printable(f"the checkpoint was written with {name} {training.get(name)}, this is {now}: ")
        + "the bits of the run may differ"
        for name, now in here.items()
        if training.get(name) != now
    ]


def _keep(trainer: Trainer, schedule: Any) -> Callable[[], None]:
    """Keeps what ``restore`` changes, and the state of the ``schedule``; the result puts them back,
    unseen: they need not be of a kind that a file may give.
    """
    weights = {k: v.copy() for k, v in trainer.model.state_dict().items()}
    velocities = list(trainer.optimizer._velocities)
    options = [dict(group) for group in trainer.optimizer.param_groups]

    def put_back() -> None:
        trainer.model.load_state_dict(weights)
        trainer.optimizer._velocities = velocities
        for group, old in zip(trainer.optimizer.param_groups, options):
            group.clear()  # of options that only the file had, too
            group.update(old)
        if isinstance(trainer.schedule, (LRScheduler, ReduceLROnPlateau)):
            vars(trainer.schedule).update(schedule)
        elif trainer.schedule is not None:  # a user's own
            trainer.schedule.load_state_dict(schedule)

    return put_back


def _check_end(trainer: Trainer, step: int, epoch: int) -> None:
    """Refuses a schedule whose count would be at its end before the run is."""
    schedule = trainer.schedule
    if not isinstance(schedule, (LRScheduler, ReduceLROnPlateau)):
        return
    every = trainer.schedule_every
    total = trainer.epochs * (trainer.steps_per_epoch if every == "step" else 1)
    left = total - (step if every == "step" else epoch)
    end = LARGEST
    if isinstance(schedule, OneCycleLR) and trainer.patience is None:  # which may end it before
        end = schedule.total_steps
    if schedule.last_epoch + left > end:
        raise ValueError(
            f"its schedule has come to {schedule.last_epoch} and ends at {end}, but {left} "
            f"{every}s are left to do"
        )


def _check_settings(then: dict[str, Any], now: dict[str, Any]) -> None:
    for name, value in now.items():
        if then[name] != value:
            raise ValueError(
                f"was trained with {name}={then[name]}, so it cannot be resumed with {name}={value}"
            )


def _counters(training: dict[str, Any], trainer: Trainer) -> tuple[Any, ...]:
    """(step, epoch, history, partial, best), each checked: the file may say anything."""
    step, epoch, history = training["step"], training["epoch"], training["history"]
    if type(step) is not int or type(epoch) is not int:
        raise ValueError(f"step {step!r} of epoch {epoch!r} is not a number")
    first = epoch * trainer.steps_per_epoch
    if not (0 <= epoch <= trainer.epochs and first <= step <= first + trainer.steps_per_epoch):
        raise ValueError(f"step {step} is not within epoch {epoch}")
    objects = isinstance(history, list) and all(isinstance(metrics, dict) for metrics in history)
    if not objects or len(history) != epoch:
        raise ValueError(f"its history is not one object for each of {epoch} epochs")
    seen = min((step - first) * trainer.batch_size, trainer.samples)
    partial = Partial.from_description(training["partial"], seen)
    loss, best = training["best"]["loss"], training["best"]["epoch"]
    loss = math.inf if loss is None else number(loss, "its best", "loss")
    if math.isnan(loss) or type(best) is not int or not 0 <= best <= epoch:
        raise ValueError(f"its best loss is {loss}, of epoch {best!r} of {epoch}")
    return step, epoch, history, partial, {"loss": loss, "epoch": best}
