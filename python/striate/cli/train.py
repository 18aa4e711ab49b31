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
    add_threads,
    checkpoint_path,
    fingerprint,
    integer,
    load_data,
    number,
    use_threads,
)

SCHEDULES = ("one-cycle", "cosine", "step", "plateau", "constant")

# Options that make the run what it is: --resume takes them from the checkpoint.
_SETTINGS = ("epochs", "batch_size", "lr", "momentum", "weight_decay", "schedule", "seed",
             "val_fraction", "patience", "clip_grad_norm")  # fmt: skip


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a model",
        description="Trains MODEL on MNIST, which is part of the package, or on --data. Writes "
        "metrics.jsonl, checkpoint.safetensors and model.safetensors into --out. The test images "
        "are measured after every epoch and never used to choose anything. Options that are left "
        "out come from the model's recipe (striate/recipes.py), and are printed.",
    )
    parser.add_argument("model", metavar="MODEL", help="lenet5 or lenet5_1998")
    parser.add_argument(
        "--data", metavar="DIR", help="folder of IDX files (.gz or not), as Fashion-MNIST has them"
    )
    parser.add_argument("--epochs", type=integer(1), metavar="N")
    parser.add_argument("--batch-size", type=integer(1), metavar="N")
    parser.add_argument("--lr", type=number(0), metavar="X", help="(peak) learning rate")
    parser.add_argument("--momentum", type=number(0), metavar="X")
    parser.add_argument("--weight-decay", type=number(0), metavar="X")
    parser.add_argument("--schedule", choices=SCHEDULES, help="of the learning rate")
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
    settings, kept_folder = _settings(args, recipes.RECIPES[args.model], resume)
    out = _choose_out(args, resume)
    folder = args.data or kept_folder
    dataset, source = load_data(folder)
    return _train(args.model, settings, dataset, source, folder, out, resume)


def _settings(
    args: argparse.Namespace, recipe: Any, resume: Path | None
) -> tuple[dict[str, Any], str | None]:
    """The recipe's settings changed by the options given, or the checkpoint's; and its data."""
    given = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}
    if resume is None:
        defaults = {k: v for k, v in dataclasses.asdict(recipe).items() if k in _SETTINGS}
        optional = {"seed": 0, "val_fraction": 0.0, "patience": None, "clip_grad_norm": None}
        return {**defaults, **optional, **given}, None

    from striate import checkpoint

    _, description = checkpoint.load(resume)
    kept = description.get("settings")
    if not isinstance(kept, dict) or set(kept) != set(_SETTINGS) or "training" not in description:
        raise checkpoint.CheckpointError(f"{resume}: holds a model but no training to resume")
    for name in ("epochs", "batch_size"):
        if not isinstance(kept[name], int) or kept[name] < 1:
            raise checkpoint.CheckpointError(f"{resume}: {name} is {kept[name]!r}, not a number")
    if description.get("model") != args.model:
        raise ValueError(f"{resume}: holds {description.get('model')}, not {args.model}")
    for name, value in given.items():
        if kept[name] != value:
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option} {value} differs from {kept[name]}, with which {resume} "
                             "was trained; a resumed run keeps its settings")  # fmt: skip
    return dict(kept), description.get("data_folder")


def _choose_out(args: argparse.Namespace, resume: Path | None) -> Path:
    if args.out is not None:
        out = Path(args.out)
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
    dataset: Any,
    source: str,
    folder: str | None,
    out: Path,
    resume: Path | None,
) -> int:
    import numpy as np

    import striate
    from striate import models, optim, recipes
    from striate.data.dataset import ArraySamples, held_out
    from striate.trainer import Trainer, evaluate
    from striate.trainer.progress import progress

    started = time.perf_counter()
    train, test = dataset
    recipe = recipes.RECIPES[name]
    striate.manual_seed(settings["seed"])
    classes = int(max(train.labels.max(), test.labels.max())) + 1
    model = models.create(name, num_classes=classes)
    optimizer = optim.SGD(
        model.parameters(),
        lr=settings["lr"],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
    )
    samples = ArraySamples(train.images, train.labels, recipe.transform)
    test_samples = ArraySamples(test.images, test.labels, recipe.transform)
    for split in (samples, test_samples):  # what does not fit is said before anything is written
        try:
            model.apply(split[np.arange(1)][0], save=False)
        except ValueError as error:
            raise ValueError(f"{source}: its images do not fit {name} ({error})") from None
    count = len(train.labels) - held_out(len(train.labels), settings["val_fraction"])
    steps = -(-count // settings["batch_size"])
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
            "arguments": {"num_classes": classes},
            "transform": recipe.transform.describe(),
            "classes": [str(i) for i in range(classes)],
            "data_folder": None if folder is None else str(Path(folder).resolve()),
            "data_sha256": fingerprint(train),
            "settings": settings,
        },
        callbacks=[progress(watched)],
    )
    parameters = sum(p.data.size for p in model.parameters())
    print(f"{name}: {parameters:,} parameters, {source}: {len(train.labels):,} training and "
          f"{len(test.labels):,} test images, {striate.get_num_threads()} threads")  # fmt: skip
    print(f"{settings['epochs']} epochs, batches of {settings['batch_size']}, learning rate "
          f"{settings['lr']} ({settings['schedule']}), momentum {settings['momentum']}, "
          f"weight decay {settings['weight_decay']}, seed {settings['seed']}")  # fmt: skip
    trainer.fit(samples, validation=test_samples, resume=resume)
    for note in trainer.notes:
        print(f"note: {note}", file=sys.stderr)
    if trainer.stopped:
        path = shlex.quote(str(out / "checkpoint.safetensors"))
        print(f"stopped after step {trainer.step}; go on with: "
              f"striate train {name} --resume {path}")  # fmt: skip
        return 130
    result = evaluate(model, test_samples)
    seconds = time.perf_counter() - started
    print(f"test accuracy {result.accuracy:.2%} on {result.samples:,} images "
          f"after {seconds:.1f} s; model: {out / 'model.safetensors'}")  # fmt: skip
    return 0


def _schedule(settings: dict[str, Any], optimizer: Any, steps: int) -> Any:
    from striate.optim import lr_scheduler

    kind, epochs = settings["schedule"], settings["epochs"]
    if kind == "one-cycle":
        return lr_scheduler.OneCycleLR(
            optimizer, settings["lr"], total_steps=epochs * steps, cycle_momentum=False
        )
    if kind == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    if kind == "step":
        return lr_scheduler.StepLR(optimizer, step_size=max(1, epochs // 3))
    if kind == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
    return None
