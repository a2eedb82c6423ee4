"""Which tensors a layer of a kind has, and of what shapes, worked out from a few of them before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.cells import CELLS

Tensors = Mapping[str, NDArray[Any]]
Options = Mapping[str, Any]

_OPTIONS = {
    "LSTM": {"num_layers", "bias", "batch_first", "bidirectional", "proj_size", "merge", "dtype"},
    "GRU": {"num_layers", "bias", "batch_first", "bidirectional", "merge", "reset_after", "dtype"},
    "RNN": {"num_layers", "bias", "batch_first", "bidirectional", "merge", "nonlinearity", "dtype"},
    "Linear": {"bias", "dtype"},
    "Embedding": {"dtype"},
}


def tensor_name(part: str, layer: int = 0, direction: int = 0) -> str:
    """PyTorch's name of a part ("weight_ih") of a layer in direction 0 or 1."""
    return f"{part}_l{layer}" + ("_reverse" if direction else "")


def expected(kind: str, who: str, tensors: Tensors, options: Options) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a layer has, by the sizes of its first ones.

    Raises
    ------
    ValueError
        An unknown option, or a tensor missing or without the axes that say the sizes.
    """
    if unknown := sorted(set(options) - _OPTIONS[kind]):
        raise ValueError(f"{who}: {kind} has no option {unknown[0]}; expected {', '.join(sorted(_OPTIONS[kind]))}")
    if kind in ("Linear", "Embedding"):
        rows, columns = _matrix(who, tensors, "weight")
        bias = kind == "Linear" and options.get("bias", True)
        return {"weight": (rows, columns), **({"bias": (rows,)} if bias else {})}
    shapes: dict[str, tuple[int, ...]] = {}
    gates, projection = len(CELLS[kind.lower()].gates), options.get("proj_size", 0)
    _, inputs = _matrix(who, tensors, "weight_ih_l0")
    directions = 2 if options.get("bidirectional", False) else 1
    for layer in range(options.get("num_layers", 1)):
        _, width = _matrix(who, tensors, tensor_name("weight_hr" if projection else "weight_hh", layer))
        outputs = projection or width
        for direction in range(directions):
            parts: dict[str, tuple[int, ...]] = {
                "weight_ih": (gates * width, inputs),
                "weight_hh": (gates * width, outputs),
            }
            if options.get("bias", True):
                parts |= {"bias_ih": (gates * width,), "bias_hh": (gates * width,)}
            if projection:
                parts["weight_hr"] = (projection, width)
            shapes |= {tensor_name(part, layer, direction): shape for part, shape in parts.items()}
        inputs = outputs * (2 if directions == 2 and options.get("merge", "concat") == "concat" else 1)
    return shapes


def sizes(kind: str, tensors: Tensors, options: Options) -> tuple[Any, ...]:
    """The constructor's first arguments: inputs and outputs, or input_size and hidden_size, of tensors that fit."""
    if kind == "Linear":
        rows, columns = tensors["weight"].shape
        return columns, rows
    gates = len(CELLS[kind.lower()].gates)
    rows_of = [len(tensors[tensor_name("weight_ih", k)]) // gates for k in range(options.get("num_layers", 1))]
    same = len(set(rows_of)) == 1
    return tensors["weight_ih_l0"].shape[1], (rows_of[0] if same else rows_of)


def dtype(tensors: Tensors, options: Options) -> np.dtype[Any]:
    """The dtype of a layer: what its options say, else that of its tensors if fastrnn has it, else float32."""
    if "dtype" in options:
        return np.dtype(options["dtype"])
    first = next(iter(tensors.values())).dtype
    return first if first == np.float64 else np.dtype(np.float32)


def _matrix(who: str, tensors: Tensors, name: str) -> tuple[int, int]:
    if name not in tensors:
        raise ValueError(f"{who}: no tensor {name}; expected a matrix")
    shape = np.shape(tensors[name])
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{who}: {name} has shape {shape}; expected a matrix")
    return int(shape[0]), int(shape[1])
