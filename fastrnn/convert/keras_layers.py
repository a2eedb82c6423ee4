"""What a layer of Keras is here: its configuration's options, or what names and shapes say where there is none.

    kernel (I, G*H), recurrent_kernel (H, G*H)        weight_ih (G*H, I), weight_hh (G*H, H)
    gates of LSTM i f c o, of GRU z r h               i f g o, r z n
    bias (G*H,)                                       bias_ih; bias_hh is zeros
    bias (2, 3H) of a GRU with reset_after            bias_ih and bias_hh
    forward_layer, backward_layer of Bidirectional    weight_ih_l0 and weight_ih_l0_reverse, ...
    kernel (I, O) of Dense                            weight (O, I) of Linear
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fastrnn.convert import keras_config
from fastrnn.convert.keras_files import Content, Saved, shape_words
from fastrnn.convert.keras_models import Config
from fastrnn.convert.layer import Layer
from fastrnn.convert.model import NOT_READ, Model
from fastrnn.convert.orders import KERAS, Part, from_keras, kind_of, layer_of

_RECURRENT = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN", "CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
_ORDERED = ("kernel", "recurrent_kernel", "bias")  # in new files they are numbers
# No more than x in use.
_PLAIN = (
    *("InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout"),
    "ActivityRegularization",
)
_ACTIVATIONS = {"ReLU": "relu", "Softmax": "softmax"}  # layers of their own, with these as defaults
_SAY = "expected that it is said: "


@dataclass(frozen=True)
class Assumed:
    """What was said of a file that does not say it; None for nothing."""

    nonlinearity: str | None = None
    merge: str | None = None
    reset_after: bool | None = None
    recurrent_activation: str | None = None


def fill(model: Model, content: Content, assumed: Assumed) -> Model:
    """Put every layer of a file into the model: as a Layer, as a note, or as tensors left over."""
    model.chain = content.chain
    model.notes |= {**({"keras": content.version} if content.version else {}), **content.notes}
    order = {name: place for place, name in enumerate(content.said)}  # groups have none
    for saved in sorted(content.layers, key=lambda one: order.get(one.name, len(order))):
        saved.config = keras_config.of_one_cell(saved.config)
        layer = _layer(saved, model.notes, content, assumed)
        if layer is not None:
            model.layers.append(layer)
            model.chain = model.chain and not keras_config.does_more(saved, model.notes)
        else:
            model.rest |= saved.everything()
            if saved.config is not None and saved.config["class_name"] not in _PLAIN:
                _note(model, saved.name, saved.config)
    return model


def _note(model: Model, name: str, config: Config) -> None:
    """Note a layer that is none here: an activation, where it follows one, else one that ends the chain."""
    kind, inner = config["class_name"], config["config"]
    activation = keras_config.activation_of(inner.get("activation")) if kind == "Activation" else _ACTIVATIONS.get(kind)
    if kind == "ReLU" and any(inner.get(option) for option in ("max_value", "negative_slope", "threshold")):
        activation = None
    if kind == "Softmax" and inner.get("axis", -1) != -1:
        activation = None
    before = f"{model.layers[-1].name}.activation" if model.layers else ""
    if activation == "linear":
        return
    if activation in keras_config.KNOWN and before and before not in model.notes and model.chain:
        model.notes[before] = str(activation)
        return
    if kind == "Activation":
        kind = f"Activation, {activation}"
    if kind == "RNN":
        cell = inner.get("cell", {}).get("class_name", "cells")
        kind = f"RNN of {cell} (LSTM, GRU or SimpleRNN, a layer for each cell, would be read)"
    model.notes[name], model.chain = f"of class {kind}, {NOT_READ}", False


def _layer(saved: Saved, notes: dict[str, str], content: Content, assumed: Assumed) -> Layer | None:
    """The Layer, or None for one that fastrnn has not."""
    if saved.others:
        return None
    kind = saved.config["class_name"] if saved.config is not None else _guess(saved)
    inner = saved.config
    if kind == "TimeDistributed":
        inner = _inner(saved, "layer")
        kind = inner["class_name"] if inner is not None else "Dense"
        if kind != "Dense":
            return None
        notes[f"{saved.name}.class"] = "TimeDistributed of Dense"
    if inner is not None and "saved_as" in inner:
        notes[f"{saved.name}.class"] = f"RNN of {kind}Cell"
    if kind in _RECURRENT or kind == "Bidirectional":
        return _recurrent(saved, kind, notes, content, assumed)
    if kind == "Dense":
        return _dense(saved, inner, notes)
    if kind == "Embedding":
        if inner is not None and inner["config"].get("mask_zero"):
            notes[f"{saved.name}.mask_zero"] = "index 0 is masked: give a mask or lengths to the layers after it"
        return _embedding(saved)
    return None


def _inner(saved: Saved, key: str) -> Config | None:
    inner: Config | None = saved.config["config"].get(key) if saved.config is not None else None
    return inner


def _guess(saved: Saved) -> str:
    """The class by a group's name, or by the weights' names and shapes."""
    arrays = saved.directions[0]
    if "recurrent_kernel" in arrays:
        return "Bidirectional" if len(saved.directions) == 2 else _class_by_shape(saved, arrays["recurrent_kernel"][1])
    if "embeddings" in arrays:
        return "Embedding"
    if "kernel" in arrays:
        return "Dense" if set(arrays) <= {"kernel", "bias"} and arrays["kernel"][1].ndim == 2 else ""
    known = {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "SimpleRNN", "bidirectional": "Bidirectional"}
    known |= {"dense": "Dense", "embedding": "Embedding", "time_distributed": "TimeDistributed"}
    group = re.sub(r"_\d+$", "", saved.group)
    if group == "rnn" and "1" in arrays:  # of one cell, whose recurrent kernel is the second weight
        return _class_by_shape(saved, arrays["1"][1])
    return known.get(group, "")


def _class_by_shape(saved: Saved, recurrent: Any) -> str:
    kind = kind_of(recurrent.shape[1], recurrent.shape[0]) if recurrent.ndim == 2 else None
    return {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN", None: ""}[kind]


# ------------------------------------------------------------------------------------------- recurrent


def _recurrent(saved: Saved, kind: str, notes: dict[str, str], content: Content, assumed: Assumed) -> Layer | None:
    cell, configs = kind, [saved.config]
    options: dict[str, Any] = {}
    if kind == "Bidirectional":
        configs = [_inner(saved, "layer"), _inner(saved, "backward_layer")]
        if configs[1] is None and configs[0] is not None:  # Keras 2.0 made the second like the first
            configs[1] = {**configs[0], "config": {**configs[0]["config"], "go_backwards": True}}
        options["merge"] = _merge(saved, notes, content, assumed)
        cell = configs[0]["class_name"] if configs[0] is not None else ""
        if configs[0] is not None and cell not in _RECURRENT:
            return None
    arrays = [_named(one) for one in saved.directions]
    if len(arrays) != (2 if kind == "Bidirectional" else 1) or not {"kernel", "recurrent_kernel"} <= set(arrays[0]):
        raise ValueError(f"{saved.name}: {kind} has {shape_words(saved.directions[0])}; expected {', '.join(_ORDERED)}")
    cell = cell or _class_by_shape(saved, arrays[0]["recurrent_kernel"][1])
    if cell not in _RECURRENT:
        return None
    for one in arrays:
        if unknown := sorted(set(one) - set(_ORDERED)):
            raise ValueError(f"{saved.name}: {cell} has a weight {unknown[0]}; expected {', '.join(_ORDERED)}")
    for config, backward in zip(configs, (False, True), strict=False):
        if config is not None:
            keras_config.check(saved.name, cell, config, backward, notes)
    every = [
        _cell_options(saved, _RECURRENT[cell], config, one, notes, content, assumed) | {"bias": "bias" in one}
        for config, one in zip(configs, arrays, strict=False)
    ]
    for option, value in every[0].items():
        if every[-1][option] != value:
            raise ValueError(
                f"{saved.name}: {option} of its directions is {value} and {every[-1][option]}; expected one for both"
            )
    options |= {option: value for option, value in every[0].items() if option != "bias"}
    return _made(saved, _RECURRENT[cell], arrays, options)


def _named(arrays: dict[str, Any]) -> dict[str, Any]:
    """Weights by Keras's names; new files number them."""
    return {_ORDERED[int(key)] if key.isdigit() and int(key) < 3 else key: one for key, one in arrays.items()}


def _made(saved: Saved, kind: str, arrays: list[dict[str, Any]], options: dict[str, Any]) -> Layer:
    parts: list[Part] = []
    sources = []
    for one in arrays:
        bias = one["bias"][1] if "bias" in one else None
        parts.append(from_keras(kind, one["kernel"][1], one["recurrent_kernel"][1], bias, saved.name))
        own = {"weight_ih": one["kernel"][0], "weight_hh": one["recurrent_kernel"][0]}
        if bias is not None:
            only = bias.ndim == 1 and len(bias) == len(KERAS[kind]) * len(one["recurrent_kernel"][1])
            own |= {"bias_ih": one["bias"][0], "bias_hh": "zeros: the file has one bias" if only else one["bias"][0]}
        sources.append(own)
    return layer_of(kind, saved.name, parts, sources, options)


def _merge(saved: Saved, notes: dict[str, str], content: Content, assumed: Assumed) -> str:
    if saved.config is not None:
        merge = saved.config["config"].get("merge_mode", "concat")
        if merge not in ("concat", "sum", "mul", "ave"):
            raise ValueError(f"{saved.name}: merge_mode {merge!r}; expected concat, sum, mul or ave")
        return str(merge)
    return str(_open(saved, "merge", assumed.merge, "concat", notes, content))


def _open(
    saved: Saved, option: str, assumed: Any, default: Any, notes: dict[str, str], content: Content
) -> Any:
    """An option that the file leaves open: what `write` kept beside, what was said, or the default with a note."""
    said = content.said.get(saved.name, {})
    if option in said:
        return said[option]
    if assumed is not None:
        return assumed
    notes[f"{saved.name}.{option}"] = f"{default}, assumed: a file of weights does not say it"
    return default


def _cell_options(
    saved: Saved,
    kind: str,
    config: Config | None,
    arrays: dict[str, Any],
    notes: dict[str, str],
    content: Content,
    assumed: Assumed,
) -> dict[str, Any]:
    bias = arrays.get("bias", (None, None))[1]
    columns = arrays["recurrent_kernel"][1].shape[-1]
    cudnn = bias is not None and bias.shape == (2 * columns,)
    if config is not None:
        inner = config["config"]
        if kind == "RNN":
            return {"nonlinearity": keras_config.activation_of(inner.get("activation", "tanh"))}
        if kind == "GRU":
            after = bool(inner.get("reset_after", False)) or cudnn
            if bias is not None and not cudnn and (bias.ndim == 2) != after:
                raise ValueError(f"{saved.name}: reset_after is {after}, but bias has shape {bias.shape}")
            return {"reset_after": after}
        return {}
    if kind == "RNN":
        return {"nonlinearity": _open(saved, "nonlinearity", assumed.nonlinearity, "tanh", notes, content)}
    if not cudnn:
        _check_age(saved, kind, content, assumed)
    if kind != "GRU":
        return {}
    if bias is not None:
        return {"reset_after": bias.ndim == 2 or cudnn}
    after = content.said.get(saved.name, {}).get("reset_after", assumed.reset_after)
    if after is None:
        raise ValueError(f"{saved.name}: a GRU without biases does not say its form; {_SAY}reset_after=True or False")
    return {"reset_after": after}


def _check_age(saved: Saved, kind: str, content: Content, assumed: Assumed) -> None:
    """Weights alone, of a time when Keras's default was an activation that fastrnn has not."""
    numbers = [int(number) for number in re.findall(r"\d+", content.version)[:2]]
    if numbers and numbers < [2, 3] and assumed.recurrent_activation is None:
        raise ValueError(
            f"{saved.name}: weights of Keras {content.version}, whose {kind} had recurrent_activation hard_sigmoid "
            f"unless the program said otherwise, and fastrnn has sigmoid; {_SAY}recurrent_activation=sigmoid"
        )


# ------------------------------------------------------------------------------------------ the others


def _dense(saved: Saved, config: Config | None, notes: dict[str, str]) -> Layer | None:
    arrays = _numbered(saved, ("kernel", "bias"))
    if arrays is None or "kernel" not in arrays or arrays["kernel"][1].ndim != 2:
        return None
    activation = keras_config.activation_of(config["config"].get("activation") if config is not None else None)
    if activation != "linear":
        notes[f"{saved.name}.activation"] = activation
    tensors = {"weight": arrays["kernel"][1].T.copy(order="C")}
    sources = {"weight": arrays["kernel"][0]}
    if "bias" in arrays:
        tensors["bias"], sources["bias"] = arrays["bias"][1], arrays["bias"][0]
    return Layer("Linear", saved.name, tensors, {} if "bias" in arrays else {"bias": False}, sources)


def _embedding(saved: Saved) -> Layer | None:
    arrays = _numbered(saved, ("embeddings",))
    if not arrays:
        return None
    source, table = arrays["embeddings"]
    return Layer("Embedding", saved.name, {"weight": table}, {}, {"weight": source})


def _numbered(saved: Saved, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The weights by these names, or None if there are others."""
    arrays = saved.directions[0]
    named = {names[int(key)] if key.isdigit() and int(key) < len(names) else key: one for key, one in arrays.items()}
    return named if len(saved.directions) == 1 and set(named) <= set(names) else None


