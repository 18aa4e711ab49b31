"""relu, tanh, sigmoid: element by element, any shape. What forward saves is its result."""

from __future__ import annotations

from striate import _core
from striate.functional._arguments import Array, refuse


def relu(input: Array, inplace: bool = False) -> Array:
    """y = max(input, 0), element by element; NaN stays NaN (Nair, Hinton 2010).

    ``input``: float32 of any shape. Raises TypeError for another dtype, ValueError for
    ``inplace=True``: no op writes into its input.
    """
    refuse("relu", inplace=inplace)
    return _core.relu_forward(input)


def relu_backward(dy: Array, y: Array) -> Array:
    """Gradient of relu: dy where y > 0, else 0 (the subgradient at 0 is taken as 0, as in torch).

    ``y`` is what ``relu`` returned, ``dy`` has its shape.
    """
    return _core.relu_backward(dy, y)
