"""What files of plain tensors do not say, and `write` keeps beside them: each layer's kind and options, as JSON.

It is also the mark by which `written_here` knows such a file.
"""

from __future__ import annotations

import json
from typing import Any

from fastrnn.convert.model import KINDS, Model

KEY = "fastrnn"


def of(model: Model) -> str:
    """The record of a model's layers and of what follows them."""
    layers = [{"kind": layer.kind, "name": layer.name, "options": layer.options} for layer in model.layers]
    following = {name: words for name, words in model.notes.items() if name.endswith(".activation")}
    return json.dumps({"layers": layers, "notes": following}, default=str)


def parse(text: str) -> tuple[list[tuple[str, str, dict[str, Any]]], dict[str, str]]:
    """(kind, name, options) of each layer, and notes.

    Raises
    ------
    ValueError
        It is no such record.
    """
    try:
        record = json.loads(text)
        layers = [(one["kind"], one["name"], one["options"]) for one in record["layers"]]
        notes = record["notes"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"the record {KEY!r} is damaged ({error}); expected that of `fastrnn convert`") from None
    plain = (str, int, float, bool)
    for kind, name, options in layers:
        if kind not in KINDS or not isinstance(name, str) or not isinstance(options, dict):
            raise ValueError(f"the record {KEY!r} has a layer {name!r} of kind {kind!r}; expected one of {KINDS}")
        if not all(isinstance(value, plain) for value in options.values()):
            raise ValueError(f"the record {KEY!r} has options {options!r} of {name!r}; expected names and plain values")
    if not isinstance(notes, dict) or not all(isinstance(words, str) for words in notes.values()):
        raise ValueError(f"the record {KEY!r} has no notes; expected words by name")
    return layers, notes
