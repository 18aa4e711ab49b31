"""cross_entropy on logits."""

from __future__ import annotations

from typing import Any

from striate._device import ops
from striate.functional._arguments import Array, integer, number, refuse

_LOWEST = -(2**31)


def cross_entropy(
    input: Array,
    target: Any,
    weight: Array | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> float | Array:
    """The negative log-likelihood of ``target`` under softmax(input), fused, as in torch.

    ``input``: logits, float32, of shape (C), (N, C) or (N, C, d1, ...) for C classes.
    ``target``: labels of any integer type, in input's shape without C; or float32 class
    probabilities q in input's shape. ``weight``: float32 (C), w_c below, 1 without. With p the
    softmax and e = ``label_smoothing`` (Szegedy et al. 2016, section 7), a position's loss is::

        labels          -(1 - e) w_t log p_t - e/C sum_c w_c log p_c
        probabilities   -sum_c ((1 - e) q_c + e/C) w_c log p_c

    A position labelled ``ignore_index`` has loss 0. Returns, for ``reduction`` "none", an array of
    the losses; for "sum" and "mean" a float, summed in double in a fixed order. The mean of labels
    divides by the sum of w_t over the positions that count, that of probabilities by the number of
    positions; over nothing, an empty batch for example, it is NaN.

    Raises TypeError for another dtype and bool labels, ValueError for shapes that disagree, a label
    that is no class, a ``label_smoothing`` outside 0 .. 1, ``ignore_index`` >= 0 beside
    probabilities, and torch's deprecated ``size_average`` and ``reduce``.
    """
    op = "cross_entropy"
    options = _options(op, size_average, ignore_index, reduce, reduction, label_smoothing)
    loss: float | Array = ops(input).cross_entropy_forward(input, target, weight, *options)
    return loss


def cross_entropy_backward(
    dy: float | Array,
    input: Array,
    target: Any,
    weight: Array | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """Gradient of cross_entropy for ``input``: dy * (softmax - one-hot target) at its simplest.

    ``dy`` is a number for ``reduction`` "mean" and "sum", and an array of the losses' shape for
    "none"; the rest is what ``cross_entropy`` was given. Zero where the label is ``ignore_index``.
    """
    op = "cross_entropy_backward"
    options = _options(op, size_average, ignore_index, reduce, reduction, label_smoothing)
    scale = dy if reduction == "none" else number(dy, op, "dy")
    return ops(input).cross_entropy_backward(scale, input, target, weight, *options)


def _options(
    op: str, size_average: Any, ignore_index: Any, reduce: Any, reduction: Any, smoothing: Any
) -> tuple[int, str, float]:
    """(ignore_index, reduction, label_smoothing), each of its type."""
    refuse(op, size_average=size_average, reduce=reduce)
    if not isinstance(reduction, str):
        raise TypeError(f"{op}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    index = integer(ignore_index, op, "ignore_index", least=_LOWEST)
    return index, reduction, number(smoothing, op, "label_smoothing")
