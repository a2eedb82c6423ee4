"""NumPy's npz: arrays under PyTorch's names, under short ones (`enc_w_ih`, `fc_b`), or under TensorFlow 1's."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np

from fastrnn.convert import record, tf1
from fastrnn.convert.archives import names_in
from fastrnn.convert.layer import Array
from fastrnn.convert.model import Model
from fastrnn.convert.names import are_a_chain, layers_of

NAME = "NumPy npz"
EXTENSIONS = (".npz",)

_SHORT = (
    (re.compile(r"(?:(?P<prefix>.+)_)?w_(?P<part>ih|hh)"), "weight_{part}"),
    (re.compile(r"(?:(?P<prefix>.+)_)?b_(?P<part>ih|hh)"), "bias_{part}"),
    (re.compile(r"(?P<prefix>.+)_w"), "weight"),
    (re.compile(r"(?P<prefix>.+)_b"), "bias"),
    (re.compile(r"(?P<prefix>(?:.+_)?emb(?:edding)?)"), "weight"),
)
_MOST_COMMENT = 65_535  # bytes, of a zip archive


def recognise(path: Path, head: bytes) -> bool:
    """A zip archive of .npy files."""
    return any(name.endswith(".npy") for name in names_in(path, head))


def read(
    path: Path,
    *,
    nonlinearity: str | None = None,
    merge: str | None = None,
    linear: str = "",
    forget_bias: float | None = None,
    kind: str | None = None,
) -> Model:
    """The layers of a file.

    Parameters
    ----------
    nonlinearity, merge, linear
        As in `names.layers_of`.
    forget_bias : float, optional
        What TensorFlow 1's LSTM cells add to the forget gate at run time; its files need it said (1.0 is its default).
    kind : {"lstm", "rnn", "dense"}, optional
        Of TensorFlow 1's `kernel` and `bias` under names that say no cell.

    Raises
    ------
    ValueError
        An array of Python objects, which is a pickle; a damaged file.
    """
    arrays = _arrays(path)
    text = _comment(path)
    said = record.parse(text) if text else record.Record()
    cells, arrays = tf1.layers_of(arrays, forget_bias=forget_bias, kind=kind, nonlinearity=nonlinearity)
    tensors, sources = _long_names(arrays)
    layers, rest, notes = layers_of(
        tensors, sources=sources, nonlinearity=nonlinearity, merge=merge, linear=linear, records=said.layers
    )
    left = {sources[name]: array for name, array in rest.items()}
    layers = [*cells, *layers]
    chain = said.chain if said.layers else are_a_chain(layers, left)
    return Model(layers, "npz", {**said.notes, **notes}, left, chain)


def _arrays(path: Path) -> dict[str, Array]:
    """Every array by its name. numpy.load leaves damaged files open, and does not hold them against their checksums."""
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy"): _array(name, archive.read(name)) for name in archive.namelist()}


def _array(name: str, data: bytes) -> Array:
    try:
        array: Array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        if "pickle" not in str(error):
            raise ValueError(f"{name}: not a whole array: {str(error)[:200]}") from None
        raise ValueError(
            f"{name}: holds Python objects as a pickle, which could run code when it is read; "
            "expected a plain array, as numpy.savez writes it"
        ) from None
    return array


def _long_names(arrays: dict[str, Array]) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays by PyTorch's names, and each one's name in the file."""
    tensors: dict[str, Array] = {}
    sources: dict[str, str] = {}
    for name, array in arrays.items():
        long = _long_name(name)
        if long in tensors or (long != name and long in arrays):
            raise ValueError(f"{name}: means {long}, which is there as well; expected one of the two")
        tensors[long], sources[long] = array, name
    return tensors, sources


def _long_name(name: str) -> str:
    for pattern, long in _SHORT:
        if found := pattern.fullmatch(name):
            prefix = found.groupdict().get("prefix")
            part = long.format(**found.groupdict())
            return f"{prefix}.{part}" if prefix else part
    return name


def _comment(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        comment = archive.comment
    text = comment.decode("utf-8", "replace")
    return text if text.startswith("{") and "layers" in text else ""


def write(model: Model, path: Path) -> None:
    """Write arrays under PyTorch's names; kinds and options are in the archive's comment."""
    comment = record.of(model).encode()
    if len(comment) > _MOST_COMMENT:
        raise ValueError(f"{len(comment)} bytes say the layers' options; expected {_MOST_COMMENT} at most")
    with path.open("wb") as file:
        np.savez(file, **model.state_dict())  # type: ignore[arg-type]
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = comment


def written_here(path: Path) -> bool:
    return bool(_comment(path))
