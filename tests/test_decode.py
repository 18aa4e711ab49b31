"""Any picture becomes the same RGB pixels as Pillow's."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from pictures import jpeg_bytes, photo, read_rgb, save
from striate.data.decode import open_image, read_regions
from striate.data.regions import Region


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
        np.testing.assert_array_equal(read_rgb(path), expected)


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    values = np.arange(0, 65536, 64, np.uint16).reshape(32, 32)
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        Image.fromarray(values).save(path)
        np.testing.assert_array_equal(read_rgb(path)[..., 0], values >> 8)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0], rgba[:2, :, 3], rgba[2:, :2, 3] = 200, 255, 128
    expected = np.full((4, 4, 3), 255)  # nothing of what is hidden
    expected[:2] = (200, 0, 0)
    expected[2:, :2] = (227, 127, 127)
    assert apart(read_rgb(save(Image.fromarray(rgba), tmp_path / "rgba.png")), expected) <= 1

    grey = np.dstack([np.full((3, 3), 10), np.eye(3) * 255]).astype(np.uint8)
    path = save(Image.fromarray(grey, "LA"), tmp_path / "la.png")
    np.testing.assert_array_equal(read_rgb(path)[..., 1], np.where(np.eye(3) > 0, 10, 255))

    palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    palette.putpalette([9, 8, 7, 60, 50, 40])
    for name, transparency in (("index", 1), ("bytes", b"\xff\x00")):
        path = save(palette, tmp_path / f"{name}.png", transparency=transparency)
        assert read_rgb(path)[0, 0].tolist() == [9, 8, 7]
        assert read_rgb(path)[0, 1].tolist() == [255, 255, 255]


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
    np.testing.assert_array_equal(read_rgb(path), np.asarray(upright))


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
