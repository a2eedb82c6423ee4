"""Keras 2 and 3, read and written without either: .keras, .weights.h5, and the older .h5 and .hdf5.

A model's file has its configuration, which says every option; a file of weights alone has names and shapes, and what
these leave open may be said: nonlinearity of SimpleRNN, merge of Bidirectional, reset_after of a GRU without biases,
recurrent_activation of files from before Keras 2.3. `fastrnn.convert.keras_layers` has the rules.
"""

from __future__ import annotations

from pathlib import Path

from fastrnn.convert import keras_files, keras_write
from fastrnn.convert.archives import names_in
from fastrnn.convert.keras_layers import Assumed, fill
from fastrnn.convert.model import Model

NAME = "Keras"
EXTENSIONS = (".keras", ".weights.h5", ".h5", ".hdf5")
KEEPS = ("return_sequences", "mask_zero")

_HDF5 = b"\x89HDF\r\n\x1a\n"


def recognise(path: Path, head: bytes) -> bool:
    """HDF5, or a zip archive with config.json and HDF5 weights."""
    if head.startswith(_HDF5):
        return True
    return {keras_files.CONFIG, keras_files.WEIGHTS} <= set(names_in(path, head))


def read(
    path: Path,
    *,
    nonlinearity: str | None = None,
    merge: str | None = None,
    reset_after: bool | None = None,
    recurrent_activation: str | None = None,
) -> Model:
    """The layers of a file, each Keras layer one Layer of its name; other layers' weights are in `rest`.

    Parameters
    ----------
    nonlinearity : {"tanh", "relu", "sigmoid"}, optional
        Of SimpleRNN, where the file does not say it; tanh by default.
    merge : {"concat", "sum", "mul", "ave"}, optional
        Of Bidirectional, the same; concat by default.
    reset_after : bool, optional
        Of a GRU without biases, the same: their shape says it otherwise. There is no default.
    recurrent_activation : {"sigmoid"}, optional
        To be said of weights that Keras before 2.3 wrote: its default was hard_sigmoid, which fastrnn has not.

    Raises
    ------
    ValueError
        An option that fastrnn has not, a damaged file.
    ImportError
        h5py is not installed.
    """
    content = keras_files.open_content(path)
    assumed = Assumed(nonlinearity, merge, reset_after, recurrent_activation)
    return fill(Model([], "keras"), content, assumed)


def write(model: Model, path: Path) -> None:
    """Write a file that Keras 3 loads: by load_model (.keras, a Sequential) or by load_weights (the others).

    Raises
    ------
    ValueError
        A projection, which Keras has not; for .keras, layers that are no chain.
    """
    if path.name.lower().endswith(".keras"):
        keras_write.model_file(model, path)
    elif path.name.lower().endswith(".weights.h5"):
        keras_write.weights(model, path)
    else:
        keras_write.legacy(model, path)


def written_here(path: Path) -> bool:
    return keras_files.is_marked(path)
