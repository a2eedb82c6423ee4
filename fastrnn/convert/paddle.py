"""Paddle's binary tensors (`fluid.io.save_vars`, `save_params`), read without Paddle.

A tensor is, all little-endian:

    uint32 0, uint64 levels, levels times (uint64 size, bytes), uint32 0, int32 size, message, numbers

Levels say where sequences begin, which parameters do not have. The message is protobuf: field 1 the type, field 2 the
dimensions. A folder has a file for each variable, whose name is the file's; a file of several has no names. Which
arrays make a layer only the program says, which is Python: `read` knows no layers, and `gru` makes a direction of a GRU
from those that its writer knows to be one's.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn.convert.layer import Array
from fastrnn.convert.model import Model

NAME = "Paddle binary"
EXTENSIONS = (".pdiparams",)

_START = struct.Struct("<IQIi")
_DTYPES = {0: "?", 1: "<i2", 2: "<i4", 3: "<i8", 4: "<f2", 5: "<f4", 6: "<f8", 20: "u1", 21: "i1"}


def recognise(path: Path, head: bytes) -> bool:
    """The start of a tensor and of its type; of a folder, of its first file's."""
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.is_file())
        head = files[0].read_bytes()[: _START.size + 1] if files else b""
    return len(head) > _START.size and _START.unpack_from(head)[:3] == (0, 0, 0) and head[_START.size] == 0x08


def tensors(path: str | Path) -> dict[str, Array]:
    """The arrays of a folder by the names of its files, or those of one file.

    Parameters
    ----------
    path : str or Path
        A file's only tensor has the file's name; several, which `save_params` writes one behind the other without
        names, have their places, "0", "1", ...

    Raises
    ------
    ValueError
        A file that is no tensor of Paddle's or ends too early; a type that NumPy has not.
    """
    path = Path(path)
    if path.is_dir():
        return {name: array for file in sorted(path.iterdir()) for name, array in tensors(file).items()}
    try:
        arrays = list(_arrays(path.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return {path.name: arrays[0]} if len(arrays) == 1 else {str(place): array for place, array in enumerate(arrays)}


def read(path: str | Path) -> Model:
    """The arrays of a file or a folder, as `tensors` has them, all of them the model's rest: no layer is known."""
    return Model([], "paddle", {}, tensors(path))


def gru(
    input_weight: Array, input_bias: Array, weight: Array, bias: Array, origin_mode: bool = False
) -> dict[str, Array]:
    """One direction of a `dynamic_gru` and the `fc` before it, for GRU(reset_after=False).

    Parameters
    ----------
    input_weight : (I, 3*H), input_bias : (3*H,)
        Of the fc, gates u r c.
    weight : (H, 3*H), bias : (1, 3*H)
        Of the GRU. Whatever its shape says, `weight` has the numbers of a matrix (H, 2*H) for u and r, and behind them
        those of one (H, H) for c.
    origin_mode : bool
        As in the program. False: h' = (1-u)*h + u*c, so that u is PyTorch's z negated; True: h' = u*h + (1-u)*c.

    Returns
    -------
    dict
        weight_ih (3*H, I), weight_hh (3*H, H), bias_ih (3*H,), bias_hh (3*H,), gates r z n.
    """
    width = len(weight)
    shapes = [np.shape(array) for array in (input_weight, input_bias, weight, bias)]
    if shapes != [(len(input_weight), 3 * width), (3 * width,), (width, 3 * width), (1, 3 * width)]:
        raise ValueError(f"paddle.gru: arrays of shapes {shapes}; expected (I, 3*H), (3*H,), (H, 3*H) and (1, 3*H)")
    gates, candidate = np.split(weight.reshape(-1), [2 * width * width])
    recurrent = np.concatenate([gates.reshape(width, -1), candidate.reshape(width, -1)], axis=1)
    parts = {"weight_ih": input_weight.T, "weight_hh": recurrent.T, "bias_ih": input_bias, "bias_hh": bias[0]}
    return {name: _reordered(array, origin_mode) for name, array in parts.items()}


def _reordered(array: Array, origin_mode: bool) -> Array:
    """Gates r z n of u r c, along the first axis."""
    update, reset, candidate = np.split(array, 3)
    return np.concatenate([reset, update if origin_mode else -update, candidate])


# --------------------------------------------------------------------------------------------- the file


def _arrays(data: bytes) -> Iterator[Array]:
    """The tensors of a file, one behind the other."""
    place = 0
    while place < len(data):
        if len(data) - place < _START.size:
            raise ValueError(f"ends {len(data) - place} bytes into a tensor's start; expected {_START.size}")
        version, levels, tensor_version, size = _START.unpack_from(data, place)
        if version or levels or tensor_version or size <= 0:
            got = f"versions {version} and {tensor_version}, {levels} levels, a message of {size} bytes"
            raise ValueError(f"a tensor with {got}; expected versions 0, no levels and a message, as parameters have")
        place += _START.size
        dtype, shape = _description(data[place : place + size])
        place += size
        count, left = math.prod(shape), len(data) - place
        if left < count * dtype.itemsize:
            raise ValueError(f"ends after {left} bytes of an array {shape}; expected {count} {dtype.name}")
        yield np.frombuffer(data, dtype, count, place).reshape(shape).copy()
        place += count * dtype.itemsize


def _description(message: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape."""
    fields = list(_fields(message))
    kinds, shape = ([number for field, number in fields if field == wanted] for wanted in (1, 2))
    if len(kinds) != 1 or kinds[0] not in _DTYPES or len(kinds) + len(shape) != len(fields):
        raise ValueError(f"a type and a shape of {fields}; expected (1, one of {sorted(_DTYPES)}), (2, size), ...")
    return np.dtype(_DTYPES[kinds[0]]), tuple(shape)


def _fields(message: bytes) -> Iterator[tuple[int, int]]:
    """The numbers of a protobuf message with their fields, packed ones one by one."""
    while message:
        tag, message = _varint(message)
        if tag & 7 == 0:
            number, message = _varint(message)
            yield tag >> 3, number
        elif tag & 7 == 2:
            size, message = _varint(message)
            packed, message = message[:size], message[size:]
            while packed:
                number, packed = _varint(packed)
                yield tag >> 3, number
        else:
            raise ValueError(f"a type and a shape with protobuf's wire type {tag & 7}; expected 0 or 2")


def _varint(data: bytes) -> tuple[int, bytes]:
    """The number that `data` begins with, seven bits a byte, the last byte below 128; and what is behind it."""
    for place, byte in enumerate(data[:10]):
        if byte < 128:
            return sum((part & 127) << 7 * power for power, part in enumerate(data[: place + 1])), data[place + 1 :]
    raise ValueError("a type and a shape that end in the middle of a number; expected protobuf")
