"""RTNeural's JSON: a chain of layers with Keras's arrays, or a state_dict of PyTorch's as lists."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn.convert import record
from fastrnn.convert.layer import Array, Layer
from fastrnn.convert.model import NOT_READ, Model
from fastrnn.convert.names import are_a_chain, layers_of
from fastrnn.convert.orders import from_keras, layer_of, parts, to_keras

NAME = "RTNeural JSON"
EXTENSIONS = (".json",)

_ACTIVATIONS = ("tanh", "relu", "sigmoid", "softmax", "elu")
_RECURRENT = {"lstm": "LSTM", "gru": "GRU"}
_DENSE = ("dense", "time-distributed-dense")
_KNOWN = ("layers", "in_shape", record.KEY)


def recognise(path: Path, head: bytes) -> bool:
    """JSON, an object, with layers or with weights."""
    return head.lstrip().startswith(b"{") and (b'"layers"' in head or b"weight" in head)


def read(path: Path) -> Model:
    """The layers of a file, as float32.

    Raises
    ------
    ValueError
        It is no JSON, or no such model; a layer whose arrays do not fit.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not readable as JSON: {str(error)[:200]}") from None
    if not isinstance(content, dict):
        raise ValueError(f"a JSON {type(content).__name__}; expected an object with layers or weights")
    if "layers" not in content:
        if not content:
            raise ValueError("an empty JSON object; expected one with layers or weights")
        tensors = {name: _array(name, value) for name, value in content.items()}
        layers, rest, guesses = layers_of(tensors)
        return Model(layers, "rtneural", guesses, rest, are_a_chain(layers, rest))
    model = Model([], "rtneural", chain=True, notes={key: str(content[key]) for key in content if key not in _KNOWN})
    for place, saved in enumerate(content["layers"]):
        _add(model, place, saved)
    return model


def _array(name: str, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        array = np.asarray("")
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} is no array of numbers; expected numbers in lists of one length")
    with np.errstate(over="ignore"):  # what float32 has not is infinite, and refused as that
        return array.astype(np.float32)


def _add(model: Model, place: int, saved: Any) -> None:
    """Put a layer of the file into the model: a layer, what follows the one before it, or tensors left over."""
    kind, activation = saved["type"], saved.get("activation", "")
    name = f"{kind}_{place}"
    arrays = [_array(f"layers[{place}].weights[{number}]", one) for number, one in enumerate(saved.get("weights", []))]
    if kind in _RECURRENT:
        if activation not in ("", "tanh"):
            raise ValueError(f"{name}: activation {activation!r}; expected tanh")
        model.layers.append(_recurrent(name, _RECURRENT[kind], arrays, place))
    elif kind in _DENSE:
        model.layers.append(_dense(name, arrays, place))
        if activation:
            model.notes[f"{name}.activation"] = activation
    elif kind == "activation":
        _follow(model, name, activation)
    else:
        model.rest |= {f"layers[{place}].weights[{number}] of {kind}": one for number, one in enumerate(arrays)}
        model.notes[name], model.chain = f"of type {kind}, {NOT_READ}", False
        return
    if kind != "activation" and (width := _width(model.layers[-1])) != saved["shape"][-1]:
        raise ValueError(f"{name}: {width} units, but shape {saved['shape']}; expected them to agree")


def _follow(model: Model, name: str, activation: str) -> None:
    before = f"{model.layers[-1].name}.activation" if model.layers else name
    if model.layers and before not in model.notes:
        model.notes[before] = activation
    else:
        model.notes[name], model.chain = f"an activation {activation} with no layer before it", False


def _width(layer: Layer) -> int:
    return len(layer.tensors["weight"]) if layer.kind == "Linear" else layer.tensors["weight_hh_l0"].shape[1]


def _recurrent(name: str, kind: str, arrays: list[Array], place: int) -> Layer:
    if len(arrays) != 3 or arrays[1].ndim != 2:
        raise ValueError(f"{name}: number of arrays is {len(arrays)}; expected 3: kernel, recurrent kernel and bias")
    gates = 4 if kind == "LSTM" else 3
    expected = (gates * len(arrays[1]),) if kind == "LSTM" else (2, gates * len(arrays[1]))
    if arrays[2].shape != expected:
        raise ValueError(f"{name}: bias has shape {arrays[2].shape}; expected {expected}")
    kernel, recurrent, bias = (f"layers[{place}].weights[{number}]" for number in range(3))
    sources = {"weight_ih": kernel, "weight_hh": recurrent, "bias_ih": bias, "bias_hh": bias}
    if kind == "LSTM":
        sources["bias_hh"] = "zeros: the file has one bias"
    return layer_of(kind, name, [from_keras(kind, arrays[0], arrays[1], arrays[2], name)], [sources], {})


def _dense(name: str, arrays: list[Array], place: int) -> Layer:
    if len(arrays) not in (1, 2) or arrays[0].ndim != 2:
        shapes = [array.shape for array in arrays]
        raise ValueError(f"{name}: arrays of shapes {shapes}; expected a matrix (inputs, outputs) and perhaps a bias")
    tensors = {"weight": np.ascontiguousarray(arrays[0].T), **({"bias": arrays[1]} if len(arrays) == 2 else {})}
    sources = {part: f"layers[{place}].weights[{number}]" for number, part in enumerate(tensors)}
    return Layer("Linear", name, tensors, {} if "bias" in tensors else {"bias": False}, sources)


def write(model: Model, path: Path) -> None:
    """Write a chain of LSTM, GRU and Linear layers in float32; each recurrent one becomes as many as it has layers.

    Raises
    ------
    ValueError
        A layer that RTNeural has not: an RNN, two directions, a projection, reset_after=False, float64, an Embedding;
        layers that do not follow each other; an activation that it has not.
    """
    saved = []
    for layer in model.layers:
        saved += _saved(layer, model.notes.get(f"{layer.name}.activation", ""))
    for before, after in itertools.pairwise(saved):
        if before["shape"][-1] != len(after["weights"][0]):
            raise ValueError(
                f"a layer of {before['shape'][-1]} outputs before one of {len(after['weights'][0])} inputs; "
                "expected a chain"
            )
    inputs = len(saved[0]["weights"][0]) if saved else 0
    content = {"in_shape": [None, None, inputs], "layers": saved, record.KEY: "written by fastrnn convert"}
    path.write_text(json.dumps(content, default=np.ndarray.tolist, allow_nan=False), encoding="utf-8")


def _saved(layer: Layer, activation: str) -> list[dict[str, Any]]:
    kind = layer.kind
    _refuse_others(layer, activation)
    if kind == "Linear":
        arrays = [layer.tensors["weight"].T, *([layer.tensors["bias"]] if "bias" in layer.tensors else [])]
        return [_entry("dense", activation, arrays)]
    chain = []
    for (part,) in parts(layer):
        keras = to_keras(kind, part, reset_after=True)
        rows = keras["kernel"].shape[1]
        bias = keras.get("bias", np.zeros((2, rows) if kind == "GRU" else rows, np.float32))
        chain.append(_entry(kind.lower(), "tanh", [keras["kernel"], keras["recurrent_kernel"], bias]))
    return chain


def _entry(kind: str, activation: str, arrays: list[Array]) -> dict[str, Any]:
    width = arrays[0].shape[1] if kind == "dense" else len(arrays[1])
    return {"type": kind, "activation": activation, "shape": [None, None, width], "weights": arrays}


def _refuse_others(layer: Layer, activation: str) -> None:
    who, options = layer.name or layer.kind, layer.options
    if layer.kind not in ("LSTM", "GRU", "Linear"):
        raise ValueError(f"{who}: RTNeural has no {layer.kind}; expected LSTM, GRU or Linear")
    refused = {"bidirectional": False, "proj_size": 0, "reset_after": True, "dtype": "float32"}
    for option, only in refused.items():
        if options.get(option, only) != only:
            raise ValueError(f"{who}: RTNeural has no {option}={options[option]!r}; expected {only!r}")
    if any(array.dtype != np.float32 for array in layer.tensors.values()):
        raise ValueError(f"{who}: is not in float32; expected float32, which RTNeural computes in")
    if activation and (layer.kind != "Linear" or activation not in _ACTIVATIONS):
        raise ValueError(f"{who}: RTNeural has no activation {activation!r} there; expected one of {_ACTIVATIONS}")


def written_here(path: Path) -> bool:
    content = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(content, dict) and record.KEY in content
