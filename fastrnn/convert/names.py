"""Tensors under PyTorch's names, found to be layers: what safetensors, npz and PyTorch's own files share.

    NAME.weight_ih_l0, ..._reverse, NAME.weight_hr_l0    a recurrent layer; without _l0, a cell: one of one layer
    NAME.weight (2 axes), NAME.bias                      Linear
    NAME.weight (2 axes) alone                           Embedding, or Linear(bias=False) where `linear` names it

The kind of a recurrent layer is in its shapes: 4, 3 or 1 gates. What no rule takes is left over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastrnn.convert.layer import Array, Layer
from fastrnn.convert.orders import kind_of
from fastrnn.convert.shapes import tensor_name

_RECURRENT = re.compile(
    r"(?:(?P<prefix>.*)\.)?(?P<part>weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)"
    r"(?:_l(?P<layer>\d{1,4})(?P<reverse>_reverse)?)?",
    re.DOTALL,
)
_WEIGHT = re.compile(r"(?:(?P<prefix>.*)\.)?weight", re.DOTALL)

Records = Sequence[tuple[str, str, dict[str, Any]]]


def layers_of(
    tensors: Mapping[str, Array],
    *,
    sources: Mapping[str, str] | None = None,
    nonlinearity: str | None = None,
    merge: str | None = None,
    linear: str = "",
    records: Records = (),
) -> tuple[list[Layer], dict[str, Array], dict[str, str]]:
    """The layers in the order of their first tensors, the tensors that are of none, and notes of what was guessed.

    Parameters
    ----------
    tensors : by PyTorch's names
    sources : names in the file, where they are others
    nonlinearity, merge : of every RNN, and of every layer with two directions; None for PyTorch's
    linear : names of layers with one matrix and no bias that are Linear, by commas
    records : (kind, name, options) of the layers, where the file says them; the rest is guessed

    Raises
    ------
    ValueError
        Tensors of one name that are no layer together, or a name that is not there.
    """
    left, said = dict(tensors), {name: (kind, options) for kind, name, options in records}
    origins = sources or {}
    plain = [name for name in linear.split(",") if name]
    layers = []
    for name in tensors:
        if name not in left:
            continue
        if found := _RECURRENT.fullmatch(name):
            prefix = found["prefix"] or ""
            layers.append(_recurrent(prefix, _take(left, _RECURRENT, prefix), origins, said, nonlinearity, merge))
        elif (found := _WEIGHT.fullmatch(name)) and np.ndim(left[name]) == 2:
            layers.append(_matrix(found["prefix"] or "", left, origins, said, plain))
    for name in (*said, *plain):
        if name not in {layer.name for layer in layers}:
            raise ValueError(f"there is no layer {name!r}; expected one of {[layer.name for layer in layers]}")
    order = {name: place for place, name in enumerate(said)}
    notes = dict(_guess(layer) for layer in layers if layer.name not in said and _is_guess(layer, nonlinearity))
    return sorted(layers, key=lambda layer: order.get(layer.name, len(order))), left, notes


def _is_guess(layer: Layer, nonlinearity: str | None) -> bool:
    return layer.kind == "Embedding" or (layer.kind == "RNN" and nonlinearity is None)


def _guess(layer: Layer) -> tuple[str, str]:
    """The note on a guess: its name and words."""
    if layer.kind == "RNN":
        return f"{layer.name or layer.kind}.nonlinearity", "tanh, assumed: nonlinearity=relu says another"
    return layer.name or layer.kind, f"an Embedding, assumed of a matrix alone: linear={layer.name} says a Linear"


def are_a_chain(layers: Sequence[Layer], rest: Mapping[str, Array]) -> bool:
    """Whether tensors alone are a whole model: they are of one layer, and nothing else is in the file."""
    return len(layers) == 1 and not rest


def _take(left: dict[str, Array], pattern: re.Pattern[str], prefix: str) -> dict[str, Array]:
    names = [name for name in left if (found := pattern.fullmatch(name)) and (found["prefix"] or "") == prefix]
    return {name: left.pop(name) for name in names}


def _recurrent(
    name: str,
    own: dict[str, Array],
    origins: Mapping[str, str],
    said: Mapping[str, tuple[str, dict[str, Any]]],
    nonlinearity: str | None,
    merge: str | None,
) -> Layer:
    tensors: dict[str, Array] = {}
    sources: dict[str, str] = {}
    for given, array in own.items():
        found = _RECURRENT.fullmatch(given)
        assert found is not None
        here = tensor_name(found["part"], int(found["layer"] or 0), 1 if found["reverse"] else 0)
        if here in tensors:
            raise ValueError(f"{given}: {name or 'the layer'} has this tensor under two names; expected one")
        tensors[here], sources[here] = array, origins.get(given, given)
    if name in said:
        kind, options = said[name]
        return Layer(kind, name, tensors, dict(options), sources)
    kind = _kind(name, tensors)
    options = _options(tensors)
    if kind == "RNN" and nonlinearity is not None:
        options["nonlinearity"] = nonlinearity
    if "bidirectional" in options and merge is not None:
        options["merge"] = merge
    return Layer(kind, name, tensors, options, sources)


def _kind(name: str, tensors: Mapping[str, Array]) -> str:
    recurrent, projection = tensors.get("weight_hh_l0"), tensors.get("weight_hr_l0")
    if recurrent is None or recurrent.ndim != 2:
        raise ValueError(
            f"{name or 'a layer'}: no matrix weight_hh of its first layer; expected one, whose shape says the kind"
        )
    width = recurrent.shape[1] if projection is None else np.shape(projection)[-1]
    kind = kind_of(len(recurrent), width)
    if kind is None or (projection is not None and kind != "LSTM"):
        raise ValueError(
            f"{name or 'a layer'}: weight_hh has {len(recurrent)} rows for {width} units; "
            "expected 4 (LSTM), 3 (GRU) or 1 (RNN) times as many, with a projection 4"
        )
    return kind


def _options(tensors: Mapping[str, Array]) -> dict[str, Any]:
    matches = [found for name in tensors if (found := _RECURRENT.fullmatch(name))]
    layers = 1 + max(int(found["layer"]) for found in matches)
    options: dict[str, Any] = {}
    if layers > 1:
        if layers > len(tensors):
            raise ValueError(f"a tensor of layer {layers - 1}, but {len(tensors)} tensors; expected all layers'")
        options["num_layers"] = layers
    if any(found["reverse"] for found in matches):
        options["bidirectional"] = True
    if not any(found["part"].startswith("bias") for found in matches):
        options["bias"] = False
    if "weight_hr_l0" in tensors:
        options["proj_size"] = len(tensors["weight_hr_l0"])
    return options


def _matrix(
    name: str,
    left: dict[str, Array],
    origins: Mapping[str, str],
    said: Mapping[str, tuple[str, dict[str, Any]]],
    linear: Sequence[str],
) -> Layer:
    dot = f"{name}." if name else ""
    tensors = {"weight": left.pop(f"{dot}weight")}
    bias = left.get(f"{dot}bias")
    if bias is not None and np.shape(bias) == tensors["weight"].shape[:1]:
        tensors["bias"] = left.pop(f"{dot}bias")
    sources = {part: origins.get(f"{dot}{part}", f"{dot}{part}") for part in tensors}
    if name in said:
        kind, options = said[name]
        return Layer(kind, name, tensors, dict(options), sources)
    if "bias" in tensors:
        return Layer("Linear", name, tensors, {}, sources)
    return (
        Layer("Linear", name, tensors, {"bias": False}, sources)
        if name in linear
        else Layer("Embedding", name, tensors, {}, sources)
    )
