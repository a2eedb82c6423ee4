"""Values that a graph makes of constants and shapes alone, such as an initial state of zeros."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastrnn.convert.onnx.graph import Array, Graph, Node
from fastrnn.convert.onnx.operators import OPERATORS

# What these give has the elements of their first input; the others say shapes and places.
_MOVING = (
    *("Dropout", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose"),
    "Unsqueeze",
)
_BY_ELEMENT = ("Abs", "Add", "Cast", "Div", "Mul", "Neg", "Sub", "Where")


class Fixed(NamedTuple):
    """A value of constants and shapes.

    Attributes
    ----------
    number : array of no axes, or None
        What every element of it is, None where they differ or where it is not known.
    constants : frozenset of str
        Names of the constants that it is made of.
    """

    number: Array | None
    constants: frozenset[str]

    @property
    def is_zero(self) -> bool:
        return self.number is not None and not self.number


def fixed(graph: Graph) -> dict[str, Fixed]:
    """Every value of a folded graph that does not depend on what its inputs hold, by name."""
    values = {name: Fixed(_only(array), frozenset([name])) for name, array in graph.constants.items()}
    for node in graph.nodes:
        given = [values.get(name) for name in node.inputs if name]
        known = [one for one in given if one is not None]
        if node.op == "Shape":
            values |= dict.fromkeys(node.outputs, Fixed(None, frozenset()))
        elif given and len(known) == len(given):
            made = Fixed(_number(node, known), frozenset[str]().union(*(one.constants for one in known)))
            values |= dict.fromkeys(node.outputs, made)
    return values


def _only(array: Array) -> Array | None:
    first = array.reshape(-1)[:1]
    return first.reshape(()) if array.size and (array == first).all() else None


def _number(node: Node, given: list[Fixed]) -> Array | None:
    """What every element of a node's output is."""
    numbers = [one.number for one in given]
    if node.op == "ConstantOfShape":
        return _only(np.asarray(node.attributes.get("value", np.zeros(1, np.float32))))
    if node.op in _MOVING:
        return numbers[0]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return None
    if node.op == "Concat":
        return known[0] if all(number == known[0] for number in known) else None
    with np.errstate(all="ignore"):
        return np.asarray(OPERATORS[node.op].run(node, *known)) if node.op in _BY_ELEMENT else None
