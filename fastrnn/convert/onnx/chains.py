"""Which layers ONNX has, and which of them are a chain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastrnn.cells import CELLS
from fastrnn.convert.layer import RECURRENT, Layer

OPTIONS = {
    **dict.fromkeys(RECURRENT, ("num_layers", "bias", "batch_first", "bidirectional", "proj_size", "merge", "dtype")),
    "Linear": ("bias", "dtype"),
    "Embedding": (),
}
OPTIONS["GRU"] += ("reset_after",)
OPTIONS["RNN"] += ("nonlinearity",)


def check(layer: Layer) -> None:
    """Refuse a layer that ONNX has not, or whose tensors do not fit together."""
    owner, options, tensors = who(layer), layer.options, layer.tensors
    if layer.kind not in OPTIONS:
        raise ValueError(f"{owner}: ONNX has no layer of this kind; expected one of {', '.join(OPTIONS)}")
    if unknown := sorted(set(options) - set(OPTIONS[layer.kind])):
        raise ValueError(f"{owner} has the option {unknown[0]}; expected of {', '.join(OPTIONS[layer.kind]) or 'none'}")
    if options.get("proj_size", 0):
        raise ValueError(f"{owner}: proj_size is {options['proj_size']}; expected 0, for ONNX's LSTM has no projection")
    expected = shapes(layer)
    if missing := sorted(set(expected) - set(tensors)):
        raise ValueError(f"{owner} has no tensor {missing[0]}; expected {', '.join(expected)}")
    if extra := sorted(set(tensors) - set(expected)):
        raise ValueError(f"{owner} has the tensor {extra[0]}; expected {', '.join(expected)}")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ValueError(f"{owner}: {name} has shape {tensors[name].shape}; expected {shape}")
    dtypes = sorted({array.dtype.name for array in tensors.values()})
    if dtypes not in (["float32"], ["float64"]) or options.get("dtype", dtypes[0]) != dtypes[0]:
        raise ValueError(
            f"{owner}: its tensors are {' and '.join(dtypes)}; expected all float32 or all float64, as its dtype says"
        )


def who(layer: Layer) -> str:
    return f"ONNX: {layer.kind} {layer.name!r}" if layer.name else f"ONNX: {layer.kind}"


def shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape, by what a few of them say of the sizes."""
    bias = layer.options.get("bias", True)
    if layer.kind not in RECURRENT:
        rows, columns = matrix(layer, "weight")
        return {"weight": (rows, columns)} | ({"bias": (rows,)} if layer.kind == "Linear" and bias else {})
    result: dict[str, tuple[int, ...]] = {}
    inputs, gates = matrix(layer, "weight_ih_l0")[1], len(CELLS[layer.kind.lower()].gates)
    for k in range(layer.options.get("num_layers", 1)):
        H = matrix(layer, f"weight_hh_l{k}")[1]
        for suffix in suffixes(layer):
            result |= {f"weight_ih_l{k}{suffix}": (gates * H, inputs), f"weight_hh_l{k}{suffix}": (gates * H, H)}
            if bias:
                result |= {f"bias_{side}_l{k}{suffix}": (gates * H,) for side in ("ih", "hh")}
        inputs = H * (2 if merge_of(layer) == "concat" else 1)
    return result


def matrix(layer: Layer, name: str) -> tuple[int, int]:
    array = layer.tensors.get(name)
    if array is None or array.ndim != 2:
        raise ValueError(f"{who(layer)} has no matrix {name}; expected one")
    rows, columns = array.shape
    return rows, columns


def suffixes(layer: Layer) -> tuple[str, ...]:
    return ("", "_reverse") if layer.options.get("bidirectional", False) else ("",)


def merge_of(layer: Layer) -> str | None:
    """How two directions become one, None for one direction."""
    if not layer.options.get("bidirectional", False):
        return None
    merge: str = layer.options.get("merge", "concat")
    return merge


def inputs_of(layer: Layer) -> int:
    return matrix(layer, "weight_ih_l0" if layer.kind in RECURRENT else "weight")[1]


def outputs_of(layer: Layer) -> int:
    if layer.kind not in RECURRENT:
        return matrix(layer, "weight")[0 if layer.kind == "Linear" else 1]
    width = matrix(layer, f"weight_hh_l{layer.options.get('num_layers', 1) - 1}")[1]
    return width * (2 if merge_of(layer) == "concat" else 1)


def ends(layers: Sequence[Layer]) -> tuple[int, np.dtype[Any]]:
    """The width and the dtype of what comes out, if the layers are a chain."""
    if not layers:
        raise ValueError("ONNX: the model has no layers; expected at least one")
    for before, after in pairwise(layers):
        if after.kind == "Embedding":
            raise ValueError(f"{who(after)} stands behind {who(before)[6:]}; expected a chain, an embedding first")
        if outputs_of(before) != inputs_of(after):
            raise ValueError(
                f"{who(after)} takes {inputs_of(after)} features, {who(before)[6:]} before it gives "
                f"{outputs_of(before)}; expected a chain"
            )
    for name, values in {
        "batch_first": [layer.options.get("batch_first", False) for layer in layers if layer.kind in RECURRENT],
        "dtype": [next(iter(layer.tensors.values())).dtype.name for layer in layers],
    }.items():
        if len(set(values)) > 1:
            got = " and ".join(map(str, dict.fromkeys(values)))
            raise ValueError(f"ONNX: {name} is {got}; expected the same of all layers")
    names = [layer.name for layer in layers]
    if len(set(names)) < len(names):
        raise ValueError(f"ONNX: the layers' names are {', '.join(map(repr, names))}; expected one of its own for each")
    return outputs_of(layers[-1]), next(iter(layers[0].tensors.values())).dtype
