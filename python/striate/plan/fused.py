"""What a Graph runs on a GPU: its nodes, a product and the ReLU behind it as one of them.

The ReLU is then made as the product is written, and not by another pass over memory. (On the CPU
chains of layers run as one plan in C++, which fuses more: striate.plan.chain.)
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import striate.functional as F
from striate._device import ops
from striate.functional._arguments import Array
from striate.functional.convolution import geometry
from striate.nn.layer import Gradients, Layer
from striate.plan.op import ops_of

if TYPE_CHECKING:
    from striate.nn.graph import Graph, Node


class WithRelu(Layer):
    """relu(layer(x)) for a Conv2d or a Linear."""

    layer: Any

    def __init__(self, layer: Layer) -> None:
        # Not as a change of a layer, which would make all plans anew.
        self.__dict__.update(training=True, _saved=None, layer=layer)

    def apply(self, x: Array, training: bool = False, save: bool = True) -> tuple[Array, Any]:
        layer = self.layer
        bias = None if layer.bias is None else layer.bias.data
        if x.ndim != (4 if layer.weight.data.ndim == 4 else 2):  # unbatched, or more axes
            y = F.relu(layer.apply(x, training, save=False)[0])
        elif layer.weight.data.ndim == 4:
            places = (layer.stride, layer.padding, layer.dilation, layer.groups)
            arguments = geometry("conv2d", layer.weight.data, *places)
            y = ops(x).conv2d_relu_forward(x, layer.weight.data, bias, *arguments)
        else:
            y = ops(x).linear_relu_forward(x, layer.weight.data, bias)
        return y, (x, y) if save else None

    def grad(self, dy: Array, saved: Any, need: bool = True) -> tuple[Array | None, Gradients]:
        x, y = saved
        gradients: tuple[Array | None, Gradients] = self.layer.grad(F.relu_backward(dy, y), x, need)
        return gradients


def fused(graph: Graph) -> tuple[Node, ...]:
    """The nodes of ``graph``, those of such pairs replaced by one."""
    from striate import nn

    readers = Counter(v for node in graph.nodes for v in node.inputs)
    if graph.nodes:
        readers[graph.nodes[-1].output] += 1  # the caller
    found: list[Node] = []
    for node in graph.nodes:
        before = found[-1] if found else None
        if (
            before is not None
            and _is(node.layer, nn.ReLU, "relu")
            and (_is(before.layer, nn.Conv2d, "conv2d") or _is(before.layer, nn.Linear, "linear"))
            and node.inputs == (before.output,)
            and readers[before.output] == 1
        ):
            layer = WithRelu(before.layer)
            found[-1] = before._replace(layer=layer, output=node.output)
        else:
            found.append(node)
    return tuple(found)


def _is(layer: Layer, kind: type[Layer], op: str) -> bool:
    """Whether it is one of Striate's own, with nothing of the user's on top."""
    if not isinstance(layer, kind):
        return False
    own = ops_of(layer, training=False)
    return own is not None and len(own) == 1 and own[0].name == op
