"""What every format is read into and written from: layers in PyTorch's names and shapes, whatever the file had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

RECURRENT = ("LSTM", "GRU", "RNN")
KINDS = (*RECURRENT, "Linear", "Embedding")


class Row(NamedTuple):
    """A line of what a conversion did: the tensor's names in the file and here, and its shape here.

    Several rows may have one source (a file that keeps all gates of two directions in one tensor), and one row several
    sources (two biases that a file keeps as their sum).
    """

    source: str
    target: str
    shape: tuple[int, ...]


@dataclass
class Layer:
    """One layer of a file.

    Attributes
    ----------
    kind : {"LSTM", "GRU", "RNN", "Linear", "Embedding"}
    name : str
        What its tensors' names begin with in a state_dict ("decoder.lstm"), "" for nothing.
    options : dict
        Arguments of the constructor of that name in `fastrnn` besides the sizes, where they are not its defaults:
        num_layers, bias, batch_first, bidirectional, proj_size, merge, reset_after, nonlinearity, dtype.
    tensors : dict
        PyTorch's parameter names and shapes: weight_ih_l0 (G*H, I), ...; weight and bias of Linear (outputs, inputs);
        weight of Embedding (count, width). Gates in PyTorch's order.
    sources : dict
        For each name in `tensors` where it came from in the file, for the reader of `Row`s and of errors.
    """

    kind: str
    name: str
    tensors: dict[str, Array]
    options: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def full_name(self, tensor: str) -> str:
        return f"{self.name}.{tensor}" if self.name else tensor


@dataclass
class Model:
    """The layers of a file in their order, and what it says of them that is no layer (`notes`, for `fastrnn info`)."""

    layers: list[Layer]
    format: str
    notes: dict[str, str] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Array]:
        """Every tensor by its name in PyTorch."""
        return {layer.full_name(name): array for layer in self.layers for name, array in layer.tensors.items()}

    def rows(self) -> Iterator[Row]:
        for layer in self.layers:
            for name, array in layer.tensors.items():
                yield Row(layer.sources.get(name, ""), layer.full_name(name), np.shape(array))
