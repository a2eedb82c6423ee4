"""What every format is read into and written from: layers in PyTorch's names and shapes, whatever the file had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.convert import shapes
from fastrnn.layers import GRU, LSTM, RNN, Recurrent
from fastrnn.linear import Linear

Array = NDArray[Any]

RECURRENT = ("LSTM", "GRU", "RNN")
KINDS = (*RECURRENT, "Linear", "Embedding")

_CLASSES: dict[str, Any] = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN, "Linear": Linear}


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
                raise ValueError(f"{who} is {array.dtype}; expected one dtype, float32 or float64, for a layer")
            if not np.isfinite(array).all():
                raise ValueError(f"{who} holds a value that is not finite; expected finite ones")

    def build(self) -> Recurrent | Linear | Array:
        """Return the layer of fastrnn with these weights; of an Embedding the table (count, width): `table[indices]`.

        Raises
        ------
        ValueError, TypeError
            What `check` refuses, and options that the layer has not.
        """
        self.check()
        if self.kind == "Embedding":
            return self.tensors["weight"]
        dtype = shapes.dtype(self.tensors, self.options)
        options = {**self.options, "dtype": dtype, "seed": 0, "init": self._initial}
        layer: Recurrent | Linear = _CLASSES[self.kind](*shapes.sizes(self.kind, self.tensors, self.options), **options)
        return layer

    def words(self) -> str:
        """The layer as its constructor: `LSTM(5, 4, num_layers=2)`."""
        if self.kind == "Embedding":
            return "Embedding({}, {})".format(*self.tensors["weight"].shape)
        sizes = shapes.sizes(self.kind, self.tensors, self.options)
        given = [*map(str, sizes), *(f"{name}={value!r}" for name, value in self.options.items())]
        return f"{self.kind}({', '.join(given)})"

    def _initial(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return self.tensors[name]


@dataclass
class Model:
    """The layers of a file in their order, and what it holds besides.

    Attributes
    ----------
    layers : list of Layer
    format : str
        Name of the format it was read from.
    notes : dict
        What the file says that is no layer, for `fastrnn info`. `NAME.activation` is what follows the layer NAME.
    rest : dict
        Tensors of layers that fastrnn has not (a convolution, say), by their names in the file. `convert` refuses a
        model with any, unless it is told to leave them out.
    chain : bool
        Whether the file says that its layers follow each other in this order, with nothing between them but what notes
        say. Formats that are whole models, not only weights, are written of such models alone.
    """

    layers: list[Layer]
    format: str
    notes: dict[str, str] = field(default_factory=dict)
    rest: dict[str, Array] = field(default_factory=dict)
    chain: bool = False

    def state_dict(self) -> dict[str, Array]:
        """Every tensor by its name in PyTorch."""
        return {layer.full_name(name): array for layer in self.layers for name, array in layer.tensors.items()}

    def rows(self) -> Iterator[Row]:
        for layer in self.layers:
            for name, array in layer.tensors.items():
                yield Row(layer.sources.get(name, ""), layer.full_name(name), np.shape(array))

    def put_in_order(self, names: list[str]) -> None:
        """Make the model a chain of its layers in this order; ValueError unless the names are theirs."""
        layers = {layer.name: layer for layer in self.layers}
        if sorted(names) != sorted(layers):
            raise ValueError(f"order is {','.join(names)!r}; expected all of {', '.join(layers)}")
        self.layers, self.chain = [layers[name] for name in names], True

    def check(self) -> None:
        """Raise ValueError unless every layer is whole (see `Layer.check`) and no two have one name."""
        names = [layer.name for layer in self.layers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two layers are called {name!r}; expected names that differ")
        for layer in self.layers:
            layer.check()

    def build(self) -> dict[str, Recurrent | Linear | Array]:
        """The layers of fastrnn by their names, in the file's order; of an Embedding its table (count, width)."""
        return {layer.name: layer.build() for layer in self.layers}
