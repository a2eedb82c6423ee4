"""What configurations of Keras's layers say: which of them are fastrnn's, which do more, which are refused."""

from __future__ import annotations

from typing import Any

from fastrnn.convert.keras_files import Saved
from fastrnn.convert.keras_models import Config
from fastrnn.convert.model import NOT_READ

# Names of activations that Keras finds by itself.
KNOWN = frozenset(
    (
        *("relu", "leaky_relu", "relu6", "softmax", "celu", "elu", "selu", "softplus", "softsign"),
        *("squareplus", "soft_shrink", "sparse_plus", "silu", "swish", "gelu", "glu", "tanh", "tanh_shrink"),
        *("threshold", "sigmoid", "exponential", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh"),
        *("hard_shrink", "linear", "mish", "log_softmax", "log_sigmoid", "sparsemax", "sparse_sigmoid"),
    )
)
_STEPS = {"stateful": "begins each call where the last one ended", "time_major": "takes x with the time first"}
_CELLS = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "SimpleRNN"}  # in RNN: the layers of one cell


def of_one_cell(config: Config | None) -> Config | None:
    """RNN(LSTMCell(...)) as the LSTM that it is, also in Bidirectional; another configuration as it is."""
    if config is None:
        return None
    kind, inner = config["class_name"], config["config"]
    if kind == "Bidirectional":
        own = {side: of_one_cell(inner[side]) for side in ("layer", "backward_layer") if inner.get(side) is not None}
        return {**config, "config": {**inner, **own}}
    cell = inner.get("cell") if kind == "RNN" else None
    if not isinstance(cell, dict) or cell.get("class_name") not in _CELLS:
        return config
    return {**config, "class_name": _CELLS[cell["class_name"]], "config": {**cell["config"], **inner}, "saved_as": kind}


def does_more(saved: Saved, notes: dict[str, str]) -> bool:
    """Whether a layer does what the Layer does not, with a note."""
    if saved.config is None:
        return False
    inner = saved.config["config"]
    sides = [inner, *(inner[side]["config"] for side in ("layer", "backward_layer") if inner.get(side) is not None)]
    more = {option: words for option, words in _STEPS.items() if any(one.get(option) for one in sides)}
    for option, words in more.items():
        notes[f"{saved.name}.{option}"] = f"True (it {words}), {NOT_READ}"
    activation = notes.get(f"{saved.name}.activation", "linear")
    if activation not in KNOWN:
        del notes[f"{saved.name}.activation"]
        notes[saved.name] = f"followed by the activation {activation}, {NOT_READ}"
    return bool(more) or activation not in KNOWN


def check(name: str, cell: str, config: Config, backward: bool, notes: dict[str, str]) -> None:
    """Raise ValueError for each option that would give other numbers than fastrnn's."""
    inner = config["config"]
    if config["class_name"] != cell:
        raise ValueError(f"{name}: directions of {cell} and {config['class_name']}; expected two of one class")
    if bool(inner.get("go_backwards", False)) != backward:
        raise ValueError(f"{name}: go_backwards is {not backward}; expected {backward}")
    activation = activation_of(inner.get("activation", "tanh"))
    allowed = ("tanh", "relu", "sigmoid") if cell == "SimpleRNN" else ("tanh",)
    if activation not in allowed:
        raise ValueError(f"{name}: activation {activation!r} of {cell}; expected {' or '.join(allowed)}")
    if cell in ("LSTM", "GRU"):
        recurrent = activation_of(inner.get("recurrent_activation", inner.get("inner_activation", "sigmoid")))
        if recurrent != "sigmoid":
            raise ValueError(f"{name}: recurrent_activation {recurrent!r} of {cell}; expected sigmoid")
    if not inner.get("return_sequences", False) and not backward:
        notes[f"{name}.return_sequences"] = "False: the next layer takes the state h, not every step's"
    for option in ("dropout", "recurrent_dropout"):
        if inner.get(option):
            notes[f"{name}.{option}"] = f"{inner[option]}, in training alone"


def activation_of(value: Any) -> str:
    """An activation's name, however it is written; "linear" for none."""
    if value is None:
        return "linear"
    if isinstance(value, dict):
        inner, registered = value.get("config"), str(value.get("registered_name"))
        if ">" in registered:  # of the program's own
            return registered
        return inner if isinstance(inner, str) else str(value.get("class_name"))
    return str(value)
