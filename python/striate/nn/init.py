"""Initial values of parameters: functions named as in torch.nn.init, and whole models by name.

Every call takes the next key of the current generator (``striate.manual_seed``), so the values
depend on the seed and on the order of the calls only.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import numpy as np

from striate import random
from striate._device import copy_into
from striate.nn.layer import Layer, Parameter


def _generator() -> np.random.Generator:
    key = random.next_key()
    words = np.array([key.seed, (key.step << 32) | key.call], np.uint64)
    return np.random.Generator(np.random.Philox(key=words))


def _fans(parameter: Parameter) -> tuple[int, int]:
    """(fan in, fan out) of a weight (K, C, ...): inputs and outputs times the kernel's area."""
    if len(parameter.shape) < 2:
        raise ValueError(
            f"init: fan in and fan out need 2 dimensions or more, got shape {parameter.shape}"
        )
    area = math.prod(parameter.shape[2:])
    return parameter.shape[1] * area, parameter.shape[0] * area


def uniform_(parameter: Parameter, a: float = 0.0, b: float = 1.0) -> Parameter:
    """U(a, b)."""
    values = _generator().random(parameter.shape, np.float32)
    copy_into(parameter.data, np.float32(a) + values * np.float32(b - a))
    return parameter


def normal_(parameter: Parameter, mean: float = 0.0, std: float = 1.0) -> Parameter:
    """N(mean, std^2)."""
    values = _generator().standard_normal(parameter.shape, np.float32)
    copy_into(parameter.data, np.float32(mean) + values * np.float32(std))
    return parameter


def constant_(parameter: Parameter, val: float) -> Parameter:
    """``val`` everywhere."""
    parameter.data[...] = val
    return parameter


def zeros_(parameter: Parameter) -> Parameter:
    """0 everywhere."""
    return constant_(parameter, 0.0)


def kaiming_normal_(parameter: Parameter) -> Parameter:
    """N(0, 2 / fan in): He et al. 2015, equation 10, for layers followed by ReLU."""
    return normal_(parameter, 0.0, math.sqrt(2 / _fans(parameter)[0]))


def kaiming_uniform_(parameter: Parameter, a: float = 0.0) -> Parameter:
    """U(-bound, bound), bound = sqrt(6 / ((1 + a^2) fan in)); a: slope of a leaky ReLU."""
    bound = math.sqrt(6 / ((1 + a**2) * _fans(parameter)[0]))
    return uniform_(parameter, -bound, bound)


def xavier_normal_(parameter: Parameter) -> Parameter:
    """N(0, 2 / (fan in + fan out)): Glorot, Bengio 2010."""
    return normal_(parameter, 0.0, math.sqrt(2 / sum(_fans(parameter))))


def xavier_uniform_(parameter: Parameter) -> Parameter:
    """U(-bound, bound), bound = sqrt(6 / (fan in + fan out)): Glorot, Bengio 2010, equation 16."""
    bound = math.sqrt(6 / sum(_fans(parameter)))
    return uniform_(parameter, -bound, bound)


def torch_default_(weight: Parameter, bias: Parameter | None) -> None:
    """PyTorch's default of Conv2d and Linear: U(-1/sqrt(fan in), 1/sqrt(fan in)) for both."""
    if _skipped.get():
        return
    bound = 1 / math.sqrt(max(1, _fans(weight)[0]))
    uniform_(weight, -bound, bound)
    if bias is not None:
        uniform_(bias, -bound, bound)


_skipped: ContextVar[bool] = ContextVar("skipped", default=False)


@contextlib.contextmanager
def skipped() -> Iterator[None]:
    """Layers made inside draw no initial values (they are undefined): others will be written.

    What torch.nn.utils.skip_init is for; the generator is left as it is.
    """
    token = _skipped.set(True)
    try:
        yield
    finally:
        _skipped.reset(token)


NAMES: dict[str, Callable[[Parameter], Parameter]] = {
    "he_normal": kaiming_normal_,
    "he_uniform": kaiming_uniform_,
    "xavier_normal": xavier_normal_,
    "xavier_uniform": xavier_uniform_,
    "normal": lambda parameter: normal_(parameter, 0.0, 0.01),
}


def initialize(model: Layer, name: str) -> Layer:
    """Fills a model by name: weights (2 dimensions or more) as named, all others with zeros.

    Names: 'he_normal', 'he_uniform', 'xavier_normal', 'xavier_uniform', 'normal' (N(0, 0.01^2), as
    in AlexNet). Raises ValueError for another name.
    """
    if name not in NAMES:
        raise ValueError(f"initialize: name must be one of {', '.join(NAMES)}, got {name!r}")
    for parameter in model.parameters():
        (NAMES[name] if len(parameter.shape) >= 2 else zeros_)(parameter)
    return model
