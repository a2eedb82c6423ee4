"""An array, or a list of one for each sequence: layers that know no time run on all numbers as one vector."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check
from fastrnn._check import FloatArray

Array = NDArray[Any]
Form = tuple[int, ...] | list[tuple[int, ...]]  # the array's shape, or the shape of each in the list


def joined(given: Array | list[Array]) -> tuple[Array, Form]:
    """All numbers one behind the other (N,), of one array without a copy where it is contiguous; and their form."""
    if isinstance(given, list):
        return np.concatenate([one.reshape(-1) for one in given]), [one.shape for one in given]
    return np.ascontiguousarray(given).reshape(-1), given.shape


def joined_indices(arrays: list[Array]) -> NDArray[np.int64]:
    """All integers one behind the other (N,). What int64 cannot hold becomes its largest number, which is no index."""
    most = np.iinfo(np.int64).max
    held = [np.minimum(one, np.uint64(most)) if one.dtype == np.uint64 else one for one in arrays]
    return np.concatenate([one.reshape(-1) for one in held], dtype=np.int64, casting="unsafe")


def formed(flat: Array, form: Form, *last: int) -> Any:
    """Undo `joined`; `last` are axes that each number has grown."""
    if not isinstance(form, list):
        return flat.reshape((*form, *last))
    sizes = [math.prod((*shape, *last)) for shape in form]
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return [part.reshape((*shape, *last)) for part, shape in zip(parts, form, strict=True)]


def checked(who: str, name: str, given: Any, form: Form, *last: int, meaning: str, dtype: _check.DType) -> FloatArray:
    """All numbers (N,) of an array or a list that must be of that form and dtype, with the axes `last`."""
    if not isinstance(form, list):
        return _check.shape(who, name, given, (*form, *last), meaning, dtype=dtype).reshape(-1)
    arrays = _check.list_of(who, name, given, len(form), "an array for each sequence")
    each = [
        _check.shape(who, f"{name}[{i}]", one, (*shape, *last), f"{meaning}[{i}]", dtype=dtype)
        for i, (one, shape) in enumerate(zip(arrays, form, strict=True))
    ]
    return joined(each)[0]
