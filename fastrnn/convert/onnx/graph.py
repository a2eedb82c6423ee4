"""An ONNX model as plain Python: its nodes, constants, inputs and outputs, everything in NumPy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.convert.onnx.library import library

Array = NDArray[Any]

OLDEST, NEWEST = 7, 25  # opsets whose rules the operators here know
OWN_DOMAINS = ("", "ai.onnx")


class Input(NamedTuple):
    """A graph's input: an axis is a number, or None where any length will do; shape is None where the rank is open."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes
    ----------
    op, name : str
        The operator, and what errors call the node.
    inputs, outputs : tuple of str
        Names of values, "" for one that is left out.
    attributes : dict
        Numbers, strings, arrays and lists of these.
    opset : int
        Whose rules hold.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    @property
    def who(self) -> str:
        return f"ONNX: {self.op} {self.name!r}"

    def argument(self, name: str, given: Array | None, since: int) -> list[Any] | None:
        """The list that is the attribute `name` before the opset `since`, and the input `given` from then on."""
        attribute = self.attributes.get(name)
        value, other, expected, got = attribute, given, "an attribute", "an input"
        if self.opset >= since:
            value, other, expected, got = other, value, got, expected
        if other is not None:
            raise ValueError(f"{self.who}: {name} is {got} in opset {self.opset}; expected {expected}")
        return None if value is None else list(np.ravel(value).tolist())


@dataclass(frozen=True)
class Graph:
    """A model.

    Attributes
    ----------
    nodes : tuple of Node
        In an order in which they can run.
    constants : dict
        Arrays by name: initialisers, and after `folded` whatever depends on them alone.
    origins : dict
        For each constant the names of the initialisers, or of the Constant nodes' outputs, that it is made of.
    inputs : tuple of Input
        What a caller gives.
    outputs : tuple of str
    opset : int
    notes : dict
        What the file says of itself.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, Array]
    origins: dict[str, frozenset[str]]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    opset: int
    notes: dict[str, str]


def load(source: Any) -> Graph:
    """The graph of a file, of a model's bytes or of a ModelProto.

    Raises
    ------
    ValueError
        No ONNX model, an opset that is not known, or a kind of tensor that is not.
    """
    onnx = library()
    if isinstance(source, onnx.ModelProto):
        model, where = source, "ONNX"
    elif isinstance(source, bytes):
        model, where = _parsed(onnx.load_model_from_string, source, "ONNX"), "ONNX"
    elif isinstance(source, (str, PathLike)):
        where = fspath(source)
        model = _parsed(lambda path: onnx.load(path, load_external_data=False), where, where)
        _add_external(model, where)
    else:
        raise TypeError(f"ONNX: the model is of type {type(source).__name__}; expected a path, bytes or a ModelProto")
    return _graph(model, where)


def _parsed(load: Any, source: Any, where: str) -> Any:
    try:
        model = load(source)
    except OSError:
        raise
    except Exception as error:  # protobuf's own, whose class depends on its version
        raise ValueError(f"{where}: this is no ONNX model ({error}); expected a ModelProto") from error
    if not model.HasField("graph"):
        raise ValueError(f"{where}: this is no ONNX model, it has no graph; expected a ModelProto")
    return model


def _add_external(model: Any, where: str) -> None:
    """Read the tensors that a model keeps in files beside its own."""
    onnx = library()
    try:
        onnx.load_external_data_for_model(model, os.path.dirname(where))
    except Exception as error:  # the package's own, whose class depends on its version
        raise ValueError(
            f"{where}: the model keeps tensors in other files, and one cannot be read ({error}); expected it beside "
            "the model, under the name that the model says"
        ) from error


def _graph(model: Any, where: str) -> Graph:
    opsets = sorted({item.version for item in model.opset_import if item.domain in OWN_DOMAINS})
    if len(opsets) > 1:
        raise ValueError(f"{where}: the model is of the opsets {' and '.join(map(str, opsets))}; expected one")
    opset = opsets[0] if opsets else 1  # what a model means that says nothing
    if not OLDEST <= opset <= NEWEST:
        raise ValueError(f"{where}: the model is of opset {opset}; expected {OLDEST} to {NEWEST}")
    graph = model.graph
    if graph.sparse_initializer:
        raise ValueError(f"{where}: the model has sparse initialisers; expected dense ones")
    constants = {tensor.name: array(tensor, f"{where}: tensor {tensor.name!r}") for tensor in graph.initializer}
    notes = {
        "opset": str(opset),
        "ir_version": str(model.ir_version),
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
    }
    return Graph(
        nodes=tuple(node_of(node, opset) for node in graph.node),
        constants=constants,
        origins={name: frozenset([name]) for name in constants},
        inputs=tuple(_input(value, where) for value in graph.input if value.name not in constants),
        outputs=tuple(value.name for value in graph.output),
        opset=opset,
        notes={name: text for name, text in notes.items() if text},
    )


def _input(value: Any, where: str) -> Input:
    if value.type.WhichOneof("value") != "tensor_type":
        raise ValueError(f"{where}: input {value.name!r} is no tensor; expected one")
    tensor = value.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        axes = tensor.shape.dim
        shape = tuple(axis.dim_value if axis.HasField("dim_value") and axis.dim_value >= 0 else None for axis in axes)
    return Input(value.name, dtype_of(tensor.elem_type, f"{where}: input {value.name!r}"), shape)


def node_of(node: Any, opset: int) -> Node:
    """A NodeProto as a Node."""
    domain = "" if node.domain in OWN_DOMAINS else f"{node.domain}."
    name = node.name or next(filter(None, node.output), "")
    who = f"ONNX: {domain}{node.op_type} {name!r}"
    attributes = {item.name: _attribute(item, who) for item in node.attribute}
    return Node(domain + node.op_type, name, tuple(node.input), tuple(node.output), attributes, opset)


def _attribute(item: Any, who: str) -> Any:
    onnx = library()
    value = onnx.helper.get_attribute_value(item)
    if isinstance(value, onnx.TensorProto):
        return array(value, f"{who}: {item.name}")
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Sequence) or hasattr(value, "__iter__"):
        return [one.decode() if isinstance(one, bytes) else one for one in value]
    return value  # a graph or the like: no operator here has such an attribute, so that its node is refused


def array(tensor: Any, who: str) -> Array:
    """A TensorProto as an array of its own."""
    dtype_of(tensor.data_type, who)
    if tensor.data_location == library().TensorProto.EXTERNAL:
        raise ValueError(f"{who}: its numbers are in another file; expected the model's path, or numbers in the model")
    try:
        return np.array(library().numpy_helper.to_array(tensor))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{who}: its numbers are not those of shape {tuple(tensor.dims)} ({error}); expected one for each element"
        ) from error


def dtype_of(number: int, who: str) -> np.dtype[Any]:
    """NumPy's dtype of an element type of ONNX."""
    onnx = library()
    known = number in onnx.TensorProto.DataType.values() and number != onnx.TensorProto.UNDEFINED
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number)) if known else np.dtype(object)
    if dtype.kind not in "bifu" or dtype.isbuiltin != 1:
        name = onnx.TensorProto.DataType.Name(number) if known else str(number)
        raise ValueError(f"{who}: its elements are {name}; expected numbers that NumPy has, or BOOL")
    return dtype
