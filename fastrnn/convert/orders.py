"""Orders of gates, and one layer's parts in one direction: what the formats' tensors are cut into and made of.

A part is a dict of weight_ih (G*H, I), weight_hh (G*H, H), and bias_ih, bias_hh (G*H,), if there are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastrnn.cells import CELLS
from fastrnn.convert.layer import Array, Layer
from fastrnn.convert.shapes import tensor_name

Part = dict[str, Array]

# For each of PyTorch's gates its place in the file. Each exchanges two gates at most, so it is also the way back.
KERAS = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "RNN": (0,)}  # i f c o; z r h
TF1_LSTM = (0, 2, 1, 3)  # i j f o, where j is the candidate

_DEFAULTS = {"merge": "concat", "reset_after": True, "nonlinearity": "tanh"}
_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def reordered(array: Array, order: Sequence[int]) -> Array:
    """The blocks of rows, one for each gate, in another order."""
    if order == tuple(range(len(order))):
        return array
    return np.concatenate([np.split(array, len(order))[place] for place in order])


def kind_of(rows: int, width: int) -> str | None:
    """The kind of layer with so many rows for so many units: one to four gates say it; None where they do not fit."""
    return {len(CELLS[name.lower()].gates) * width: name for name in ("LSTM", "GRU", "RNN")}.get(rows)


def parts(layer: Layer) -> list[list[Part]]:
    """For each layer of a stack the part of each direction."""
    directions = 2 if layer.options.get("bidirectional", False) else 1
    return [
        [
            {name: layer.tensors[full] for name in _PARTS if (full := tensor_name(name, k, direction)) in layer.tensors}
            for direction in range(directions)
        ]
        for k in range(layer.options.get("num_layers", 1))
    ]


def layer_of(
    kind: str, name: str, directions: Sequence[Part], sources: Sequence[dict[str, str]], options: dict[str, Any]
) -> Layer:
    """A Layer of one layer: the parts of one direction or two, where they came from, and options beside defaults."""
    tensors = {tensor_name(part, 0, d): array for d, one in enumerate(directions) for part, array in one.items()}
    origins = {tensor_name(part, 0, d): source for d, one in enumerate(sources) for part, source in one.items()}
    options = {option: value for option, value in options.items() if value != _DEFAULTS.get(option)}
    if len(directions) > 1:
        options = {**options, "bidirectional": True}
    if "bias_ih" not in directions[0]:
        options = {**options, "bias": False}
    return Layer(kind, name, tensors, options, origins)


def from_keras(kind: str, kernel: Array, recurrent: Array, bias: Array | None, who: str) -> Part:
    """A part of Keras's kernel (I, G*H), recurrent_kernel (H, G*H) and bias, which has one of these forms:

    (G*H,), with the input; (2, 3H), of a GRU with reset_after, with input and state; (2*G*H,) of the CuDNN layers,
    whose kernels lie transposed gate by gate.
    """
    gates = len(KERAS[kind])
    width, columns = recurrent.shape
    if columns != gates * width or kernel.ndim != 2 or kernel.shape[1] != columns:
        raise ValueError(
            f"{who}: kernel and recurrent_kernel have shapes {kernel.shape} and {recurrent.shape}; "
            f"expected (I, {gates}*H) and (H, {gates}*H)"
        )
    if bias is not None and bias.shape == (2 * columns,):
        return _from_cudnn(kind, kernel, recurrent, bias)
    order = KERAS[kind]
    part = {
        "weight_ih": reordered(np.ascontiguousarray(kernel.T), order),
        "weight_hh": reordered(np.ascontiguousarray(recurrent.T), order),
    }
    if bias is None:
        return part
    two = bias if kind == "GRU" and bias.shape == (2, columns) else [bias, np.zeros_like(bias)]
    return {**part, "bias_ih": reordered(two[0], order), "bias_hh": reordered(two[1], order)}


def _from_cudnn(kind: str, kernel: Array, recurrent: Array, bias: Array) -> Part:
    order, width = KERAS[kind], recurrent.shape[0]
    gates = len(order)

    def rows(matrix: Array) -> Array:
        return np.concatenate([gate.reshape(width, -1) for gate in np.split(matrix, gates, axis=1)])

    return {
        "weight_ih": reordered(rows(kernel), order),
        "weight_hh": reordered(rows(recurrent), order),
        "bias_ih": reordered(bias[: gates * width], order),
        "bias_hh": reordered(bias[gates * width :], order),
    }


def to_keras(kind: str, part: Part, reset_after: bool) -> dict[str, Array]:
    """Keras's kernel, recurrent_kernel and bias of a part; two biases become their sum where Keras has one."""
    order = KERAS[kind]
    arrays = {
        "kernel": np.ascontiguousarray(reordered(part["weight_ih"], order).T),
        "recurrent_kernel": np.ascontiguousarray(reordered(part["weight_hh"], order).T),
    }
    if "bias_ih" in part:
        two = [reordered(part[name], order) for name in ("bias_ih", "bias_hh")]
        arrays["bias"] = np.stack(two) if kind == "GRU" and reset_after else two[0] + two[1]
    return arrays
