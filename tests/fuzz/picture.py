"""Pictures of any format: regions of them, digits in them, and what filters take."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import subprocess
import warnings
import zlib
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
from PIL import EpsImagePlugin, Image

from fuzz.limits import folder, one_sentence
from striate.cli.filter import _to_8_bits_a_channel
from striate.data import ImageTransform
from striate.data.decode import open_image, picture_errors
from striate.data.digits import prepare_digit
from striate.data.idx import DataError

# Fewer than Pillow opens, so that an input takes milliseconds; memory is measured by the pixel.
_PIXELS = 1 << 21

# Decoded in 4 bytes a pixel, made opaque in 4 more, and what a strip, a filter or a resize takes.
_A_PIXEL = 12
_TEXT = 64 << 20  # what Pillow unpacks of a PNG's compressed text and profiles
_COMPRESSED = (b"iCCP", b"zTXt", b"iTXt")
_PNG = b"\x89PNG\r\n\x1a\n"
_EVALUATE = ImageTransform(augment="none", resize=9, crop=8)
_AUGMENTED = [
    ImageTransform(augment=how, resize=9, crop=8) for how in ("random-resized-crop", "crop")
]


@contextlib.contextmanager
def _open(data: bytes) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data)) as image:
            yield image


def memory(data: bytes) -> int:
    try:
        with _open(data) as image:
            pixels = image.width * image.height
    except Exception:  # Pillow raises anything
        pixels = 0
    text = _TEXT if any(kind in data for kind in _COMPRESSED) else 0
    return _A_PIXEL * min(pixels, _PIXELS) + text + 64 * len(data)


@mock.patch.object(Image, "MAX_IMAGE_PIXELS", _PIXELS)
@mock.patch.object(EpsImagePlugin, "gs_binary", None)  # Ghostscript: not looked for yet
def check(data: bytes) -> None:
    with mock.patch.object(subprocess, "Popen", side_effect=FileNotFoundError) as started:
        _check(data)
    assert not started.called, "a program was run for a picture"


def _check(data: bytes) -> None:
    path = folder() / "picture"
    path.write_bytes(data)
    out = np.empty((3, 8, 8), np.float32)
    generator = np.random.default_rng(0)
    try:
        _EVALUATE.evaluate(path, out)
        for transform in _AUGMENTED:
            transform.augmented(path, out, generator)
        assert np.isfinite(out).all()
    except DataError as error:
        one_sentence(error, path)
    try:
        picture = open_image(path)
    except DataError as error:
        one_sentence(error, path)
        return
    try:
        digit, _ = prepare_digit(picture)
    except DataError:
        pass  # blank
    else:
        assert digit.shape == (28, 28)
        assert digit.dtype == np.uint8
    try:
        with picture_errors(path):
            picture = _to_8_bits_a_channel(picture, path)
    except DataError as error:
        one_sentence(error, path)
    else:
        assert np.asarray(picture).dtype == np.uint8


def mutate(data: bytes, generator: random.Random, bend: Callable[[bytes], bytes]) -> bytes:
    """Changes a PNG's chunks, or its pixels, and sums them up again; saves in another format."""
    if not data.startswith(_PNG):
        return _saved_anew(data, generator)
    chunks = list(_chunks(data))
    if not chunks:
        return b""
    at = generator.randrange(len(chunks))
    kind, content = chunks[at]
    way = generator.randrange(6)
    if way == 0:
        chunks.insert(at, chunks[generator.randrange(len(chunks))])
    elif way == 1:
        del chunks[at]
    elif way == 2:
        other = generator.choice((b"tRNS", b"PLTE", b"eXIf", b"iCCP", b"zTXt", b"iTXt", b"acTL"))
        chunks.insert(min(1, at), (other, bend(content)))
    elif kind in (b"IDAT", b"zTXt", b"iCCP"):
        try:
            held = zlib.decompressobj().decompress(content, 1 << 16)
        except zlib.error:
            held = content
        chunks[at] = kind, zlib.compress(bend(held))
    else:
        chunks[at] = kind, bend(content)
    packed = [
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]  # fmt: skip
    return _PNG + b"".join(packed)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    at, chunks = len(_PNG), []
    while at + 8 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return chunks


def _saved_anew(data: bytes, generator: random.Random) -> bytes:
    encoded = io.BytesIO()
    kind = generator.choice(("PNG", "TIFF", "GIF", "BMP", "JPEG", "WEBP", "PPM", "TGA", "ICO"))
    mode = generator.choice(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "F", "I"))
    try:
        with _open(data) as image:
            image.thumbnail((64, 64))
            image.convert(mode).save(encoded, kind)
    except Exception:  # not every format has every mode
        return b""
    return encoded.getvalue()
