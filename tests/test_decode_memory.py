"""Decoding takes the memory that a picture's size justifies; where there is less, that is said."""

from __future__ import annotations

import errno
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pictures import photo, read_rgb, save, whole
from striate.data import DataError, decode, tiles
from striate.data.decode import open_image, read_regions
from striate.data.flatten import flatten
from striate.data.tiles import opaque


def test_a_length_in_a_file_allocates_nothing(tmp_path: Path) -> None:
    """The box of a JPEG 2000 that says to be 4 GB long; Pillow asks the file for as much."""
    path = tmp_path / "long.jp2"
    box = b"\xff\xff\xff\xf0" + b"jp2h"
    path.write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 " + box)
    for read in (lambda: read_regions(path, whole), lambda: open_image(path)):
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match=f"{path}: the picture cannot be read"):
                read()
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


def test_what_the_machine_is_short_of_makes_no_picture_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that cannot be read is left out of the training, and a good one must not be."""
    path = save(photo("x", 5, 5), tmp_path / "x.png")
    for where in ("PIL.ImageFile.ImageFile.load", "PIL.PngImagePlugin.PngImageFile.getexif"):
        for told, expected in (("100 bytes", "100 bytes"), ("", "there is not enough to decode")):

            def short(*_: Any, told: str = told, **__: Any) -> None:
                raise MemoryError(told)

            with monkeypatch.context() as patch:
                patch.setattr(where, short)
                with pytest.raises(MemoryError, match=f"x.png: {expected}"):
                    read_regions(path, whole)

    def refuse(*args: object, **options: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr("striate.data.idx.open", refuse, raising=False)
    with pytest.raises(OSError, match="x.png: cannot be read .Too many open files"):
        read_regions(path, whole)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "1", "CMYK", "I;16", "I", "F"])
@pytest.mark.parametrize("pixels", [50, 200])  # tiles within a row, and of two rows
def test_large_pictures_are_converted_tile_by_tile(
    monkeypatch: pytest.MonkeyPatch, kind: str, pixels: int
) -> None:
    """Whole, a picture of as many pixels as Pillow opens took 1.1 GB; in tiles it is held twice."""
    picture = photo("tiles", 70, 45).convert({"P": "RGBA", "I;16": "I"}.get(kind, kind))
    if kind == "P":
        picture = picture.convert("RGB").convert("P")
        picture.info["transparency"] = bytes(range(256))
    elif "A" in kind:
        picture.putalpha(photo("alpha", 70, 45, "L"))
    elif kind == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 200)
    whole_notes: list[str] = []
    expected = opaque(picture), flatten(picture, whole_notes)
    sizes = []

    def seen(convert: Any) -> Any:
        return lambda tile: sizes.append(tile.width * tile.height) or convert(tile)

    monkeypatch.setattr(tiles, "_PIXELS", pixels)
    by_tiles = tiles.by_tiles
    spied = lambda image, mode, convert: by_tiles(image, mode, seen(convert))  # noqa: E731
    monkeypatch.setattr(tiles, "by_tiles", spied)
    monkeypatch.setattr("striate.data.flatten.by_tiles", spied)
    notes: list[str] = []
    for got, wanted in zip((opaque(picture), flatten(picture, notes)), expected):
        assert got.mode == wanted.mode
        np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted))
    assert notes == whole_notes
    assert max(sizes) <= pixels


def test_large_pictures_are_decoded_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "x.png")
    inside, most = [], []

    def slow(image: Any) -> Any:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return opaque(image)

    monkeypatch.setattr(decode, "opaque", slow)
    for limit, one_at_a_time in ((40 * 40, False), (40 * 40 - 1, True)):
        monkeypatch.setattr(decode, "_LARGE", limit)
        most.clear()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(read_rgb, [tmp_path / "x.png"] * 8))
        assert (max(most) == 1) == one_at_a_time
