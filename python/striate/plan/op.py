"""What a layer is to a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from striate.nn.layer import Layer, Parameter


class Op(NamedTuple):
    """``name`` and ``options`` of a step of ``_core``'s plans, and the parameters that it reads."""

    name: str
    options: dict[str, Any]
    parameters: tuple[Parameter, ...] = ()


IDENTITY: tuple[Op, ...] = ()  # of a layer that does nothing


# What a class may define on top of a layer of Striate's and still be that layer to a plan.
_HARMLESS = frozenset(
    ("__init__", "__module__", "__qualname__", "__doc__", "__annotations__", "__firstlineno__",
     "__static_attributes__", "extra_repr", "window", "multiply_adds")
)  # fmt: skip


def ops_of(layer: Layer, training: bool) -> tuple[Op, ...] | None:
    """The ops of ``layer``, one after another, or None where a plan cannot stand for it: a layer of
    the user's own, or one whose ``apply`` or ``grad`` was replaced.
    """
    if not _is_stock(type(layer)) or not {"apply", "grad"}.isdisjoint(vars(layer)):
        return None
    found = layer.op(training)
    return (found,) if isinstance(found, Op) else found


def _is_stock(kind: type[Layer]) -> bool:
    """Whether a class says itself what its op is, or inherits that and changes nothing by it."""
    for cls in kind.__mro__:
        if "op" in vars(cls):
            return True
        if not _HARMLESS.issuperset(vars(cls)):
            return False  # a property, say, could stand for a weight
    return False
