"""Layers as an ONNX model that any runtime takes: a chain of nodes, without layout 1, which few of them know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np

from fastrnn.cells import CELLS
from fastrnn.convert.layer import RECURRENT, Layer
from fastrnn.convert.onnx.chains import check, ends, inputs_of, matrix, merge_of, suffixes
from fastrnn.convert.onnx.graph import NEWEST, OLDEST, Array
from fastrnn.convert.onnx.library import library

OPSET = 17  # old enough for the runtimes in use
PRODUCER = "fastrnn"
ACTIVATIONS = {
    **{name.lower(): name for name in ("Elu", "Relu", "Selu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Tanh")},
    **{"exponential": "Exp", "log_softmax": "LogSoftmax"},
}

Axis = str | int


def save(model: Any, path: str | PathLike[str]) -> None:
    library().save_model(model, fspath(path))


def one(
    kind: str,
    tensors: Mapping[str, Array],
    options: dict[str, Any],
    path: str | PathLike[str] | None,
    opset: int,
    states: bool,
    axes: Sequence[Axis],
) -> Any:
    """A layer alone as a ModelProto, written to `path` if there is one."""
    model = chain([Layer(kind, "", dict(tensors), options)], opset, states, axes)
    if path is not None:
        save(model, path)
    return model


def chain(
    layers: Sequence[Layer],
    opset: int = OPSET,
    states: bool = False,
    axes: Sequence[Axis] | None = None,
    following: Mapping[str, str] | None = None,
) -> Any:
    """A ModelProto of layers one after the other.

    Parameters
    ----------
    layers : sequence of Layer
        An Embedding or none, then LSTM, GRU, RNN and Linear.
    opset : int in 7..25
    states : bool
        Whether recurrent layers have inputs h0, and c0 of an LSTM, (layers * directions, B, H).
    axes : sequence of str or int
        Of the input but for its features: names of axes of any length, or lengths.
    following : dict, optional
        The activation behind a layer, by the layer's name.

    Raises
    ------
    ValueError
        What is no chain, or what ONNX has not.
    """
    if isinstance(opset, bool) or not isinstance(opset, int) or not OLDEST <= opset <= NEWEST:
        raise ValueError(f"ONNX: opset is {opset!r}; expected {OLDEST} to {NEWEST}")
    if not isinstance(states, bool):
        raise TypeError(f"ONNX: states is {states!r}; expected True or False")
    for layer in layers:
        check(layer)
    width, dtype = ends(layers)
    recurrent = [layer for layer in layers if layer.kind in RECURRENT]
    batch_first = any(layer.options.get("batch_first", False) for layer in recurrent)
    if axes is None:
        axes = ("B", "T") if batch_first else ("T", "B")
    for axis in axes:
        if not (axis and isinstance(axis, str)) and not (type(axis) is int and axis > 0):
            raise ValueError(f"ONNX: an axis is {axis!r}; expected a name, or a length of at least 1")
    writer = Writer(opset, dtype)
    if layers[0].kind == "Embedding":
        value = writer.input("ids", tuple(axes), np.dtype(np.int64))
    else:
        value = writer.input("x", (*axes, inputs_of(layers[0])))
    for layer in layers:
        if layer.kind == "Embedding":
            value = writer.node("Gather", [writer.constant(layer.full_name("weight"), layer.tensors["weight"]), value])
        elif layer.kind == "Linear":
            value = writer.linear(layer, value)
        else:
            value = writer.recurrent(layer, value, axes[0] if batch_first else axes[1], states)
        if following and layer.name in following:
            value = writer.activation(layer, following[layer.name], value)
    writer.output(value, "y", (*axes, width), first=True)
    return writer.model()


class Writer:
    """A graph in the making."""

    def __init__(self, opset: int, dtype: np.dtype[Any]) -> None:
        self._onnx, self._opset, self._dtype = library(), opset, dtype
        if opset > (newest := self._onnx.defs.onnx_opset_version()):
            raise ValueError(f"ONNX: opset is {opset}, the package onnx here knows {newest}; expected a newer package")
        self._nodes: list[Any] = []
        self._tensors: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._count = 0

    def model(self) -> Any:
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, "fastrnn", self._inputs, self._outputs, list(self._tensors.values())
        )
        opsets = [helper.make_opsetid("", self._opset)]
        # From version 4 of the format on weights need not be inputs.
        version = max(4, helper.find_min_ir_version_for(opsets))
        return helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name=PRODUCER)

    # ------------------------------------------------------------------------------------------ values

    def _value(self, name: str, shape: tuple[Axis, ...], dtype: np.dtype[Any]) -> Any:
        number = self._onnx.helper.np_dtype_to_tensor_dtype(dtype)
        return self._onnx.helper.make_tensor_value_info(name, number, shape)

    def input(self, name: str, shape: tuple[Axis, ...], dtype: np.dtype[Any] | None = None) -> str:
        self._inputs.append(self._value(name, shape, dtype or self._dtype))
        return name

    def output(self, value: str, name: str, shape: tuple[Axis, ...], first: bool = False) -> None:
        """Let a node's output be one of the graph's, under that name."""
        for node in self._nodes:
            for names in (node.input, node.output):
                renamed = [name if one == value else one for one in names]
                names[:] = renamed
        self._outputs.insert(0 if first else len(self._outputs), self._value(name, shape, self._dtype))

    def constant(self, name: str, array: Array) -> str:
        self._tensors[name] = self._onnx.numpy_helper.from_array(np.array(array, order="C"), name)
        return name

    def integers(self, *values: int) -> str:
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, np.int64))

    def node(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str] = (), name: str = "", **attributes: Any
    ) -> str:
        """Add a node and return its first output."""
        if not outputs:
            self._count += 1
            outputs = [f"{op}_{self._count}"]
        self._nodes.append(self._onnx.helper.make_node(op, inputs, outputs, name or f"/{outputs[0]}", **attributes))
        return outputs[0]

    # ------------------------------------------------------------------------------------------ layers

    def linear(self, layer: Layer, x: str) -> str:
        weight = self.constant(layer.full_name("weight"), layer.tensors["weight"].T)
        y = self.node("MatMul", [x, weight], name=f"/{layer.name or 'linear'}/MatMul")
        if "bias" not in layer.tensors:
            return y
        return self.node("Add", [y, self.constant(layer.full_name("bias"), layer.tensors["bias"])])

    def activation(self, layer: Layer, name: str, x: str) -> str:
        if name not in ACTIVATIONS:
            raise ValueError(f"{layer.name}: activation {name!r} in ONNX; expected one of {', '.join(ACTIVATIONS)}")
        axis: dict[str, Any] = {"axis": 2} if name.endswith("softmax") else {}  # old opsets cut x in two there
        return self.node(ACTIVATIONS[name], [x], name=f"/{layer.name}/{ACTIVATIONS[name]}", **axis)

    def recurrent(self, layer: Layer, x: str, batch: Axis, states: bool) -> str:
        turned = layer.options.get("batch_first", False)
        x = self.node("Transpose", [x], perm=[1, 0, 2]) if turned else x
        widths = [
            matrix(layer, f"weight_hh_l{k}")[1] for k in range(layer.options.get("num_layers", 1))
        ]
        kinds = CELLS[layer.kind.lower()].states
        initial = [self._initial(layer, f"{kind}0", widths, batch) if states else [] for kind in kinds]
        final: list[list[str]] = [[] for _ in kinds]
        for k, H in enumerate(widths):
            own = [each[k] for each in initial if each]
            Y, *last = self._cell(layer, k, H, x, own)
            for every, one_ in zip(final, last, strict=True):
                every.append(one_)
            x = self._merged(layer, Y)
        for kind, every in zip(kinds, final, strict=True):
            self._final(layer, f"{kind}_n", every, widths, batch)
        return self.node("Transpose", [x], perm=[1, 0, 2]) if turned else x

    def _cell(self, layer: Layer, k: int, H: int, x: str, states: list[str]) -> list[str]:
        """One node: its outputs Y (T, D, B, H) and final states (D, B, H)."""
        cell, directions = CELLS[layer.kind.lower()], suffixes(layer)

        def stacked(name: str) -> Array:
            order, G = list(cell.onnx_order()), len(cell.gates)
            arrays = [layer.tensors[f"{name}_l{k}{suffix}"] for suffix in directions]
            return np.stack([a.reshape(G, H, *a.shape[1:])[order].reshape(a.shape) for a in arrays])

        names = [layer.full_name(f"{letter}_l{k}") for letter in "WRB"]
        inputs = [x, self.constant(names[0], stacked("weight_ih")), self.constant(names[1], stacked("weight_hh")), ""]
        if layer.options.get("bias", True):
            both = np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=1)
            inputs[3] = self.constant(names[2], both)
        if states:
            inputs += ["", *states]
        while not inputs[-1]:
            inputs.pop()
        attributes: dict[str, Any] = {"hidden_size": H}
        if len(directions) == 2:
            attributes["direction"] = "bidirectional"
        if layer.kind == "GRU":
            attributes["linear_before_reset"] = int(layer.options.get("reset_after", True))
        nonlinearity = layer.options.get("nonlinearity", "tanh")
        if nonlinearity != "tanh":
            attributes["activations"] = [nonlinearity.capitalize()] * len(directions)
        outputs = [layer.full_name(f"{letter}_l{k}") for letter in ("Y", *(f"Y_{kind}" for kind in cell.states))]
        path = f"/{layer.name or layer.kind.lower()}/{layer.kind}" + (f"_{k}" if k else "")
        self.node(layer.kind, inputs, outputs, path, **attributes)
        return outputs

    def _merged(self, layer: Layer, Y: str) -> str:
        """(T, B, features) of Y (T, D, B, H)."""
        merge = merge_of(layer)
        if merge is None:
            if self._opset < 13:
                return self.node("Squeeze", [Y], axes=[1])
            return self.node("Squeeze", [Y, self.integers(1)])
        if merge == "concat":
            turned = self.node("Transpose", [Y], perm=[0, 2, 1, 3])
            return self.node("Reshape", [turned, self.integers(0, 0, -1)])
        halves = [
            self.node("Gather", [Y, self.constant(f"direction_{d}", np.array(d, np.int64))], axis=1) for d in (0, 1)
        ]
        x = self.node("Mul" if merge == "mul" else "Add", halves)
        return self.node("Mul", [x, self.constant("half", np.array(0.5, self._dtype))]) if merge == "ave" else x

    def _initial(self, layer: Layer, kind: str, widths: list[int], batch: Axis) -> list[str]:
        """Each layer's part (D, B, H) of an input; where widths differ, inputs of their own."""
        name, D = layer.full_name(kind), len(suffixes(layer))
        if len(set(widths)) > 1:
            return [self.input(f"{name}_l{k}", (D, batch, H)) for k, H in enumerate(widths)]
        whole = self.input(name, (D * len(widths), batch, widths[0]))
        if len(widths) == 1:
            return [whole]
        parts = [f"{name}_l{k}" for k in range(len(widths))]
        count: dict[str, Any] = {"num_outputs": len(parts)} if self._opset >= 18 else {}
        self.node("Split", [whole], parts, axis=0, **count)
        return parts

    def _final(self, layer: Layer, kind: str, parts: list[str], widths: list[int], batch: Axis) -> None:
        name, D = layer.full_name(kind), len(suffixes(layer))
        if len(set(widths)) > 1:
            for k, (part, H) in enumerate(zip(parts, widths, strict=True)):
                self.output(part, f"{name}_l{k}", (D, batch, H))
        else:
            whole = self.node("Concat", parts, axis=0) if len(parts) > 1 else parts[0]
            self.output(whole, name, (D * len(parts), batch, widths[0]))
