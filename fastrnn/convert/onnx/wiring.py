"""What stands before and behind the nodes of a graph, as far as it says what kind of layer they are."""

from __future__ import annotations

import numpy as np

from fastrnn.convert.onnx.graph import Array, Graph, Node

SWAPPED = [1, 0, 2]  # batch first to time first, and back


class Wiring:
    """The consumers and makers of every value of a graph."""

    def __init__(self, graph: Graph) -> None:
        self._constants = graph.constants
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

    def joined(self, Y: str, directions: int) -> tuple[str, str]:
        """Where Y (T, D, B, H) is (T, B, features), "" for nowhere, and how its directions became one."""
        after = self.consumers(Y)
        if directions == 1:
            squeezed = [node for node in after if node.op == "Squeeze" and self._axes(node) == [1]]
            return squeezed[0].outputs[0] if squeezed else "", "concat"
        for node in after:
            if node.op == "Transpose" and node.attributes.get("perm") == [0, 2, 1, 3]:
                reshaped = [one for one in self.consumers(node.outputs[0]) if one.op == "Reshape"]
                return reshaped[0].outputs[0] if reshaped else "", "concat"
        return self._merged(after)

    def _operands(self, node: Node) -> list[Array]:
        return [self._constants[name] for name in node.inputs if name in self._constants]

    def _axes(self, node: Node) -> list[int] | None:
        return node.argument("axes", self.constant(node, 1), 13)

    def _merged(self, halves: list[Node]) -> tuple[str, str]:
        """The same for two directions that are gathered and added or multiplied."""
        if [half.op for half in halves] != ["Gather", "Gather"]:
            return "", "concat"
        first, second = (self.consumers(half.outputs[0]) for half in halves)
        if first != second or len(first) != 1 or first[0].op not in ("Add", "Mul"):
            return "", "concat"
        result = first[0].outputs[0]
        if first[0].op == "Mul":
            return result, "mul"
        for node in self.consumers(result):
            if node.op == "Mul" and any(np.array_equal(half, 0.5) for half in self._operands(node)):
                return node.outputs[0], "ave"
        return result, "sum"
