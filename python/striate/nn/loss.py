"""CrossEntropyLoss."""

from __future__ import annotations

from typing import Any

import striate.functional as F
from striate.functional._arguments import Array, number, refuse


class CrossEntropyLoss:
    """Softmax and the negative log likelihood of the labels, fused: see
    ``striate.functional.cross_entropy``.

    ``loss = criterion(logits, labels)`` is a float (an array for reduction='none');
    ``criterion.backward()`` is the gradient for the logits, to be handed to ``model.backward``.
    """

    def __init__(
        self,
        weight: Array | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        refuse("CrossEntropyLoss", size_average=size_average, reduce=reduce)
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f"CrossEntropyLoss: reduction must be 'mean', 'sum' or 'none', got {reduction!r}"
            )
        if not 0 <= number(label_smoothing, "CrossEntropyLoss", "label_smoothing") <= 1:
            raise ValueError(
                f"CrossEntropyLoss: label_smoothing must be between 0 and 1, got {label_smoothing}"
            )
        self.weight, self.ignore_index = weight, ignore_index
        self.reduction, self.label_smoothing = reduction, label_smoothing
        self._saved: tuple[Array, Any] | None = None

    def forward(self, input: Array, target: Any) -> Any:
        """The loss of the logits ``input`` (N, C), and what backward needs is kept."""
        loss = F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
        self._saved = (input, target)
        return loss

    __call__ = forward

    def backward(self, dy: Any = 1.0) -> Array:
        """Gradient for the logits; ``dy`` scales it (an array of the losses' shape for 'none')."""
        if self._saved is None:
            raise RuntimeError(
                "CrossEntropyLoss.backward: nothing is saved; call the loss once before each "
                "backward"
            )
        gradient = F.cross_entropy_backward(
            dy,
            *self._saved,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
        self._saved = None
        return gradient
