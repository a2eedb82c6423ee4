"""Safetensors files of fastrnn's own: reading them strictly, and a checksum over all that they hold.

Nothing in a file is executed or names code. JSON in the metadata is read as JSON alone: no number without an end, no
key twice.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastrnn._check import FloatArray
from fastrnn.errors import UserError
from fastrnn.words import AnyPath, listed, shortened

# Of the largest numbers a file holds, a generator's 128 bits; more digits take more than their share of time.
_MOST_DIGITS = 40


def library() -> Any:
    """The package that reads and writes the files.

    Raises
    ------
    UserError
        It is missing or broken.
    """
    try:
        import safetensors.numpy
    except ImportError as error:
        raise UserError(f"model files need the package safetensors: pip install safetensors ({error})") from None
    return safetensors


def metadata(path: AnyPath) -> dict[str, str]:
    """The metadata of any safetensors file; UserError if it is none."""
    safetensors = library()
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise UserError(f"not a whole safetensors file: {shortened(str(error), 200)}") from None


@contextmanager
def blame(path: AnyPath) -> Iterator[None]:
    """UserErrors of the block begin with the file's name."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{os.fspath(path)}: {error}") from None


def finite(name: str, value: FloatArray) -> FloatArray:
    """`value`, which is to be saved; FloatingPointError if it holds an infinity or a NaN."""
    if not np.isfinite(value).all():
        raise FloatingPointError(f"{name} is not finite everywhere, so it was not saved")
    return value


def digest(tensors: Mapping[str, FloatArray], metadata: Mapping[str, str]) -> str:
    """SHA-256 of everything in a file but itself."""
    covered = {key: value for key, value in metadata.items() if key != "sha256"}
    layout = {name: [value.dtype.str, value.shape] for name, value in tensors.items()}
    total = hashlib.sha256(json.dumps([covered, layout], sort_keys=True).encode())
    for name in sorted(tensors):
        total.update(plain_bytes(tensors[name]))
    return total.hexdigest()


def plain_bytes(value: FloatArray) -> Any:
    """The array's memory in row-major order, without a copy."""
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8)


def tensor(file: Any, name: str, dtypes: tuple[str, ...] = ("F32",)) -> FloatArray:
    """The tensor `name` of an open file, of one of the dtypes and finite."""
    dtype = file.get_slice(name).get_dtype()
    if dtype not in dtypes:
        raise UserError(f"{shortened(name)} has dtype {dtype}; expected {' or '.join(dtypes)}")
    value: FloatArray = file.get_tensor(name)
    if not np.isfinite(value).all():
        raise UserError(f"{shortened(name)} holds a value that is not finite")
    return value



def from_json(metadata: Mapping[str, str], key: str) -> Any:
    """The value of an entry; what JSON leaves open is refused: doubled keys, endless numbers."""
    try:
        return json.loads(
            metadata[key],
            parse_int=_parse_int,
            parse_float=_parse_float,
            parse_constant=_parse_float,
            object_pairs_hook=_parse_object,
        )
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of brackets
        raise UserError(f"{key}: not readable as JSON: {shortened(str(error), 200)}") from None


def _parse_int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits; expected at most {_MOST_DIGITS}")
    return int(digits)


def _parse_float(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{shortened(digits)} is not a finite number")
    return value


def _parse_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"a key is there twice among {listed(values)}")
    return values
