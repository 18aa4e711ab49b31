"""The schedules against torch.optim.lr_scheduler, number by number."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from checks import Arrays, draw, from_torch
from striate.optim import SGD, lr_scheduler

STEPS = 24
GROUPS = (0.1, 0.02)  # the initial rates of two groups
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "step": ("StepLR", {"step_size": 5, "gamma": 0.3}),
    "step-every": ("StepLR", {"step_size": 1}),
    "multi-step": ("MultiStepLR", {"milestones": [9, 3, 9, 17], "gamma": 0.5}),
    "cosine": ("CosineAnnealingLR", {"T_max": STEPS, "eta_min": 0.001}),
    "cosine-beyond": ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.001}),
    "one-cycle": ("OneCycleLR", {"max_lr": 0.5, "total_steps": STEPS}),
    "one-cycle-linear": ("OneCycleLR", {
        "max_lr": [0.5, 0.1], "epochs": 6, "steps_per_epoch": 5, "anneal_strategy": "linear",
        "pct_start": 0.45, "div_factor": 10, "final_div_factor": 50, "base_momentum": 0.7,
        "max_momentum": [0.9, 0.8]}),
    "one-cycle-three": ("OneCycleLR", {
        "max_lr": 0.5, "total_steps": STEPS, "three_phase": True, "cycle_momentum": False}),
    "one-cycle-no-rise": ("OneCycleLR", {"max_lr": 0.5, "total_steps": STEPS, "pct_start": 0.0}),
    "plateau": ("ReduceLROnPlateau", {"patience": 1, "factor": 0.5, "cooldown": 2}),
    "plateau-max": ("ReduceLROnPlateau", {
        "mode": "max", "patience": 0, "threshold": 0.05, "min_lr": [0.03, 0.0], "factor": 0.7}),
    "plateau-abs": ("ReduceLROnPlateau", {
        "patience": 2, "threshold_mode": "abs", "threshold": 0.3, "eps": 0.005}),
    "plateau-max-abs": ("ReduceLROnPlateau", {
        "mode": "max", "patience": 1, "threshold_mode": "abs", "threshold": 0.5}),
}  # fmt: skip


class Parameter:
    """What the optimiser needs of striate.nn.Parameter."""

    def __init__(self) -> None:
        self.data = np.zeros(1, np.float32)
        self.grad = None


def metrics(case: str) -> list[float]:
    """A noisy quantity that gets better, with a NaN in the middle."""
    worse = -1 if "max" in case else 1
    values = [worse / (1 + i) + float(x) / 8 for i, x in enumerate(draw("lr/metrics", (STEPS,)))]
    values[8] = float("nan")
    return values


def advance(schedule: Any, case: str, step: int) -> None:
    schedule.step(metrics(case)[step]) if case.startswith("plateau") else schedule.step()


def options(optimizer: Any) -> list[list[float]]:
    return [[float(g["lr"]), float(g["momentum"])] for g in optimizer.param_groups]


def torch_run(torch: Any, case: str) -> Arrays:
    """What scripts/make_golden.py keeps of each case."""
    name, arguments = CASES[case]
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in GROUPS]
    optimizer = torch.optim.SGD(groups, momentum=0.5)
    schedule = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    optimizer.step()
    values = [options(optimizer)]
    for step in range(STEPS):
        advance(schedule, case, step)
        values.append(options(optimizer))
    return {"options": np.array(values)}


def make(case: str) -> tuple[SGD, Any]:
    name, arguments = CASES[case]
    optimizer = SGD([{"params": [Parameter()], "lr": lr} for lr in GROUPS], momentum=0.5)
    return optimizer, getattr(lr_scheduler, name)(optimizer, **arguments)


@pytest.mark.parametrize("case", CASES)
def test_equals_torch(case: str) -> None:
    expected = from_torch("lr_scheduler", case, lambda torch: torch_run(torch, case))["options"]
    optimizer, schedule = make(case)
    values = [options(optimizer)]
    for step in range(STEPS):
        advance(schedule, case, step)
        assert schedule.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        values.append(options(optimizer))
    assert len(np.unique(np.array(values), axis=0)) > 2  # it does something
    # torch multiplies its last value; the closed form keeps what that loses near zero. Behind the
    # last step its linear cycle goes below 0.
    expected = np.maximum(expected, 0)
    np.testing.assert_allclose(np.array(values), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stop", [0, 1, 11])
def test_saved_and_resumed_equals_unbroken(case: str, stop: int) -> None:
    optimizer, schedule = make(case)
    for step in range(STEPS):
        if step == stop:
            saved = json.loads(json.dumps(
                [optimizer.state_dict()["param_groups"], schedule.state_dict()], allow_nan=False
            ))  # fmt: skip
        advance(schedule, case, step)
    resumed_optimizer, resumed = make(case)
    resumed_optimizer.load_state_dict({"state": {}, "param_groups": saved[0]})
    resumed.load_state_dict(saved[1])
    for step in range(stop, STEPS):
        advance(resumed, case, step)
    assert options(resumed_optimizer) == options(optimizer)
    assert resumed.state_dict() == schedule.state_dict()


def test_resumes_by_last_epoch() -> None:
    optimizer, schedule = make("step")
    for _ in range(7):
        schedule.step()
    resumed = lr_scheduler.StepLR(optimizer, 5, 0.3, last_epoch=6)
    assert resumed.get_last_lr() == schedule.get_last_lr()
    with pytest.raises(KeyError, match=r"param_groups\[0\] has no initial_lr"):
        lr_scheduler.StepLR(SGD([Parameter()]), 5, last_epoch=6)


def test_a_phase_without_length_is_over_at_once() -> None:
    optimizer, _ = make("step")
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=10, pct_start=0.1)
    assert schedule.get_last_lr() == [0.5, 0.5]


def test_the_cycle_ends() -> None:
    _, schedule = make("one-cycle")
    for _ in range(STEPS):
        schedule.step()
    with pytest.raises(ValueError, match="step 25 is beyond the cycle's total_steps=24"):
        schedule.step()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s, o: s.StepLR(o, 0), ValueError, "StepLR: step_size must be between 1 and"),
        (lambda s, o: s.StepLR(3, 1), TypeError, "optimizer must be an optimizer, got int"),
        (lambda s, o: s.MultiStepLR(o, [1.5]), TypeError, "milestones must be an integer, got 1.5"),
        (lambda s, o: s.CosineAnnealingLR(o, 0), ValueError, "T_max must be between 1 and"),
        (lambda s, o: s.OneCycleLR(o, 0.1), ValueError, "give total_steps, or both"),
        (lambda s, o: s.OneCycleLR(o, 0.1, 5, pct_start=2), ValueError, "pct_start must be betwee"),
        (lambda s, o: s.OneCycleLR(o, [0.1], 5), ValueError, "max_lr has 1 values, but there are 2"
         " parameter groups"),
        (lambda s, o: s.OneCycleLR(o, 0.1, 5, anneal_strategy="up"), ValueError, "got 'up'"),
        (lambda s, o: s.OneCycleLR(o, 0.1, 5, div_factor=0), ValueError, "div_factor must be abov"),
        (lambda s, o: s.ReduceLROnPlateau(o, factor=1), ValueError, "factor must be below 1"),
        (lambda s, o: s.ReduceLROnPlateau(o, mode="less"), ValueError, "mode must be 'min' or"),
        (lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "threshold_mode mus"),
        (lambda s, o: s.ReduceLROnPlateau(o).load_state_dict({"best": 1}), ValueError,
         "ReduceLROnPlateau.load_state_dict: expected the keys"),
        (lambda s, o: s.MultiStepLR(o, [1]).load_state_dict(
            s.MultiStepLR(o, [1]).state_dict() | {"milestones": [2, "3"]}), TypeError,
         "MultiStepLR.load_state_dict: milestones must be an integer, got '3'"),
        (lambda s, o: s.StepLR(o, 1, 1e300, last_epoch=1), ValueError,
         "StepLR: the learning rate at step 2 is beyond all numbers"),
        (lambda s, o: s.CosineAnnealingLR(o, 2, -1.7e308).step(), ValueError,
         "CosineAnnealingLR: the learning rate at step 0 is beyond all numbers"),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    optimizer, _ = make("step")
    with pytest.raises(error, match=message):
        call(lr_scheduler, optimizer)
