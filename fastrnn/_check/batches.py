"""Sequences: one, a batch of them, or a list."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dtypes import FLOAT32, DType, FloatArray
from .float_arrays import floats
from .integer_arrays import indices, not_empty, wrong_index_axes
from .values import is_index, is_tensor, plain, shown


def sequence(who: str, x: Any, axes: tuple[str, str], features: int, *, dtype: DType = FLOAT32) -> NDArray[Any]:
    """Return x, (T, B, features) of dtype or integers (T, B), or one axis less for a single sequence; not empty."""
    x = plain(who, "x", x)
    if is_index(x):
        if x.ndim not in (1, 2):
            wrong_index_axes(who, "x", x, f"({', '.join(axes)}) or (T,)", features, "input_size", dtype)
        return indices(who, "x", x, ", ".join(axes if x.ndim == 2 else ("T",)), features, "input_size", dtype=dtype)
    listed = ", or a list of arrays, one a sequence" if isinstance(x, list) else ""
    vectors = floats(who, "x", x, f", or integers ({', '.join(axes)}){listed}", dtype=dtype)
    if vectors.ndim == 2 and vectors.shape[1] == features:
        not_empty(who, "x", vectors, ["T"])
        return vectors
    return _batch(who, vectors, axes, features, f", or (T, input_size={features}) of a single sequence")


def padded_sequence(who: str, x: Any, axes: tuple[str, str], features: int, *, dtype: DType = FLOAT32) -> NDArray[Any]:
    """Return x as `sequence` does, but no single one, and with any indices: padding may hold what it likes."""
    x = plain(who, "x", x)
    if not is_index(x):
        return _batch(who, floats(who, "x", x, f", or integers ({', '.join(axes)})", dtype=dtype), axes, features)
    if x.ndim != 2:
        wrong_index_axes(who, "x", x, f"({', '.join(axes)})", features, "input_size", dtype)
    not_empty(who, "x", x, list(axes))
    return x  # type: ignore[no-any-return]


def _batch(
    who: str, x: FloatArray, axes: tuple[str, str], features: int, otherwise: str = ""
) -> FloatArray:
    """Return x if it is (T, B, features) and not empty; `otherwise` says what else would have done."""
    if x.ndim != 3 or x.shape[2] != features:
        expected = f"({', '.join(axes)}, input_size={features})"
        raise ValueError(f"{who}: x has shape {x.shape}; expected {expected}{'' if x.ndim == 3 else otherwise}")
    not_empty(who, "x", x, list(axes))
    return x


def sequences(
    who: str, x: list[Any], axes: tuple[str, str], features: int, *, dtype: DType = FLOAT32
) -> list[NDArray[Any]]:
    """Return the arrays of a list, all (T_i, features) of dtype or all integers (T_i,), T_i >= 0, not all of them 0."""
    if x and not any(isinstance(one, np.ndarray) or is_tensor(one) for one in x):
        sequence(who, x, axes, features, dtype=dtype)  # numbers in a list, which it refuses
    arrays = [plain(who, f"x[{b}]", one) for b, one in enumerate(x)]
    if not arrays:
        raise ValueError(f"{who}: x is an empty list; expected one array (T_i, input_size) or more")
    integers_expected = is_index(arrays[0])
    for b, one in enumerate(arrays):
        if is_index(one) and integers_expected:
            if one.ndim != 1:
                raise ValueError(f"{who}: x[{b}] holds integers and has shape {one.shape}; expected (T_i,)")
            continue
        floats(who, f"x[{b}]", one, "" if integers_expected else ", or a list of integers (T_i,)", dtype=dtype)
        if integers_expected:
            raise TypeError(f"{who}: x[0] holds integers and x[{b}] {dtype}; expected all arrays of one kind")
        if one.ndim != 2 or one.shape[1] != features:
            raise ValueError(f"{who}: x[{b}] has shape {one.shape}; expected (T_i, input_size={features})")
    if not any(len(one) for one in arrays):
        raise ValueError(f"{who}: x holds no steps; expected one array with T_i >= 1 or more")
    return arrays


def arrays(who: str, name: str, value: list[Any], expected: str) -> list[Any]:
    """Return a list of arrays that is one: not empty, and no numbers."""
    if not value or not all(isinstance(one, np.ndarray) or is_tensor(one) for one in value):
        raise TypeError(
            f"{who}: {name} is the list {shown(value)}; expected an array, or a list of {expected}, one a sequence"
        )
    return value


def attention_lists(who: str, queries: Any, memory: Any, lengths: Any) -> None:
    """Refuse anything but two lists alike, of sequences that say their lengths themselves."""
    if not (isinstance(queries, list) and isinstance(memory, list)):
        got = f"queries is a {type(queries).__name__} and memory a {type(memory).__name__}"
        raise TypeError(f"{who}: {got}; expected two arrays or two lists")
    if len(queries) != len(memory):
        raise ValueError(f"{who}: queries has {len(queries)} sequences and memory {len(memory)}; expected as many")
    if lengths is not None:
        raise ValueError(f"{who}: lengths are given with lists, which have their own; expected None")


def same_batch(who: str, queries: int, memory: int) -> None:
    """Refuse batches of different sizes."""
    if queries != memory:
        raise ValueError(f"{who}: queries has a batch of {queries} and memory of {memory}; expected (T, B, ...) each")
