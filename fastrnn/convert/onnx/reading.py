"""The layers of an ONNX model: recurrent nodes, products with constant weights, tables that indices gather from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np

from fastrnn.convert.layer import Layer
from fastrnn.convert.model import Model
from fastrnn.convert.onnx import recurrent
from fastrnn.convert.onnx.fixed import fixed
from fastrnn.convert.onnx.flow import Flow
from fastrnn.convert.onnx.graph import Array, Graph, Node, load
from fastrnn.convert.onnx.operators import scaled
from fastrnn.convert.onnx.runner import checked, folded
from fastrnn.convert.onnx.wiring import Joined, Wiring

DEFAULTS = {"nonlinearity": "tanh", "reset_after": True}  # options that fastrnn's layers have anyway


def read(path: str | PathLike[str]) -> Model:
    """The layers of a file in the order of its nodes.

    Each RNN, GRU or LSTM node is a layer. MatMul with a constant matrix is a Linear, with the bias that an Add behind
    it adds; so is Gemm. Gather from a constant matrix is an Embedding. What else the graph does is in the notes.

    The model is a chain where the graph is: each layer takes what the one before gives, with nothing between them but
    an activation that the notes say, and every output is the last layer's or a final state.

    Raises
    ------
    ValueError
        A node that the runner would refuse, one that is no layer (direction "reverse" alone, an initial state that is
        not zero or lengths, made of constants), or a tensor of numbers that no layer has taken.
    """
    reader = _Reader(folded(checked(load(path))), fspath(path))
    return Model(reader.layers, "onnx", reader.notes, chain=reader.chain)


@dataclass
class _Stack:
    """Recurrent nodes one above the other that are one layer."""

    layer: Layer
    path: str  # what the nodes' names have before their operator
    options: dict[str, Any]  # of every one of them
    turned: bool  # whether x comes batch first
    output: str = ""  # the value (T, B, features) of the last one


class _Reader:
    def __init__(self, graph: Graph, path: str) -> None:
        self._constants, self._origins, self._path = graph.constants, graph.origins, path
        self._wiring, self._results, self._fixed = Wiring(graph), set(graph.outputs), fixed(graph)
        self._taken: set[str] = set()  # constants that are in a layer
        self._biases: set[str] = set()  # outputs of Adds that are a Linear's
        self._names: set[str] = set()
        self._stacks: list[_Stack] = []
        self.layers: list[Layer] = []
        self._flow = Flow(graph, self._wiring, self._fixed)
        self.notes = dict(graph.notes)
        between = Counter[str]()
        for node in graph.nodes:
            if not self._read(node) and not self._flow.other(node) and node.outputs[0] not in self._biases:
                between[node.op] += 1
        self.chain = self._flow.is_chain()
        for stack in self._stacks:
            turned = stack.turned and self._wiring.is_turned_later(stack.output)
            if self.chain:  # as x comes in
                stack.layer.options.pop("batch_first", None)
                turned = self._flow.time == 1
            if turned:
                stack.layer.options["batch_first"] = True
        self._all_taken(graph)
        self.notes |= {f"{name}.activation": activation for name, activation in self._flow.activations.items()}
        if between:
            self.notes["between"] = ", ".join(f"{op} x{n}" if n > 1 else op for op, n in sorted(between.items()))

    def _read(self, node: Node) -> bool:
        """Whether a node is a layer, or part of one."""
        if node.op in recurrent.LAYERS:
            self._recurrent(node)
            return True
        inputs = [self._constants.get(name) for name in node.inputs]
        if node.op == "MatMul" and inputs[0] is None and _is_matrix(inputs[1]):
            self._product(node)
        elif node.op == "Gemm" and inputs[0] is None and _is_matrix(inputs[1]):
            self._gemm(node)
        elif node.op == "Gather" and _is_matrix(inputs[0]) and inputs[1] is None and not node.attributes.get("axis", 0):
            layer = self._new("Embedding", node, {"weight": (node.inputs[0], self._constants[node.inputs[0]])}, {})
            self._flow.embedding(node, layer.name)
        else:
            return False
        return True

    # --------------------------------------------------------------------------------------- recurrent

    def _recurrent(self, node: Node) -> None:
        wanted = recurrent.settings(node)
        if wanted.backwards == (True,):
            raise ValueError(
                f"{node.who}: direction is reverse; expected forward or bidirectional, for a layer has no direction of "
                "its own (fastrnn.convert.onnx.Runner runs the model)"
            )
        if any(options != wanted.options[0] for options in wanted.options):
            raise ValueError(f"{node.who}: its directions have different activations; expected the same")
        self._states(node)
        arrays = self._weights(node, wanted)
        options = {name: value for name, value in wanted.options[0].items() if DEFAULTS.get(name) != value}
        if "bias_ih_l0" not in arrays:
            options["bias"] = False
        joined = Joined()
        if wanted.batch_first:
            options["batch_first"] = True
        else:
            joined = self._wiring.joined(node.outputs[0], len(wanted.backwards))
        if len(wanted.backwards) == 2:
            options |= {"bidirectional": True} | ({"merge": joined.merge} if joined.merge != "concat" else {})
        layer = self._stacked(node, arrays, options, joined.output)
        for place, what in enumerate(("lengths", "initial_state", "initial_state"), 4):
            if place < len(node.inputs) and node.inputs[place] and node.inputs[place] not in self._fixed:
                self.notes[f"{layer.name}.{what}"] = "given: the layer's call takes them"
        width = arrays["weight_hh_l0"][1].shape[1]
        self._flow.recurrent(node, wanted, width, joined, layer.name)

    def _stacked(
        self, node: Node, arrays: dict[str, tuple[str, Array]], options: dict[str, Any], output: str
    ) -> Layer:
        """The layer that a node is, or that it is on top of."""
        path = _path(node)
        for stack in self._stacks:
            if stack.output and stack.output == node.inputs[0] and stack.path == path and stack.options == options:
                self._stack(stack.layer, arrays)
                stack.output = output
                return stack.layer
        layer = self._new(node.op, node, arrays, dict(options))
        self._stacks.append(_Stack(layer, path, options, self._wiring.is_turned(node.inputs[0]), output))
        return layer

    def _stack(self, layer: Layer, arrays: dict[str, tuple[str, Array]]) -> None:
        """Put a node's weights on top of a layer."""
        k = layer.options.get("num_layers", 1)
        layer.options["num_layers"] = k + 1
        for name, (origin, array) in arrays.items():
            name = name.replace("_l0", f"_l{k}")
            layer.tensors[name], layer.sources[name] = array, self._source(origin)
            self._taken.add(origin)

    def _weights(self, node: Node, wanted: recurrent.Settings) -> dict[str, tuple[str, Array]]:
        """PyTorch's names of layer 0, each with the constant that it comes from."""
        names = [*node.inputs, "", "", ""][1:4]
        for name in filter(None, names):
            if name not in self._constants:
                raise ValueError(f"{node.who}: its weight {name!r} is not in the file; expected a constant")
        W, R, B = names
        biases = self._constants[B] if B else None
        every = recurrent.tensors(node, wanted, self._constants[W], self._constants[R], biases)
        sources = {"weight_ih": W, "weight_hh": R, "bias_ih": B, "bias_hh": B}
        return {
            f"{name}_l0{suffix}": (sources[name], array)
            for suffix, own in zip(("", "_reverse"), every, strict=False)
            for name, array in own.items()
        }

    def _states(self, node: Node) -> None:
        """A layer begins with zeros and runs to the end: other states and lengths that the file fixes are refused."""
        if len(node.inputs) > 4 and node.inputs[4] in self._fixed:
            raise ValueError(
                f"{node.who}: its sequence_lens {node.inputs[4]!r} are in the file; expected none, or lengths that a "
                "caller gives, for a layer has none of its own (fastrnn.convert.onnx.Runner runs the model)"
            )
        for name in node.inputs[5:7]:
            state = self._fixed.get(name)
            if state is None:
                continue
            if not state.is_zero:
                known = state.number is not None or name in self._constants
                got = "a constant other than 0" if known else "made of constants and shapes, and not known to be 0"
                raise ValueError(
                    f"{node.who}: its initial state {name!r} is {got}; expected zeros, for a layer begins with them "
                    "(fastrnn.convert.onnx.Runner runs the model)"
                )
            self._taken |= state.constants

    # ------------------------------------------------------------------------------------------ linear

    def _product(self, node: Node) -> None:
        """x @ W, and + b if that is all that is done with it."""
        name = node.inputs[1]
        arrays = {"weight": (name, np.ascontiguousarray(self._constants[name].T))}
        added = None if node.outputs[0] in self._results else self._wiring.added(node.outputs[0])
        if added is not None and self._constants[added[1]].shape == (len(arrays["weight"][1]),):
            arrays["bias"] = (added[1], self._constants[added[1]])
            self._biases.add(added[0].outputs[0])
            self._linear(node, arrays, added[0].outputs[0])
        else:
            self._linear(node, arrays, node.outputs[0])

    def _gemm(self, node: Node) -> None:
        if node.attributes.get("transA", 0):
            raise ValueError(f"{node.who}: transA is 1; expected 0, for a Linear reads rows")
        weight = self._constants[node.inputs[1]]
        weight = weight if node.attributes.get("transB", 0) else weight.T
        weight = scaled(np.ascontiguousarray(weight), node.attributes.get("alpha", 1.0))
        arrays = {"weight": (node.inputs[1], weight)}
        if len(node.inputs) > 2 and node.inputs[2]:
            name = node.inputs[2]
            bias = self._constants.get(name)
            if bias is None or bias.size not in (1, len(weight)) or bias.shape[-1:] not in ((), (1,), (len(weight),)):
                raise ValueError(f"{node.who}: its input C is no constant of a number for each output; expected a bias")
            bias = np.broadcast_to(bias.reshape(-1), (len(weight),)).copy()
            arrays["bias"] = (name, scaled(bias, node.attributes.get("beta", 1.0)))
        self._linear(node, arrays, node.outputs[0])

    def _linear(self, node: Node, arrays: dict[str, tuple[str, Array]], output: str) -> None:
        layer = self._new("Linear", node, arrays, {} if "bias" in arrays else {"bias": False})
        self._flow.linear(node, output, layer.name)

    # ------------------------------------------------------------------------------------------- names

    def _new(self, kind: str, node: Node, arrays: dict[str, tuple[str, Array]], options: dict[str, Any]) -> Layer:
        dtype = next(iter(arrays.values()))[1].dtype
        if dtype != np.float32 and kind != "Embedding":
            options = options | {"dtype": dtype.name}
        self._taken.update(name for name, _ in arrays.values())
        sources = {name: self._source(origin) for name, (origin, _) in arrays.items()}
        tensors = {name: array for name, (_, array) in arrays.items()}
        layer = Layer(kind, self._name(node, sources), tensors, options, sources)
        self.layers.append(layer)
        return layer

    def _source(self, name: str) -> str:
        """The tensors of the file that a constant is made of, without integers such as axes."""
        found = [origin for origin in self._origins[name] if self._constants[origin].dtype.kind == "f"]
        return " ".join(sorted(found)) or name

    def _name(self, node: Node, sources: dict[str, str]) -> str:
        """What stands before .weight in the file, else the node's name without its operator, and one of its own."""
        weight = sources.get("weight", "")
        name = weight.removesuffix(".weight") if weight.endswith(".weight") else _path(node) or node.op.lower()
        unique, count = name, 0
        while unique in self._names:
            count += 1
            unique = f"{name}_{count}"
        self._names.add(unique)
        return unique

    def _all_taken(self, graph: Graph) -> None:
        """Refuse tensors of numbers that no layer has: they would be lost."""
        used = frozenset[str]().union(*(self._origins.get(name, frozenset()) for name in self._taken))
        for name, array in graph.constants.items():
            if graph.origins[name] == {name} and name not in used and array.dtype.kind == "f" and array.size > 1:
                raise ValueError(
                    f"{self._path}: no layer takes the tensor {name!r} of shape {array.shape}; expected those of RNN, "
                    "GRU, LSTM, MatMul, Gemm and Gather alone"
                )


def _path(node: Node) -> str:
    """A node's name without the operator that exporters put at its end: "a.b" of "/a/b/LSTM_1", "" of "/LSTM"."""
    path = [part for part in node.name.split("/") if part]
    if path and path[-1].split("_")[0] == node.op:
        path.pop()
    return ".".join(path)


def _is_matrix(array: Array | None) -> bool:
    return array is not None and array.ndim == 2 and array.dtype in (np.float32, np.float64)
