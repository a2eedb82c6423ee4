"""Arrays of floats, and of truth values, of given shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dtypes import FLOAT32, DType, FloatArray
from .mending import floats_code
from .values import array_of, plain


def of_the_layer(dtype: DType) -> str:
    """Which dtype is expected, and why."""
    return f"{dtype}, the dtype of the layer"


def floats(
    who: str, name: str, array: Any, otherwise: str = "", *, dtype: DType = FLOAT32, meaning: str = ""
) -> FloatArray:
    """Return array if it is an ndarray of dtype, of this machine's byte order: nothing is cast. Plain and aligned, for
    C.

    The name may go on after a blank; `otherwise` says what else would have done, `meaning` why it must be that dtype.
    """
    array = plain(who, name, array)
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"{who}: {name} is a {type(array).__name__}; expected a {dtype} numpy array "
            f"({floats_code(name, array, dtype)}){otherwise}"
        )
    if array.dtype != dtype:
        raise TypeError(
            f"{who}: {name} has dtype {array.dtype}; expected {meaning or of_the_layer(dtype)} "
            f"({floats_code(name, array, dtype)}){otherwise}"
        )
    return array if array.flags.aligned else array.copy()


def shape(
    who: str,
    name: str,
    array: Any,
    expected: tuple[int, ...],
    meaning: str,
    otherwise: str = "",
    *,
    dtype: DType = FLOAT32,
) -> FloatArray:
    """Return array as a C-contiguous array of dtype of exactly that shape; `otherwise` as for `floats`."""
    array = floats(who, name, array, otherwise, dtype=dtype)
    if array.shape != expected:
        raise ValueError(
            f"{who}: {name} has shape {array.shape}; expected {meaning} = {expected}"
        )
    return np.ascontiguousarray(array)


def output(
    who: str, name: str, array: Any, expected: tuple[int, ...], meaning: str, *, dtype: DType = FLOAT32
) -> FloatArray:
    """Return an array of dtype of exactly that shape as what C may fill: its own memory, contiguous and writable."""
    code = f"{name} = np.empty({expected}, np.{dtype})"
    plain_array = plain(who, name, array)
    if not isinstance(plain_array, np.ndarray):
        raise TypeError(f"{who}: {name} is a {type(array).__name__}; expected a {dtype} numpy array ({code})")
    if plain_array.dtype != dtype:
        raise TypeError(f"{who}: {name} has dtype {plain_array.dtype}; expected {dtype} ({code})")
    if plain_array.shape != expected:
        raise ValueError(f"{who}: {name} has shape {plain_array.shape}; expected {meaning} = {expected}")
    if not (plain_array.flags.c_contiguous and plain_array.flags.writeable):
        raise ValueError(f"{who}: {name} is not writable and C-contiguous; expected both ({code})")
    return plain_array


def rows_of(who: str, name: str, array: Any, expected: str, size: int, axes: int, *, dtype: DType) -> FloatArray:
    """Return array if it has so many axes, the last of that size."""
    given = floats(who, name, array, dtype=dtype)
    if given.ndim != axes or given.shape[-1] != size:
        raise ValueError(f"{who}: {name} has shape {given.shape}; expected {expected} with {expected[-2]}={size}")
    return given


def items(who: str, name: str, value: Any) -> NDArray[Any]:
    """Return a sequence of numbers or of rows of them as an array (N, ...)."""
    expected = "integers or floats"
    array = array_of(who, name, value, f"an array of {expected}")
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{who}: {name} has dtype {array.dtype}; expected {expected}")
    if array.ndim == 0:
        raise ValueError(f"{who}: {name} has shape (); expected (N, ...)")
    return array


def flags(who: str, name: str, value: Any, expected: tuple[int, ...], meaning: str) -> NDArray[np.bool_]:
    """Return an array of booleans of exactly that shape."""
    array = array_of(who, name, value, f"{meaning} booleans")
    if array.dtype != bool:
        raise TypeError(f"{who}: {name} has dtype {array.dtype}; expected booleans ({name} != 0)")
    if array.shape != expected:
        raise ValueError(f"{who}: {name} has shape {array.shape}; expected {meaning} = {expected}")
    return array
