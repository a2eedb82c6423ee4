"""What is said of a file that it does not say: each value's form, and whether it fits what was read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from fastrnn.convert.layer import Layer

MERGES = ("concat", "sum", "mul", "ave")
NONLINEARITIES = ("tanh", "relu", "sigmoid")

_WORDS = {
    "nonlinearity": NONLINEARITIES,
    "merge": MERGES,
    "recurrent_activation": ("sigmoid",),
    "kind": ("lstm", "rnn", "dense"),
}
_DEFAULTS = {"nonlinearity": "tanh", "merge": "concat", "reset_after": True}


def parsed(assume: Mapping[str, Any]) -> dict[str, Any]:
    """The assumptions with words made what they mean ("true" is True); None, for nothing said, is left out.

    Raises
    ------
    ValueError
        A value that none of fastrnn's layers has.
    """
    return {name: _parsed(name, value) for name, value in assume.items() if value is not None}


def _parsed(name: str, value: Any) -> Any:
    if name in _WORDS:
        if value not in _WORDS[name]:
            words = ", ".join(_WORDS[name])
            raise ValueError(f"{name} is {value!r}; expected {'one of ' if ', ' in words else 'only '}{words}")
        return value
    forms = {"reset_after": _boolean, "forget_bias": _number, "linear": _names, "order": _names, "entry": _word}
    return forms[name](name, value) if name in forms else value


def _boolean(name: str, value: Any) -> bool:
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None or not isinstance(value, bool | str):
        raise ValueError(f"{name} is {value!r}; expected true or false")
    return found


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} is {value!r}; expected a number")
    return number


def _names(name: str, value: Any) -> str:
    """Names by commas, which may be given as a list as well."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
        raise ValueError(f"{name} is {value!r}; expected names of layers, by commas")
    return ",".join(names)


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}; expected a name")
    return value


def check(assume: Mapping[str, Any], layers: list[Layer]) -> None:
    """Raise ValueError for an assumption that is of no layer here, or that one contradicts."""
    of: dict[str, tuple[str, Callable[[Layer], bool]]] = {
        "nonlinearity": ("RNN", lambda layer: layer.kind == "RNN"),
        "merge": ("layer of two directions", lambda layer: bool(layer.options.get("bidirectional"))),
        "reset_after": ("GRU", lambda layer: layer.kind == "GRU"),
        "forget_bias": ("LSTM", lambda layer: layer.kind == "LSTM"),
        "recurrent_activation": ("LSTM and no GRU", lambda layer: layer.kind in ("LSTM", "GRU")),
    }
    for name in [name for name in assume if name in of]:
        words, takes = of[name]
        concerned = [layer for layer in layers if takes(layer)]
        if not concerned:
            raise ValueError(f"{name} is said, but there is no {words} in the file; expected that it is left out")
        if name in _DEFAULTS:
            _check_option(name, assume[name], concerned)
    for name in filter(None, assume.get("linear", "").split(",")):
        for layer in layers:
            if layer.name == name and layer.kind != "Linear":
                raise ValueError(f"linear is {name}, which is {layer.words()} in the file; expected a matrix alone")


def _check_option(name: str, value: Any, layers: list[Layer]) -> None:
    if name == "reset_after":  # biases say it by their shape: what is assumed is of the layers without
        layers = [layer for layer in layers if not layer.options.get("bias", True)] or layers
    for layer in layers:
        got = layer.options.get(name, _DEFAULTS[name])
        if got != value:
            raise ValueError(
                f"{layer.name or layer.kind}: {name} is said to be {value}, and the file says {got}; "
                "expected what it says, or nothing"
            )
