"""relu, tanh, sigmoid: element by element, any shape. What forward saves is its result."""

from __future__ import annotations

from striate._device import ops
from striate.functional._arguments import Array, refuse


def relu(input: Array, inplace: bool = False) -> Array:
    """y = max(input, 0), element by element; NaN stays NaN (Nair, Hinton 2010).

    ``input``: float32 of any shape. Raises TypeError for another dtype, ValueError for
    ``inplace=True``: no op writes into its input.
    """
    refuse("relu", inplace=inplace)
    return ops(input).relu_forward(input)


def relu_backward(dy: Array, y: Array) -> Array:
    """Gradient of relu: dy where y > 0, else 0 (the subgradient at 0 is taken as 0, as in torch).

    ``y`` is what ``relu`` returned, ``dy`` has its shape.
    """
    return ops(dy).relu_backward(dy, y)


def tanh(input: Array) -> Array:
    """y = tanh(input), element by element, within 2 units in the last place; NaN stays NaN.

    ``input``: float32 of any shape. Raises TypeError for another dtype.
    """
    return ops(input).tanh_forward(input)


def tanh_backward(dy: Array, y: Array) -> Array:
    """Gradient of tanh: dy * (1 - y^2). ``y`` is what ``tanh`` returned, ``dy`` has its shape."""
    return ops(dy).tanh_backward(dy, y)


def sigmoid(input: Array) -> Array:
    """y = 1 / (1 + exp(-input)), element by element, within 3 units in the last place.

    ``input``: float32 of any shape; NaN stays NaN. Raises TypeError for another dtype. Below -87.3,
    where exp(input) is no longer a normal float32, the result is 0.
    """
    return ops(input).sigmoid_forward(input)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """Gradient of sigmoid: dy * y * (1 - y). ``y`` is what ``sigmoid`` returned."""
    return ops(dy).sigmoid_backward(dy, y)
