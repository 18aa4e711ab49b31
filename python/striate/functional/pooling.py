"""max_pool2d, avg_pool2d, adaptive_avg_pool2d over planes, (N, C, H, W) or unbatched (C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from striate._device import ops
from striate.functional._arguments import (
    Array,
    IntOrPair,
    Pads,
    flag,
    four_pads,
    integer,
    pair,
    pair_or_none,
)

Indices: TypeAlias = npt.NDArray[np.int32]


def _window(
    op: str, kernel_size: Any, stride: Any, padding: Any
) -> tuple[tuple[int, int], tuple[int, int], Pads]:
    """Kernel, stride (by default the kernel: windows that touch) and the four pads."""
    kernel = pair(kernel_size, op, "kernel_size", least=1)
    step = kernel if stride is None else pair(stride, op, "stride", least=1)
    return kernel, step, four_pads(padding, op)


def _shape(op: str, input_shape: Any) -> list[int]:
    if not isinstance(input_shape, Sequence) or isinstance(input_shape, (str, bytes)):
        raise TypeError(f"{op}: input_shape must be the shape of input, got {input_shape!r}")
    return [integer(n, op, "input_shape") for n in input_shape]


def _divisor(op: str, divisor_override: Any) -> int | None:
    if divisor_override is None:
        return None
    return integer(divisor_override, op, "divisor_override", least=-(2**31))


@overload
def max_pool2d(
    input: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Array: ...


@overload
def max_pool2d(
    input: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
) -> tuple[Array, Indices]: ...


def max_pool2d(
    input: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array | tuple[Array, Indices]:
    """The largest element of each window (overlapping as in Krizhevsky et al. 2012, if you like).

    ``input``: float32 (N, C, H, W) or (C, H, W). The result has the same leading axes and, down
    and across,

        floor((H + 2 * padding - dilation * (kernel_size - 1) - 1) / stride) + 1

    elements; with ``ceil_mode`` the quotient is rounded up, but a window must start inside the
    input or the padding before it. ``padding``: an integer, (height, width) or, which torch lacks,
    four pads (top, left, bottom, right). Padding counts as -inf. Of equal elements the first wins,
    row by row; NaN wins over numbers, the last NaN over the others.

    ``return_indices`` adds the winners' positions h * W + w in their (unpadded) input plane, which
    ``max_pool2d_backward`` takes; they are int32, where torch's are int64. A dilated window that
    steps over the whole input gives -inf and the position -1.

    Raises TypeError for another dtype; ValueError for another rank, a padding above half of the
    kernel, a kernel larger than the padded input, or a plane of 2^31 elements or more.
    """
    window = _window("max_pool2d", kernel_size, stride, padding)
    steps = pair(dilation, "max_pool2d", "dilation", least=1)
    ceil = flag(ceil_mode, "max_pool2d", "ceil_mode")
    with_indices = flag(return_indices, "max_pool2d", "return_indices")
    y, indices = ops(input).max_pool2d_forward(input, *window, steps, ceil, with_indices)
    return y if indices is None else (y, indices)


def max_pool2d_backward(
    dy: Array,
    indices: npt.NDArray[np.integer[Any]],
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Array:
    """Gradient of max_pool2d: each element of ``dy`` goes to the position that won its window.

    ``indices``, int32 or int64, are those that ``max_pool2d(..., return_indices=True)`` returned
    for an input of ``input_shape``; ``dy`` has their shape. Raises ValueError if the shapes do not
    fit the other arguments, or if an index lies outside the plane.
    """
    op = "max_pool2d_backward"
    window = _window(op, kernel_size, stride, padding)
    steps = pair(dilation, op, "dilation", least=1)
    shape = _shape(op, input_shape)
    ceil = flag(ceil_mode, op, "ceil_mode")
    return ops(dy).max_pool2d_backward(dy, indices, shape, *window, steps, ceil)


def avg_pool2d(
    input: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """The mean of each window (the sub-sampling of LeCun et al. 1998).

    ``input``: float32 (N, C, H, W) or (C, H, W); ``padding`` and sizes as in ``max_pool2d``,
    without dilation. The sum is divided by ``divisor_override`` if given; else by the window's
    size, as far as it lies inside the padded input (``count_include_pad``) or inside the input.

    Raises TypeError for another dtype; ValueError for another rank, a padding above half of the
    kernel, a kernel larger than the padded input, or ``divisor_override=0``.
    """
    op = "avg_pool2d"
    window = _window(op, kernel_size, stride, padding)
    divisor = _divisor(op, divisor_override)
    flags = flag(ceil_mode, op, "ceil_mode"), flag(count_include_pad, op, "count_include_pad")
    return ops(input).avg_pool2d_forward(input, *window, *flags, divisor)


def avg_pool2d_backward(
    dy: Array,
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Gradient of avg_pool2d: each element of ``dy`` is shared out evenly over its window.

    ``dy`` has the shape of avg_pool2d's result for an input of ``input_shape``, else ValueError.
    """
    op = "avg_pool2d_backward"
    window = _window(op, kernel_size, stride, padding)
    divisor = _divisor(op, divisor_override)
    shape = _shape(op, input_shape)
    flags = flag(ceil_mode, op, "ceil_mode"), flag(count_include_pad, op, "count_include_pad")
    return ops(dy).avg_pool2d_backward(dy, shape, *window, *flags, divisor)


def adaptive_avg_pool2d(input: Array, output_size: int | Sequence[int | None]) -> Array:
    """The mean of each of ``output_size`` windows that share a plane out among them.

    ``input``: float32 (N, C, H, W) or (C, H, W); ``output_size``: (P, Q), or one integer for both;
    a None in the pair keeps the input's own height or width. Window p covers the rows

        floor(p * H / P) .. ceil((p + 1) * H / P) - 1

    and likewise across, so that windows touch where P divides H and else may overlap by one row.
    P may be larger than H. torch also takes an output size of 0, for which it has no gradient.

    Raises TypeError for another dtype; ValueError for another rank, an empty plane, or an
    ``output_size`` below 1.
    """
    size = pair_or_none(output_size, "adaptive_avg_pool2d", "output_size", least=1)
    return ops(input).adaptive_avg_pool2d_forward(input, size)


def adaptive_avg_pool2d_backward(
    dy: Array, input_shape: Sequence[int], output_size: int | Sequence[int | None]
) -> Array:
    """Gradient of adaptive_avg_pool2d: each element of ``dy`` is shared out over its window.

    ``dy`` has the shape of adaptive_avg_pool2d's result for an input of ``input_shape``, else
    ValueError.
    """
    op = "adaptive_avg_pool2d_backward"
    size = pair_or_none(output_size, op, "output_size", least=1)
    return ops(dy).adaptive_avg_pool2d_backward(dy, _shape(op, input_shape), size)
