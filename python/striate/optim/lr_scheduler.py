"""Learning-rate schedules with the constructors and the numbers of ``torch.optim.lr_scheduler``.

A schedule sets ``lr`` (and OneCycleLR ``momentum``) in the optimiser's ``param_groups``: once when
it is made, then at every ``step()``. Except for ReduceLROnPlateau, the value follows from
``last_epoch`` alone, in closed form; torch multiplies the last value instead, which gives the same
numbers up to rounding as long as nobody else changes ``lr``. ``state_dict()`` can be written as
JSON.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from striate.functional._arguments import finite, integer, number

# What is in a state, by its kind, in a subclass of somebody's own, too; `milestones` are counts,
# and `best` a number or None. Of other names nothing is known.
COUNTS = {  # and the least that each can be
    "last_epoch": 0, "num_bad_epochs": 0, "cooldown_counter": 0, "patience": 0, "cooldown": 0,
    "step_size": 1, "T_max": 1, "total_steps": 1,
}  # fmt: skip
NUMBERS = ("gamma", "eta_min", "pct_start", "factor", "threshold", "eps")
PER_GROUP = ("base_lrs", "_last_lr", "min_lrs")
# What must equal the schedule's own.
FIXED = ("anneal_strategy", "cycle_momentum", "three_phase", "mode", "threshold_mode")
# What changes while a schedule runs, and what it was made with.
PROGRESS = ("base_lrs", "last_epoch", "_last_lr", "best", "num_bad_epochs", "cooldown_counter")
MADE_WITH = {*COUNTS, *NUMBERS, *PER_GROUP, *FIXED, "milestones"}.difference(PROGRESS)


class _Schedule:
    """What every schedule keeps, shows and saves."""

    optimizer: Any
    _last_lr: list[float]

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group that this schedule set last."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser, whose groups its own ``state_dict`` holds."""
        state = {key: value for key, value in vars(self).items() if key != "optimizer"}
        return {k: list(v) if isinstance(v, list) else v for k, v in state.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over what ``state_dict`` gave.

        Raises ValueError or TypeError, and changes nothing, if it is another schedule's, or a value
        is none that a schedule can have.
        """
        own, op = self.state_dict(), f"{type(self).__name__}.load_state_dict"
        if set(own) != set(state_dict):
            raise ValueError(f"{op}: expected the keys {sorted(own)}, got {sorted(state_dict)}")
        if len(state_dict["_last_lr"]) != len(self.optimizer.param_groups):
            raise ValueError(
                f"{op}: the state is of {len(state_dict['_last_lr'])} parameter groups, the "
                f"optimizer has {len(self.optimizer.param_groups)}"
            )
        vars(self).update(
            {name: _like(own[name], value, op, name) for name, value in state_dict.items()}
        )


def _like(own: Any, value: Any, op: str, name: str) -> Any:
    """``value`` of a state, which a file may have given, as the kind that ``own`` is of."""
    if name in COUNTS:
        return integer(value, op, name, COUNTS[name])
    if name in NUMBERS or (name == "best" and value is not None):
        return finite(value, op, name)
    if name in PER_GROUP:
        if not isinstance(value, (list, tuple)) or len(value) != len(own):
            raise ValueError(f"{op}: {name} must be like {own}, got {value!r}")
        return [finite(v, op, name, 0.0 if name == "base_lrs" else -math.inf) for v in value]
    if name == "milestones":
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{op}: {name} must be like {own}, got {value!r}")
        return [integer(v, op, name) for v in value]
    if name in FIXED and (value != own or type(value) is not type(own)):
        raise ValueError(f"{op}: {name} must be {own!r} as it is here, got {value!r}")
    return list(value) if isinstance(value, (list, tuple)) else value


class LRScheduler(_Schedule):
    """A schedule by the count of steps; a subclass says ``_lr``, the rate at ``last_epoch``."""

    def __init__(self, optimizer: Any, last_epoch: int = -1) -> None:
        self.optimizer = _checked(optimizer, type(self).__name__)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: last_epoch={last_epoch} resumes a schedule, but "
                    f"param_groups[{i}] has no initial_lr; load the optimizer's state first"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr = []
        self.step()

    def _lr(self, base_lr: float, group: dict[str, Any]) -> float:
        raise NotImplementedError

    def step(self) -> None:
        """Moves on by one epoch (OneCycleLR: one batch); comes after the optimiser's own step."""
        self.last_epoch += 1
        groups = self.optimizer.param_groups
        try:
            rates = [self._lr(base, group) for base, group in zip(self.base_lrs, groups)]
        except OverflowError:
            rates = [math.inf]
        if not all(math.isfinite(rate) for rate in rates):
            raise ValueError(
                f"{type(self).__name__}: the learning rate at step {self.last_epoch} is beyond all "
                "numbers"
            )
        for group, rate in zip(groups, rates):
            group["lr"] = rate
        self._last_lr = rates


class StepLR(LRScheduler):
    """lr = initial * gamma^(epoch // step_size)."""

    def __init__(
        self, optimizer: Any, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = integer(step_size, "StepLR", "step_size", least=1)
        self.gamma = number(gamma, "StepLR", "gamma")
        super().__init__(optimizer, last_epoch)

    def _lr(self, base_lr: float, group: dict[str, Any]) -> float:
        return float(base_lr * self.gamma ** (self.last_epoch // self.step_size))


class MultiStepLR(LRScheduler):
    """lr = initial * gamma^(how many of the milestones have been reached)."""

    def __init__(
        self,
        optimizer: Any,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = sorted(integer(m, "MultiStepLR", "milestones") for m in milestones)
        self.gamma = number(gamma, "MultiStepLR", "gamma")
        super().__init__(optimizer, last_epoch)

    def _lr(self, base_lr: float, group: dict[str, Any]) -> float:
        return float(base_lr * self.gamma ** bisect_right(self.milestones, self.last_epoch))


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (initial - eta_min) * (1 + cos(pi * epoch / T_max)) / 2.

    Loshchilov, Hutter: SGDR, 2017, equation 5, without restarts: after T_max the rate rises again.
    """

    def __init__(
        self, optimizer: Any, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = integer(T_max, "CosineAnnealingLR", "T_max", least=1)
        self.eta_min = number(eta_min, "CosineAnnealingLR", "eta_min")
        super().__init__(optimizer, last_epoch)

    def _lr(self, base_lr: float, group: dict[str, Any]) -> float:
        wave = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return self.eta_min + (base_lr - self.eta_min) * wave / 2


class OneCycleLR(LRScheduler):
    """Up to ``max_lr`` and down again, momentum the other way round; ``step()`` after every batch.

    Smith, Topin: Super-convergence, 2018. From max_lr / div_factor to max_lr in the first
    ``pct_start`` of ``total_steps`` (or epochs * steps_per_epoch), then to 1 / final_div_factor of
    the initial rate (three_phase: down to the initial rate as fast as up, then to that).
    Stepping more than ``total_steps`` times raises ValueError.
    """

    def __init__(
        self,
        optimizer: Any,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        op = "OneCycleLR"
        groups = _checked(optimizer, op).param_groups
        if total_steps is not None:
            self.total_steps = integer(total_steps, op, "total_steps", least=1)
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = integer(epochs, op, "epochs", least=1) * integer(
                steps_per_epoch, op, "steps_per_epoch", least=1
            )
        else:
            raise ValueError(f"{op}: give total_steps, or both epochs and steps_per_epoch")
        self.pct_start = number(pct_start, op, "pct_start")
        if not 0 <= self.pct_start <= 1:
            raise ValueError(f"{op}: pct_start must be between 0 and 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"{op}: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = bool(cycle_momentum)
        self.three_phase = bool(three_phase)
        for name, factor in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
            if not number(factor, op, name) > 0:
                raise ValueError(f"{op}: {name} must be above 0, got {factor}")

        rates = _per_group(max_lr, groups, op, "max_lr")
        tops = _per_group(max_momentum, groups, op, "max_momentum")
        bottoms = _per_group(base_momentum, groups, op, "base_momentum")
        if self.cycle_momentum and any("momentum" not in group for group in groups):
            raise ValueError(f"{op}: cycle_momentum=True, but the optimizer has no momentum")
        if last_epoch == -1:
            for group, rate, top, bottom in zip(groups, rates, tops, bottoms):
                group["initial_lr"] = rate / div_factor
                group["max_lr"] = rate
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if self.cycle_momentum:
                    group["max_momentum"], group["base_momentum"] = top, bottom
        super().__init__(optimizer, last_epoch)

    def _phases(self) -> list[tuple[float, str, str, str, str]]:
        """(last step, lr from, lr to, momentum from, momentum to) of each phase, in order."""
        up = float(self.pct_start * self.total_steps) - 1
        end = self.total_steps - 1
        rise = (up, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        if not self.three_phase:
            return [rise, (end, "max_lr", "min_lr", "base_momentum", "max_momentum")]
        down = float(2 * self.pct_start * self.total_steps) - 2
        return [
            rise,
            (down, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
            (end, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
        ]

    def _lr(self, base_lr: float, group: dict[str, Any]) -> float:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {step} is beyond the cycle's total_steps={self.total_steps}"
            )
        phases, start = self._phases(), 0.0
        while len(phases) > 1 and step > phases[0][0]:
            start = phases.pop(0)[0]
        end, lr_from, lr_to, momentum_from, momentum_to = phases[0]
        # A phase of no length (torch divides by zero there) is over at once.
        done = (step - start) / (end - start) if end != start else 1.0
        if self.cycle_momentum:
            group["momentum"] = self._anneal(group[momentum_from], group[momentum_to], done)
        # Behind the last step of the cycle torch's linear phase goes on, below 0.
        return max(0.0, self._anneal(group[lr_from], group[lr_to], done))

    def _anneal(self, start: float, end: float, done: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * done + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * done) + 1)


class ReduceLROnPlateau(_Schedule):
    """lr = max(lr * factor, min_lr) after ``patience`` epochs that were no better.

    ``step(metrics)`` takes the validated quantity. It is better than the best so far when it is
    below best * (1 - threshold) (mode "min", threshold_mode "rel"; "abs": below best - threshold;
    mode "max": above, with the signs turned). After a reduction, ``cooldown`` epochs do not count.
    A change of lr by ``eps`` or less is not made. NaN is never better.
    """

    def __init__(
        self,
        optimizer: Any,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        op = "ReduceLROnPlateau"
        self.optimizer = _checked(optimizer, op)
        if mode not in ("min", "max"):
            raise ValueError(f"{op}: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"{op}: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
        if not number(factor, op, "factor") < 1:
            raise ValueError(f"{op}: factor must be below 1, got {factor}")
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor, self.threshold, self.eps = float(factor), float(threshold), float(eps)
        self.patience = integer(patience, op, "patience")
        self.cooldown = integer(cooldown, op, "cooldown")
        self.min_lrs = _per_group(min_lr, optimizer.param_groups, op, "min_lr")
        self.best: float | None = None  # none yet: JSON has no infinity
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: float) -> None:
        """Counts an epoch whose validated quantity is ``metrics``."""
        current = float(metrics)
        self.last_epoch += 1
        if self._is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
            for group, least in zip(self.optimizer.param_groups, self.min_lrs):
                reduced = max(group["lr"] * self.factor, least)
                if group["lr"] - reduced > self.eps:
                    group["lr"] = reduced
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _is_better(self, current: float) -> bool:
        sign = 1.0 if self.mode == "min" else -1.0
        best = sign * math.inf if self.best is None else self.best
        if self.threshold_mode == "rel":
            bound = best * (1.0 - sign * self.threshold)
        else:
            bound = best - sign * self.threshold
        return sign * current < sign * bound


def _checked(optimizer: Any, op: str) -> Any:
    if not hasattr(optimizer, "param_groups"):
        raise TypeError(f"{op}: optimizer must be an optimizer, got {type(optimizer).__name__}")
    return optimizer


def _per_group(
    value: float | Sequence[float], groups: Sequence[Any], op: str, name: str
) -> list[float]:
    if not isinstance(value, (list, tuple)):
        return [number(value, op, name)] * len(groups)
    if len(value) != len(groups):
        raise ValueError(
            f"{op}: {name} has {len(value)} values, but there are {len(groups)} parameter groups"
        )
    return [number(v, op, name) for v in value]
