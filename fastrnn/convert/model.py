"""What every format is read into and written from: the layers of a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastrnn.convert import shapes
from fastrnn.convert.layer import Array, Layer, Row
from fastrnn.layers import GRU, LSTM, RNN, Recurrent
from fastrnn.linear import Linear

Built = Recurrent | Linear | Array

# Endings of notes on what a layer does besides, which not every format can say, each with what all of them can.
LOSSES = {
    "return_sequences": "return_sequences=True in Keras, or a format of weights",
    "mask_zero": "mask_zero=False in Keras, or a format of weights",
}
FOLLOWING = (".activation", *(f".{ending}" for ending in LOSSES))  # notes that go with the layers into other files
NOT_READ = "which is not read"  # ends the note on what stands between layers

_CLASSES: dict[str, Any] = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN, "Linear": Linear}


@dataclass
class Model:
    """The layers of a file in their order, and what it holds besides.

    Attributes
    ----------
    layers : list of Layer
    format : str
        Name of the format it was read from.
    notes : dict
        What the file says that is no layer, for ``fastrnn info``. `NAME.activation` is what follows the layer NAME;
        `NAME.return_sequences` and `NAME.mask_zero` are there where Keras's layer has the option that is not plain.
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
        """Make the model a chain of its layers in this order; ValueError unless the names are theirs.

        Parameters
        ----------
        names : list of str
        """
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

    def build(self) -> dict[str, Built]:
        """Make the layers of fastrnn with these weights.

        Returns
        -------
        dict
            The layers by their names, in the file's order; of an Embedding its table (count, width): `table[indices]`.

        Raises
        ------
        ValueError, TypeError
            What `check` refuses, and options that a layer has not.
        """
        self.check()
        return {layer.name: _built(layer) for layer in self.layers}


def _built(layer: Layer) -> Built:
    if layer.kind == "Embedding":
        return layer.tensors["weight"]

    def initial(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return layer.tensors[name]

    options = {**layer.options, "dtype": shapes.dtype(layer.tensors, layer.options), "seed": 0, "init": initial}
    built: Built = _CLASSES[layer.kind](*shapes.sizes(layer.kind, layer.tensors, layer.options), **options)
    return built
