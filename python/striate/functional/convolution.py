"""conv2d: two-dimensional cross-correlation (LeCun et al. 1998, section II.A)."""

from __future__ import annotations

from typing import TypeAlias

from striate._device import ops
from striate.functional._arguments import (
    Array,
    IntOrPair,
    Pads,
    as_array,
    four_pads,
    integer,
    ndim,
    needed,
    pair,
)

Padding: TypeAlias = "IntOrPair | str"
_Geometry: TypeAlias = "tuple[tuple[int, int], Pads, tuple[int, int], int]"


def _pads(
    op: str, padding: Padding, weight: Array, stride: tuple[int, int], dilation: tuple[int, int]
) -> Pads:
    """(top, left, bottom, right); 'same' puts the odd pixel at the bottom and right, as torch."""
    if not isinstance(padding, str):
        return four_pads(padding, op)
    if padding == "valid":
        return 0, 0, 0, 0
    if padding != "same":
        raise ValueError(
            f"{op}: padding must be an integer, a pair, four pads, 'same' or 'valid', got "
            f"{padding!r}"
        )
    if stride != (1, 1):
        raise ValueError(f"{op}: padding='same' needs stride 1, got stride {stride}")
    if ndim(weight) != 4:
        return 0, 0, 0, 0  # the op refuses this weight
    height, width = (d * (k - 1) for d, k in zip(dilation, weight.shape[2:]))
    return height // 2, width // 2, height - height // 2, width - width // 2


def geometry(
    op: str, weight: Array, stride: IntOrPair, padding: Padding, dilation: IntOrPair, groups: int
) -> _Geometry:
    """The arguments as the compiled ops take them: pairs and four pads."""
    strides, dilations = pair(stride, op, "stride", 1), pair(dilation, op, "dilation", 1)
    pads = _pads(op, padding, weight, strides, dilations)
    return strides, pads, dilations, integer(groups, op, "groups", 1)


def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Array:
    """y[n, k, p, q] = bias[k] + sum over c, r, s of weight[k, c, r, s] * input[n, c, h, w].

    with h = p * stride - padding + r * dilation (w likewise from q and s), input 0 outside the
    image, and c over the channels of k's group. The kernel is not flipped: this is the
    cross-correlation that networks call convolution.

    ``input``: float32 (N, C, H, W) or unbatched (C, H, W); ``weight``: (K, C / groups, R, S);
    ``bias``: (K,) or None. ``stride``, ``dilation``: an integer or (height, width). ``padding``:
    those, or 'valid' (none), or 'same' (output as large as the input; needs stride 1), or, which
    torch lacks, four pads (top, left, bottom, right). Returns float32 (N, K, P, Q),
    P = (H + top + bottom - dilation (R - 1) - 1) // stride + 1.

    Kernels of 3 and 5 with stride 1 and enough channels are computed by Winograd's minimal
    filtering (Lavin and Gray 2016): its rounding error is below 4e-6 of the output's root mean
    square, 5e-5 at the largest, and a NaN or an infinity in the input may make NaN of up to 5 x 5
    outputs around those that it reaches.

    A strided view is read by one copy. Raises TypeError for other dtypes, ValueError for ranks,
    channels or sizes that do not fit.
    """
    input = as_array(input)
    arguments = geometry("conv2d", weight, stride, padding, dilation, groups)
    if ndim(input) == 3:
        y: Array = ops(input).conv2d_forward(input[None], weight, bias, *arguments)[0]
        return y
    return ops(input).conv2d_forward(input, weight, bias, *arguments)


def conv2d_backward(
    dy: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    need: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of conv2d for (input, weight, bias), given ``dy`` of its result's shape.

    ``need`` says which of the three to compute; the others, and that of a bias which is None, are
    None. The other arguments are those of the forward call.
    """
    arguments = geometry("conv2d_backward", weight, stride, padding, dilation, groups)
    dy, input = as_array(dy), as_array(input)
    wanted = needed("conv2d_backward", need, bias)
    if ndim(input) == 3 and ndim(dy) == 3:
        dx, dw, db = ops(dy).conv2d_backward(dy[None], input[None], weight, *arguments, wanted)
        return dx if dx is None else dx[0], dw, db
    return ops(dy).conv2d_backward(dy, input, weight, *arguments, wanted)
