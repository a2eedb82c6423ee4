"""Types of numbers: float32 and float64, and what they hold."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .values import shown

FloatArray = NDArray[np.floating[Any]]  # float32 or float64
DType = np.dtype[np.floating[Any]]
IndexArray = NDArray[np.int64]

FLOAT32: DType = np.dtype(np.float32)
FLOAT64: DType = np.dtype(np.float64)


def float_range(dtype: DType) -> tuple[float, float]:
    """The least and the most of what dtype holds and the kernels do not count as zero."""
    numbers = np.finfo(dtype)
    return float(numbers.tiny), float(numbers.max)


def dtype(who: str, name: str, value: Any) -> DType:
    """Return the type of floats that a layer or an array is to have, of its name, a NumPy type or a dtype."""
    if isinstance(value, (str, type, np.dtype)):  # of None NumPy would make float64
        with suppress(Exception):  # whatever NumPy raises
            for each in (FLOAT32, FLOAT64):
                if np.dtype(value) == each:
                    return each
    raise ValueError(f"{who}: {name} is {shown(value)}; expected 'float32' or 'float64'")


def dtype_of(array: Any) -> DType:
    """What goes with array: float64 if that is an ndarray of it, otherwise float32."""
    return FLOAT64 if isinstance(array, np.ndarray) and array.dtype == FLOAT64 else FLOAT32
