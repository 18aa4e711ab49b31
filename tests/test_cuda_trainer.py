"""The training step as a CUDA graph: equal to eager steps, made anew when it must be, or left."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import cuda_backend
import small_training
import striate
from small_training import StopAfter, make_trainer, samples, state
from striate import models, nn, optim
from striate._device import to_host
from striate.checkpoint import CheckpointError
from striate.data.dataset import ArraySamples
from striate.trainer import Callback, Trainer, evaluate
from striate.trainer import step as steps


@pytest.fixture(params=cuda_backend.NAMES, autouse=True)
def on_cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    _, cupy = cuda_backend.load(request.param)
    monkeypatch.setattr(small_training, "device", "cuda")
    return cupy


@pytest.fixture
def eagerly(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the trainer take every step as it is."""
    return lambda: monkeypatch.setattr(steps.CudaStep, "_may_record", lambda *_: False)


class Launches(Callback):
    """How many steps were replays of a recording."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.replays = 0
        send = steps._Recorded.send

        def counted(recorded: Any, *args: Any) -> Any:
            self.replays += recorded.graph is not None
            return send(recorded, *args)

        monkeypatch.setattr(steps._Recorded, "send", counted)


def test_fifty_replayed_steps_equal_eager_ones(monkeypatch: Any, eagerly: Any) -> None:
    """With dropout, a schedule that moves the rate and the momentum, and clipped gradients."""
    launches = Launches(monkeypatch)
    options: dict[str, Any] = {"epochs": 5, "clip_grad_norm": 0.7, "callbacks": [StopAfter(57)]}

    def run() -> Any:
        trainer = make_trainer(**options)
        schedule = optim.lr_scheduler.OneCycleLR(trainer.optimizer, 0.1, total_steps=60)
        trainer.schedule = schedule
        trainer.fit(samples(), validation=samples())
        assert trainer.notes == []
        return state(trainer)

    replayed = run()
    # Of 57 steps, 4 have the last, smaller batch of an epoch, and 2 warm up.
    assert launches.replays == 57 - 4 - 2
    eagerly()
    assert run() == replayed


def test_data_on_the_gpu_give_the_same_bits() -> None:
    up, there = make_trainer(), make_trainer()
    up.fit(samples(), validation=samples())
    data = samples().to("cuda")
    there.fit(data, validation=data)
    assert state(there) == state(up)
    assert there.notes == []


def test_a_resumed_run_equals_an_unbroken_one_across_recordings(tmp_path: Any) -> None:
    whole = make_trainer()
    whole.fit(samples())
    make_trainer(tmp_path, callbacks=[StopAfter(17)]).fit(samples())
    rest = make_trainer()
    rest.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert state(rest) == state(whole)


@pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_checkpoint_of_one_device_resumes_on_the_other(
    tmp_path: Any, monkeypatch: Any, first: str, then: str
) -> None:
    monkeypatch.setattr(small_training, "device", first)
    make_trainer(tmp_path, callbacks=[StopAfter(17)]).fit(samples())
    monkeypatch.setattr(small_training, "device", then)
    rest = make_trainer(tmp_path)
    rest.fit(samples(), validation=samples(), resume=tmp_path / "checkpoint.safetensors")
    assert rest.history[-1]["val_accuracy"] > 0.9
    (note,) = rest.notes
    assert "the bits of the run may differ" in note
    assert "cuda 9.0" in note or cuda_backend.available() == ["cuda"]
    # The files know nothing of devices: what one wrote, the other reads and equals.
    arrays, _ = striate.load(tmp_path / "model.safetensors")
    for name, array in rest.model.state_dict().items():
        np.testing.assert_array_equal(to_host(array), arrays[name])


def test_cpu_and_gpu_learn_the_same() -> None:
    here = make_trainer(device="cpu")
    here.fit(samples(), validation=samples())
    there = make_trainer(device="cuda")
    there.fit(samples(), validation=samples())
    for a, b in zip(here.history, there.history):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
        assert a["val_accuracy"] == b["val_accuracy"]
    on_gpu, on_cpu = there.model, here.model
    assert evaluate(on_gpu, samples()).loss == pytest.approx(
        evaluate(on_cpu, samples()).loss, rel=1e-3
    )


class Peeks(nn.Layer):
    """A layer of the user's that looks at its input, which nobody can while a step is recorded."""

    def apply(self, x: Any, training: bool = False, save: bool = True) -> tuple[Any, Any]:
        assert np.isfinite(float(x.sum()))
        return x, None

    def grad(self, dy: Any, saved: Any, need: bool = True) -> tuple[Any, list[Any]]:
        return dy, []


def test_a_step_that_cannot_be_recorded_runs_as_it_is_and_says_so() -> None:
    plain, peeking = make_trainer(), make_trainer()
    plain.fit(samples())
    peeking.model = nn.Sequential(*peeking.model, Peeks())
    peeking.fit(samples())
    (note,) = peeking.notes
    assert note.startswith("the training step cannot be recorded as a CUDA graph, and runs slower")
    assert state(peeking) == state(plain)


def test_a_model_that_changes_is_recorded_anew(monkeypatch: Any, eagerly: Any) -> None:
    class Change(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.step == 8:
                trainer.model[0].weight.data = trainer.model[0].weight.data * 2
            if trainer.step == 16:
                trainer.model[0].requires_grad_(False)

    launches = Launches(monkeypatch)
    changed = make_trainer(callbacks=[Change()])
    changed.fit(samples())
    assert launches.replays > 20
    eagerly()
    expected = make_trainer(callbacks=[Change()])
    expected.fit(samples())
    assert state(changed) == state(expected)


def test_a_model_that_changes_at_every_step_is_left_unrecorded() -> None:
    class Change(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            trainer.model[0].weight.data = trainer.model[0].weight.data.copy()

    trainer = make_trainer(callbacks=[Change()])
    trainer.fit(samples())
    plain = make_trainer()
    plain.fit(samples())
    assert "the model has changed 8 times" in trainer.notes[0]
    assert state(trainer) == state(plain)


def test_changes_of_criterion_optimiser_and_clipping_are_seen(eagerly: Any) -> None:
    class Change(Callback):
        def on_step_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.step == 6:
                trainer.criterion.label_smoothing = 0.5
            if trainer.step == 9:
                trainer.optimizer.load_state_dict(trainer.optimizer.state_dict())
            if trainer.step == 14:
                trainer.clip_grad_norm = 0.1
            if trainer.step == 18:
                trainer.criterion = nn.CrossEntropyLoss()

    changed = make_trainer(callbacks=[Change()])
    changed.fit(samples())
    assert changed.notes == []
    eagerly()
    expected = make_trainer(callbacks=[Change()])
    expected.fit(samples())
    assert state(changed) == state(expected)


def test_a_criterion_of_ones_own_is_recorded() -> None:
    class Own:
        __slots__ = ("inner",)

        def __init__(self) -> None:
            self.inner = nn.CrossEntropyLoss()

        def __call__(self, logits: Any, labels: Any) -> Any:
            return self.inner(logits, labels)

        def backward(self) -> Any:
            return self.inner.backward()

    own, plain = make_trainer(), make_trainer()
    own.criterion = Own()
    own.fit(samples())
    plain.fit(samples())
    assert own.notes == []
    assert state(own) == state(plain)


def test_velocities_outlive_the_recording() -> None:
    """A second fit, and steps of one's own, go on with them."""
    trainer = make_trainer()
    trainer.fit(samples())
    gc.collect()
    momentum = [e["momentum_buffer"] for e in trainer.optimizer.state_dict()["state"].values()]
    for velocity, own in zip(momentum, trainer.optimizer._velocities):
        assert own.data.mem.pool() is not None
        assert np.isfinite(velocity.get()).all()


def test_nothing_is_recorded_where_every_op_is_to_be_waited_for(monkeypatch: Any) -> None:
    launches = Launches(monkeypatch)
    monkeypatch.setenv("STRIATE_SYNC", "1")
    make_trainer().fit(samples())
    assert launches.replays == 0


def test_trains_and_saves_on_a_gpu_that_is_not_the_current_one(tmp_path: Any) -> None:
    _, cupy = cuda_backend.load("cuda_host")  # a machine with two GPUs is a rare thing
    from cupy.cuda import runtime

    runtime._set_device_count(2)
    try:
        first = make_trainer(tmp_path, callbacks=[StopAfter(14)], device="cuda:1")
        first.fit(samples())
        rest = make_trainer(tmp_path, device="cuda:1")
        rest.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
        assert {p.device for p in rest.model.parameters()} == {"cuda:1"}
        whole = make_trainer(device="cuda:0")
        whole.fit(samples())
        assert state(rest) == state(whole)
        whole.model.to("cuda:1")  # and the velocities follow
        with cupy.cuda.Device(1):
            for p in whole.model.parameters():
                p.grad = cupy.ones_like(p.data)
            whole.optimizer.step()
    finally:
        runtime._set_device_count(1)


@pytest.mark.parametrize("make", [models.lenet5, models.lenet5_1998])
def test_both_lenets_are_recorded(make: Any) -> None:
    striate.manual_seed(0)
    model = make().to("cuda")
    side = 28 if make is models.lenet5 else 32
    images = np.random.default_rng(0).standard_normal((20, 1, side, side)).astype(np.float32)
    data = ArraySamples(images, np.arange(20) % 10)
    optimizer = optim.SGD(model.parameters(), 0.01, momentum=0.9)
    trainer = Trainer(model, optimizer, epochs=3, batch_size=5)
    history = trainer.fit(data)
    assert trainer.notes == []
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_wrong_labels_are_named_before_they_are_recorded() -> None:
    data = samples()
    data.labels[:] = 3
    with pytest.raises(ValueError, match=r"target\[0\] = 3 is not a class: input has 3 classes"):
        make_trainer().fit(data)


def test_a_model_on_two_devices_is_refused() -> None:
    trainer = make_trainer()
    trainer.model[0].to("cpu")
    with pytest.raises(ValueError, match="the parameters are on cpu and cuda:0"):
        trainer.fit(samples())


def test_refuses_a_checkpoint_of_other_settings_on_the_gpu(tmp_path: Any) -> None:
    make_trainer(tmp_path, callbacks=[StopAfter(3)]).fit(samples())
    trainer = make_trainer(batch_size=9)
    before = state(trainer)
    with pytest.raises(CheckpointError, match="was trained with batch_size=8"):
        trainer.fit(samples(), resume=tmp_path / "checkpoint.safetensors")
    assert state(trainer) == before
