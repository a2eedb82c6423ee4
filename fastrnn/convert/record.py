"""What files of plain tensors do not say, and `write` keeps beside them: each layer's kind and options, as JSON.

It is also the mark by which `written_here` knows such a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from fastrnn.convert.layer import KINDS
from fastrnn.convert.model import FOLLOWING, Model

KEY = "fastrnn"


@dataclass
class Record:
    """(kind, name, options) of each layer, notes of what follows layers, and whether they are a chain."""

    layers: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    chain: bool = False


def of(model: Model) -> str:
    """The record of a model's layers and of what follows them."""
    layers = [{"kind": layer.kind, "name": layer.name, "options": layer.options} for layer in model.layers]
    following = {name: words for name, words in model.notes.items() if name.endswith(FOLLOWING)}
    return json.dumps({"layers": layers, "notes": following, "chain": model.chain}, default=str)


def parse(text: str) -> Record:
    """The record that a text is.

    Raises
    ------
    ValueError
        It is no such record.
    """
    try:
        said = json.loads(text)
        layers = [(one["kind"], one["name"], one["options"]) for one in said["layers"]]
        notes, chain = said["notes"], said["chain"] is True
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
    return Record(layers, notes, chain)
