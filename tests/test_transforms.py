"""Crops, colours and pipelines against torchvision's and the paper's formulas, written out."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pictures import make_folder, photo
from striate.data import DataError, ImageFolder, ImageTransform, transforms
from striate.data.dataset import Draw, permutation
from striate.data.pipeline import AUGMENTS
from striate.data.statistics import for_training_set, rgb_statistics

SIDES = st.integers(1, 600)
STATISTICS: dict[str, Any] = {
    "eigenvalues": (0.2, 0.02, 0.004),
    "eigenvectors": ((0.6, -0.7, 0.4), (0.6, 0.0, -0.8), (0.6, 0.7, 0.4)),
}


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def torchvision_resize(width: int, height: int, size: int) -> tuple[int, int]:
    """torchvision.transforms.functional._compute_resized_output_size, for one integer."""
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = size, int(size * long / short)
    return (new_short, new_long) if width <= height else (new_long, new_short)


@given(SIDES, SIDES, st.integers(1, 300), st.data())
def test_center_crop_is_torchvisions_resize_and_center_crop(
    width: int, height: int, short: int, data: st.DataObject
) -> None:
    crop = data.draw(st.integers(1, short))
    new_width, new_height = torchvision_resize(width, height, short)
    assert transforms.resized(width, height, short) == (new_width, new_height)
    top = round((new_height - crop) / 2.0)  # torchvision's center_crop
    left = round((new_width - crop) / 2.0)
    box, size = transforms.center_crop(width, height, short, crop)
    assert size == (crop, crop)
    to_old = (width / new_width, height / new_height) * 2
    expected = np.multiply((left, top, left + crop, top + crop), to_old)
    np.testing.assert_allclose(box, expected, rtol=1e-12)


@given(SIDES, SIDES, st.integers(1, 300), st.data())
def test_crops_stay_inside(width: int, height: int, short: int, data: st.DataObject) -> None:
    crop = data.draw(st.integers(1, short))
    seeded = generator(data.draw(st.integers(0, 99)))
    regions = [
        transforms.random_crop(seeded, width, height, short, crop),
        transforms.random_resized_crop(seeded, width, height, crop),
        *transforms.five_crops(width, height, short, crop),
    ]
    for (left, upper, right, lower), size in regions:
        assert 0 <= left < right <= width
        assert 0 <= upper < lower <= height
        assert size == (crop, crop)


def test_random_crop_takes_every_place_equally_often() -> None:
    seeded = generator()
    counts: dict[tuple[float, ...], int] = {}
    for _ in range(3000):
        box, _ = transforms.random_crop(seeded, 8, 6, 6, 4)  # 5 x 3 places
        counts[box] = counts.get(box, 0) + 1
    assert set(counts) == {(x, y, x + 4, y + 4) for x in range(5) for y in range(3)}
    assert min(counts.values()) > 140
    assert max(counts.values()) < 270


def test_random_resized_crop_is_torchvisions() -> None:
    """RandomResizedCrop.get_params, written out, on the same draws."""

    def get_params(seeded: Any, width: int, height: int) -> tuple[int, int, int, int]:
        area = height * width
        for _ in range(10):
            target = area * seeded.uniform(0.08, 1.0)
            aspect = math.exp(seeded.uniform(math.log(3 / 4), math.log(4 / 3)))
            w = round(math.sqrt(target * aspect))
            h = round(math.sqrt(target / aspect))
            if 0 < w <= width and 0 < h <= height:
                j = int(seeded.integers(0, width - w + 1))
                i = int(seeded.integers(0, height - h + 1))
                return j, i, w, h
        ratio = float(width) / float(height)
        if ratio < 3 / 4:
            w, h = width, round(width / (3 / 4))
        elif ratio > 4 / 3:
            w, h = round(height * (4 / 3)), height
        else:
            w, h = width, height
        return (width - w) // 2, (height - h) // 2, w, h

    fell_back = 0
    for seed in range(400):
        width, height = (int(n) for n in generator(seed).integers(1, 500, 2))
        if seed % 4 == 0:
            width = 10 * height + 3  # rarely fits
        j, i, w, h = get_params(generator(seed), width, height)
        region = transforms.random_resized_crop(generator(seed), width, height, 224)
        assert region == ((j, i, j + w, i + h), (224, 224))
        fell_back += h == height
    assert fell_back > 20


def test_five_crops() -> None:
    boxes = [region.box for region in transforms.five_crops(20, 10, 10, 4)]
    assert boxes == [(0, 0, 4, 4), (16, 0, 20, 4), (0, 6, 4, 10), (16, 6, 20, 10), (8, 3, 12, 7)]


def test_principal_components_and_colour_shift() -> None:
    mixing = generator().normal(size=(3, 3))
    covariance = mixing @ mixing.T
    values, vectors = transforms.principal_components(covariance)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, covariance, atol=1e-12)
    assert (vectors[np.abs(vectors).argmax(axis=0), range(3)] > 0).all()

    # [p1, p2, p3] [a1 l1, a2 l2, a3 l3]^T (Krizhevsky et al. 2012, section 4.1)
    a = generator(3).normal(0, 0.1, 3)
    expected = sum(vectors[:, i] * a[i] * values[i] for i in range(3))
    np.testing.assert_allclose(transforms.colour_shift(generator(3), values, vectors), expected)
    seeded = generator()
    shifts = np.stack([transforms.colour_shift(seeded, values, vectors) for _ in range(4000)])
    along = shifts @ vectors / values
    np.testing.assert_allclose(along.std(axis=0), 0.1, rtol=0.05)


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4)])
def test_normalize_into(shape: tuple[int, ...]) -> None:
    pixels = generator().integers(0, 256, shape).astype(np.uint8)
    mean, std = transforms.IMAGENET_MEAN, transforms.IMAGENET_STD
    out = np.full((3, 5, 4), np.nan, np.float32)
    transforms.normalize_into(out, pixels, mean, std)
    rgb = np.broadcast_to(pixels.reshape(5, 4, -1), (5, 4, 3)) / 255
    np.testing.assert_allclose(out, ((rgb - mean) / std).transpose(2, 0, 1), atol=2e-6)


# --- pipelines -----------------------------------------------------------------------------------


def normalized(picture: Image.Image, mean: Any, std: Any) -> np.ndarray:
    return ((np.asarray(picture.convert("RGB")) / 255 - mean) / std).transpose(2, 0, 1)


@given(width=st.integers(20, 90), height=st.integers(20, 90), seed=st.integers(0, 99))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@pytest.mark.parametrize("augment", AUGMENTS)
def test_pipelines_are_their_parts(
    tmp_path: Path, augment: str, width: int, height: int, seed: int
) -> None:
    """One scaling of a box gives what scaling, cropping and mirroring in turn would."""
    picture = photo("pipeline", width, height)
    picture.save(path := tmp_path / "a.png")
    transform = ImageTransform(augment, 32, 24, **(STATISTICS if augment == "paper" else {}))
    mean, std = transform.mean, transform.std
    resized = picture.resize(torchvision_resize(width, height, 32), Image.Resampling.BILINEAR)

    def crop_at(left: int, upper: int) -> Image.Image:
        return resized.crop((left, upper, left + 24, upper + 24))

    places = (resized.width - 24, resized.height - 24)
    middle = crop_at(round(places[0] / 2), round(places[1] / 2))
    out = np.full((3, 24, 24), np.nan, np.float32)
    transform.evaluate(path, out)
    level = 1.01 / 255 / min(std)  # scaled by parts, a pixel may be rounded the other way
    np.testing.assert_allclose(out, normalized(middle, mean, std), atol=level)

    if augment == "none":
        transform.augmented(path, out, generator(seed))
        np.testing.assert_allclose(out, normalized(middle, mean, std), atol=level)
        return
    transform.augmented(path, out, generator(seed))
    seeded, shift = generator(seed), np.zeros(3)
    mirror = seeded.random() < 0.5
    if augment == "paper":
        shift = transforms.colour_shift(seeded, *STATISTICS.values())
    if augment == "random-resized-crop":
        box = transforms.random_resized_crop(seeded, width, height, 24).box
        part = picture.resize((24, 24), Image.Resampling.BILINEAR, box)
    else:
        part = crop_at(int(seeded.integers(places[0] + 1)), int(seeded.integers(places[1] + 1)))
    if mirror:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    np.testing.assert_allclose(out, normalized(part, mean - shift, std), atol=level)


def test_ten_crops(tmp_path: Path) -> None:
    picture = photo("ten", 48, 32)
    picture.save(path := tmp_path / "a.png")
    transform = ImageTransform("none", 32, 24)
    out = np.empty((10, 3, 24, 24), np.float32)
    transform.ten_crops(path, out)
    corners = [(0, 0), (24, 0), (0, 8), (24, 8), (12, 4)]
    for k, (left, upper) in enumerate(corners):
        crop = picture.crop((left, upper, left + 24, upper + 24))
        expected = normalized(crop, transform.mean, transform.std)
        np.testing.assert_allclose(out[k], expected, atol=2e-6)
        np.testing.assert_array_equal(out[5 + k], out[k, :, :, ::-1])


def test_half_of_the_pictures_are_mirrored(tmp_path: Path) -> None:
    photo("mirror", 24, 24).save(path := tmp_path / "a.png")
    transform = ImageTransform("crop", 24, 24)
    out, plain = np.empty((2, 3, 24, 24), np.float32)
    transform.evaluate(path, plain)
    mirrored = 0
    for index in range(400):
        transform.augmented(path, out, Draw(1, 1).generator(index))
        same = (out == plain).all()
        assert same or (out == plain[:, :, ::-1]).all()
        mirrored += not same
    assert 160 < mirrored < 240


# --- randomness ----------------------------------------------------------------------------------


def test_draws_depend_on_seed_epoch_and_sample_only() -> None:
    keys = list(itertools.product((0, 1, 2**63), (1, 2), (0, 1, 2**40)))
    first = [Draw(seed, epoch).generator(index).random(4) for seed, epoch, index in keys]
    again = [Draw(seed, epoch).generator(index).random(4) for seed, epoch, index in reversed(keys)]
    np.testing.assert_array_equal(first, again[::-1])
    assert len({row.tobytes() for row in first}) == len(keys)
    # Not the numbers that the order of the batches comes from.
    order = np.random.Generator(np.random.Philox(key=np.array([0, 1], np.uint64))).random(4)
    assert not (first[0] == order).any()
    assert sorted(permutation(5, 0, 1)) == [0, 1, 2, 3, 4]


# --- descriptions --------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", AUGMENTS)
def test_a_description_is_json_and_comes_back_equal(augment: str) -> None:
    transform = ImageTransform(augment, 144, 128, **(STATISTICS if augment == "paper" else {}))
    description = json.loads(json.dumps(transform.describe()))
    assert description["kind"] == "images"
    assert ImageTransform.from_description(description) == transform


@pytest.mark.parametrize(
    "lie",
    [
        {"augment": "magic"}, {"augment": ["crop"]}, {"augment": None}, {"resize": 0},
        {"resize": 10**9}, {"crop": 1.5}, {"crop": True}, {"crop": 200, "resize": 100},
        {"mean": [0, 0]}, {"mean": "abc"}, {"mean": [0, 0, None]}, {"mean": [math.nan] * 3},
        {"std": [0, 1, 1]}, {"std": [1, 1, 1e300]}, {"std": [-1, 1, 1]}, {"kind": "sounds"},
        {"eigenvalues": [-1, 0, 0]}, {"eigenvalues": 3}, {"eigenvectors": [[1, 0, 0]]},
        {"eigenvectors": [[1, 0, 0], [0, 1, 0], [0, math.inf, 1]]}, {"eigenvectors": None},
        {"augment": "crop"}, {"stride": 2},
    ],
)  # fmt: skip
def test_refuses_a_description_that_lies(lie: dict[str, Any]) -> None:
    description = ImageTransform("paper", 144, 128, **STATISTICS).describe() | lie
    with pytest.raises((ValueError, TypeError)):
        ImageTransform.from_description(description)


# --- statistics ----------------------------------------------------------------------------------


def test_statistics_of_the_training_set(tmp_path: Path) -> None:
    root = make_folder(tmp_path) / "train"
    folder = ImageFolder(root, ImageTransform("paper", 20, 16))
    mean, covariance = rgb_statistics(folder, 20, 16)
    plain = ImageFolder(root, ImageTransform("none", 20, 16, (0, 0, 0), (1, 1, 1)))
    inputs, _ = plain[np.arange(len(plain))]
    pixels = inputs.transpose(0, 2, 3, 1).reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(pixels.T, bias=True), atol=1e-6)
    assert np.abs(covariance).max() > 1e-3

    transforms_made = []
    for workers in (0, 1, 3):
        folder.num_workers = workers
        transforms_made.append(for_training_set(folder.transform, folder))
    assert transforms_made[0] == transforms_made[1] == transforms_made[2]
    paper = transforms_made[0]
    assert paper.std == (1 / 255,) * 3
    rebuilt = np.array(paper.eigenvectors) @ np.diag(paper.eigenvalues)
    np.testing.assert_allclose(rebuilt @ np.array(paper.eigenvectors).T, covariance, atol=1e-12)
    # Inputs are pixel values less their mean.
    folder.transform = paper
    assert abs(folder[np.arange(len(folder))][0].mean()) < 0.1
    assert folder[np.arange(len(folder))][0].std() > 20
    usual = ImageTransform()
    assert for_training_set(usual, folder) is usual


def test_statistics_look_at_a_thousand_evenly_spaced_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ImageFolder(make_folder(tmp_path) / "train", ImageTransform("paper", 20, 16))
    seen: list[str] = []

    def spy(paths: list[str], *args: Any) -> Any:
        seen.extend(paths)
        return 1, np.zeros(3), np.zeros((3, 3))

    monkeypatch.setattr("striate.data.statistics.SAMPLES", 8)
    monkeypatch.setattr("striate.data.statistics._sum", spy)
    folder.num_workers = 0
    rgb_statistics(folder, 20, 16)
    assert seen == [folder.paths[i] for i in (0, 5, 10, 15, 20, 25, 30, 35)]


def test_statistics_of_broken_pictures(tmp_path: Path) -> None:
    root = make_folder(tmp_path) / "train"
    folder = ImageFolder(root, ImageTransform("paper", 20, 16))
    (root / "red" / "00.png").write_text("no picture")
    assert for_training_set(folder.transform, folder).eigenvalues is not None
    folder.strict = True
    with pytest.raises(DataError, match=r"red/00.png"):
        rgb_statistics(folder, 20, 16)
    folder.strict = False
    for path in folder.paths:
        Path(path).write_text("no picture")
    with pytest.raises(DataError, match="none of 36 pictures can be read"):
        rgb_statistics(folder, 20, 16)


def test_the_papers_augmentation_needs_the_statistics(tmp_path: Path) -> None:
    photo("x", 20, 20).save(path := tmp_path / "a.png")
    out = np.empty((3, 16, 16), np.float32)
    with pytest.raises(ValueError, match="augment='paper' lacks eigenvalues"):
        ImageTransform("paper", 20, 16).augmented(path, out, generator())
