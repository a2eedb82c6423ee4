"""What stands before and behind the nodes of a graph, as far as it says what kind of layer they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastrnn.convert.onnx.graph import Array, Graph, Node

SWAPPED = [1, 0, 2]  # batch first to time first, and back


class Joined(NamedTuple):
    """How a recurrent node's directions become one.

    Attributes
    ----------
    output : str
        Where Y (T, D, B, H) is (T, B, features), "" for nowhere.
    merge : str
    nodes : tuple of Node
        Those that add or multiply the directions.
    """

    output: str = ""
    merge: str = "concat"
    nodes: tuple[Node, ...] = ()


class Wiring:
    """The consumers and makers of every value of a graph."""

    def __init__(self, graph: Graph) -> None:
        self._constants, self._results = graph.constants, set(graph.outputs)
        self._consumers: dict[str, list[Node]] = {}
        self._makers: dict[str, Node] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self._consumers.setdefault(name, []).append(node)
            self._makers |= dict.fromkeys(node.outputs, node)

    def consumers(self, value: str) -> list[Node]:
        return self._consumers.get(value, []) if value else []

    def constant(self, node: Node, place: int) -> Array | None:
        """The input at a place if it is a constant."""
        return self._constants.get(node.inputs[place]) if place < len(node.inputs) else None

    def added(self, value: str) -> tuple[Node, str] | None:
        """The Add that is all that uses a value, and the name of the other operand, if that is a constant."""
        after = self.consumers(value)
        if len(after) != 1 or after[0].op != "Add":
            return None
        other = next((name for name in after[0].inputs if name != value), "")
        return (after[0], other) if other in self._constants else None

    def is_turned(self, value: str) -> bool:
        """Whether a value is another one with its first two axes swapped."""
        maker = self._makers.get(value)
        return maker is not None and maker.op == "Transpose" and maker.attributes.get("perm") == SWAPPED

    def is_turned_later(self, value: str) -> bool:
        """Whether a value is used with its first two axes swapped, or not at all."""
        after = self.consumers(value)
        return not after or any(self.is_turned(node.outputs[0]) for node in after)

    def is_training(self, node: Node) -> bool:
        """Whether a Dropout is told that it trains, or may be."""
        told = self.constant(node, 2)
        return bool(told) if told is not None else len(node.inputs) > 2 and node.inputs[2] != ""

    def joined(self, Y: str, directions: int) -> Joined:
        """What becomes of the directions of Y (T, D, B, H)."""
        after = self.consumers(Y)
        if directions == 1:
            squeezed = [node for node in after if node.op == "Squeeze" and self.axes(node) == [1]]
            return Joined(squeezed[0].outputs[0] if squeezed else "")
        for node in after:
            if node.op == "Transpose" and node.attributes.get("perm") == [0, 2, 1, 3]:
                reshaped = [one for one in self.consumers(node.outputs[0]) if one.op == "Reshape"]
                return Joined(reshaped[0].outputs[0] if reshaped else "")
        return Joined() if Y in self._results else self._merged(after)

    def _operands(self, node: Node) -> list[Array]:
        return [self._constants[name] for name in node.inputs if name in self._constants]

    def axes(self, node: Node) -> list[int] | None:
        return node.argument("axes", self.constant(node, 1), 13)

    def _direction(self, node: Node) -> int | None:
        """Which direction of Y a node gathers, None if it does something else."""
        index = self.constant(node, 1) if node.op == "Gather" else None
        if index is None or index.ndim or node.attributes.get("axis", 0) not in (1, -3):
            return None
        return int(index) % 2 if -2 <= index < 2 else None

    def _merged(self, halves: list[Node]) -> Joined:
        """The same for two directions that are gathered and added or multiplied."""
        if len(halves) != 2 or {self._direction(half) for half in halves} != {0, 1}:
            return Joined()
        gathered = [half.outputs[0] for half in halves]
        first, second = (self.consumers(name) for name in gathered)
        if first != second or len(first) != 1 or self._results & set(gathered):
            return Joined()
        merging, nodes = first[0], (*halves, first[0])
        result = merging.outputs[0]
        if merging.op not in ("Add", "Mul"):
            return Joined()
        if merging.op == "Mul":
            return Joined(result, "mul", nodes)
        after = self.consumers(result) if result not in self._results else []
        if len(after) == 1 and after[0].op == "Mul" and any(np.array_equal(n, 0.5) for n in self._operands(after[0])):
            return Joined(after[0].outputs[0], "ave", (*nodes, after[0]))
        return Joined(result, "sum", nodes)
