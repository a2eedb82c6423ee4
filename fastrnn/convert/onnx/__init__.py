"""ONNX: models with RNN, GRU and LSTM nodes read, run and written, of opset 7 to 25.

`read` and `write` are of a `Model`, as in every format; `Runner` runs a file as it is, without any other runtime.
The protobuf comes from the package `onnx`, which is imported when a file is read or written.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from fastrnn.convert.model import Model
from fastrnn.convert.onnx import reading, writing
from fastrnn.convert.onnx.library import library
from fastrnn.convert.onnx.runner import Runner

__all__ = ["EXTENSIONS", "NAME", "Runner", "read", "recognise", "write", "written_here"]

NAME = "ONNX"
EXTENSIONS = (".onnx",)

# A ModelProto has no magic number. Its first field is the version of the format (tag 8), and one of these tags follows:
# producer, its version, domain, the model's version, description, graph, opsets, metadata.
_NEXT_FIELDS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72)


def recognise(path: str | PathLike[str], head: bytes) -> bool:
    """Whether the file at `path`, which begins with `head`, is an ONNX model."""
    begins = len(head) > 2 and head[0] == 0x08 and 3 <= head[1] < 32 and head[2] in _NEXT_FIELDS
    return begins or Path(path).suffix.lower() in EXTENSIONS


def read(path: str | PathLike[str]) -> Model:
    """The layers of the model in a file, in the order of its nodes.

    Each RNN, GRU or LSTM node is a layer. MatMul with a constant matrix is a Linear, with the bias that an Add behind
    it adds; so is Gemm. Gather from a constant matrix is an Embedding. What else the graph does is in the notes.

    Parameters
    ----------
    path : path

    Raises
    ------
    ImportError
        The package onnx is not installed.
    ValueError
        The file is no ONNX model, or holds what no layer of fastrnn is; the message names it.
    """
    return reading.read(path)


def write(model: Model, path: str | PathLike[str]) -> None:
    """Write a chain of layers: an embedding or none, then recurrent and linear ones in any order.

    Inputs are x (T, B, I), or ids (T, B) of an embedding, outputs y and each recurrent layer's final states. Batch
    first if the layers are.

    Parameters
    ----------
    model : Model
    path : path

    Raises
    ------
    ImportError
        The package onnx is not installed.
    ValueError
        The layers are no chain, or one has what ONNX has not.
    """
    suffix = ".activation"
    following = {name.removesuffix(suffix): value for name, value in model.notes.items() if name.endswith(suffix)}
    writing.save(writing.chain(model.layers, following=following), path)


def written_here(path: Path) -> bool:
    """Whether `write` or `to_onnx` made the file."""
    return str(library().load(str(path)).producer_name) == writing.PRODUCER
