"""Any picture becomes the same RGB pixels as Pillow's; any rubbish becomes one DataError."""

from __future__ import annotations

import copy
import errno
import io
import os
import struct
import threading
import time
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from pictures import jpeg_bytes, photo
from striate.cli import main
from striate.data import DataError, DataNotFoundError, decode, tiles
from striate.data.decode import open_image, read_regions
from striate.data.digits import prepare_digit
from striate.data.flatten import flatten
from striate.data.regions import Region
from striate.data.tiles import opaque


def whole(width: int, height: int) -> list[Region]:
    return [Region((0, 0, width, height), (width, height))]


def read(path: Path) -> np.ndarray:
    """The whole picture, (h, w, 3)."""
    (pixels,) = read_regions(path, whole)
    assert pixels.dtype == np.uint8
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def save(picture: Image.Image, path: Path, **options: object) -> Path:
    picture.save(path, **options)
    return path


def apart(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b).max())


MODES = {
    "png": "1 L P RGB",
    "jpg": "1 L RGB CMYK YCbCr",
    "tif": "1 L P RGB CMYK YCbCr",
    "webp": "1 L P RGB",
    "bmp": "1 L P RGB",
    "gif": "1 L P RGB",
    "ppm": "1 L RGB",
}


@pytest.mark.parametrize("kind", list(MODES))
def test_opaque_modes_are_pillows_rgb(tmp_path: Path, kind: str) -> None:
    for mode in MODES[kind].split():
        path = tmp_path / f"{mode}.{kind}"
        photo("mode", 31, 22, mode).save(path)
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(read(path), expected)


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    values = np.arange(0, 65536, 64, np.uint16).reshape(32, 32)
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        Image.fromarray(values).save(path)
        np.testing.assert_array_equal(read(path)[..., 0], values >> 8)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0], rgba[:2, :, 3], rgba[2:, :2, 3] = 200, 255, 128
    expected = np.full((4, 4, 3), 255)  # nothing of what is hidden
    expected[:2] = (200, 0, 0)
    expected[2:, :2] = (227, 127, 127)
    assert apart(read(save(Image.fromarray(rgba), tmp_path / "rgba.png")), expected) <= 1

    grey = np.dstack([np.full((3, 3), 10), np.eye(3) * 255]).astype(np.uint8)
    path = save(Image.fromarray(grey, "LA"), tmp_path / "la.png")
    np.testing.assert_array_equal(read(path)[..., 1], np.where(np.eye(3) > 0, 10, 255))

    palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    palette.putpalette([9, 8, 7, 60, 50, 40])
    for name, transparency in (("index", 1), ("bytes", b"\xff\x00")):
        path = save(palette, tmp_path / f"{name}.png", transparency=transparency)
        assert read(path)[0, 0].tolist() == [9, 8, 7]
        assert read(path)[0, 1].tolist() == [255, 255, 255]


@given(
    orientation=st.integers(1, 8),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    data=st.data(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exif_turns_upright(
    tmp_path: Path, orientation: int, width: int, height: int, data: st.DataObject
) -> None:
    """A box of the picture as it is stored, turned after scaling, is that of the upright one."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    photo("turned", width, height).save(path, exif=exif.tobytes())
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    left = data.draw(st.integers(0, upright.width - 1))
    upper = data.draw(st.integers(0, upright.height - 1))
    box = (left, upper, data.draw(st.integers(left + 1, upright.width)), upright.height)
    # Not so small that whole blocks are averaged first: they begin at the stored picture's corner.
    size = tuple(data.draw(st.integers((box[i + 2] - box[i]) // 4 + 1, 30)) for i in (0, 1))
    (pixels,) = read_regions(path, lambda w, h: [Region(box, size)])
    assert pixels.shape == (size[1], size[0], 3)
    expected = upright.resize(size, Image.Resampling.BILINEAR, box, 2.0)
    # Lines before columns or the other way round: Pillow rounds between the two.
    assert apart(pixels, np.asarray(expected)) <= (1 if orientation < 5 else 2)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(tmp_path: Path, orientation: int, compression: str) -> None:
    """Pillow turns it itself when it decodes it."""
    path = tmp_path / "turned.tif"
    photo("turned", 21, 12).save(path, compression=compression, tiffinfo={0x0112: orientation})
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    assert upright.size == ((12, 21) if orientation > 4 else (21, 12))
    np.testing.assert_array_equal(read(path), np.asarray(upright))


@pytest.mark.parametrize("times", [1, 1.9, 2, 3.5, 4, 8, 20])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_decoded_no_smaller_than_wanted(
    tmp_path: Path, times: float, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.jpeg"
    path.write_bytes(jpeg_bytes(photo("large", 643, 401, mode)))
    sizes = []
    resize = Image.Image.resize

    def spy(self: Image.Image, *args: object) -> Image.Image:
        sizes.append(self.size)
        return resize(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", spy)
    box, size = (3.0, 1.0, 643.0, 401.0), (int(640 / times), int(400 / times))
    (pixels,) = read_regions(path, lambda w, h: [Region(box, size)])
    reduced = 643 / sizes[0][0]
    assert times / 2 - 0.1 < reduced < times * 1.01 or (times > 16 and reduced > 7.9)
    monkeypatch.undo()
    with Image.open(path) as image:
        full = image.convert("RGB").resize(size, Image.Resampling.BILINEAR, box)
    shown = pixels if pixels.ndim == 3 else pixels[..., None]
    assert apart(shown, np.asarray(full)) <= 10
    assert np.abs(shown - np.asarray(full, float)).mean() < 1.5


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    idat = b"IDAT" + zlib.compress(b"\0" * 100)
    chunk += struct.pack(">I", len(idat) - 4) + idat + struct.pack(">I", zlib.crc32(idat))
    return b"\x89PNG\r\n\x1a\n" + chunk


def rubbish(tmp_path: Path) -> dict[Path, str]:
    """Files that are no pictures, and what is said of them."""
    whole = jpeg_bytes(photo("cut", 300, 200))
    files = {
        "text.jpeg": (b"this is no picture", "not a picture in a format that Pillow reads"),
        "empty.jpeg": (b"", "not a picture: the file is empty"),
        "cut.jpeg": (whole[: len(whole) // 2], "the picture cannot be read (image file is trunc"),
        "head.jpeg": (whole[:30], ""),
        "bomb.png": (png_header(60000, 60000), "the picture is too large, expected at most 89,"),
        "large.png": (png_header(12000, 12000), "the picture is too large, expected at most 89,"),
        "cut.png": (png_header(100, 100), ""),
        "script.jpeg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture in"),
    }
    for name, (content, _) in files.items():
        (tmp_path / name).write_bytes(content)
    return {tmp_path / name: what for name, (_, what) in files.items()}


def test_rubbish_is_a_data_error_with_its_path(tmp_path: Path) -> None:
    for path, what in rubbish(tmp_path).items():
        with pytest.raises(DataError) as caught:
            read_regions(path, whole)
        assert str(caught.value).startswith(f"{path}: {what}")
    with pytest.raises(DataNotFoundError, match="there is no such file"):
        read_regions(tmp_path / "none.png", whole)
    (tmp_path / "dangling.png").symlink_to(tmp_path / "none.png")
    with pytest.raises(DataNotFoundError):
        read_regions(tmp_path / "dangling.png", whole)
    with pytest.raises(DataError, match="this is a folder"):
        read_regions(tmp_path, whole)
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for a writer
    with pytest.raises(DataError, match="not a regular file"):
        read_regions(tmp_path / "pipe.png", whole)


def test_corrupt_exif_data_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    digit = Image.fromarray(np.pad(np.full((14, 2), 255, np.uint8), 8))
    digit.save(path, exif=b"Exif\0\0" + bytes(20))
    with Image.open(path) as picture, pytest.raises(SyntaxError):
        picture.getexif()
    np.testing.assert_array_equal(read(path)[..., 0], np.asarray(digit))
    assert prepare_digit(open_image(path))[0].any()
    assert main(["filter", str(path), "--kernel", "sharpen", "-o", str(tmp_path / "y.png")]) == 0


def test_a_palette_that_is_too_short_is_found_when_it_is_used(tmp_path: Path) -> None:
    """Pillow decodes such a GIF or PNG, and refuses to convert it."""
    path = Path(__file__).parent / "fuzz/corpus/picture/more-transparencies-than-colours"
    for prepare in (lambda: prepare_digit(open_image(path)), lambda: read(path)):
        with pytest.raises(DataError, match="the picture cannot be .* .palette index out of range"):
            prepare()
    assert main(["filter", str(path), "--kernel", "sharpen", "-o", str(tmp_path / "y.png")]) == 2


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


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(photo("x", 5, 5), tmp_path / "secret.png")

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("striate.data.idx.open", refuse, raising=False)
    with pytest.raises(DataError, match="secret.png: .* cannot be read .Permission denied"):
        read_regions(path, whole)


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


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {"jpeg": jpeg_bytes(photo("fuzz", 40, 30), exif=exif.tobytes(), progressive=True)}
    for kind, mode in (("png", "P"), ("tiff", "RGB"), ("webp", "RGBA"), ("gif", "P"),
                       ("bmp", "RGB"), ("ppm", "RGB")):  # fmt: skip
        file = io.BytesIO()
        photo("fuzz", 40, 30, mode).save(file, kind)
        files[kind] = file.getvalue()
    return files


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp", "gif", "bmp", "ppm"])
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], originals: dict[str, bytes], kind: str,
    data: st.DataObject,
) -> None:  # fmt: skip
    """Pixels or a DataError; warnings are errors here, and none gets out, nor a word to stderr."""
    content = bytearray(originals[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        # Headers are where a lie does most.
        last = len(content) - 1
        at = data.draw(st.integers(0, min(200, last)) | st.integers(0, last))
        content[at] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged.{kind}"
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, 2 * len(content)))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = f"{path}: "
        try:
            (pixels,) = read_regions(path, lambda w, h: [Region((0, 0, w, h), (8, 8))])
            assert pixels.shape[:2] == (8, 8)
        except DataError as error:
            said = str(error)
    assert said.startswith(f"{path}: ")
    if kind != "tiff":  # libtiff itself may write there
        assert capfd.readouterr().err == ""


def test_warnings_stay_inside_and_filters_stay_as_they_were(tmp_path: Path) -> None:
    """Also with several threads inside at once, of which the last to leave came first."""
    path = tmp_path / "large.png"
    path.write_bytes(png_header(12000, 12000))  # Pillow warns of it
    first, second = threading.Event(), threading.Event()

    def choose(width: int, height: int) -> list[Region]:
        first.set()
        second.wait(10)
        return whole(width, height)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        thread = threading.Thread(
            target=read_regions, args=(save(photo("x", 9, 9), tmp_path / "x.png"), choose)
        )
        thread.start()
        first.wait(10)
        for _ in range(3):
            with pytest.raises(DataError, match="too large"):
                read_regions(path, whole)
        assert len(warnings.filters) == len(before) + 1
        second.set()
        thread.join()
        assert warnings.filters == before
        warnings.warn("of the user's", stacklevel=1)
    assert [str(w.message) for w in caught] == ["of the user's"]


def test_open_image_decodes_whole_and_says_why_not(tmp_path: Path) -> None:
    picture = open_image(save(photo("x", 9, 7), tmp_path / "x.png"))
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(photo("x", 9, 7)))
    for path in rubbish(tmp_path):
        script = path.name == "script.jpeg"  # Pillow would hand it to Ghostscript
        with pytest.raises(DataError, match=f"{path}: {'not a picture' if script else ''}"):
            open_image(path)


def test_a_format_that_is_registered_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a plugin for HEIF does, perhaps after the first picture was opened."""
    save(photo("x", 8, 6), tmp_path / "x.png")
    open_image(tmp_path / "x.png")

    class Picture(ImageFile.ImageFile):
        format = "LATE"

        def _open(self) -> None:
            self._size, self._mode = (3, 2), "L"
            self.tile = [ImageFile._Tile("raw", (0, 0, 3, 2), 4, ("L", 0, 1))]

    for name in ("OPEN", "ID"):
        monkeypatch.setattr(Image, name, copy.copy(getattr(Image, name)))
    Image.register_open("LATE", Picture, lambda prefix: prefix.startswith(b"LATE"))
    (tmp_path / "x.late").write_bytes(b"LATE" + bytes(6))
    assert open_image(tmp_path / "x.late").size == (3, 2)


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
            list(pool.map(read, [tmp_path / "x.png"] * 8))
        assert (max(most) == 1) == one_at_a_time
