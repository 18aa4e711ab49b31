"""Any rubbish becomes one DataError that names it; what can be read in spite of damage is read."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pictures import jpeg_bytes, photo, read_rgb, save, whole
from striate.cli import main
from striate.data import DataError, DataNotFoundError
from striate.data.decode import open_image, read_regions
from striate.data.digits import prepare_digit
from striate.data.regions import Region


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


def iptc(content: bytes) -> bytes:
    """An IPTC file that says to be a JPEG of one pixel and holds ``content``."""

    def field(record: int, dataset: int, data: bytes) -> bytes:
        return struct.pack(">BBBH", 0x1C, record, dataset, len(data)) + data

    one = struct.pack(">H", 1)
    head = field(3, 60, b"\1\0") + field(3, 65, b"\0") + field(3, 20, one) + field(3, 30, one)
    return head + field(3, 120, b"\5") + field(8, 10, content)


def test_no_program_is_run_for_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow runs Ghostscript on an EPS file, and on one inside an IPTC file."""
    file = io.BytesIO()
    photo("x", 9, 7, "RGB").save(file, "EPS")
    started: list[object] = []

    def start(*command: object, **_: object) -> None:
        started.append(command)
        raise FileNotFoundError("gs")

    monkeypatch.setattr(subprocess, "Popen", start)
    path = tmp_path / "x.jpeg"
    for content in (file.getvalue(), iptc(file.getvalue())):
        path.write_bytes(content)
        monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # not looked for yet
        with pytest.raises(OSError, match="Ghostscript"), Image.open(path) as picture:
            picture.load()
        assert started.pop()
        monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
        for read in (lambda: read_regions(path, whole), lambda: open_image(path)):
            with pytest.raises(DataError, match="not a picture in a format that Pillow reads"):
                read()
        assert not started


def test_open_image_decodes_whole_and_says_why_not(tmp_path: Path) -> None:
    picture = open_image(save(photo("x", 9, 7), tmp_path / "x.png"))
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(photo("x", 9, 7)))
    for path in rubbish(tmp_path):
        script = path.name == "script.jpeg"  # Pillow would hand it to Ghostscript
        with pytest.raises(DataError, match=f"{path}: {'not a picture' if script else ''}"):
            open_image(path)


def test_corrupt_exif_data_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    digit = Image.fromarray(np.pad(np.full((14, 2), 255, np.uint8), 8))
    digit.save(path, exif=b"Exif\0\0" + bytes(20))
    with Image.open(path) as picture, pytest.raises(SyntaxError):
        picture.getexif()
    np.testing.assert_array_equal(read_rgb(path)[..., 0], np.asarray(digit))
    assert prepare_digit(open_image(path))[0].any()
    assert main(["filter", str(path), "--kernel", "sharpen", "-o", str(tmp_path / "y.png")]) == 0


def test_a_palette_that_is_too_short_is_found_when_it_is_used(tmp_path: Path) -> None:
    """Pillow decodes such a GIF or PNG, and refuses to convert it."""
    path = Path(__file__).parent / "fuzz/corpus/picture/more-transparencies-than-colours"
    for prepare in (lambda: prepare_digit(open_image(path)), lambda: read_rgb(path)):
        with pytest.raises(DataError, match="the picture cannot be .* .palette index out of range"):
            prepare()
    assert main(["filter", str(path), "--kernel", "sharpen", "-o", str(tmp_path / "y.png")]) == 2


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(photo("x", 5, 5), tmp_path / "secret.png")

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("striate.data.idx.open", refuse, raising=False)
    with pytest.raises(DataError, match="secret.png: .* cannot be read .Permission denied"):
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
