"""Whether the layers of a graph follow each other, and which activations follow them.

The value that goes from layer to layer is followed by the names of its axes: numbers for those of the graph's input,
"f" for features, and "d" for the directions in a recurrent node's Y. What exporters put around a layer moves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fastrnn.convert.onnx.fixed import Fixed
from fastrnn.convert.onnx.graph import Graph, Node
from fastrnn.convert.onnx.recurrent import Settings
from fastrnn.convert.onnx.wiring import Joined, Wiring

Axes = tuple[int | str, ...]

_ACTIVATIONS = {
    "Elu": "elu",
    "Exp": "exponential",
    "LogSoftmax": "log_softmax",
    "Relu": "relu",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}
_FACTORS = {"Elu": ("alpha",), "Selu": ("alpha", "gamma")}  # other numbers than the defaults have no name


@dataclass(frozen=True)
class _Form:
    """How a value holds what a layer gives.

    Attributes
    ----------
    axes : tuple
    stage : int
        How many layers and activations it has gone through.
    layer : str
        The name of the last one, "" for the graph's input, and where an activation has followed it.
    directions : int
        The length of the axis "d".
    alone : bool
        Whether nothing else sees the same in another form.
    """

    axes: Axes
    stage: int = 0
    layer: str = ""
    directions: int = 1
    alone: bool = True


class Flow:
    """What becomes of a graph's input, node by node in the graph's order.

    Attributes
    ----------
    activations : dict
        The activation that follows a layer, and that all see who use its output, by the layer's name.
    time : int, str or None
        The axis of the graph's input that recurrent layers go along, None before there is one.
    """

    def __init__(self, graph: Graph, wiring: Wiring, fixed: Mapping[str, Fixed]) -> None:
        self._graph, self._wiring, self._fixed = graph, wiring, fixed
        self._forms: dict[str, _Form] = {}
        self._states: dict[str, tuple[int, int]] = {}  # of each final state its place and its axis of directions
        self._stage = 0
        self._whole = len(graph.inputs) == 1
        self._done: set[str] = set()  # outputs of the nodes that join two directions
        self._lengths: dict[int | str, int | None] = {}
        self.activations: dict[str, str] = {}
        self.time: int | str | None = None
        for value in graph.inputs:
            if value.shape is not None:
                axes: Axes = tuple(range(len(value.shape)))
                self._lengths = dict(zip(axes, value.shape, strict=True))
                self._forms[value.name] = _Form((*axes[:-1], "f") if axes and value.dtype.kind == "f" else axes)

    def is_chain(self) -> bool:
        """Whether every output is what the last layer gives, or a recurrent layer's final state."""
        return self._whole and self._stage > 0 and all(map(self._is_result, self._graph.outputs))

    def _is_result(self, value: str) -> bool:
        if value in self._states:
            return True
        form = self._taken(value)
        if form is None or form.axes[-1:] != ("f",):
            return False
        steps = [axis for axis in form.axes[:-1] if axis != "d"]
        return steps == list(range(len(steps)))  # in the input's order

    # ------------------------------------------------------------------------------------------ layers

    def embedding(self, node: Node, name: str) -> None:
        form = self._taken(node.inputs[1])
        if form is not None and "f" not in form.axes:
            self._given(node.outputs[0], (*form.axes, "f"), name)
        else:
            self._given(node.outputs[0], None, name)

    def linear(self, node: Node, output: str, name: str) -> None:
        """A product, whose bias is in `output` if it has one."""
        form = self._taken(node.inputs[0])
        usual = form is not None and form.axes[-1:] == ("f",) and "d" not in form.axes
        self._given(output, form.axes if usual and form is not None else None, name)
        self._done.add(output)

    def recurrent(self, node: Node, wanted: Settings, width: int, joined: Joined, name: str) -> None:
        """A node of `width` features for each direction, and how its Y is joined."""
        if any(value and value not in self._fixed for value in node.inputs[4:7]):
            self._whole = False  # lengths or states that somebody gives
        Y, *states = node.outputs
        self._states |= {state: (kind, int(wanted.batch_first)) for kind, state in enumerate(states) if state}
        form = self._taken(node.inputs[0])
        first, second, *rest = form.axes if form is not None and len(form.axes) == 3 else (0, 1)
        time = second if wanted.batch_first else first
        if rest != ["f"] or self.time not in (None, time):
            self._whole = False  # it follows none, or its steps were rows of another layer
        self.time, self._lengths["f"] = time, len(wanted.backwards) * width
        axes: Axes = (first, second, "d", "f") if wanted.batch_first else (first, "d", second, "f")
        self._given(Y, axes, name, len(wanted.backwards))
        if joined.nodes:
            self._done.update(one.outputs[0] for one in joined.nodes)
            self._forms.pop(Y, None)
            self._forms[joined.output] = _Form((first, second, "f"), self._stage, name)

    def _taken(self, value: str) -> _Form | None:
        """The form of what a layer takes, if it is what the one before gives."""
        form = self._forms.get(value)
        return form if form is not None and form.stage == self._stage else None

    def _given(self, value: str, axes: Axes | None, name: str, directions: int = 1) -> None:
        """What a layer gives; no axes for one that does not follow the layer before it."""
        self._stage += 1
        if axes is None:
            self._whole, axes = False, ("?", "f")
        if value:
            self._forms[value] = _Form(axes, self._stage, name, directions)

    # --------------------------------------------------------------------------------- what is no layer

    def other(self, node: Node) -> bool:
        """Go through another node; whether it is an activation that is noted."""
        output = node.outputs[0]
        if node.op == "Shape" or output in self._fixed or output in self._done:
            return False
        value = node.inputs[0] if node.inputs else ""
        if value in self._states:
            self._state(node, self._states[value])
            return False
        form = self._forms.get(value)
        if form is None or form.stage != self._stage or not self._fixed.keys() >= set(filter(None, node.inputs[1:])):
            self._whole = False
            return False
        moved = self._moved(node, form)
        if moved is not None:
            self._forms[output] = replace(form, axes=moved, alone=form.alone and self._is_alone(value))
            return False
        return self._activation(node, form, output)

    def _state(self, node: Node, kind: tuple[int, int]) -> None:
        """Final states of one kind joined along their directions are one, too."""
        joins = node.op == "Concat" and node.attributes.get("axis") == kind[1]
        if (joins or node.op == "Identity") and all(self._states.get(name) == kind for name in node.inputs):
            self._states[node.outputs[0]] = kind
        else:
            self._whole = False

    def _is_alone(self, value: str) -> bool:
        """Whether one node uses a value, and nobody else."""
        users = [node for node in self._wiring.consumers(value) if node.op != "Shape"]
        return len(users) == 1 and value not in self._graph.outputs

    def _moved(self, node: Node, form: _Form) -> Axes | None:
        """The axes behind a node that only moves them, or None for another node."""
        axes, wiring = form.axes, self._wiring
        if node.op == "Identity" or (node.op == "Dropout" and not wiring.is_training(node)):
            return axes
        if node.op == "Transpose":
            order = node.attributes.get("perm", range(len(axes) - 1, -1, -1))
            return tuple(axes[place] for place in order) if sorted(order) == list(range(len(axes))) else None
        if "d" not in axes:
            return None
        place = axes.index("d")
        rest = (*axes[:place], *axes[place + 1 :])
        if node.op == "Squeeze" and form.directions == 1 and wiring.axes(node) in ([place], [place - len(axes)]):
            return rest
        joins = form.directions == 1 or axes[place:] == ("d", "f")
        shape = None
        if node.op == "Reshape" and not node.attributes.get("allowzero", 0):
            shape = wiring.constant(node, 1)
        if joins and shape is not None and self._is_shape(shape.tolist(), rest, place):
            return rest
        return None

    def _is_shape(self, numbers: list[int], axes: Axes, place: int) -> bool:
        """Whether the numbers of a Reshape say the lengths of these axes, of which one before `place` is gone."""
        if len(numbers) != len(axes) or numbers.count(-1) > 1:
            return False
        return all(
            number in (-1, self._lengths.get(axis)) or (number == 0 and at < place)
            for at, (number, axis) in enumerate(zip(numbers, axes, strict=True))
        )

    def _activation(self, node: Node, form: _Form, output: str) -> bool:
        name = _ACTIVATIONS.get(node.op)
        if name is None or any(factor in node.attributes for factor in _FACTORS.get(node.op, ())):
            self._whole = False
            return False
        if name.endswith("softmax") and not _is_last(node, form):
            self._whole = False
            return False
        noted = bool(form.layer) and form.alone and self._is_alone(node.inputs[0])
        if noted:
            self.activations[form.layer] = name
        else:
            self._whole = False
        self._stage += 1
        self._forms[output] = _Form(form.axes, self._stage, "", form.directions)
        return noted


def _is_last(node: Node, form: _Form) -> bool:
    """Whether a softmax is one over all features."""
    rank = len(form.axes)
    axis = node.attributes.get("axis", -1 if node.opset >= 13 else 1)
    whole = "d" not in form.axes or form.directions == 1
    return whole and axis in (-1, rank - 1) and form.axes[-1] == "f"
