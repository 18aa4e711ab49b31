"""Files: whole or not at all, and refused when they lie."""

from __future__ import annotations

import json
import os
import stat
import struct
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import striate
from checks import draw
from striate import checkpoint, models
from striate._files import remove_leftovers
from striate.checkpoint import CheckpointError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    model = models.lenet5()
    description = {"model": "lenet5", "arguments": {"num_classes": 10}}
    striate.save(path, model.state_dict(), description)
    return path


def test_round_trip(tmp_path: Path) -> None:
    arrays = {"a/b.c": draw("file/a", (3, 4)), "empty": np.zeros((0, 2), np.float32),
              "strided": draw("file/s", (4, 6))[::2, ::-3]}  # fmt: skip
    striate.save(tmp_path / "x", arrays, {"pi": 3.141592653589793, "list": [1, None]})
    loaded, description = striate.load(tmp_path / "x")
    assert description == {"pi": 3.141592653589793, "list": [1, None]}
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
    assert os.listdir(tmp_path) == ["x"]


def test_a_number_keeps_its_shape(tmp_path: Path) -> None:
    striate.save(tmp_path / "x", {"scale": np.array(3, np.float32)}, {})
    assert striate.load(tmp_path / "x")[0]["scale"].shape == ()


@pytest.mark.skipif(os.name == "nt", reason="no permission bits")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_have_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    previous = os.umask(umask)
    try:
        striate.save(tmp_path / "x", {"a": draw("file/a", (3, 4))})
    finally:
        os.umask(previous)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~umask


def test_save_refuses_what_load_would() -> None:
    with pytest.raises(TypeError, match="a must be a float32 array, got float64"):
        striate.save("never", {"a": np.ones(3)}, {})
    with pytest.raises(TypeError, match="^save: arrays must be a dict, got ndarray$"):
        striate.save("never", np.ones(3, np.float32))
    with pytest.raises(TypeError, match="^save: description must be a dict, got int$"):
        striate.save("never", {}, 1)


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"model.safetensors: cannot be written \(No space left"):
        striate.save(path, {"a": np.ones(3, np.float32)}, {})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: object, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def sealed(header: dict[str, Any], body: bytes, rest: str) -> bytes:
    """A file with the right checksum of its header, whose description goes on with ``rest``."""
    data = with_header({"__metadata__": {"striate": '{"crc32": "00000000"' + rest}, **header}, b"")
    return data.replace(b"00000000", f"{zlib.crc32(data):08x}".encode(), 1) + body


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def holding_itself() -> list[Any]:
    value: list[Any] = []
    value += [value, value]
    return value


def corruptions(data: bytes) -> dict[str, bytes]:
    header, body = header_of(data)
    text = header.pop("__metadata__", {"striate": "{}"})["striate"]
    sums = json.dumps(json.loads(text).get("arrays", {}))
    name = "fc1.weight"
    beyond = {**header, name: {**header[name], "data_offsets": [0, 2**40]}}
    shape = {**header, name: {**header[name], "shape": [2**31, 2**31]}}
    dtype = {**header, name: {**header[name], "dtype": "F64"}}
    size = {**header, "a": {"dtype": "F32", "shape": [0, 2**53, 2**53], "data_offsets": [0, 0]}}
    deep = {**header, name: {**header[name], "shape": [1] * 90 + header[name].get("shape", [])}}
    listed = {**header, name: {**header[name], "dtype": {"F32": None}}}

    def described(description: str) -> bytes:
        return sealed(header, body, f', "arrays": {sums}, "description": {description}}}')

    return {
        "empty": b"",
        "truncated header": data[:100],
        "truncated body": data[:-1000],
        "header length of 2^63": struct.pack("<Q", 2**63) + data[8:],
        "offsets beyond the file": with_header(beyond, body),
        "shape that overflows": with_header(shape, body),
        "another dtype": with_header(dtype, body),
        "not a dict": with_header([1, 2], body),
        "text": b"hello " * 100,
        "a size of nothing": with_header(size, body),
        "too many dimensions": with_header(deep, body),
        "an entry that is a list": with_header({**header, name: list(header[name].values())}, body),
        "a dtype that is an object": with_header(listed, body),
        "another program's": with_header(header, body),
        "no checksum": with_header({**header, "__metadata__": {"striate": "{}"}}, body),
        "description is not JSON": sealed(header, body, ""),
        "description is deep": sealed(header, body, ', "x": ' + "[" * 100_000),
        "no description": sealed(header, body, f', "arrays": {sums}}}'),
        "checksums are a list": sealed(header, body, ', "arrays": [], "description": {}}'),
        "no checksum of an array": sealed(header, body, ', "arrays": {}, "description": {}}'),
        "description is a list": described("[]"),
        "description is not finite": described('{"model": "lenet5", "loss": [1e999]}'),
        "description is a little deep": described(
            '{"model": "lenet5", "x": ' + "[" * 200 + "]" * 200 + "}"),
        "another model": described('{"model": "lenet5_1998"}'),
        "no model": described("{}"),
        "a billion classes": described(
            '{"model": "lenet5", "arguments": {"num_classes": 1000000000}}'),
        "unknown argument": described('{"model": "lenet5", "arguments": {"depth": 3}}'),
    }  # fmt: skip


def test_the_corrupted_files_are_good_but_for_what_they_say(path: Path) -> None:
    header, body = header_of(path.read_bytes())
    text = header.pop("__metadata__")["striate"]
    rest = ", " + json.dumps(json.loads(text) | {"crc32": 0}).partition(", ")[2]
    path.write_bytes(sealed(header, body, rest))
    assert models.load(path)[1]["model"] == "lenet5"


@pytest.mark.parametrize("name", list(corruptions(with_header({"fc1.weight": {}}, b""))))
def test_refuses(path: Path, name: str) -> None:
    path.write_bytes(corruptions(path.read_bytes())[name])
    with pytest.raises(CheckpointError) as error:
        models.load(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "holds nan, which JSON has not"),
        ({"loss": (1.0, -float("inf"))}, "holds -inf, which JSON has not"),
        (nested(200), "is nested deeper than 100 levels"),
        (holding_itself(), "is nested deeper than 100 levels"),
    ],
    ids=["nan", "inf", "deep", "endless"],
)
def test_does_not_save_what_could_not_be_loaded(tmp_path: Path, value: Any, message: str) -> None:
    path = tmp_path / "x"
    striate.save(path, {}, {"x": nested(99)})
    assert striate.load(path) == ({}, {"x": nested(99)})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"^save: the description {message}$"):
        striate.save(path, {}, {"x": value})
    assert path.read_bytes() == before


def test_does_not_save_a_header_that_nobody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_LARGEST_HEADER", 1000)
    with pytest.raises(ValueError, match=r"take 1,\d\d\d bytes, .* has room for 1,000$"):
        striate.save(tmp_path / "x", {}, {"x": "a" * 1000})
    assert not list(tmp_path.iterdir())


def test_a_file_of_the_time_before_checksums_is_told_to_be_one(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": draw("file/b", (3,))}, tmp_path / "x", metadata={"striate": '{"model": "a"}'})
    with pytest.raises(CheckpointError, match="x: its header has no checksum: it is damaged, or an"
                                              " older Striate wrote it$"):  # fmt: skip
        striate.load(tmp_path / "x")


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    arrays = {"first": draw("flip/a", (2, 3)), "second": draw("flip/b", (2,))}
    striate.save(path, arrays, {"model": "lenet5", "\u00fc": None})
    whole = path.read_bytes()
    body = len(whole) - 32
    for place in range(len(whole)):
        for bit in range(8) if place < 64 else [place % 8]:  # all where the format is told
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            with pytest.raises(CheckpointError) as error:
                striate.load(path)
            text = str(error.value)
            assert text.startswith(f"{path}: "), (place, bit)
            if place >= body:
                name = "first" if place < body + 24 else "second"
                assert text.startswith(f"{path}: {name} is damaged: its CRC-32 is "), (place, bit)
    path.write_bytes(whole)
    assert striate.load(path)[1]["model"] == "lenet5"


def test_other_programs_read_it_and_theirs_need_no_checksum(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    arrays = {"b": draw("file/b", (3,)), "a/\u00fc": draw("file/a", (3, 4)),
              "number": np.array(2, np.float32), "empty": np.zeros((0, 2), np.float32)}  # fmt: skip
    striate.save(tmp_path / "x", arrays, {"a": 1})
    for name, array in load_file(tmp_path / "x").items():
        np.testing.assert_array_equal(arrays[name], array)
    save_file(arrays, tmp_path / "y", metadata={"format": "np"})
    loaded, description = striate.load(tmp_path / "y")
    assert list(loaded) == sorted(arrays)
    assert description == {}


def test_every_dtype_of_other_programs(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    kinds = ("f8", "f4", "f2", "c8", "?", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1")
    arrays = {kind: np.arange(3).astype(kind).reshape(3, 1) for kind in kinds}
    save_file(arrays, tmp_path / "x.safetensors")
    loaded = checkpoint.load_arrays(tmp_path / "x.safetensors")
    assert list(loaded) == sorted(kinds)
    for kind, array in arrays.items():
        assert loaded[kind].dtype == array.dtype
        np.testing.assert_array_equal(loaded[kind], array)
    half = {"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    (tmp_path / "y.safetensors").write_bytes(with_header(half, b"\0\0\x80?"))
    with pytest.raises(CheckpointError, match="y.safetensors: w is BF16, of which NumPy has none"):
        checkpoint.load_arrays(tmp_path / "y.safetensors")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs two users")
def test_a_file_of_another_user(path: Path) -> None:
    striate.load(path)  # all is imported
    for folder in (path, path.parent):
        folder.chmod(0o700)
    with tempfile.NamedTemporaryFile() as file:  # where everyone may look
        file.write(path.read_bytes())
        os.seteuid(65534)
        try:
            with pytest.raises(OSError, match=f"^{file.name}: cannot be read .Permission denied"):
                striate.load(file.name)
        finally:
            os.seteuid(0)


def test_the_name_that_the_format_has_taken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no array can be called __metadata__"):
        striate.save(tmp_path / "x", {"__metadata__": draw("file/b", (3,))})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """For root, /dev/null is as easily replaced as any file."""
    arrays = {"a": draw("file/b", (3,))}
    striate.save(tmp_path / "file", arrays)
    for name in ("full", "null", "pipe"):
        if name == "pipe":
            os.mkfifo(tmp_path / name)
        else:
            (tmp_path / name).symlink_to(f"/dev/{name}")
    with pytest.raises(OSError, match="full: cannot be written .No space left on device"):
        striate.save(tmp_path / "full", arrays)
    striate.save(tmp_path / "null", arrays)
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "pipe").read_bytes)
        striate.save(tmp_path / "pipe", arrays)
        assert read.result() == (tmp_path / "file").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["file", "full", "null", "pipe"]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="no /proc")
@pytest.mark.parametrize("name", ["link", "/dev/fd/{fd}", "/proc/self/fd/{fd}"])
def test_a_descriptor_that_is_a_file_is_written_to_and_not_replaced(
    tmp_path: Path, name: str
) -> None:
    """As /dev/stdout is, behind a `>`."""
    arrays = {"a": draw("file/b", (3,))}
    with open(tmp_path / "redirected", "wb") as file:
        (tmp_path / "link").symlink_to(f"/proc/self/fd/{file.fileno()}")
        striate.save(tmp_path / name.format(fd=file.fileno()), arrays)
    assert (tmp_path / "link").is_symlink()
    assert list(striate.load(tmp_path / "redirected")[0]) == ["a"]
    assert sorted(os.listdir(tmp_path)) == ["link", "redirected"]


@pytest.mark.parametrize(("told", "expected"), [("100 bytes", "100 bytes"),
                                               ("", "there is not enough to read it")])  # fmt: skip
@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_memory_that_ends_is_told_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, told: str, expected: str
) -> None:
    arrays, path = {"a": draw("file/b", (3,))}, tmp_path / f"x.{suffix}"
    if suffix == "npz":
        np.savez(path, **arrays)
    else:
        striate.save(path, arrays)

    def short(*_: Any) -> None:
        raise MemoryError(told)

    monkeypatch.setattr(np, "empty", short)
    with pytest.raises(MemoryError, match=f"^{path}: {expected}$"):
        checkpoint.load_arrays(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing.safetensors: no such file"):
        striate.load(tmp_path / "nothing.safetensors")


def test_load_gives_the_model_in_inference_mode(path: Path) -> None:
    model, description = models.load(path)
    assert not model.training
    assert description["model"] == "lenet5"


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    for name in (
        ".run.safetensors.0123456789ab",
        ".other.safetensors.0123456789ab",
        "run.x",
        ".run.safetensors.swp",
    ):
        (tmp_path / name).write_bytes(b"half")
    remove_leftovers(tmp_path / "run.safetensors")
    assert sorted(os.listdir(tmp_path)) == [
        ".other.safetensors.0123456789ab",
        ".run.safetensors.swp",
        "run.x",
    ]


def test_a_file_that_is_replaced_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint may be read while its training goes on: header and arrays are of one file."""
    path, looked = tmp_path / "x", checkpoint._metadata
    striate.save(path, {"a": draw("file/b", (3,))}, {"epoch": 1})

    def replaced_meanwhile(path: Path) -> dict[str, str]:
        monkeypatch.setattr(checkpoint, "_metadata", looked)
        striate.save(path, {"a": draw("file/c", (5,)), "longer": draw("file/d", (7,))})
        return looked(path)

    monkeypatch.setattr(checkpoint, "_metadata", replaced_meanwhile)
    arrays, description = striate.load(path)
    assert description == {}
    assert sorted(arrays) == ["a", "longer"]
