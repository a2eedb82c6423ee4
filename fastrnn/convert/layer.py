"""A layer of a file in PyTorch's names and shapes, whatever the file had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.convert import shapes

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
        Arguments of the constructor of that name in ``fastrnn`` besides the sizes, where they are not its defaults:
        num_layers, bias, batch_first, bidirectional, proj_size, merge, reset_after, nonlinearity, dtype.
    tensors : dict
        PyTorch's parameter names and shapes: weight_ih_l0 (G*H, I), ...; weight and bias of Linear (outputs, inputs);
        weight of Embedding (count, width). Gates in PyTorch's order.
    sources : dict
        For each name in `tensors` where it came from in the file, for the reader of each `Row` and of errors.
    """

    kind: str
    name: str
    tensors: dict[str, Array]
    options: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def full_name(self, tensor: str) -> str:
        return f"{self.name}.{tensor}" if self.name else tensor

    def check(self) -> None:
        """Raise ValueError unless the tensors are those of one layer of this kind: names, shapes, dtype, finite.

        An option of another dtype than the tensors', or an unknown one, is an error as well.
        """
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: a layer of kind {self.kind}; expected one of {', '.join(KINDS)}")
        expected = shapes.expected(self.kind, self.name or self.kind, self.tensors, self.options)
        for name in sorted(set(expected) - set(self.tensors)):
            raise ValueError(f"{self.full_name(name)}: no such tensor in the file; expected shape {expected[name]}")
        for name, array in self.tensors.items():
            who = f"{self.full_name(name)} ({self.sources.get(name, 'without a source')})"
            if name not in expected:
                raise ValueError(f"{who}: unexpected tensor of {self.kind}; expected {', '.join(expected)}")
            if np.shape(array) != expected[name]:
                raise ValueError(f"{who} has shape {np.shape(array)}; expected {expected[name]}")
            if array.dtype != shapes.dtype(self.tensors, self.options):
                half = " (cast before saving: tensor.float() in PyTorch)" if array.dtype == np.float16 else ""
                raise ValueError(f"{who} is {array.dtype}; expected one dtype, float32 or float64, for a layer{half}")
            if not np.isfinite(array).all():
                raise ValueError(f"{who} holds a value that is not finite; expected finite ones")

    def words(self) -> str:
        """The layer as its constructor: `LSTM(5, 4, num_layers=2)`."""
        if self.kind == "Embedding":
            return "Embedding({}, {})".format(*self.tensors["weight"].shape)
        sizes = shapes.sizes(self.kind, self.tensors, self.options)
        given = [*map(str, sizes), *(f"{name}={value!r}" for name, value in self.options.items())]
        return f"{self.kind}({', '.join(given)})"
