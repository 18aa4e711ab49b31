"""Weights from elsewhere, and parts of a model that do not train."""

from __future__ import annotations

import copy
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import striate
from checks import draw
from striate import models, nn, optim
from striate.checkpoint import CheckpointError


def net(classes: int = 3) -> nn.Sequential:
    return nn.Sequential({
        "features": nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)),
        "flatten": nn.Flatten(),
        "classifier": nn.Linear(4 * 2 * 2, classes),
    })  # fmt: skip


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_what_fits_is_loaded_and_the_rest_is_named(tmp_path: Path, suffix: str) -> None:
    source, target = net(5).state_dict(), net(3)
    before = {name: array.copy() for name, array in target.state_dict().items()}
    arrays = {name: array for name, array in source.items() if name != "features.2.bias"}
    path = tmp_path / f"weights.{suffix}"
    if suffix == "npz":
        np.savez(path, **arrays, other=np.zeros(2, np.float32))
    else:
        striate.save(path, arrays | {"other": np.zeros(2, np.float32)})
    fit = models.load_fitting(target, path)
    assert fit.loaded == ["features.0.weight", "features.0.bias", "features.2.weight"]
    assert fit.missing == ["features.2.bias"]
    assert fit.unexpected == ["other"]
    assert fit.misshapen == [
        "classifier.weight: (5, 16) in the file, (3, 16) in the model",
        "classifier.bias: (5,) in the file, (3,) in the model",
    ]
    assert str(fit).startswith("3 of 6 parameters loaded; not in the file: features.2.bias; ")
    for name, array in target.state_dict().items():
        wanted = source[name] if name in fit.loaded else before[name]
        np.testing.assert_array_equal(array, wanted)


def test_another_dtype_is_named_and_not_cast(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    linear = nn.Linear(3, 2)
    before = linear.bias.data.copy()
    arrays = {"weight": np.ones((2, 3), np.float32), "bias": np.ones(2, np.float16),
              "num_batches_tracked": np.array(3)}  # fmt: skip
    save_file(arrays, tmp_path / "w.safetensors")
    fit = models.load_fitting(linear, tmp_path / "w.safetensors")
    assert (fit.loaded, fit.unexpected) == (["weight"], ["num_batches_tracked"])
    assert fit.misshapen == ["bias: float16 in the file, float32 in the model"]
    np.testing.assert_array_equal(linear.bias.data, before)


def test_a_trainers_checkpoint_gives_its_weights(tmp_path: Path) -> None:
    arrays = {"model/bias": np.ones(2, np.float32), "optimizer/0": np.zeros(2, np.float32)}
    striate.save(tmp_path / "c.safetensors", arrays, {"training": {}})
    linear = nn.Linear(3, 2)
    fit = models.load_fitting(linear, tmp_path / "c.safetensors")
    assert (fit.loaded, fit.unexpected) == (["bias"], [])
    np.testing.assert_array_equal(linear.bias.data, [1, 1])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"PK\x03\x04 not really", "not a whole .npz file"),
        ("a.npz", b"", "not a whole .npz file"),
        ("a.safetensors", b"\x10\0\0\0\0\0\0\0{}", "not a whole safetensors file"),
    ],
)
def test_files_that_are_not_whole(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        models.load_fitting(net(), tmp_path / name)


def test_npz_never_unpickles(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], object))
    with pytest.raises(
        CheckpointError, match="a.npz: not a whole .npz file .x: its elements are object"
    ):
        models.load_fitting(net(), tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    with pytest.raises(CheckpointError, match="b.npz: nothing in it fits .* file only: x"):
        models.load_fitting(net(), tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as file:
        file.writestr("README.txt", "not an array")
    with pytest.raises(
        CheckpointError, match="c.npz: not a whole .npz file .README.txt: it is no array"
    ):
        models.load_fitting(net(), tmp_path / "c.npz")


def member(header: str, content: bytes, version: bytes = b"\1\0") -> bytes:
    """An .npy file whose header says what it likes."""
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header.encode() + content


def npy(shape: str, content: bytes, descr: str = "'<f4'", version: bytes = b"\1\0") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n"
    return member(text, content, version)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy("(1 << 28,)", bytes(4)), "malformed node"),
        (npy("(268435456,)", bytes(4)), "needs 1073741824 bytes, but it has 4"),
        (npy("(4,)", bytes(1 << 26)), "needs 16 bytes, but it has 67108864"),
        (npy("(-2, -2)", bytes(16)), "needs 16 bytes, but it has 16"),
        (npy("(4611686018427387904,)", b"", "'V0'"), "not plain values"),
        (npy("(2,)", bytes(16), "('<f4', (2,))"), "not plain values"),
        (npy("(2,)", bytes(16), "[('a', '<f4'), ('b', '|O')]"), "not plain values"),
        (npy("(2,)", bytes(8), version=b"\7\0"), r"unknown version of the format, \(7, 0\)"),
    ],
)
def test_npz_headers_that_lie_allocate_nothing(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", content)
    del content
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=f"{path}: .*x: .*{message}"):
            striate.checkpoint.load_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_npz_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """Many names for the same packed bytes: each would be unpacked."""
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", npy("(100000,)", bytes(400_000)))
        (first,) = file.infolist()
        for k in range(50):
            other = copy.copy(first)
            other.filename = f"x{k}.npy"
            file.filelist.append(other)
            file.NameToInfo[other.filename] = other
    with pytest.raises(CheckpointError, match="its members are .* bytes, more than the file"):
        striate.checkpoint.load_arrays(path)


def test_npz_as_numpy_writes_them(tmp_path: Path) -> None:
    arrays = {
        "f": np.asfortranarray(np.ones((2, 3))), "i": np.arange(3), "0": np.zeros((0, 2)),
        "number": np.float32(3), "big": np.arange(3, dtype=">i4"), "text": np.array(["a", "bc"]),
        "fields": np.array([(1, 2.5)], [("epoch", "i4"), ("loss", "f8")]),
    }  # fmt: skip
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        read = striate.checkpoint.load_arrays(tmp_path / "a.npz")
        assert list(read) == list(arrays)
        for name, array in arrays.items():
            assert read[name].dtype == array.dtype
            np.testing.assert_array_equal(read[name], array)


def test_npz_take_the_memory_of_their_arrays_once(tmp_path: Path) -> None:
    array = np.zeros(8 << 20, np.uint8)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", x=array)
        tracemalloc.start()
        try:
            striate.checkpoint.load_arrays(tmp_path / "a.npz")
            assert tracemalloc.get_traced_memory()[1] < array.nbytes + (6 << 20)
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    model = net()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    state = net().state_dict()
    state["features.2.bias"].flat[-1] = value
    striate.save(tmp_path / "a.safetensors", state)
    with pytest.raises(CheckpointError, match="a.safetensors: features.2.bias is not finite"):
        models.load_fitting(model, tmp_path / "a.safetensors")
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_file_of_which_nothing_fits_is_refused(tmp_path: Path) -> None:
    striate.save(tmp_path / "lenet.safetensors", models.lenet5().state_dict())
    with pytest.raises(CheckpointError, match="nothing in it fits the model .0 of 6 parameters"):
        models.load_fitting(net(), tmp_path / "lenet.safetensors")
    with pytest.raises(FileNotFoundError, match="none.npz: no such file"):
        models.load_fitting(net(), tmp_path / "none.npz")


def test_frozen_parameters_stay_and_nothing_flows_below(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net().train()
    assert models.freeze(model, ["features"]) == [
        "features.0.weight", "features.0.bias", "features.2.weight", "features.2.bias",
    ]  # fmt: skip
    called = []
    for index in (0, 1, 2):
        layer = model.features[index]
        monkeypatch.setattr(layer, "grad", lambda *_, i=index: called.append(i))
    needs = []
    grad = model.classifier.grad
    monkeypatch.setattr(
        model.classifier,
        "grad",
        lambda dy, saved, need: needs.append(need) or grad(dy, saved, need),
    )
    before = {name: array.copy() for name, array in model.state_dict().items()}
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    criterion = nn.CrossEntropyLoss()
    criterion(model(draw("transfer/x", (2, 1, 6, 6))), np.array([0, 1]))
    model.backward(criterion.backward(), input_grad=False)
    optimizer.step()
    assert (called, needs) == ([], [False])
    for name, array in model.state_dict().items():
        assert np.array_equal(array, before[name]) == name.startswith("features"), name


def test_freeze_refuses_a_prefix_that_is_none() -> None:
    with pytest.raises(ValueError, match="no parameter starts with 'feat'; there are features, "
                                         "classifier"):  # fmt: skip
        models.freeze(net(), ["feat"])
    with pytest.raises(ValueError, match="features, classifier leaves nothing to train"):
        models.freeze(net(), ["features", "classifier"])
    model = net()
    assert models.freeze(model, ["features.0.weight"]) == ["features.0.weight"]
    assert models.freeze(model, ["features.0."]) == ["features.0.weight", "features.0.bias"]
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True, True, True]
