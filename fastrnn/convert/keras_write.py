"""A Model in Keras's layouts: a Sequential as .keras, and weights as .weights.h5 or the older .h5."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn.convert.keras_files import CONFIG, METADATA, WEIGHTS, library, snake_case
from fastrnn.convert.layer import Array, Layer
from fastrnn.convert.model import Model
from fastrnn.convert.orders import parts, to_keras
from fastrnn.convert.record import KEY

_VERSION = "3.0.0"  # whose layouts these are
_CLASSES = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}


@dataclass
class Single:
    """One layer as Keras has it: a stack of ours becomes several.

    Attributes
    ----------
    cell : str
        Keras's class; of Bidirectional the one inside.
    directions : list of one or two dicts
        Arrays by Keras's names, in its order.
    options : dict
        What a file of weights does not say, by our names.
    widths : (inputs, outputs)
        Inputs are None for an Embedding, which takes indices.
    activation : str
        What follows.
    last, masked : bool
        Whether it returns its last step alone; whether it masks index 0.
    wrapper : str
        The class around it in the model that it came from, "" for none: groups in .weights.h5 are called after it.
    """

    name: str
    cell: str
    directions: list[dict[str, Array]]
    options: dict[str, Any]
    widths: tuple[int | None, int]
    activation: str = "linear"
    last: bool = False
    masked: bool = False
    wrapper: str = ""

    @property
    def class_name(self) -> str:
        return "Bidirectional" if len(self.directions) == 2 else self.cell

    def notes(self) -> dict[str, str]:
        """What weights do not say, as notes of a Model."""
        said = {
            "activation": self.activation if self.activation != "linear" else "",
            "return_sequences": "False" if self.last else "",
            "mask_zero": "True" if self.masked else "",
        }
        return {f"{self.name}.{ending}": words for ending, words in said.items() if words}


def singles(model: Model) -> list[Single]:
    """The layers one by one.

    Raises
    ------
    ValueError
        A projection, or a name that Keras cannot have.
    """
    found: list[Single] = []
    for layer in model.layers:
        found += _recurrent(layer) if layer.kind in _CLASSES else [_plain(layer)]
        top = found[-1]
        top.activation = model.notes.get(f"{layer.name}.activation", "linear")
        top.last, top.masked = (f"{layer.name}.{note}" in model.notes for note in ("return_sequences", "mask_zero"))
        top.wrapper = model.notes.get(f"{layer.name}.class", "").partition(" ")[0]
    _check_names(found)
    return found


def _check_names(layers: list[Single]) -> None:
    names = [one.name for one in layers]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name}: two layers of this name in Keras; expected names that differ")


def _name(layer: Layer) -> str:
    """Keras takes "/" for a folder."""
    return layer.name.replace("/", ".") or snake_case(_CLASSES.get(layer.kind, layer.kind))


def _recurrent(layer: Layer) -> list[Single]:
    if layer.options.get("proj_size", 0):
        raise ValueError(f"{layer.name or layer.kind}: Keras has no projection; expected proj_size=0")
    kind, options = layer.kind, layer.options
    stack = parts(layer)
    reset_after, merge = options.get("reset_after", True), options.get("merge", "concat")
    said: dict[str, Any] = {"merge": merge} if options.get("bidirectional", False) else {}
    if kind == "RNN":
        said["nonlinearity"] = options.get("nonlinearity", "tanh")
    if kind == "GRU":
        said["reset_after"] = reset_after
    made = []
    for place, directions in enumerate(stack):
        name = _name(layer) if len(stack) == 1 else f"{_name(layer)}_l{place}"
        arrays = [to_keras(kind, part, reset_after) for part in directions]
        inputs, width = arrays[0]["kernel"].shape[0], arrays[0]["recurrent_kernel"].shape[0]
        outputs = width * (2 if len(arrays) == 2 and merge == "concat" else 1)
        made.append(Single(name, _CLASSES[kind], arrays, said, (inputs, outputs)))
    return made


def _plain(layer: Layer) -> Single:
    weight = layer.tensors["weight"]
    if layer.kind == "Embedding":
        return Single(_name(layer), "Embedding", [{"embeddings": weight}], {}, (None, weight.shape[1]))
    arrays = {"kernel": np.ascontiguousarray(weight.T)}
    if "bias" in layer.tensors:
        arrays["bias"] = layer.tensors["bias"]
    return Single(_name(layer), "Dense", [arrays], {}, (weight.shape[1], weight.shape[0]))


# ------------------------------------------------------------------------------------------------ weights


def weights(model: Model, path: Path) -> None:
    """Keras 3's .weights.h5: load_weights of a model with these layers in this order takes it."""
    path.write_bytes(_weights(singles(model), model.chain, wrapped=True))


def _mark(layers: list[Single], chain: bool) -> str:
    """What a file of weights does not say of each layer, and whether they are a chain, for `keras_files`."""
    notes = {name: words for one in layers for name, words in one.notes().items()}
    return json.dumps({"chain": chain, "layers": {one.name: one.options for one in layers}, "notes": notes})


def _weights(layers: list[Single], chain: bool, wrapped: bool = False) -> bytes:
    """The file; `wrapped`: as the model has the layers that these came from, not as `model_file` makes them."""
    buffer = io.BytesIO()
    counts: dict[str, int] = {}
    with library().File(buffer, "w") as file:
        file.attrs[KEY] = _mark(layers, chain)
        file.create_group("vars")
        for one in layers:
            wrapper = one.wrapper if wrapped else ""
            plain = snake_case(wrapper or one.class_name)
            count = counts.get(plain, 0)
            counts[plain] = count + 1
            group = file.create_group(f"layers/{plain}_{count}" if count else f"layers/{plain}")
            group.create_group("vars").attrs["name"] = one.name
            for side, arrays in zip(_sides(one, wrapper), one.directions, strict=True):
                where = group.require_group(f"{side}vars")
                for number, array in enumerate(arrays.values()):
                    where.create_dataset(str(number), data=array)
                if side.startswith(("forward", "backward", "layer")):
                    group.require_group(f"{side.removesuffix('cell/')}vars")
    return buffer.getvalue()


def _sides(one: Single, wrapper: str) -> list[str]:
    if wrapper == "TimeDistributed":
        return ["layer/"]
    if one.cell in ("Dense", "Embedding"):
        return [""]
    return ["forward_layer/cell/", "backward_layer/cell/"] if len(one.directions) == 2 else ["cell/"]


def legacy(model: Model, path: Path) -> None:
    """The older .h5 of weights alone: load_weights takes it by the order of the layers, or with by_name=True."""
    layers = singles(model)
    with library().File(path, "w") as file:
        file.attrs[KEY] = _mark(layers, model.chain)
        file.attrs["keras_version"], file.attrs["backend"] = _VERSION, "fastrnn"
        file.attrs["layer_names"] = [one.name for one in layers]
        for one in layers:
            group = file.create_group(one.name)
            named = dict(_named(one))
            group.attrs["weight_names"] = list(named)
            for name, array in named.items():
                group.create_dataset(name, data=array)
        file.create_group("top_level_model_weights").attrs["weight_names"] = np.zeros(0)


def _named(one: Single) -> list[tuple[str, Array]]:
    """Each array by the name that Keras gives its weights."""
    cell = snake_case(one.cell)
    if one.cell in ("Dense", "Embedding"):
        folders = [one.name]
    elif len(one.directions) == 1:
        folders = [f"{one.name}/{cell}_cell"]
    else:
        folders = [f"{one.name}/{side}_{cell}/{cell}_cell" for side in ("forward", "backward")]
    return [
        (f"{folder}/{name}:0", array)
        for folder, arrays in zip(folders, one.directions, strict=True)
        for name, array in arrays.items()
    ]


# -------------------------------------------------------------------------------------------- whole models


def model_file(model: Model, path: Path) -> None:
    """A .keras file of a Sequential model, whose recurrent layers return every step unless a note says otherwise.

    Raises
    ------
    ValueError
        There are no layers, or one's outputs are not the inputs of the next.
    """
    layers = singles(model)
    for one in layers:
        one.name = one.name.replace(".", "_")  # Keras on PyTorch cannot load a name with a dot
    _check_names(layers)
    if not layers:
        raise ValueError("a model without layers; expected some")
    for before, after in itertools.pairwise(layers):
        if before.widths[1] != after.widths[0]:
            raise ValueError(
                f"{after.name} has {after.widths[0] or 'indices as'} inputs after {before.widths[1]} outputs of "
                f"{before.name}; expected a chain for .keras (a .weights.h5 takes any layers)"
            )
    configs = [entry for one in layers for entry in (_config(one), *_following(one))]
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "trainable": True, "layers": [_input(layers[0]), *configs]},
        "registered_name": None,
        "build_config": {"input_shape": _input_shape(layers[0])},
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(METADATA, json.dumps({"keras_version": _VERSION, KEY: "written by fastrnn convert"}))
        archive.writestr(CONFIG, json.dumps(config))
        archive.writestr(WEIGHTS, _weights(layers, True))


def _input_shape(first: Single) -> list[int | None]:
    return [None, None] if first.widths[0] is None else [None, None, first.widths[0]]


def _input(first: Single) -> dict[str, Any]:
    dtype = "int32" if first.widths[0] is None else _dtype(first)
    return _entry("InputLayer", {"batch_shape": _input_shape(first), "dtype": dtype, "name": "input"})


def _entry(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}


def _dtype(one: Single) -> str:
    return str(next(iter(one.directions[0].values())).dtype)


def _config(one: Single) -> dict[str, Any]:
    dtype = _dtype(one)
    if one.cell == "Embedding":
        count, width = one.directions[0]["embeddings"].shape
        config = {"input_dim": count, "output_dim": width, "mask_zero": one.masked}
        return _entry("Embedding", {"name": one.name, "dtype": dtype, **config})
    bias = "bias" in one.directions[0]
    if one.cell == "Dense":
        config = {"units": one.widths[1], "activation": one.activation, "use_bias": bias}
        return _entry("Dense", {"name": one.name, "dtype": dtype, **config})
    if len(one.directions) == 1:
        return _entry(one.cell, {"name": one.name, **_cell(one, bias, False)})
    sides = [
        _entry(one.cell, {"name": f"{side}_{one.name}", **_cell(one, bias, side == "backward")})
        for side in ("forward", "backward")
    ]
    merge = one.options.get("merge", "concat")
    config = {"merge_mode": merge, "layer": sides[0], "backward_layer": sides[1]}
    return _entry("Bidirectional", {"name": one.name, "dtype": dtype, **config})


def _following(one: Single) -> list[dict[str, Any]]:
    """The activation after a layer that has none of its own."""
    if one.cell == "Dense" or one.activation == "linear":
        return []
    return [_entry("Activation", {"name": f"{one.name}_activation", "activation": one.activation})]


def _cell(one: Single, bias: bool, backward: bool) -> dict[str, Any]:
    config: dict[str, Any] = {
        "units": len(one.directions[0]["recurrent_kernel"]),
        "activation": one.options.get("nonlinearity", "tanh"),
        "use_bias": bias,
        "return_sequences": not one.last,
        "go_backwards": backward,
        "dtype": _dtype(one),
    }
    if one.cell != "SimpleRNN":
        config["recurrent_activation"] = "sigmoid"
    if one.cell == "GRU":
        config["reset_after"] = one.options.get("reset_after", True)
    return config
