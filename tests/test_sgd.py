"""SGD, the op and the optimiser, against torch.optim.SGD."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import IMPLEMENTATIONS, here, running
from checks import Arrays, assert_close, draw, from_torch
from striate import _core
from striate.optim import SGD

SHAPES = [(1,), (3, 5), (0, 4), (7, 131), ()]
STEPS = 4
CASES: dict[str, dict[str, Any]] = {
    "plain": {"lr": 0.1},
    "decay": {"lr": 0.1, "weight_decay": 0.01},
    "momentum": {"lr": 0.05, "momentum": 0.9},
    "all": {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
    "nesterov": {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
    "maximize": {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.1, "maximize": True},
}


class Parameter:
    """What the optimiser needs of striate.nn.Parameter."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data
        self.grad: np.ndarray | None = None
        self.requires_grad = True


def weights(i: int) -> np.ndarray:
    return draw(f"sgd/{i}/w", SHAPES[i])


def gradient(i: int, step: int) -> np.ndarray:
    return draw(f"sgd/{i}/dw{step}", SHAPES[i])


def skipped(i: int, step: int) -> bool:
    """Parameter 1 gets its first gradient, so its velocity, one step later than the others."""
    return i == 1 and step == 0


def torch_run(torch: Any, case: str) -> Arrays:
    """What scripts/make_golden.py keeps of each case."""
    params = [torch.nn.Parameter(torch.tensor(weights(i))) for i in range(len(SHAPES))]
    optimizer = torch.optim.SGD(params, **CASES[case])
    for step in range(STEPS):
        for i, p in enumerate(params):
            p.grad = None if skipped(i, step) else torch.tensor(gradient(i, step))
        optimizer.step()
    arrays = {f"w{i}": p.detach().numpy() for i, p in enumerate(params)}
    for i, p in enumerate(params):
        if optimizer.state[p].get("momentum_buffer") is not None:
            arrays[f"v{i}"] = optimizer.state[p]["momentum_buffer"].numpy()
    return arrays


def run(optimizer: SGD, params: list[Parameter], steps: range) -> None:
    for step in steps:
        for i, p in enumerate(params):
            p.grad = None if skipped(i, step) else gradient(i, step)
        optimizer.step()


@pytest.mark.parametrize("case", CASES)
def test_equals_torch(implementation: str, case: str) -> None:
    expected = from_torch("sgd", case, lambda torch: torch_run(torch, case))
    params = [Parameter(weights(i)) for i in range(len(SHAPES))]
    optimizer = SGD(params, **CASES[case])
    run(optimizer, params, range(STEPS))
    for i, p in enumerate(params):
        assert_close(p.data, expected[f"w{i}"], depth=STEPS)
    state = optimizer.state_dict()["state"]
    assert [f"v{i}" for i in state] == [name for name in expected if name.startswith("v")]
    for i, entry in state.items():
        assert_close(entry["momentum_buffer"], expected[f"v{i}"], depth=STEPS)


def test_groups_have_options_of_their_own(implementation: str) -> None:
    together = [Parameter(weights(i)) for i in range(len(SHAPES))]
    groups = [{"params": together[:2], "lr": 0.5}, {"params": iter(together[2:]), "momentum": 0}]
    both = SGD(groups, lr=0.1, momentum=0.9)
    assert [(g["lr"], g["momentum"]) for g in both.param_groups] == [(0.5, 0.9), (0.1, 0)]
    apart = [Parameter(weights(i)) for i in range(len(SHAPES))]
    first, second = SGD(apart[:2], lr=0.5, momentum=0.9), SGD(apart[2:], lr=0.1)
    for step in range(1, 3):
        for i, (p, q) in enumerate(zip(together, apart)):
            p.grad, q.grad = gradient(i, step), gradient(i, step)
        both.step(), first.step(), second.step()
    for p, q in zip(together, apart):
        np.testing.assert_array_equal(p.data, q.data)


@given(
    sizes=st.lists(st.integers(0, 70), min_size=1, max_size=5),
    momentum=st.sampled_from([0.0, 0.9]),
    nesterov=st.booleans(),
    first=st.booleans(),
)
def test_fast_equals_reference(
    sizes: list[int], momentum: float, nesterov: bool, first: bool
) -> None:
    results = []
    for backend in ("reference", *here()):
        w = [draw(f"sgd/{i}", (n,)) for i, n in enumerate(sizes)]
        dw = [draw(f"sgd/d{i}", (n,)) for i, n in enumerate(sizes)]
        v = [draw(f"sgd/v{i}", (n,)) for i, n in enumerate(sizes)] if momentum else None
        with running(backend) as ops:
            ops.sgd_step(w, dw, v, [first] * len(w), 0.1, momentum, 0.2, 0.01, nesterov)
        results.append(np.concatenate(w + (v or [])))
    for result in results[1:]:
        assert_close(result, results[0])


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_first_step_does_not_read_the_velocity(name: str) -> None:
    w, v = np.ones(37, np.float32), np.full(37, np.nan, np.float32)
    with running(name) as ops:
        ops.sgd_step([w], [w.copy()], [v], [True], lr=0.5, momentum=0.9, dampening=0.5)
    np.testing.assert_array_equal(v, np.ones(37, np.float32))
    np.testing.assert_array_equal(w, np.full(37, 0.5, np.float32))


def test_same_bits_for_any_number_of_threads_and_place(implementation: str) -> None:
    size = 10_007
    results = []
    threads_before = _core.get_num_threads()
    try:
        for threads in (1, 2, 3, 5, 8):
            _core.set_num_threads(threads)
            w, v = draw("sgd/threads/w", (size,)), draw("sgd/threads/v", (size,))
            dw = draw("sgd/threads/dw", (size,))
            shifted = [w[5:].copy(), dw[5:].copy(), v[5:].copy()]  # other lanes, another tail
            lists = [[a, b] for a, b in zip((w, dw, v), shifted)]
            _core.sgd_step(*lists, [False, False], 0.1, 0.9, 0.1, 0.01, True)
            np.testing.assert_array_equal(w[5:], shifted[0])
            np.testing.assert_array_equal(v[5:], shifted[2])
            results.append(w)
    finally:
        _core.set_num_threads(threads_before)
    for w in results[1:]:
        np.testing.assert_array_equal(results[0], w)


@pytest.mark.parametrize("stop", range(STEPS))
def test_saved_and_resumed_equals_unbroken(stop: int) -> None:
    unbroken = [Parameter(weights(i)) for i in range(len(SHAPES))]
    options = CASES["nesterov"]
    run(SGD(unbroken, **options), unbroken, range(STEPS))

    params = [Parameter(weights(i)) for i in range(len(SHAPES))]
    optimizer = SGD(params, **options)
    run(optimizer, params, range(stop))
    saved = optimizer.state_dict()
    groups = json.loads(json.dumps(saved["param_groups"]))
    state = {str(i): entry for i, entry in saved["state"].items()}
    resumed = SGD(params, lr=1.0)
    resumed.load_state_dict({"state": state, "param_groups": groups})
    run(resumed, params, range(stop, STEPS))
    for p, q in zip(params, unbroken):
        np.testing.assert_array_equal(p.data, q.data)


def test_a_refused_state_changes_nothing() -> None:
    params = [Parameter(weights(1)), Parameter(weights(3))]
    optimizer = SGD(params, lr=0.1, momentum=0.9)
    for p in params:
        p.grad = p.data.copy()
    optimizer.step()
    before = optimizer.state_dict()
    bad = optimizer.state_dict()
    bad["param_groups"][0]["lr"] = 3.0
    bad["state"][1]["momentum_buffer"] = np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match=r"momentum_buffer of parameter 1 must be float32 of shape "
                       r"\(7, 131\), got float32 of shape \(2, 2\)"):  # fmt: skip
        optimizer.load_state_dict(bad)
    bad = optimizer.state_dict()
    bad["param_groups"][0]["lr"] = -3.0
    with pytest.raises(ValueError, match="lr must be a finite float32 number, at least 0, got -3"):
        optimizer.load_state_dict(bad)
    with pytest.raises(ValueError, match=r"the groups have \[1\] parameters, expected \[2\]"):
        optimizer.load_state_dict(SGD([params[0]]).state_dict())
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for i in (0, 1):
        np.testing.assert_array_equal(
            after["state"][i]["momentum_buffer"], before["state"][i]["momentum_buffer"]
        )


def test_memory_that_ends_before_a_step_lets_no_group_take_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever takes the step again would take that of the first group twice."""
    params = [Parameter(weights(1)), Parameter(weights(3))]
    optimizer = SGD([{"params": p} for p in params], lr=0.1, momentum=0.9)
    for i, p in zip((1, 3), params):
        p.grad = gradient(i, 0)
    rooms = iter([np.empty_like(params[0].data)])

    def short(data: np.ndarray) -> np.ndarray:
        for room in rooms:
            return room
        raise MemoryError("100 bytes")

    monkeypatch.setattr("striate.optim.sgd.empty_like", short)
    with pytest.raises(MemoryError, match="100 bytes"):
        optimizer.step()
    for i, p in zip((1, 3), params):
        np.testing.assert_array_equal(p.data, weights(i))
    assert optimizer.state_dict()["state"] == {}


def test_zero_grad_drops_the_gradients() -> None:
    p = Parameter(weights(1))
    p.grad = p.data
    optimizer = SGD([p])
    optimizer.zero_grad()
    assert p.grad is None
    before = p.data.copy()
    optimizer.step()
    np.testing.assert_array_equal(p.data, before)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: SGD([]), ValueError, "params is empty"),
        (lambda p: SGD([p.data]), TypeError, r"params\[0\] must be a Parameter.*got ndarray"),
        (lambda p: SGD([p, p]), ValueError, r"params\[1\], of shape \(3, 5\), stands twice"),
        (lambda p: SGD([{"params": [p]}, {"params": [p]}]), ValueError, "stands twice"),
        (lambda p: SGD([{"params": [p], "rate": 1}]), ValueError, "unknown option 'rate'"),
        (lambda p: SGD([{"lr": 1}]), TypeError, "must be a dict with params"),
        (lambda p: SGD([p], lr=-1), ValueError,
         "lr must be a finite float32 number, at least 0, got -1"),
        (lambda p: SGD([p], lr=float("nan")), ValueError, "lr must be a finite float32 number"),
        (lambda p: SGD([p], lr=1e39), ValueError, "lr must be a finite float32 number, at least 0"),
        (lambda p: SGD([p], lr=10**400), ValueError, "lr is an integer beyond all floats"),
        (lambda p: SGD([p], dampening=-1e39), ValueError, r"dampening must be .* got -1e\+39"),
        (lambda p: SGD([p], lr="1"), TypeError, "lr must be a number, got '1'"),
        (lambda p: SGD([p], maximize="no"), TypeError, "maximize must be True or False, got 'no'"),
        (lambda p: SGD([p], momentum=-0.1), ValueError, "momentum must be"),
        (lambda p: SGD([p], weight_decay=-0.1), ValueError, "weight_decay must be"),
        (lambda p: SGD([p], nesterov=True), ValueError, "nesterov needs a momentum"),
        (lambda p: SGD([p], momentum=1, dampening=1, nesterov=True), ValueError, "dampening=1.0"),
        (lambda p: SGD([p], foreach=True), ValueError, "SGD: foreach=True is not supported"),
    ],
)  # fmt: skip
def test_refuses_options(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(Parameter(weights(1)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda w, g: ([w], [g, g], None, []), ValueError, "there are 1 params but 2 grads"),
        (lambda w, g: ([w], [g], [], []), ValueError, "there are 1 params but 0 buffers"),
        (lambda w, g: ([w], [g], [g], []), ValueError, "1 params but 0 values of first"),
        (lambda w, g: ([w, w], [g, g[:1]], None, []), ValueError,
         r"sgd_step: grads\[1\] must have shape \(2, 3\) \(that of its parameter\), got \(1, 3\)"),
        (lambda w, g: ([w], [g], [g[0]], [True]), ValueError,
         r"buffers\[0\] must have shape \(2, 3\) \(that of its parameter\), got \(3,\)"),
        (lambda w, g: ([w[:, ::2]], [g], None, []), ValueError,
         r"params\[0\] is changed in place, so it must be writeable and C-contiguous"),
        (lambda w, g: ([w.astype(np.float64)], [g], None, []), TypeError,
         r"params\[0\] must be float32, got float64"),
        (lambda w, g: ([w], [g.astype(np.float64)], None, []), TypeError,
         r"grads\[0\] must be float32, got float64"),
    ],
)  # fmt: skip
def test_op_refuses(call: Any, error: type[Exception], message: str) -> None:
    w = np.ones((2, 3), np.float32)
    with pytest.raises(error, match=message):
        _core.sgd_step(*call(w, w.copy()), lr=0.1)
    np.testing.assert_array_equal(w, np.ones((2, 3), np.float32))
