"""Layer: two pure functions, ``apply`` and ``grad``, and the thin stateful pair over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from striate._device import device_of, is_array, is_cuda, namespace
from striate._device import parse as parse_device
from striate._device import to as to_device
from striate.functional._arguments import Array
from striate.plan.op import Op

Gradients: TypeAlias = "list[tuple[Parameter, Array]]"
Window: TypeAlias = "tuple[tuple[int, int], tuple[int, int]] | None"


class Parameter:
    """What training changes: ``data`` (float32 array), ``grad`` (its gradient or None).

    ``data`` belongs to the user and may be edited in place. It is a NumPy array, on a GPU a CuPy
    array; ``Layer.to`` moves it. Without ``requires_grad`` no gradient
    is computed for it, and none below the first layer that has a trainable parameter.
    """

    def __init__(self, data: Array, requires_grad: bool = True) -> None:
        self._data = _float32(data, "Parameter: data")
        self.grad: Array | None = None
        self.requires_grad = requires_grad

    @property
    def data(self) -> Array:
        return self._data

    @data.setter
    def data(self, value: Array) -> None:
        value = _float32(value, "Parameter: data")
        if value.shape != self._data.shape:
            raise ValueError(
                f"Parameter: data has shape {self._data.shape}, cannot be set to one of shape "
                f"{value.shape}"
            )
        self._data = value

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def device(self) -> str:
        """ "cpu" or "cuda:<index>"."""
        return device_of(self._data)

    def to(self, device: Any) -> Parameter:
        """Moves ``data`` and ``grad`` to ``device``; returns itself."""
        target = parse_device(device, "Parameter.to")
        self._data = to_device(self._data, target)
        if self.grad is not None:
            self.grad = to_device(self.grad, target)
        return self

    def accumulate(self, gradient: Array) -> None:
        """Adds to ``grad``, or takes ``gradient`` where there is none: zero_grad costs nothing."""
        if self.grad is None:
            self.grad = gradient
        else:
            namespace(self.grad).add(self.grad, gradient, out=self.grad)

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, requires_grad={self.requires_grad})"


def _float32(value: Any, what: str) -> Array:
    """``value`` as a writeable C-contiguous float32 array; no other dtype is cast."""
    if not is_array(value):
        raise TypeError(f"{what} must be a NumPy array, got {type(value).__name__}")
    if value.dtype != np.float32:
        raise TypeError(f"{what} must be float32, got {value.dtype}; cast it with .astype('f4')")
    if is_cuda(value):
        array: Array = value.copy() if not value.flags.c_contiguous else value
        return array
    return np.require(value, requirements=["C", "W"])


class Layer:
    """Base of all layers. A layer is the pure pair

    * ``apply(x, training, save) -> (y, saved)``: the result, and what ``grad`` will need of it
      (None unless ``save``);
    * ``grad(dy, saved, need) -> (dx, gradients)``: the gradient for x (None unless ``need``), and
      a list of (parameter, gradient) for its own trainable parameters.

    Neither changes the layer, so a layer may stand twice in a net and many threads may infer at
    once. ``forward`` and ``backward`` are the stateful pair for people: in training mode forward
    keeps what it saved until backward takes it. In eval mode (torch differs) nothing is kept
    unless ``model(x, save=True)`` asks for it.

    Subclasses implement apply and grad. Parameters and child layers are found among the attributes
    (in a list or dict they are not seen; Sequential and Graph hold lists of layers).
    """

    _version = 0  # counts the changes to any layer's attributes: plans are made for one version

    def __init__(self) -> None:
        self.training = True
        self._saved: tuple[Any] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name != "_saved":
            Layer._version += 1

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        Layer._version += 1

    # --- the pure pair ---------------------------------------------------------------------------

    def apply(self, x: Any, training: bool = False, save: bool = True) -> tuple[Any, Any]:
        """(y, saved) for the input ``x``, a float32 array; ``saved`` is None unless ``save``."""
        raise NotImplementedError(f"{type(self).__name__} lacks apply(x, training, save)")

    def grad(self, dy: Any, saved: Any, need: bool = True) -> tuple[Any, Gradients]:
        """(dx, [(parameter, gradient)]) for ``dy`` of y's shape; dx is None unless ``need``."""
        raise NotImplementedError(f"{type(self).__name__} lacks grad(dy, saved, need)")

    def op(self, training: bool) -> Op | tuple[Op, ...] | None:
        """What the layer is to a plan (striate.plan), if several ops then in their order; None: a
        plan cannot stand for it.
        """
        return None

    # --- the stateful pair -----------------------------------------------------------------------

    def forward(self, x: Any, save: bool | None = None) -> Any:
        """The layer's result. Keeps what backward needs if ``save``; by default in training."""
        keep = self.training if save is None else save
        y, saved = self.apply(x, self.training, keep)
        if keep:
            self._saved = (saved,)
        return y

    __call__ = forward

    def backward(self, dy: Any, input_grad: bool = True) -> Any:
        """Adds to the parameters' ``grad``; returns the gradient for the input.

        ``dy`` is the gradient for forward's result. With ``input_grad=False`` None is returned,
        and what only that would need is not computed. A forward serves one backward.
        """
        if self._saved is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward: nothing is saved; call forward in training mode, "
                "or with save=True, once before each backward"
            )
        dx, gradients = self.grad(dy, self._saved[0], input_grad)
        self._saved = None
        for parameter, gradient in gradients:
            parameter.accumulate(gradient)
        return dx

    def train(self, mode: bool = True) -> Layer:
        """Training mode (dropout drops, forward saves) for this layer and those in it."""
        for layer in self.layers():
            layer.training = mode
            layer._saved = None
        return self

    def eval(self) -> Layer:
        """Inference mode: train(False)."""
        return self.train(False)

    # --- what is in it ---------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Layer]]:
        """The layers directly in this one."""
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                yield name, value

    def children(self) -> Iterator[Layer]:
        """The layers directly in this one, without their names."""
        return (child for _, child in self.named_children())

    def layers(self) -> Iterator[Layer]:
        """This layer and all below it, each once. (torch: modules)"""
        seen: set[int] = set()
        stack: list[Layer] = [self]
        while stack:
            layer = stack.pop()
            if id(layer) not in seen:
                seen.add(id(layer))
                yield layer
                stack.extend(reversed(list(layer.children())))

    modules = layers

    def _all_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.named_children():
            yield from child._all_parameters(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter), names as torch's: "features.0.weight". A shared one comes once."""
        seen: set[int] = set()
        for name, parameter in self._all_parameters():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """All parameters here and below, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def trainable(self) -> bool:
        """Whether any parameter here or below requires a gradient."""
        return any(p.requires_grad for _, p in self._all_parameters())

    def requires_grad_(self, requires_grad: bool = True) -> Layer:
        """Sets requires_grad of every parameter: False freezes the layer."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def to(self, device: Any) -> Layer:
        """Moves all parameters to ``device``: "cpu", "cuda" (the current GPU) or "cuda:<index>".

        Returns itself, as in torch. What forward saved stays where it is, so a backward that is
        due must come first. Raises RuntimeError, one sentence, where CUDA cannot be used, and
        MemoryError; then nothing has moved.
        """
        target = parse_device(device, f"{type(self).__name__}.to")
        parameters = list(self.parameters())
        moved = [
            (to_device(p.data, target), None if p.grad is None else to_device(p.grad, target))
            for p in parameters
        ]
        for p, (data, grad) in zip(parameters, moved):
            p.data, p.grad = data, grad
        return self

    def cuda(self, device: int | None = None) -> Layer:
        """``to("cuda")``, or the GPU with that index."""
        return self.to("cuda" if device is None else f"cuda:{device}")

    def cpu(self) -> Layer:
        """``to("cpu")``."""
        return self.to("cpu")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients: the next backward writes instead of adding."""
        if not set_to_none:
            raise ValueError("zero_grad: set_to_none=False is not supported, though torch has it")
        for parameter in self.parameters():
            parameter.grad = None

    # --- what it costs and sees: for summary ---------------------------------------------------

    def window(self, input_shape: tuple[int, ...]) -> Window:
        """((height, width), (stride down, across)) of the input that an element of the result
        sees, holes included, for an input of ``input_shape`` (N, C, H, W); None: all of it.

        This default is that of a layer that works element by element, or across channels.
        """
        return (1, 1), (1, 1)

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """Multiplications by a parameter that forward takes for a result of ``output_shape``."""
        return 0

    # --- state -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """The parameters' arrays by name: the arrays themselves, not copies."""
        return {name: parameter.data for name, parameter in self._all_parameters()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Copies the arrays of ``state_dict`` into the parameters of the same names.

        Values: float32 arrays, or what has DLPack or the buffer protocol (a torch tensor). Raises
        ValueError that lists missing, unexpected and mis-shaped keys, and then changes nothing;
        ``strict=False`` allows missing and unexpected ones.
        """
        from striate.nn._state import load_parameters

        load_parameters(type(self).__name__, self.state_dict(), state_dict, strict)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_saved": None}  # a copy does not share what forward saved

    def extra_repr(self) -> str:
        """The constructor's arguments, for repr."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}" for name, child in self.named_children()]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        body = "\n".join(children).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"
