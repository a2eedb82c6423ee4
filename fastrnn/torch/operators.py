"""Torch's recurrent operators that the engine can take the place of."""

from __future__ import annotations

import torch

from fastrnn.torch.bridge import Operator

_aten = torch.ops.aten

# Name in aten, the cell's row in the kernel table, gates, states.
_CELLS = (
    ("lstm", "lstm", 4, 2),
    ("gru", "gru_reset_after", 3, 1),
    ("rnn_tanh", "rnn_tanh", 1, 1),
    ("rnn_relu", "rnn_relu", 1, 1),
)


def _operators() -> list[Operator]:
    found = []
    for name, cell, gates, states in _CELLS:
        layers = getattr(_aten, name)
        found += [
            Operator(layers.input, cell, "input", gates, states),
            Operator(layers.data, cell, "data", gates, states),
            Operator(getattr(_aten, f"{name}_cell").default, cell, "cell", gates, states),
        ]
    return found


OPERATORS = _operators()
BY_NAME = {operator.name: operator for operator in OPERATORS}
