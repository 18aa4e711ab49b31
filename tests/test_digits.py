"""prepare_digit on pictures made from MNIST digits, so that the right answer is known."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, PngImagePlugin

from striate.data import DataError, DataNotFoundError, Dataset, mnist
from striate.data.digits import open_image, prepare_digit

INVERTED = "inverted: dark digit on a light background"


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return mnist()


def coverage(
    digit: np.ndarray, height: int, size: tuple[int, int], at: tuple[int, int]
) -> np.ndarray:
    """Ink in 0..1, (H, W): the digit, its 20x20 box blown up to ``height``, its corner at x, y."""
    side = height * 28 // 20
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    page = Image.new("L", size)
    page.paste(large, at)
    return np.asarray(page, np.float64) / 255


def photograph(ink: np.ndarray, rng: np.random.Generator, board: bool = False) -> Image.Image:
    """Pen on paper (or chalk on a board) lit from a random side, with a camera's noise."""
    height, width = ink.shape
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    slope = np.cos(angle) * x + np.sin(angle) * y
    light = 240 - 120 * (slope - slope.min()) / np.ptp(slope)
    reflected = 0.25 + 0.6 * ink if board else 1 - 0.75 * ink
    noisy = light * reflected + rng.normal(0, 15, ink.shape)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation, at the best of nine shifts: a centre of mass near x.5 may round either way."""
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return max(np.corrcoef(np.roll(a, s, (0, 1)).ravel(), b.ravel())[0, 1] for s in shifts)


def page_with_seven() -> Image.Image:
    """A large sans-serif 7, black on white, its ink box 80x120 at (150, 90)."""
    page = Image.new("L", (400, 300), 255)
    seven = [(150, 90), (229, 90), (229, 107), (185, 209), (165, 209), (208, 107), (150, 107)]
    ImageDraw.Draw(page).polygon(seven, fill=0)
    return page


@pytest.mark.parametrize(
    ("height", "size", "board"),
    [
        (160, (400, 300), False),
        (160, (400, 300), True),
        (50, (400, 300), False),
        (1000, (2000, 1500), False),
    ],
)
def test_photographs_of_mnist_digits(
    digits: Dataset, height: int, size: tuple[int, int], board: bool
) -> None:
    rng = np.random.default_rng(0)
    likenesses = []
    for digit in digits.test.images[: 5 if height > 500 else 12]:
        room = [n - height * 28 // 20 for n in size]
        at = (int(rng.integers(0, room[0])), int(rng.integers(0, room[1])))
        prepared, notes = prepare_digit(photograph(coverage(digit, height, size, at), rng, board))
        assert prepared.shape == (28, 28)
        assert prepared.dtype == np.uint8
        assert (INVERTED in notes) == (not board)
        assert notes[-1] == "centred by mass"
        likenesses.append(likeness(prepared, digit))
    assert np.mean(likenesses) > 0.95
    assert min(likenesses) > 0.85


def test_mnist_passes_through_unchanged(digits: Dataset) -> None:
    for digit in digits.train.images[:300]:
        prepared, notes = prepare_digit(digit)
        np.testing.assert_array_equal(prepared, digit)
        assert notes == ["kept as it is: 28x28, light on black"]
        assert not np.shares_memory(prepared, digit)


def test_box_and_centre() -> None:
    page = np.full((300, 400), 250, np.uint8)
    page[40:160, 300:340] = 20  # 40 wide, 120 high
    page[140:160, 300:380] = 20  # a foot: 80 wide in all
    prepared, notes = prepare_digit(page)
    assert notes == [INVERTED, "scaled the ink box 80x120 into 20x20", "centred by mass"]
    rows, columns = (np.flatnonzero(prepared.max(axis=k) > 100) for k in (1, 0))
    assert np.ptp(rows) + 1 == 20
    assert np.ptp(columns) + 1 in (13, 14)
    mass = prepared / prepared.sum()
    assert abs(mass.sum(axis=1) @ np.arange(28) - 14) <= 0.5
    assert abs(mass.sum(axis=0) @ np.arange(28) - 14) <= 0.5
    assert prepared.max() == 255
    assert prepared[0].max() == 0


def test_polarity_comes_from_the_border() -> None:
    dark = page_with_seven()
    light = Image.fromarray(255 - np.asarray(dark))
    (a, said), (b, silent) = prepare_digit(dark), prepare_digit(light)
    assert np.abs(a.astype(int) - b).max() <= 3
    assert (INVERTED in said, INVERTED in silent) == (True, False)
    # More ink than paper, but paper all around.
    page = np.full((100, 100), 240, np.uint8)
    for left in (6, 36, 66):
        page[6:94, left : left + 28] = 10
    assert INVERTED in prepare_digit(page)[1]


def test_shadow_with_an_edge() -> None:
    plain, _ = prepare_digit(page_with_seven())
    page = np.asarray(page_with_seven(), np.float64) * 0.8 + 20
    page[:, 180:] *= 0.6  # the shadow's edge runs through the digit
    shaded = Image.fromarray(page.astype(np.uint8)).filter(ImageFilter.GaussianBlur(8))
    assert likeness(prepare_digit(shaded)[0], plain) > 0.9


def test_specks_and_the_edge_of_the_page_are_ignored() -> None:
    plain, _ = prepare_digit(page_with_seven())
    page = np.array(page_with_seven())
    page[20:24, 380:384] = 0
    page[280:284, 30:34] = 0
    page[:, :6] = 0
    prepared, notes = prepare_digit(page)
    assert "ignored 3 marks beside it" in notes
    assert likeness(prepared, plain) > 0.99


def test_strokes_in_two_pieces_are_kept() -> None:
    page = np.full((300, 300), 255, np.uint8)
    page[50:250, 60:90] = 0
    page[50:250, 200:215] = 0
    prepared, notes = prepare_digit(page)
    assert "scaled the ink box 155x200 into 20x20" in notes
    assert np.count_nonzero(np.diff((prepared[14] > 60).astype(int)) == 1) == 2


def test_a_thin_pen_becomes_a_stroke() -> None:
    page = Image.new("L", (400, 400), 255)
    ImageDraw.Draw(page).ellipse((100, 60, 300, 340), outline=0, width=3)
    prepared, notes = prepare_digit(page)
    assert "thickened its thin strokes" in notes
    ring = prepared[14] > 127
    assert np.count_nonzero(ring) in (2, 3, 4, 5, 6)
    assert prepared.max() == 255


def test_exif_orientation(tmp_path: Path) -> None:
    expected, _ = prepare_digit(page_with_seven())
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying: to be turned by 90 degrees clockwise
    lying = page_with_seven().transpose(Image.Transpose.ROTATE_90)
    lying.save(tmp_path / "lying.jpg", exif=exif, quality=95)
    prepared, notes = prepare_digit(open_image(tmp_path / "lying.jpg"))
    assert notes[0] == "turned upright, as its EXIF data say"
    assert likeness(prepared, expected) > 0.98


@pytest.mark.parametrize(("ink", "ground"), [(0, "white"), (255, "black")])
def test_transparent_ground(ink: int, ground: str) -> None:
    expected, _ = prepare_digit(page_with_seven())
    alpha = 255 - np.asarray(page_with_seven())
    grey = np.full_like(alpha, ink)
    prepared, notes = prepare_digit(np.dstack([grey, grey, grey, alpha]))
    assert f"laid on {ground}: it is transparent" in notes
    assert likeness(prepared, expected) > 0.99


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"])
def test_every_mode(mode: str) -> None:
    page = page_with_seven()
    expected, _ = prepare_digit(page)
    if mode in ("I", "F", "I;16"):  # of which only a scanner or a microscope knows the range
        deep = {"I": np.int32(70000), "F": np.float32(0.001), "I;16": np.uint16(257)}[mode]
        page = Image.fromarray(np.asarray(page).astype(deep.dtype) * deep)
    prepared, _ = prepare_digit(page.convert(mode))
    assert likeness(prepared, expected) > 0.98


NOISE = np.random.default_rng(5).normal(200, 20, (300, 400))


@pytest.mark.parametrize(
    "picture",
    [
        np.full((300, 400), 255, np.uint8),
        np.zeros((28, 28), np.uint8),
        np.zeros((1, 1), np.uint8),
        np.full((1, 500), 9, np.uint8),
        np.clip(NOISE, 0, 255).astype(np.uint8),
        np.tile(np.linspace(60, 250, 400), (300, 1)).astype(np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.pad(np.full((90, 30), 192, np.uint8), 90, constant_values=200),
        np.pad(np.zeros((3, 3), np.uint8), 150, constant_values=255),
    ],
    ids=["white", "black", "pixel", "line", "noise", "ramp", "transparent", "faint", "speck"],
)
def test_blank(picture: np.ndarray) -> None:
    with pytest.raises(DataError, match="there is no digit to see: the picture is blank"):
        prepare_digit(picture)


def test_what_is_no_picture() -> None:
    with pytest.raises(TypeError, match="image is float64, expected a Pillow image or a uint8"):
        prepare_digit(np.zeros((28, 28)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="image is str"):
        prepare_digit("seven.png")  # type: ignore[arg-type]
    for shape in ((28,), (0, 5), (28, 28, 2), (1, 28, 28, 3)):
        with pytest.raises(DataError, match="image has shape"):
            prepare_digit(np.zeros(shape, np.uint8))


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path, sentence: str) -> None:
        with pytest.raises(DataError, match=sentence) as caught:
            open_image(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    path = tmp_path / "seven.png"
    page_with_seven().save(path)
    whole = path.read_bytes()
    assert open_image(str(path)).size == (400, 300)

    fails(tmp_path, "this is a folder")
    fails(tmp_path / "none.png", "no such file")
    with pytest.raises(DataNotFoundError):
        open_image(tmp_path / "none.png")
    path.write_bytes(whole[: len(whole) // 2])
    fails(path, "cannot be read")
    path.write_bytes(whole[:60] + bytes(20) + whole[80:])
    fails(path, "cannot be read")
    path.write_text("seven")
    fails(path, "not a picture")
    path.write_bytes(b"")
    fails(path, "not a picture")

    path.write_bytes(whole)
    # Pillow only warns of the first limit and refuses at the second; warnings are no errors outside
    # of pytest, which puts them back when this test ends.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    for limit in (400 * 300 - 1, 400 * 300 // 2 - 1):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        fails(path, "too large, expected at most")
    monkeypatch.undo()
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    page_with_seven().save(path, pnginfo=text)
    fails(path, "cannot be read")
