"""local_response_norm: across channels, (N, C, ...)."""

from __future__ import annotations

from striate._device import ops
from striate.functional._arguments import Array, integer, number


def local_response_norm(
    input: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    """Divides each element by the energy of its neighbours across channels.

        y[:, c] = input[:, c] / (k + alpha / size * sum of input[:, j]^2) ^ beta
                                                    over c - size // 2 <= j <= c + (size - 1) // 2

    ``input``: float32 with 3 or more dimensions, channels on axis 1; channels that do not exist
    count as 0. As in torch alpha is divided by the size, which the paper does not do (Krizhevsky
    et al. 2012, section 3.3: size 5, alpha 1e-4, beta 0.75, k 2; there alpha here is 5e-4).

    Raises TypeError for another dtype, ValueError for fewer dimensions or a size below 1.
    """
    op = "local_response_norm"
    n = integer(size, op, "size", least=1)
    a, b, c = number(alpha, op, "alpha"), number(beta, op, "beta"), number(k, op, "k")
    return ops(input).local_response_norm_forward(input, n, a, b, c)


def local_response_norm_backward(
    dy: Array,
    input: Array,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Array:
    """Gradient of local_response_norm; it saves nothing but ``input``, whose shape ``dy`` has.

    With d = k + alpha / size * sum of input^2, the denominator before its power,

        dx[:, c] = dy[:, c] * d[:, c]^-beta - 2 * alpha * beta / size * input[:, c]
                   * sum of (dy * input * d^(-beta - 1))[:, j] over the j whose window holds c
    """
    op = "local_response_norm_backward"
    n = integer(size, op, "size", least=1)
    a, b, c = number(alpha, op, "alpha"), number(beta, op, "beta"), number(k, op, "k")
    return ops(dy).local_response_norm_backward(dy, input, n, a, b, c)
