"""safetensors under PyTorch's names: a state_dict, and the character models that `fastrnn train` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn.cells import CELLS
from fastrnn.convert import record
from fastrnn.convert.model import Model
from fastrnn.convert.names import are_a_chain, layers_of

NAME = "safetensors"
EXTENSIONS = (".safetensors",)

CHARACTER_MODEL = "fastrnn character model"  # the metadata's "format" of what `fastrnn train` writes
_TRAINING = ("optimizer.", "state.")  # what begins names of such a file that only training needs


def recognise(path: Path, head: bytes) -> bool:
    """A header's length, and the header, which is JSON."""
    return len(head) > 8 and int.from_bytes(head[:8], "little") < 100_000_000 and head[8:9] == b"{"


def read(path: Path, *, nonlinearity: str | None = None, merge: str | None = None, linear: str = "") -> Model:
    """The layers of a file; see `names.layers_of` for what may be assumed.

    Raises
    ------
    ValueError
        The file is damaged, or has tensors that NumPy has not (bfloat16).
    """
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            names = [name for name in file.keys() if not _is_of_training(name, metadata)]  # noqa: SIM118
            tensors = {name: _tensor(file, name) for name in names}
    except safetensors.SafetensorError as error:
        raise ValueError(f"not a whole safetensors file: {str(error)[:200]}") from None
    said = record.Record()
    if record.KEY in metadata:
        said = record.parse(metadata[record.KEY])
    elif metadata.get("format") == CHARACTER_MODEL:
        said = _of_character_model(metadata)
    layers, rest, notes = layers_of(
        tensors, nonlinearity=nonlinearity, merge=merge, linear=linear, records=said.layers
    )
    chain = said.chain if said.layers else are_a_chain(layers, rest)
    return Model(layers, "safetensors", {**said.notes, **notes}, rest, chain)


def _tensor(file: Any, name: str) -> Any:
    dtype = file.get_slice(name).get_dtype()
    if dtype in ("BF16", "F8_E4M3", "F8_E5M2"):
        raise ValueError(f"{name} is {dtype}, which NumPy has not; expected F32 or F64: save tensor.float() instead")
    return file.get_tensor(name)


def _is_of_training(name: str, metadata: dict[str, str]) -> bool:
    return metadata.get("format") == CHARACTER_MODEL and name.startswith(_TRAINING)


def _of_character_model(metadata: dict[str, str]) -> record.Record:
    """The record that says what `fastrnn.charlm.model` is."""
    settings = json.loads(metadata["model"])
    cell, layers = settings["cell"], settings["layers"]
    if cell not in CELLS or CELLS[cell].name == "UGRNN":
        raise ValueError(f"a character model with cell {cell!r}, which other systems have not; expected lstm, gru, rnn")
    body = (CELLS[cell].name, "recurrent", {"num_layers": layers} if layers != 1 else {})
    notes = {"vocabulary": f"{len(json.loads(metadata['vocabulary']))} characters"}
    return record.Record([body, ("Linear", "head", {})], notes, True)


def write(model: Model, path: Path) -> None:
    """Write a state_dict, and each layer's kind and options in the metadata."""
    import safetensors.numpy

    tensors = {name: np.asarray(array, order="C") for name, array in model.state_dict().items()}
    path.write_bytes(safetensors.numpy.save(tensors, {record.KEY: record.of(model)}))


def written_here(path: Path) -> bool:
    import safetensors

    with safetensors.safe_open(path, framework="numpy") as file:
        return record.KEY in (file.metadata() or {})
