"""Files: whole or not at all, and refused when they lie."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest

import striate
from checks import draw
from striate import checkpoint, models
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


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"model.safetensors: cannot be written \(No space left"):
        striate.save(path, {"a": np.ones(3, np.float32)}, {})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def header_of(data: bytes) -> tuple[dict[str, object], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: object, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def corruptions(data: bytes) -> dict[str, bytes]:
    header, body = header_of(data)
    name = "fc1.weight"
    beyond = {**header, name: {**header[name], "data_offsets": [0, 2**40]}}  # type: ignore[dict-item]
    shape = {**header, name: {**header[name], "shape": [2**31, 2**31]}}  # type: ignore[dict-item]
    dtype = {**header, name: {**header[name], "dtype": "F64"}}  # type: ignore[dict-item]
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
        "no description": with_header({k: v for k, v in header.items() if k != "__metadata__"},
                                      body),
        "description is not JSON": with_header({**header, "__metadata__": {"striate": "{"}}, body),
        "description is a list": with_header({**header, "__metadata__": {"striate": "[]"}}, body),
        "another model": with_header(
            {**header, "__metadata__": {"striate": '{"model": "lenet5_1998"}'}}, body),
        "no model": with_header({**header, "__metadata__": {"striate": "{}"}}, body),
        "a billion classes": with_header({**header, "__metadata__": {
            "striate": '{"model": "lenet5", "arguments": {"num_classes": 1000000000}}'}}, body),
        "unknown argument": with_header({**header, "__metadata__": {
            "striate": '{"model": "lenet5", "arguments": {"depth": 3}}'}}, body),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(corruptions(with_header({"fc1.weight": {}}, b""))))
def test_refuses(path: Path, name: str) -> None:
    path.write_bytes(corruptions(path.read_bytes())[name])
    with pytest.raises(CheckpointError) as error:
        models.load(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing.safetensors: no such file"):
        striate.load(tmp_path / "nothing.safetensors")


def test_load_gives_the_model_in_inference_mode(path: Path) -> None:
    model, description = models.load(path)
    assert not model.training
    assert description["model"] == "lenet5"


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    for name in (".run.safetensors.0123456789ab", ".other.safetensors.0123456789ab", "run.x"):
        (tmp_path / name).write_bytes(b"half")
    checkpoint.remove_leftovers(tmp_path / "run.safetensors")
    assert sorted(os.listdir(tmp_path)) == [".other.safetensors.0123456789ab", "run.x"]
