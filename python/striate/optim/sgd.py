"""Stochastic gradient descent with momentum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from striate._device import copy_into, device_of, empty_like, ops, to
from striate.functional._arguments import Array, finite, flag, refuse

_RATES = ("lr", "momentum", "dampening", "weight_decay")
# What schedules keep in a group, as in torch, so that it is saved with the optimiser.
_SCHEDULED = {"initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum"}


class SGD:
    """Stochastic gradient descent as ``torch.optim.SGD`` (Sutskever, Martens, Dahl, Hinton 2013).

    With g the gradient of a parameter w and v its velocity::

        g = g + weight_decay * w
        v = momentum * v + (1 - dampening) * g      (v = g at the first step)
        w = w - lr * (g + momentum * v  if nesterov else  v)

    ``params``: parameters (objects with ``data`` and ``grad``), or dicts with a list of them under
    ``params`` and options of their own beside it. One call into C++ updates all parameters of a
    group; ``data`` is changed in place. A parameter without a gradient is left alone. Raises
    ValueError for an option out of its range and for a parameter that stands twice.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        refuse("SGD", foreach=foreach, differentiable=differentiable, fused=fused)
        self.defaults: dict[str, Any] = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        self.defaults = _checked(self.defaults)
        self.param_groups: list[dict[str, Any]] = []
        self._velocities: list[Array | None] = []  # by the parameter's place in all groups
        entries = list(params)
        if not entries:
            raise ValueError("SGD: params is empty, there is nothing to optimise")
        groups = entries if isinstance(entries[0], Mapping) else [{"params": entries}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Adds ``param_group["params"]``, with the other keys as their own options."""
        group = param_group
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"SGD: a parameter group must be a dict with params, got {group!r}")
        unknown = sorted(set(group) - set(self.defaults) - _SCHEDULED - {"params", "name"})
        if unknown:
            raise ValueError(f"SGD: unknown option {unknown[0]!r} in a parameter group")
        params = group["params"]
        params = [params] if _is_parameter(params) else list(params)
        seen = {id(p) for other in self.param_groups for p in other["params"]}
        for i, p in enumerate(params):
            if not _is_parameter(p):
                raise TypeError(
                    f"SGD: params[{i}] must be a Parameter, with data and grad, "
                    f"got {type(p).__name__}"
                )
            if id(p) in seen:
                raise ValueError(f"SGD: params[{i}], of shape {p.data.shape}, stands twice")
            seen.add(id(p))
        self.param_groups.append(_checked({**self.defaults, **group, "params": params}))
        self._velocities.extend([None] * len(params))

    def step(self, closure: None = None) -> None:
        """Updates every parameter that has a gradient."""
        refuse("SGD.step", closure=closure)
        self._step(None)

    def rates(self) -> Array:
        """What a step computes with besides arrays: float32 (groups, 4), for each group lr,
        momentum, 1 - dampening, weight_decay.
        """
        return np.array(
            [
                (g["lr"], g["momentum"], 1 - g["dampening"], g["weight_decay"])
                for g in self.param_groups
            ],
            np.float32,
        )

    def _step(self, rates: Any) -> None:
        """``rates``: what ``rates()`` gives, on the GPU; a recorded step reads it when it runs."""
        place = 0
        todo: list[tuple[int, Any, list[tuple[int, Array]]]] = []
        for i, group in enumerate(self.param_groups):
            with_momentum = group["momentum"] != 0
            params: list[Array] = []
            grads: list[Array] = []
            velocities: list[Array] = []
            first: list[bool] = []
            fresh: list[tuple[int, Array]] = []
            for p in group["params"]:
                if p.grad is not None:
                    params.append(p.data)
                    grads.append(p.grad)
                    if with_momentum:
                        velocity = self._velocities[place]
                        first.append(velocity is None)
                        if velocity is None:
                            velocity = empty_like(p.data)
                            fresh.append((place, velocity))
                        elif type(p.data) is not type(velocity) or (
                            type(velocity) is not np.ndarray  # which is quicker to see
                            and device_of(velocity) != device_of(p.data)
                        ):  # the model has moved
                            velocity = to(velocity, device_of(p.data))
                            self._velocities[place] = velocity
                        velocities.append(velocity)
                place += 1
            if params:
                lists = params, grads, velocities if with_momentum else None, first
                todo.append((i, lists, fresh))
        # All memory is there now: where it ends, no group has taken a step that others have not.
        for i, lists, fresh in todo:
            group = self.param_groups[i]
            flags = {"nesterov": group["nesterov"], "maximize": group["maximize"]}
            if rates is None:
                numbers = {name: group[name] for name in _RATES}
                ops(lists[0][0]).sgd_step(*lists, **numbers, **flags)
            else:
                ops(lists[0][0]).recorded_sgd_step(*lists, rates[i], **flags)
            for index, velocity in fresh:  # only now: a refused step leaves no empty velocity
                self._velocities[index] = velocity

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients: the next backward writes instead of adding."""
        if not set_to_none:
            raise ValueError("zero_grad: set_to_none=False is not supported, though torch has it")
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """A copy of the state, in torch's form.

        ``state[i]["momentum_buffer"]`` is the velocity (float32) of parameter i, counted through
        all groups, where it has one; ``param_groups`` holds each group's options, with numbers in
        place of parameters, and can be written as JSON.
        """
        groups, start = [], 0
        for group in self.param_groups:
            end = start + len(group["params"])
            groups.append({**group, "params": list(range(start, end))})
            start = end
        state = {
            i: {"momentum_buffer": velocity.copy()}
            for i, velocity in enumerate(self._velocities)
            if velocity is not None
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over what ``state_dict`` gave (keys of ``state`` may be strings, as from JSON).

        Raises ValueError, and changes nothing, if groups, parameters or shapes disagree.
        """
        groups, state = state_dict["param_groups"], state_dict["state"]
        counts = [len(group["params"]) for group in self.param_groups]
        loaded = [len(group["params"]) for group in groups]
        if loaded != counts:
            raise ValueError(
                f"SGD.load_state_dict: the groups have {loaded} parameters, expected {counts}"
            )
        params = [p for group in self.param_groups for p in group["params"]]
        velocities: list[Array | None] = [None] * len(params)
        for key, entry in state.items():
            index, velocity = int(key), entry["momentum_buffer"]
            if not 0 <= index < len(params):
                raise ValueError(
                    f"SGD.load_state_dict: there is no parameter {index}, only {len(params)}"
                )
            if velocity is None:
                continue
            shape, dtype = params[index].data.shape, getattr(velocity, "dtype", None)
            if dtype != np.float32 or velocity.shape != shape:
                raise ValueError(
                    f"SGD.load_state_dict: the momentum_buffer of parameter {index} must be float32"
                    f" of shape {shape}, got {dtype} of shape {np.shape(velocity)}"
                )
            velocities[index] = empty_like(params[index].data)
            copy_into(velocities[index], velocity)
        merged = [
            _checked({**old, **new, "params": old["params"]})
            for old, new in zip(self.param_groups, groups)
        ]
        for group, new in zip(self.param_groups, merged):
            group.clear()
            group.update(new)
        self._velocities = velocities


def _is_parameter(value: Any) -> bool:
    return hasattr(value, "data") and hasattr(value, "grad")


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options as floats and bools, which JSON can hold; ValueError for one out of range."""
    checked = dict(options)
    for name in (*_RATES, *sorted(_SCHEDULED & set(options))):
        least = -math.inf if name == "dampening" else 0.0
        checked[name] = finite(options[name], "SGD", name, least)
    for name in ("nesterov", "maximize"):
        checked[name] = flag(options[name], "SGD", name)
    if checked["nesterov"] and (checked["momentum"] == 0 or checked["dampening"] != 0):
        raise ValueError(
            "SGD: nesterov needs a momentum above 0 and no dampening, got momentum="
            f"{checked['momentum']}, dampening={checked['dampening']}"
        )
    return checked
