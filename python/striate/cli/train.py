"""striate train MODEL"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from striate.cli._common import (
    add_device,
    add_threads,
    checkpoint_path,
    integer,
    model_path,
    number,
    preparation,
    scores,
    use_device,
    use_threads,
)
from striate.cli._data import TrainingData, add_picture_options, open_training_data

SCHEDULES = ("one-cycle", "cosine", "step", "plateau", "constant")

# Options that make the run what it is: --resume takes them from the checkpoint. Those that a
# checkpoint does not hold, because it is older than they are, stand at their default.
_OPTIONAL: dict[str, Any] = {
    "seed": 0, "val_fraction": 0.0, "patience": None, "clip_grad_norm": None, "pct_start": 0.3,
    "augment": None, "resize": None, "crop": None, "workers": None, "strict_data": False,
    "init": None, "freeze": None,
}  # fmt: skip
_NEEDED = ("epochs", "batch_size", "lr", "momentum", "weight_decay", "schedule")
_SETTINGS = (*_NEEDED, *_OPTIONAL)
_FREE = ("workers", "strict_data")  # may differ from the checkpoint's: the bits do not
_NUMBER = (int, float)
_KINDS: dict[str, tuple[type, ...]] = {  # of those in a checkpoint, which may say anything
    "epochs": (int,), "batch_size": (int,), "seed": (int,), "lr": _NUMBER, "momentum": _NUMBER,
    "weight_decay": _NUMBER, "pct_start": _NUMBER, "val_fraction": _NUMBER, "schedule": (str,),
    "patience": (int, type(None)), "clip_grad_norm": (*_NUMBER, type(None)),
    "freeze": (list, type(None)),
}  # fmt: skip


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a model",
        description="Trains MODEL on MNIST, which is part of the package, or on --data. Writes "
        "metrics.jsonl, checkpoint.safetensors and model.safetensors into --out. The test images "
        "(of a folder of pictures: those in val/) are measured and never used to choose anything. "
        "Options that are left out come from the model's recipe (striate/recipes.py), and are "
        "printed.",
    )
    parser.add_argument("model", metavar="MODEL", help="lenet5, lenet5_1998, alexnet, alexnet_2012")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder of IDX files (.gz or not), as Fashion-MNIST has them; or of pictures, "
        "train/<class>/* and val/<class>/*",
    )
    parser.add_argument("--epochs", type=integer(1), metavar="N")
    parser.add_argument("--batch-size", type=integer(1), metavar="N")
    parser.add_argument("--lr", type=number(0), metavar="X", help="(peak) learning rate")
    parser.add_argument("--momentum", type=number(0), metavar="X")
    parser.add_argument("--weight-decay", type=number(0), metavar="X")
    parser.add_argument("--schedule", choices=SCHEDULES, help="of the learning rate")
    parser.add_argument(
        "--pct-start",
        type=number(0, 1),
        metavar="X",
        help="part of the steps in which one-cycle rises (default: 0.3)",
    )
    parser.add_argument("--seed", type=integer(0, 2**63 - 1), metavar="N", help="default: 0")
    parser.add_argument(
        "--val-fraction",
        type=number(0, 0.9),
        metavar="X",
        help="split this part of the training images off for validation; --patience and "
        "--schedule plateau need it",
    )
    parser.add_argument(
        "--patience",
        type=integer(1),
        metavar="N",
        help="stop after N epochs without a lower validation loss, and keep the best weights",
    )
    parser.add_argument("--clip-grad-norm", type=number(0), metavar="X")
    parser.add_argument(
        "--augment",
        choices=("paper", "random-resized-crop", "crop", "none"),
        help="how pictures are varied in training",
    )
    parser.add_argument(
        "--resize", type=integer(1, 4096), metavar="N", help="of pictures: the short side"
    )
    parser.add_argument(
        "--crop", type=integer(1, 4096), metavar="N", help="of pictures: the side of the input"
    )
    add_picture_options(parser)
    parser.add_argument(
        "--init",
        metavar="FILE",
        help="start from the weights in a .safetensors or .npz file, or of a run: those whose "
        "names and shapes fit; says which did not",
    )
    parser.add_argument(
        "--freeze",
        metavar="PREFIX",
        action="append",
        help="leave the parameters whose names start with PREFIX as they are, such as features; "
        "may be given several times",
    )
    add_device(parser)
    add_threads(parser)
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/MODEL)")
    parser.add_argument(
        "--resume", metavar="CKPT", help="go on from a checkpoint, with the settings it holds"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from striate import models, recipes

    use_threads(args)
    if args.model not in models.MODELS:
        raise ValueError(f"MODEL must be one of {', '.join(models.MODELS)}, got {args.model!r}")
    resume = None if args.resume is None else checkpoint_path(args.resume)
    settings, kept = _settings(args, recipes.RECIPES[args.model], resume)
    transform = _transform(recipes.RECIPES[args.model].transform, settings, resume, kept)
    with use_device(args) as device:
        out = _choose_out(args, resume)
        folder = args.data or kept.get("data_folder")
        data = open_training_data(args.model, transform, folder, settings)
        return _train(args.model, settings, data, out, resume, device)


def _settings(
    args: argparse.Namespace, recipe: Any, resume: Path | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The recipe's settings changed by the options given, or the checkpoint's; its description."""
    given = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}
    if resume is None:
        defaults = {k: v for k, v in vars(recipe).items() if k in _SETTINGS}
        if given.get("schedule", "plateau") != "plateau" and "patience" not in given:
            defaults["val_fraction"] = 0.0  # nothing watches it
        pipeline = {k: v for k, v in vars(recipe.transform).items() if k in _SETTINGS}
        return {**_OPTIONAL, **defaults, **pipeline, **given}, {}

    from striate import checkpoint

    _, description = checkpoint.load(resume)
    kept = description.get("settings")
    whole = isinstance(kept, dict) and set(_NEEDED) <= set(kept) <= set(_SETTINGS)
    if not whole or "training" not in description:
        raise checkpoint.CheckpointError(f"{resume}: holds a model but no training to resume")
    kept = _OPTIONAL | dict(kept or {})
    _check_kept(kept, resume)
    folder = description.get("data_folder")
    if not isinstance(folder, (str, type(None))):
        raise checkpoint.CheckpointError(f"{resume}: data_folder is {folder!r}, expected str")
    if description.get("model") != args.model:
        raise ValueError(f"{resume}: holds {description.get('model')}, not {args.model}")
    for name, value in given.items():
        if name not in _FREE and kept[name] != value:
            option = "--" + name.replace("_", "-")
            now, then = (", ".join(v) if isinstance(v, list) else v for v in (value, kept[name]))
            raise ValueError(f"{option} {now} differs from {then}, with which {resume} "
                             "was trained; a resumed run keeps its settings")  # fmt: skip
    return kept | {name: given[name] for name in _FREE if name in given}, description


def _check_kept(kept: dict[str, Any], resume: Path) -> None:
    """CheckpointError for a setting that no run can have had."""
    from striate.checkpoint import CheckpointError

    for name, kinds in _KINDS.items():
        if isinstance(kept[name], bool) or not isinstance(kept[name], kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
            raise CheckpointError(f"{resume}: {name} is {kept[name]!r}, expected {wanted}")
    for name in ("epochs", "batch_size"):
        if kept[name] < 1:
            raise CheckpointError(f"{resume}: {name} is {kept[name]}, expected at least 1")
    if not 0 <= kept["val_fraction"] < 1:
        raise CheckpointError(f"{resume}: val_fraction is {kept['val_fraction']}, not in [0, 1)")
    if not all(isinstance(prefix, str) for prefix in kept["freeze"] or []):
        raise CheckpointError(f"{resume}: freeze is {kept['freeze']}, not a list of names")


def _transform(
    transform: Any, settings: dict[str, Any], resume: Path | None, kept: dict[str, Any]
) -> Any:
    """The recipe's transform with the settings in it, or the checkpoint's, statistics and all."""
    from striate.data.pipeline import ImageTransform

    if resume is not None:
        return preparation(resume, kept)[1]
    if isinstance(transform, ImageTransform):
        parts = {name: settings[name] for name in ("augment", "resize", "crop")}
        return dataclasses.replace(transform, **parts)
    return transform


def _choose_out(args: argparse.Namespace, resume: Path | None) -> Path:
    if args.out is not None:
        out = Path(args.out)
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out {out} is a file, expected a folder")
        same = resume is not None and out.resolve() == resume.parent.resolve()
        if (out / "checkpoint.safetensors").exists() and not same:
            raise ValueError(f"--out {out} already holds a run; go on with --resume {out}, or "
                             "choose another folder")  # fmt: skip
        return out
    if resume is not None:
        return resume.parent
    out, count = Path("runs") / args.model, 1
    while out.exists():
        count += 1
        out = Path("runs") / f"{args.model}-{count}"
    return out


def _train(
    name: str,
    settings: dict[str, Any],
    data: TrainingData,
    out: Path,
    resume: Path | None,
    device: str,
) -> int:
    import numpy as np

    import striate
    from striate import models, optim
    from striate.data.dataset import held_out
    from striate.trainer import Trainer, evaluate
    from striate.trainer.progress import progress

    started = time.perf_counter()
    for note in data.notes:
        print(f"note: {note}", file=sys.stderr)
    striate.manual_seed(settings["seed"])
    model = models.create(name, num_classes=data.num_classes)
    started_from = _transfer(model, settings, resume)
    optimizer = optim.SGD(
        model.parameters(),
        lr=settings["lr"],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
    )
    try:  # what does not fit is said before anything is written
        model.apply(np.zeros((1, *data.input_shape), np.float32), save=False)
    except ValueError as error:
        raise ValueError(f"{data.source}: its images do not fit {name} ({error})") from None
    count = len(data.train) - held_out(len(data.train), settings["val_fraction"])
    steps = -(-count // settings["batch_size"])
    model.to(device)
    data.move(device)
    watched = "validation" if settings["val_fraction"] else "test"
    trainer = Trainer(
        model,
        optimizer,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        seed=settings["seed"],
        schedule=_schedule(settings, optimizer, steps),
        val_fraction=settings["val_fraction"],
        patience=settings["patience"],
        clip_grad_norm=settings["clip_grad_norm"],
        out=out,
        description={
            "model": name,
            "arguments": {"num_classes": data.num_classes},
            **data.facts,
            "settings": settings,
        },
        callbacks=[progress(watched)],
    )
    parameters = sum(p.data.size for p in model.parameters())
    print(f"{name}: {parameters:,} parameters, {data.source}: {len(data.train):,} training and "
          f"{len(data.test):,} test images, {_machine(device)}")  # fmt: skip
    for line in [*data.told, *started_from]:
        print(line)
    print(f"{settings['epochs']} epochs, batches of {settings['batch_size']}, learning rate "
          f"{settings['lr']} ({settings['schedule']}), momentum {settings['momentum']}, "
          f"weight decay {settings['weight_decay']}, seed {settings['seed']}")  # fmt: skip
    trainer.fit(data.train, validation=data.test, resume=resume)
    for note in trainer.notes:
        print(f"note: {note}", file=sys.stderr)
    if trainer.stopped:
        path = shlex.quote(str(out / "checkpoint.safetensors"))
        print(f"stopped after step {trainer.step}; go on with: "
              f"striate train {name} --resume {path}")  # fmt: skip
        return 130
    # Without a split the last epoch has measured these weights on the test images already.
    result = None if settings["val_fraction"] else trainer.evaluation
    result = evaluate(model, data.test) if result is None else result
    seconds = time.perf_counter() - started
    print(f"test {scores(result, data.facts)} on {result.samples:,} images "
          f"after {seconds:.1f} s; model: {out / 'model.safetensors'}")  # fmt: skip
    return 0


def _machine(device: str) -> str:
    """For a person: "2 threads", or the GPU's name."""
    import striate

    if device == "cpu":
        return f"{striate.get_num_threads()} threads"
    index = int(device.removeprefix("cuda:"))
    return f"{device} ({striate.cuda.module().device_name(index)})"


def _transfer(model: Any, settings: dict[str, Any], resume: Path | None) -> list[str]:
    """Loads --init's weights, freezes --freeze's; what a person should know of it."""
    from striate import models

    told = []
    if settings["init"] is not None and resume is None:  # a checkpoint has the weights already
        path = model_path(settings["init"])
        told.append(f"{path}: {models.load_fitting(model, path)}")
    if settings["freeze"]:
        frozen = models.freeze(model, settings["freeze"])
        left = sum(p.data.size for p in model.parameters() if p.requires_grad)
        told.append(f"frozen: {', '.join(frozen)}; {left:,} parameters train")
    return told


def _schedule(settings: dict[str, Any], optimizer: Any, steps: int) -> Any:
    from striate.optim import lr_scheduler

    kind, epochs = settings["schedule"], settings["epochs"]
    if kind == "one-cycle":
        return lr_scheduler.OneCycleLR(
            optimizer,
            settings["lr"],
            total_steps=epochs * steps,
            pct_start=settings["pct_start"],
            cycle_momentum=False,
        )
    if kind == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    if kind == "step":
        return lr_scheduler.StepLR(optimizer, step_size=max(1, epochs // 3))
    if kind == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
    return None
