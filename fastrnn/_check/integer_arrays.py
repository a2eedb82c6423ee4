"""Arrays of integers, and indices in their ranges."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .dtypes import FLOAT32, DType, IndexArray
from .mending import floats_code, integers_code
from .values import array_of, is_index, plain, shown


def integers(who: str, name: str, array: Any) -> NDArray[Any]:
    """Return array if it is an integer ndarray, as a plain one."""
    array = plain(who, name, array)
    if not is_index(array):
        got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{who}: {name} are {got}; expected an integer array ({integers_code(name, array)})")
    return array  # type: ignore[no-any-return]


def indices(
    who: str, name: str, array: NDArray[Any], axes: str, size: int, meaning: str, *, dtype: DType = FLOAT32
) -> IndexArray:
    """Return a copy of array as C-contiguous int64 indices in 0..size-1, with as many axes as `axes` names.

    A copy, because the kernels address memory by them: whoever writes to his array later must not move that.
    """
    letters = axes.split(", ")
    if array.ndim != len(letters):
        wrong_index_axes(who, name, array, f"({axes})", size, meaning, dtype)
    not_empty(who, name, array, letters)
    return index_range(who, name, array, size, meaning)


def wrong_index_axes(
    who: str, name: str, array: NDArray[Any], axes: str, size: int, meaning: str, dtype: DType
) -> NoReturn:
    raise ValueError(
        f"{who}: {name} holds integers and has shape {array.shape}; expected {axes} indices "
        f"below {meaning}={size}, or vectors as {dtype} ({floats_code(name, array, dtype)})"
    )


def not_empty(who: str, name: str, array: NDArray[Any], letters: list[str]) -> None:
    for letter, n in zip(letters, array.shape, strict=False):
        if n == 0:
            raise ValueError(
                f"{who}: {name} has shape {array.shape}; expected {letter} >= 1, nothing runs on "
                "an empty batch or no time steps"
            )


def index_range(who: str, name: str, array: NDArray[Any], size: int, meaning: str) -> IndexArray:
    """Return a copy of integers, not empty, as C-contiguous int64, all in 0..size-1."""
    array = np.array(array, order="C")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= size:
        wrong = low if low < 0 else high
        raise IndexError(
            f"{who}: {name} holds index {wrong}; expected indices in 0..{size - 1} ({meaning}={size})"
        )
    return array.astype(np.int64, copy=False)


def places(who: str, name: str, value: Any, size: int) -> IndexArray:
    """Return a copy of an integer ndarray of any shape as C-contiguous int64, all in 0..size-1."""
    array = np.array(integers(who, name, value), order="C")
    if array.size and (array.min() < 0 or array.max() >= size):
        at = tuple(map(int, np.argwhere((array < 0) | (array >= size))[0]))
        raise IndexError(
            f"{who}: {name} has value {array[at]} at {at[0] if len(at) == 1 else at}; expected 0..{size - 1}"
        )
    return array.astype(np.int64, copy=False)


def lengths(who: str, value: Any, B: int, T: int, name: str = "lengths", letter: str = "T") -> IndexArray:
    """Return how many steps each row of a batch has, (B,) in 0..T."""
    array = integers(who, name, value if isinstance(value, np.ndarray) else array_of(
        who, name, value, "(B,) integers"))
    if array.shape != (B,):
        raise ValueError(f"{who}: {name} have shape {array.shape}; expected (B,) = {(B,)}")
    wrong = array[(array < 0) | (array > T)]
    if len(wrong):
        raise ValueError(f"{who}: {name} hold {wrong[0]}; expected 0..{letter}={T}")
    return array.astype(np.int64)


def rows(who: str, value: Any, B: int) -> slice | IndexArray:
    """Return rows of a batch, given as one index, several, a slice or a mask, as what indexes axis 0."""
    expected = "expected an integer, several, a slice or a mask (B,)"
    if isinstance(value, slice):
        try:
            value.indices(B)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{who}: rows is {shown(value)}; {expected}") from None
        return value
    array = array_of(who, "rows", value, expected.removeprefix("expected "))
    if array.dtype == np.bool_:
        if array.shape != (B,):
            raise ValueError(f"{who}: rows is a mask of shape {array.shape}; expected (B,) = {(B,)}")
        return np.flatnonzero(array)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError(f"{who}: rows is {shown(value)}; {expected}")
    if array.shape == (B,) and np.isin(array, (0, 1)).all():
        raise ValueError(
            f"{who}: rows is {shown(value)}, {B} integers 0 or 1 for a batch of {B}, which may be a mask or row "
            "numbers; expected the mask (np.asarray(rows, dtype=bool)), or for row numbers "
            f"np.isin(np.arange({B}), rows)"
        )
    if array.min() < -B or array.max() >= B:
        raise IndexError(f"{who}: rows is {shown(value)}; expected integers in {-B}..{B - 1}")
    return array.reshape(-1).astype(np.int64)
