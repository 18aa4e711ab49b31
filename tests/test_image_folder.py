"""ImageFolder: what it finds, in which order, what it calls it, what it leaves out."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from striate.data import DataError, DataNotFoundError, ImageFolder, ImageTransform
from striate.data.listing import IMG_EXTENSIONS, Paths

TRANSFORM = ImageTransform("none", 16, 16)


def make(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_names_in_a_pipe_are_not_waited_for(tmp_path: Path) -> None:
    make(tmp_path, "train/a/x.jpg")
    os.mkfifo(tmp_path / "classes.json")
    folder = ImageFolder(tmp_path / "train", TRANSFORM)
    assert folder.class_names == ["a"]
    assert "classes.json: is no JSON object of names" in folder.notes[0]


def test_a_folder_with_many_ways_to_it_is_listed_once(tmp_path: Path) -> None:
    """Of two links at each of 12 levels, 4,096 ways lead to the last: by one of them."""
    make(tmp_path, "train/a/x.jpg", *(f"levels/{level}/y.jpg" for level in range(12)))
    (tmp_path / "train/a/deep").symlink_to(tmp_path / "levels/0")
    for level in range(11):
        for name in ("left", "right"):
            (tmp_path / f"levels/{level}/{name}").symlink_to(tmp_path / f"levels/{level + 1}")
    assert [path for path, _ in found(ImageFolder(tmp_path / "train", TRANSFORM))] == [
        "a/x.jpg", *(f"a/deep/{'left/' * level}y.jpg" for level in range(12)),
    ]  # fmt: skip


def found(folder: ImageFolder) -> list[tuple[str, int]]:
    return [(os.path.relpath(path, folder.root), label) for path, label in folder.samples]


def test_torchvisions_convention(tmp_path: Path) -> None:
    """Any case, nested folders after a folder's own files, links, nothing else."""
    make(tmp_path, "train/b/2.JPEG", "train/b/10.png", "train/b/deep/er/0.webp", "train/b/A/1.Tif",
         "train/a/x.jpg", "train/a/notes.txt", "train/a/x.npy", "train/.git/y.jpg",
         "train/a/._x.jpg", "train/readme.png", "elsewhere/z.bmp")  # fmt: skip
    (tmp_path / "train/c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train/a/gone.png").symlink_to(tmp_path / "nothing")  # found out when it is read
    (tmp_path / "train/b/deep/loop").symlink_to(tmp_path / "train/b")
    (tmp_path / "train/a/self.jpg").symlink_to("self.jpg")
    (tmp_path / "train/self").symlink_to("self")
    folder = ImageFolder(tmp_path / "train", TRANSFORM)
    assert folder.classes == folder.class_names == ["a", "b", "c"]
    assert folder.class_to_idx == {"a": 0, "b": 1, "c": 2}
    assert found(folder) == [
        ("a/gone.png", 0), ("a/self.jpg", 0), ("a/x.jpg", 0), ("b/10.png", 1), ("b/2.JPEG", 1),
        ("b/A/1.Tif", 1), ("b/deep/er/0.webp", 1), ("c/z.bmp", 2),
    ]  # fmt: skip
    assert folder.labels.dtype == np.int64
    assert len(folder) == len(folder.paths) == 8
    assert folder.notes == []


def test_the_order_is_not_the_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"train/{c}/{n}/{i}.png" for c in "ba" for n in "yx" for i in (3, 1, 2)]
    make(tmp_path, *names)
    expected = ImageFolder(tmp_path / "train", TRANSFORM).samples
    scandir = os.scandir

    class Reversed:
        def __init__(self, path: Any) -> None:
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> Any:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    assert ImageFolder(tmp_path / "train", TRANSFORM).samples == expected
    assert expected == sorted(expected)


def test_every_extension(tmp_path: Path) -> None:
    make(tmp_path, *(f"a/x{kind.upper() if i % 2 else kind}" for i, kind in
                     enumerate(IMG_EXTENSIONS)))  # fmt: skip
    assert len(ImageFolder(tmp_path, TRANSFORM)) == len(IMG_EXTENSIONS)


def test_no_file_is_opened_or_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *(f"{c}/{i}.png" for c in "ab" for i in range(50)))
    stats: list[Any] = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda *a, **k: stats.append(a) or stat(*a, **k))
    assert len(ImageFolder(tmp_path, TRANSFORM)) == 100
    assert len(stats) <= 3  # of folders


@pytest.mark.slow
def test_a_hundred_thousand_files_open_within_two_seconds(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = tmp_path / "a" / "first.jpeg"
    first.touch()
    for i in range(100_000):  # links are made faster than files
        try:
            os.link(first, tmp_path / "ab"[i % 2] / f"n0144076{i}_{i:06}.JPEG")
        except OSError:  # this file system has a limit on them
            (tmp_path / "ab"[i % 2] / f"n0144076{i}_{i:06}.JPEG").touch()
    started, cpu = time.perf_counter(), time.process_time()
    folder = ImageFolder(tmp_path, TRANSFORM)
    assert min(time.perf_counter() - started, time.process_time() - cpu) < 2
    assert len(folder) == 100_001
    assert len(folder.paths.blob) < 100_001 * 40


def test_names_from_classes_json(tmp_path: Path) -> None:
    make(tmp_path, "train/n01/x.png", "train/n02/x.png", "train/n03/x.png", "train/n04/x.png")
    names = {"n01": "tench", "n02": 3, "n03": "\x1b[2J", "n09": "church"}
    (tmp_path / "classes.json").write_text(json.dumps(names))
    folder = ImageFolder(tmp_path / "train", TRANSFORM)
    assert folder.class_names == ["tench", "n02", "n03", "n04"]
    assert folder.classes == ["n01", "n02", "n03", "n04"]
    assert folder.notes == []
    for content in ("[1, 2]", "{", "\xff"):
        (tmp_path / "classes.json").write_text(content, encoding="latin-1")
        folder = ImageFolder(tmp_path / "train", TRANSFORM)
        assert folder.class_names == folder.classes
        assert "classes.json: is no JSON object of names" in folder.notes[0]
        with pytest.raises(DataError, match="is no JSON object of names"):
            ImageFolder(tmp_path / "train", TRANSFORM, strict=True)


def test_classes_of_the_training_set(tmp_path: Path) -> None:
    """Missing ones keep their number; unknown and empty ones are named, or refused."""
    make(tmp_path, "b/1.png", "d/1.png", "zebra/1.png", "zebra/2.png", "yak/1.png", "empty/x.txt")
    folder = ImageFolder(tmp_path, TRANSFORM, classes=["a", "b", "c", "d"])
    assert found(folder) == [("b/1.png", 1), ("d/1.png", 3)]
    assert folder.classes == ["a", "b", "c", "d"]
    assert folder.unknown == ["yak", "zebra"]
    assert folder.notes == [
        f"{tmp_path}: 1 folder without a picture: 'empty'; left out",
        f"{tmp_path}: 2 folders of no class of the training set, 3 pictures: 'yak', 'zebra'; "
        "left out",
    ]
    with pytest.raises(DataError, match="1 folder without a picture: 'empty'"):
        ImageFolder(tmp_path, TRANSFORM, strict=True)
    (tmp_path / "empty" / "1.png").touch()
    with pytest.raises(DataError, match="3 folders of no class of the training set, 4 pictures"):
        ImageFolder(tmp_path, TRANSFORM, classes=["b", "d"], strict=True)


def test_refuses_folders(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="nowhere: there is no such folder"):
        ImageFolder(tmp_path / "nowhere", TRANSFORM)
    make(tmp_path, "file", "flat/1.png", "empty/a/x.txt", "other/b/1.png")
    with pytest.raises(DataError, match=r"file: cannot be listed \(Not a directory\)"):
        ImageFolder(tmp_path / "file", TRANSFORM)
    for name in ("flat", "empty"):
        with pytest.raises(DataError, match=f"{name}: holds no pictures in folders of classes"):
            ImageFolder(tmp_path / name, TRANSFORM)
    with pytest.raises(DataError, match="other: holds no pictures of the classes 'a'"):
        ImageFolder(tmp_path / "other", TRANSFORM, classes=["a"])
    with pytest.raises(ValueError, match="num_workers must be between 0 and"):
        ImageFolder(tmp_path / "other", TRANSFORM, num_workers=-1)
    with pytest.raises(TypeError, match="num_workers must be an integer"):
        ImageFolder(tmp_path / "other", TRANSFORM, num_workers=1.5)  # type: ignore[arg-type]


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    """They are read as any other, and said so that a terminal can show it."""
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes Unicode only")
    for name in (b"/bad\x1b[2J.png", b"/\xff.png"):
        with open(folder + name, "wb"):
            pass
    samples = ImageFolder(tmp_path, TRANSFORM, num_workers=0)
    assert [os.fsencode(path) for path in samples.paths] == [
        folder + b"/bad\x1b[2J.png", folder + b"/\xff.png"
    ]  # fmt: skip
    (batch,) = samples.batches([np.arange(2)])
    for sentence in batch.skipped:
        assert sentence.isprintable()
        assert "the file is empty" in sentence


def test_fingerprint(tmp_path: Path) -> None:
    def fingerprint(*files: str) -> str:
        root = make(tmp_path / str(len(os.listdir(tmp_path))), *files)
        return ImageFolder(root, TRANSFORM).fingerprint()

    first = fingerprint("a/1.png", "b/1.png")
    assert first == fingerprint("a/1.png", "b/1.png")  # wherever it is
    others = [
        fingerprint("a/1.png", "c/1.png"), fingerprint("a/1.png", "b/2.png"),
        fingerprint("a/1.png", "b/1.png", "b/2.png"), fingerprint("a/1.png", "a/b/1.png"),
    ]  # fmt: skip
    assert len({first, *others}) == 5


def test_paths() -> None:
    relative = ["a/1.png", "b/ü 2.png", "c/3.png"]
    paths = Paths(Path("/root"), relative)
    assert list(paths) == [f"/root/{path}" for path in relative]
    assert paths[-1] == "/root/c/3.png"
    assert paths[1:] == ["/root/b/ü 2.png", "/root/c/3.png"]
    for index in (3, -4):
        with pytest.raises(IndexError):
            paths[index]
