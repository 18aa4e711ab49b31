"""IDX files, folders of them, and the MNIST inside the package."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from striate.data import (
    DataError,
    DataNotFoundError,
    Dataset,
    Split,
    load_idx_folder,
    mnist,
    packed,
    read_idx,
)

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    code = CODES[array.dtype.str[1:]]
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_set(folder: Path, names: dict[str, str] | None = None, zipped: bool = False) -> Dataset:
    """A small data set of 5x4 images, under the usual names unless ``names`` has others."""
    rng = np.random.default_rng(0)
    splits = {}
    for part, count in (("train", 7), ("t10k", 3)):
        splits[part] = Split(
            rng.integers(0, 256, (count, 5, 4), dtype=np.uint8),
            rng.integers(0, 10, count, dtype=np.uint8),
        )
        for kind, array, rank in zip(("images", "labels"), splits[part], (3, 1)):
            name = f"{part}-{kind}-idx{rank}-ubyte" + ".gz" * zipped
            data = idx_bytes(array)
            path = folder / (names or {}).get(name, name)
            path.write_bytes(gzip.compress(data) if zipped else data)
    return Dataset(splits["train"], splits["t10k"])


def assert_equal(data: Dataset, expected: Dataset) -> None:
    for split, wanted in zip(data, expected):
        for array, other in zip(split, wanted):
            assert array.dtype == np.uint8
            np.testing.assert_array_equal(array, other)


def fails(path: Path, sentence: str) -> None:
    """read_idx refuses the file in one line that begins with its path."""
    with pytest.raises(DataError, match=sentence) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


# --- MNIST -----------------------------------------------------------------------------------


def test_mnist_is_the_original() -> None:
    data = mnist()
    assert data.train.images.shape == (60000, 28, 28)
    assert data.test.images.shape == (10000, 28, 28)
    for name, split in zip(("train", "test"), data):
        for kind, array in zip(("images", "labels"), split):
            assert array.dtype == np.uint8
            assert array.flags.writeable
            assert array.flags.c_contiguous
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            assert digest == packed.SHA256[f"{name}-{kind}"]


def test_mnist_is_small_and_in_independent_blocks() -> None:
    files = sorted(packed.FOLDER.glob("*.xz"))
    assert sum(path.stat().st_size for path in files) <= 9_500_000
    blocks = [path for path in files if "images" in path.name]
    assert len(blocks) >= 4
    assert len(lzma.decompress(blocks[-1].read_bytes())) == 6000 * 28 * 28
    assert "CC BY-SA 3.0" in (packed.FOLDER / "SOURCE.md").read_text()


def test_importing_the_package_reads_nothing() -> None:
    code = "import sys, striate.data; print(*{'PIL', 'lzma', 'gzip'}.intersection(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout.strip()) == (0, ""), answer.stderr


@pytest.mark.parametrize("damage", ["flip", "cut", "swap", "remove", "labels"])
def test_damaged_package(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "mnist_xz"
    shutil.copytree(packed.FOLDER, folder)
    path = folder / ("test-labels.xz" if damage == "labels" else "train-images-3.xz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    if damage in ("flip", "labels"):
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-100])
    elif damage == "swap":
        shutil.copy(folder / "train-labels.xz", path)
    else:
        path.unlink()
    with pytest.raises(DataNotFoundError if damage == "remove" else DataError) as caught:
        packed.unpack(folder)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lzma.compress(bytes(1 << 25), preset=0), "holds more bytes, expected 10000 for"),
        (lzma.compress(bytes(9999)), "holds 9999 bytes, expected 10000 for"),
        (lzma.compress(bytes(10_000)) + b"junk", "4 bytes follow its end"),
        (lzma.compress(bytes(10_000))[:-4], "truncated"),
        (
            # One byte in a block that says to need a dictionary of 1.5 GB.
            bytes.fromhex(
                "fd377a585a000004e6d6b44602002101250000003b787b410100007800000000"
                "45aeef83f8ee160a00011901a52c81cc1fb6f37d010000000004595a"
            ),
            "corrupt .Memory usage limit exceeded",
        ),
    ],
    ids=["bomb", "short", "junk", "cut", "dictionary"],
)
def test_a_packed_file_allocates_what_the_digits_need(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "train-labels.xz").write_bytes(lzma.compress(b""))
    path = tmp_path / "test-labels.xz"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"{path}: .*{sentence}"):
            packed.unpack(tmp_path, {"train": 0, "test": 10_000})
        assert tracemalloc.get_traced_memory()[1] < packed.MEMORY
    finally:
        tracemalloc.stop()


def test_python_without_lzma(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lzma", None)
    with pytest.raises(DataError, match="built without the lzma module"):
        mnist()


def pack_script() -> ModuleType:
    path = Path(__file__).parents[1] / "scripts" / "pack_mnist.py"
    spec = importlib.util.spec_from_file_location("pack_mnist", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_packing_is_lossless_and_repeatable(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    splits = [
        Split(rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8))
        for n in (83, 31)
    ]
    script, data = pack_script(), Dataset(*splits)
    for folder in (tmp_path / "a", tmp_path / "b"):
        script.pack(data, folder)
        assert_equal(packed.unpack(folder, {"train": 83, "test": 31}), data)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_packing_something_else_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    with pytest.raises(DataError, match="train images have SHA-256"):
        pack_script().main([str(tmp_path), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


# --- read_idx --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", [(5,), (0,), (2, 3), (3, 0, 2), (2, 1, 3, 2)])
@pytest.mark.parametrize("zipped", [False, True])
def test_every_element_type(
    tmp_path: Path, kind: str, shape: tuple[int, ...], zipped: bool
) -> None:
    array = (np.random.default_rng(2).standard_normal(shape) * 100).astype(np.int8).astype(kind)
    path = tmp_path / "misleading.gz"  # the first bytes decide, not the name
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    read = read_idx(str(path))
    assert read.dtype == np.dtype(kind)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array, strict=True)


HEADER = bytes.fromhex("00000803 00000002 00000003 00000004")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "truncated: 0 bytes"),
        (b"\0\0\x08", "truncated: 3 bytes"),
        (b"PK\x03\x04 and so on", "not an IDX file: it begins with the bytes 50 4b 03 04"),
        (b"\0\0\x0a\x01\0\0\0\x01x", "not an IDX file"),
        (b"\0\0\x08\x00", "0 dimensions, expected 1 to 32"),
        (b"\0\0\x08\xff" + bytes(1100), "255 dimensions, expected 1 to 32"),
        (HEADER[:-1], "truncated inside its header of 16 bytes"),
        (HEADER + bytes(23), "truncated.*24 bytes.* 23"),
        (HEADER + bytes(25), "bytes follow the 24"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "truncated, or its header lies"),
        (b"\0\0\x0e\x04" + bytes(4) + b"\xff" * 12, "truncated, or its header lies"),
    ],
)
def test_bad_content(tmp_path: Path, content: bytes, sentence: str, zipped: bool) -> None:
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(gzip.compress(content) if zipped else content)
    fails(path, sentence)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_lying_header_allocates_nothing(tmp_path: Path, zipped: bool) -> None:
    content = b"\0\0\x08\x01" + (1 << 31).to_bytes(4, "big") + bytes(100)
    path = tmp_path / "huge"
    path.write_bytes(gzip.compress(content) if zipped else content)
    tracemalloc.start()
    try:
        fails(path, "2147483648 bytes")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_bad_gzip(tmp_path: Path) -> None:
    whole = gzip.compress(idx_bytes(np.random.default_rng(3).integers(0, 256, 5000, np.uint8)))
    path = tmp_path / "labels.gz"
    for content, sentence in (
        (whole[:-1], "truncated"),
        (whole[:1000], "truncated"),
        (whole[:5], "truncated"),
        (whole[:2], "truncated"),
        (whole[:-8] + bytes(8), "corrupt .*CRC"),
        (whole[:12] + b"\xff\xff" + whole[14:], "corrupt"),
        (whole + b"junk", "corrupt"),
    ):
        path.write_bytes(content)
        fails(path, sentence)


def test_no_file(tmp_path: Path) -> None:
    fails(tmp_path / "nothing", "there is no such file")
    fails(tmp_path, "this is a folder")
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nothing")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    fails(tmp_path / "pipe", "not a regular file")
    (tmp_path / "loop").symlink_to("loop")
    fails(tmp_path / "loop", "cannot be read .*symbolic links")


# --- load_idx_folder -------------------------------------------------------------------------

USUAL = [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
DOTTED = {f"{name}-ubyte": f"{name.replace('-idx', '.idx')}-ubyte" for name in USUAL}
EMNIST = {
    f"{name}-ubyte.gz": f"emnist-letters-{name.replace('t10k', 'test')}-ubyte.gz" for name in USUAL
}


@pytest.mark.parametrize(
    ("names", "zipped"), [(None, False), (None, True), (DOTTED, False), (EMNIST, True)]
)
def test_folder(tmp_path: Path, names: dict[str, str] | None, zipped: bool) -> None:
    expected = write_set(tmp_path, names, zipped)
    (tmp_path / "README").write_text("not data")
    assert_equal(load_idx_folder(tmp_path), expected)
    assert_equal(load_idx_folder(str(tmp_path)), expected)


def test_the_plain_file_goes_before_its_gzip(tmp_path: Path) -> None:
    expected = write_set(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"never read")
    assert_equal(load_idx_folder(tmp_path), expected)


def refuses(folder: Path, name: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        load_idx_folder(folder)
    assert str(caught.value).startswith(f"{folder / name}: ")


@pytest.mark.parametrize("name", [f"{name}-ubyte" for name in USUAL])
def test_missing_file(tmp_path: Path, name: str) -> None:
    write_set(tmp_path)
    (tmp_path / name).unlink()
    refuses(tmp_path, "", f"there is no {name} or {name}.gz")
    with pytest.raises(FileNotFoundError):
        load_idx_folder(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    refuses(tmp_path / "nowhere", "", "no such folder")
    (tmp_path / "file").touch()
    refuses(tmp_path / "file", "", "this is a file, expected a folder")


def test_two_data_sets_in_one_folder(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_set(tmp_path, EMNIST, zipped=True)
    refuses(tmp_path, "", "several data sets, with the prefixes '', 'emnist-letters-'")


def test_mislabelled_files(tmp_path: Path) -> None:
    write_set(tmp_path)
    images, labels = tmp_path / "t10k-images-idx3-ubyte", tmp_path / "t10k-labels-idx1-ubyte"
    whole = images.read_bytes()

    images.write_bytes(labels.read_bytes())
    refuses(tmp_path, images.name, r"expected images, a uint8 array of 3 dimensions.*\(3,\)")
    images.write_bytes(idx_bytes(np.zeros((3, 5, 4), np.float32)))
    refuses(tmp_path, images.name, "expected images.* holds float32")
    images.write_bytes(idx_bytes(np.zeros((3, 28, 28), np.uint8)))
    refuses(tmp_path, images.name, r"\(28, 28\), but those of train-images-idx3-ubyte are \(5, 4\)")
    images.write_bytes(whole)
    labels.write_bytes(whole)
    refuses(tmp_path, labels.name, "expected labels, a uint8 array of 1 dimension,")
    labels.write_bytes(idx_bytes(np.zeros(4, np.uint8)))
    refuses(tmp_path, labels.name, "4 labels, but t10k-images-idx3-ubyte holds 3 images")
