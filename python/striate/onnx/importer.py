"""load: an ONNX file becomes an nn.Graph, node by node."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from striate.checkpoint import NO_MEMORY
from striate.functional._arguments import Array
from striate.nn.graph import Graph, Node
from striate.nn.layer import Layer, Parameter
from striate.nn.merge import Identity
from striate.onnx import constants, operators, products, windows
from striate.onnx.errors import OnnxError, one_line
from striate.onnx.operation import Operation
from striate.onnx.source import Source, check, parse
from striate.onnx.tensors import ANY, MOST, type_name

CONVERTERS: dict[str, Callable[[Operation], None]] = {
    **operators.CONVERTERS,
    **products.CONVERTERS,
    **windows.CONVERTERS,
}
_COPIES = 4  # of its weights, that the nodes of a file may make
_TAKEN = {"nodes", "inputs", "training"}  # attributes of a graph that a layer must not hide


def load(path: str | Path) -> Graph:
    """An ONNX file as a model: runnable, trainable, and in inference mode until ``train()``.

    The layers are named after the file's nodes, and their weights are parameters (those of a batch
    normalisation frozen). A model with several inputs, those that it does not read included, takes
    a tuple, in the file's order. A Reshape that keeps the batch's size as the file declares it
    keeps any. Weights in a file of external data are read from beside ``path``.

    Raises OnnxError (a ValueError) for a file that is not whole, contradicts itself, or holds an
    operator, attribute or type that Striate lacks, named with its node; FileNotFoundError.
    """
    path = Path(path)
    model = parse(path)
    try:
        return build(model, path.parent)
    except OnnxError as error:
        raise OnnxError(f"{path}: {error}") from None
    except MemoryError as error:
        raise MemoryError(f"{path}: {one_line(error) or NO_MEMORY}") from None
    except (ValueError, TypeError) as error:  # a name that is not UTF-8, for one
        raise OnnxError(f"{path}: not a whole ONNX file ({one_line(error)})") from None


def build(
    model: ModelProto, folder: Path | None = None, feeds: Mapping[str, ANY] | None = None
) -> Graph:
    """The nn.Graph of a model in memory; ``feeds`` may stand where constants are wanted."""
    return Importer(check(model, folder, feeds or {}), feeds or {}).run()


class Importer:
    """What is known while the nodes are read in order; then ``graph`` and the names it reads."""

    graph: Graph
    inputs: list[str]

    def __init__(self, source: Source, feeds: Mapping[str, ANY]) -> None:
        self.source, self.feeds = source, feeds
        self.values = {name: i for i, name in enumerate(source.inputs)}
        self.uses = Counter(name for node in source.nodes for name in node.input if name)
        self.uses[source.output] += 1
        self.readers: dict[str, NodeProto] = {
            name: node for node in source.nodes for name in node.input
        }
        self.absorbed: set[str] = set()  # outputs of nodes that went into the one before them
        self._nodes: list[Node] = []
        self._names: Counter[str] = Counter()  # how often each was asked for
        self._folded: dict[str, ANY] = {}
        self._parameters: dict[tuple[str, str], Parameter] = {}
        self._taken: set[str] = set()  # names of weights that are parameters already
        self._next = len(source.inputs)
        self.filled = 0  # bytes of constants that the file asks for by a shape
        self._made = 0  # bytes of weights that were made of what the file holds

    def run(self) -> Graph:
        with np.errstate(all="ignore"):  # a file may hold inf and NaN; they go into the weights
            for node in self.source.nodes:
                self._read(node)
        return self._graph(self.source.output)

    def _read(self, node: NodeProto) -> None:
        operation = Operation(self, node)
        if node.output[0] in self.absorbed:
            return
        try:
            folded = constants.fold(operation)
            if folded is not None:
                self._folded[node.output[0]] = folded
            else:
                CONVERTERS[node.op_type](operation)
            operation.finish()
        except OnnxError as error:
            prefix = "" if str(error).startswith(operation.label) else f"{operation.label}: "
            raise type(error)(f"{prefix}{error}") from None
        except (ValueError, TypeError) as error:
            raise OnnxError(f"{operation.label}: {error}") from None

    def _graph(self, output: str) -> Graph:
        """The nodes that the output needs, their values counted anew from the inputs."""
        if output not in self.values:
            raise OnnxError(f"the output {output!r} does not depend on the model's input")
        wanted = {self.values[output]}
        kept: list[Node] = []
        for node in reversed(self._nodes):
            if node.output in wanted:
                kept.append(node)
                wanted.update(node.inputs)
        kept.reverse()
        # An input that nothing reads is still one that the model takes; an array that was given as
        # a constant is none.
        inputs = [
            name
            for i, name in enumerate(self.source.inputs)
            if i in wanted or name not in self.feeds
        ]
        for name in inputs:
            if self.values[name] in wanted and self.source.types.get(name) != TensorProto.FLOAT:
                raise OnnxError(
                    f"the input {name!r} must be a tensor of FLOAT, got "
                    f"{type_name(self.source.types.get(name, 0))}"
                )
        numbers = {self.values[name]: i for i, name in enumerate(inputs)}
        for node in kept:
            numbers[node.output] = len(numbers)
        nodes = [
            node._replace(
                inputs=tuple(numbers[v] for v in node.inputs), output=numbers[node.output]
            )
            for node in kept
        ]
        if not nodes:  # the output is one of the inputs
            nodes = [Node("identity", Identity(), (numbers[self.values[output]],), len(inputs))]
        self.inputs = inputs
        self.graph = Graph(nodes, inputs=len(inputs))
        self.graph.eval()
        return self.graph

    # --- for the operations ----------------------------------------------------------------------

    def constant(self, name: str) -> ANY | None:
        """The array of a name, or None for one that depends on the model's input."""
        if name in self._folded:
            return self._folded[name]
        if name in self.source.tensors:
            return self.source.array(name)
        return self.feeds.get(name)

    def fixed(self, name: str) -> bool:
        """Whether ``name`` is constant whatever the model is fed."""
        return name in self._folded or name in self.source.tensors

    def claim(self, size: int) -> None:
        """Counts bytes that are made of what the file holds. Nodes are small, and many of them may
        each want the same weights in another form: OnnxError where they are out of proportion.
        """
        self._made += size
        most = _COPIES * (self.source.held + MOST)
        if self._made > most:
            raise OnnxError(
                f"the nodes up to this one make more than {most} bytes of weights, {_COPIES} times "
                "what the file holds"
            )

    def parameter(self, name: str, how: str, make: Callable[[], Array]) -> Parameter:
        key = name, how
        if key not in self._parameters:
            array = np.require(make(), np.float32, ["C", "W", "O"])
            self.claim(array.nbytes)
            if name in self._taken:
                array = array.copy()
            self._taken.add(name)
            self._parameters[key] = Parameter(array)
        return self._parameters[key]

    def emit(self, node: NodeProto, layer: Layer, inputs: tuple[int, ...], part: str) -> int:
        name = node.name or node.output[0]
        value, self._next = self._next, self._next + 1
        self._nodes.append(Node(self._unique(name + part, node.op_type), layer, inputs, value))
        return value

    def _unique(self, name: str, kind: str) -> str:
        name = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or kind
        if name in _TAKEN or hasattr(Graph, name):
            name += "_"
        unique = name
        while unique in self._names:
            self._names[name] += 1
            unique = f"{name}_{self._names[name]}"
        self._names[unique] = 1
        return unique
