"""ImageFolder: pictures in a folder for each class, in torchvision's convention."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from striate._text import printable
from striate.data.dataset import Batch, Draw, Indices
from striate.data.idx import DataError, open_file
from striate.data.listing import Paths, scan
from striate.data.loader import Job, look_ahead, prefetch
from striate.data.pipeline import ImageTransform
from striate.functional._arguments import Array, integer

_TASK = 8  # pictures that a worker takes at a time
_NAMES = "classes.json"
_MOST_NAMES = 1 << 24  # bytes of a classes.json that is worth reading


class ImageFolder:
    """The pictures ``root/<class>/**/*`` with an extension of IMG_EXTENSIONS, in any case.

    Samples (see striate.data.dataset) whose inputs ``transform`` makes, by ``num_workers`` threads
    ahead of the reader (0: by the reader; default: as many as Striate computes with). They are in
    the order of their paths; names that begin with a dot are passed over, links are followed.
    Opening it opens and stats no file: what cannot be read is found when it is wanted, and then
    left out of its batch with a sentence, or with ``strict`` raised.

    ``classes``: the folders that count as 0, 1, ... (of the training set); by default all that hold
    pictures, in order. ``class_names`` are those names, or what a ``classes.json`` beside ``root``
    (an object from folder to name) calls them. ``notes`` says what was left out: folders without
    a picture, folders that are not in ``classes`` (``unknown``); ``strict`` refuses them.

    ``ten_crop``: ten crops a picture, (n, 10, 3, H, W), where nothing is augmented.

    Raises DataError if there is no picture, DataNotFoundError if there is no folder.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: ImageTransform,
        classes: Sequence[str] | None = None,
        strict: bool = False,
        num_workers: int | None = None,
        ten_crop: bool = False,
    ) -> None:
        if num_workers is not None:
            integer(num_workers, "ImageFolder", "num_workers")
        self.root, self.transform, self.strict = Path(root), transform, strict
        self.num_workers, self.ten_crop = num_workers, ten_crop
        self.notes: list[str] = []
        found = scan(self.root)
        empty = [name for name, files in found if not files]
        self._leave_out("without a picture", empty)
        if classes is None:
            classes = [name for name, files in found if files]
        self.classes = list(classes)
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        unknown = [name for name, files in found if files and name not in self.class_to_idx]
        count = sum(len(files) for name, files in found if name not in self.class_to_idx)
        self.unknown = unknown
        pictures = "1 picture" if count == 1 else f"{count:,} pictures"
        self._leave_out(f"of no class of the training set, {pictures}", unknown)
        known = [(name, files) for name, files in found if files and name in self.class_to_idx]
        if not known:
            few = ", ".join(repr(name) for name in self.classes[:5])
            what = f"of the classes {few}" if self.classes else "in folders of classes"
            raise DataError(f"{self.root}: holds no pictures {what}")
        self.paths = Paths(self.root, [f"{name}/{file}" for name, files in known for file in files])
        self.labels = np.repeat(
            np.array([self.class_to_idx[name] for name, _ in known], np.int64),
            [len(files) for _, files in known],
        )
        names = self._read_names()
        self.class_names = [names.get(name, name) for name in self.classes]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Indices) -> tuple[Array, Indices]:
        """(inputs, labels) as evaluation sees them. Raises DataError, also if not ``strict``."""
        inputs = np.empty((len(indices), *self.input_shape), np.float32)
        for index, out in zip(indices, inputs):
            self._make(int(index), out, None)
        return inputs, self.labels[indices]

    @property
    def samples(self) -> list[tuple[str, int]]:
        """(path, label) of every picture, as torchvision has it; made when asked for."""
        return list(zip(self.paths, self.labels.tolist()))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of what evaluation gets of one picture."""
        return (10, *self.transform.shape) if self.ten_crop else self.transform.shape

    @property
    def workers(self) -> int:
        """Threads that decode: ``num_workers``, or as many as Striate computes with."""
        from striate import get_num_threads

        return get_num_threads() if self.num_workers is None else self.num_workers

    def batches(self, todo: Sequence[Indices], draw: Draw | None = None) -> Iterator[Batch]:
        """The batches whose indices ``todo`` lists, made ahead; see striate.data.dataset.batches.

        The same for any number of workers. Raises DataError with ``strict``.
        """
        shape = self.transform.shape if draw is not None else self.input_shape

        def jobs() -> Iterator[Job[tuple[Indices, Array], list[_Skipped]]]:
            for indices in todo:
                inputs = np.empty((len(indices), *shape), np.float32)
                starts = range(0, len(indices), _TASK)
                yield Job(
                    (indices, inputs),
                    [partial(self._read, indices, inputs, start, draw) for start in starts],
                )

        largest = max((len(indices) for indices in todo), default=0)
        ahead = look_ahead(-(-largest // _TASK), 4 * largest * int(np.prod(shape)), self.workers)
        with closing(prefetch(jobs(), self.workers, ahead)) as stream:
            for (indices, inputs), results in stream:
                labels = self.labels[indices]
                skipped = [one for result in results for one in result]
                if skipped:
                    kept = np.ones(len(indices), bool)
                    kept[[row for row, _ in skipped]] = False
                    inputs, labels = inputs[kept], labels[kept]
                yield Batch(inputs, labels, [why for _, why in skipped])

    def _read(
        self, indices: Indices, inputs: Array, start: int, draw: Draw | None
    ) -> list[_Skipped]:
        skipped = []
        for row in range(start, min(start + _TASK, len(indices))):
            try:
                self._make(int(indices[row]), inputs[row], draw)
            except DataError as error:
                if self.strict:
                    raise
                skipped.append(_Skipped(row, printable(str(error))))
        return skipped

    def _make(self, index: int, out: Array, draw: Draw | None) -> None:
        path = self.paths[index]
        if draw is not None:
            self.transform.augmented(path, out, draw.generator(index))
        elif self.ten_crop:
            self.transform.ten_crops(path, out)
        else:
            self.transform.evaluate(path, out)

    def fingerprint(self) -> str:
        """SHA-256 over the classes and every picture's path below ``root`` and label."""
        digest = hashlib.sha256("\0".join([*self.classes, ""]).encode("utf-8", "surrogateescape"))
        digest.update(self.paths.blob)
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    # --- what a person is told -------------------------------------------------------------------

    def _leave_out(self, what: str, names: list[str]) -> None:
        if not names:
            return
        shown = ", ".join(repr(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
        folders = "1 folder" if len(names) == 1 else f"{len(names)} folders"
        text = f"{self.root}: {folders} {what}: {shown}"
        if self.strict:
            raise DataError(text)
        self.notes.append(f"{text}; left out")

    def _read_names(self) -> dict[str, str]:
        path = Path(os.path.abspath(self.root)).parent / _NAMES
        try:
            with open_file(path) as file:
                names = json.loads(file.read(_MOST_NAMES))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            names = None
        if not isinstance(names, dict):
            self._leave_out_names(path)
            return {}
        return {k: v for k, v in names.items() if isinstance(v, str) and v.isprintable()}

    def _leave_out_names(self, path: Path) -> None:
        text = f"{path}: is no JSON object of names, so classes are called by their folders"
        if self.strict:
            raise DataError(text)
        self.notes.append(text)


class _Skipped(NamedTuple):
    row: int
    why: str
