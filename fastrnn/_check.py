"""Every rule about arguments and every message about a broken one: who, what, got, expected."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int64]

# What a C int holds; products of two such numbers stay below 2^63.
MOST = 2**31 - 1


def count(who: str, name: str, value: Any, most: int = MOST) -> int:
    """Return value as an int in 1..most."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{who}: {name} is a {type(value).__name__}; expected an integer >= 1"
        ) from None
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{who}: {name} is {value}; expected an integer >= 1")
    if number > most:
        raise ValueError(f"{who}: {name} is {value}; expected an integer in 1..{most}")
    return number


def probability(who: str, name: str, value: Any) -> float:
    """Return value as a float in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)):
        raise TypeError(f"{who}: {name} is a {type(value).__name__}; expected a number in [0, 1)")
    if not 0 <= value < 1:
        raise ValueError(f"{who}: {name} is {value}; expected a number in [0, 1)")
    return float(value)


def flag(who: str, name: str, value: Any) -> bool:
    """Return value if it is true or false."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{who}: {name} is {value!r}; expected True or False")
    return bool(value)


def generator(who: str, seed: Any) -> np.random.Generator:
    """Return the random numbers that a seed stands for."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        expected = "expected a non-negative integer, a numpy.random.SeedSequence or None"
        raise type(error)(f"{who}: seed is {seed!r}; {expected}") from None


def choice(who: str, name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return value if it is one of the allowed names."""
    if value not in allowed:
        raise ValueError(f"{who}: {name} is {value!r}; expected one of {', '.join(allowed)}")
    return str(value)


def parameter_bytes(who: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the number of float32 parameters if an array can hold them."""
    total = sum(int(np.prod([int(n) for n in shape], dtype=object)) for shape in shapes.values())
    if total > np.iinfo(np.intp).max // 8:
        raise ValueError(f"{who}: {total} parameters; expected what fits in memory")
    return total


def float32(who: str, name: str, array: Any, otherwise: str = "") -> FloatArray:
    """Return array if it is a float32 ndarray of this machine's byte order: nothing is cast. Aligned, for C.

    The name may go on after a blank; `otherwise` says what else would have done.
    """
    code = name.split(" (")[0]
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"{who}: {name} is a {type(array).__name__}; expected a float32 numpy array "
            f"(np.asarray({code}, dtype=np.float32)){otherwise}"
        )
    if array.dtype != np.float32:
        raise TypeError(
            f"{who}: {name} has dtype {array.dtype}; expected float32, the type fastrnn computes in "
            f"({code}.astype(np.float32)){otherwise}"
        )
    return array if array.flags.aligned else array.copy()


def shape(
    who: str, name: str, array: Any, expected: tuple[int, ...], meaning: str, otherwise: str = ""
) -> FloatArray:
    """Return array as a C-contiguous float32 array of exactly that shape; `otherwise` as for `float32`."""
    array = float32(who, name, array, otherwise)
    if array.shape != expected:
        raise ValueError(
            f"{who}: {name} has shape {array.shape}; expected {meaning} = {expected}"
        )
    return np.ascontiguousarray(array)


def is_index(array: Any) -> bool:
    """Whether array is an integer ndarray, which stands for one-hot vectors."""
    return isinstance(array, np.ndarray) and array.dtype.kind in "iu"


def indices(
    who: str, name: str, array: NDArray[Any], axes: str, size: int, meaning: str
) -> IndexArray:
    """Return a copy of array as C-contiguous int64 indices in 0..size-1, with as many axes as `axes` names.

    A copy, because the kernels address memory by them: whoever writes to his array later must not move that.
    """
    letters = axes.split(", ")
    if array.ndim != len(letters):
        raise ValueError(
            f"{who}: {name} holds integers and has shape {array.shape}; expected ({axes}) indices "
            f"below {meaning}={size}, or vectors as float32"
        )
    _not_empty(who, name, array, letters)
    array = np.array(array, order="C")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= size:
        wrong = low if low < 0 else high
        raise IndexError(
            f"{who}: {name} holds index {wrong}; expected indices in 0..{size - 1} ({meaning}={size})"
        )
    return array.astype(np.int64, copy=False)


def sequence(
    who: str, x: Any, axes: tuple[str, str], features: int, meaning: str = "input_size"
) -> NDArray[Any]:
    """Return x, float32 (T, B, features) or integers (T, B), with neither T nor B zero."""
    if is_index(x):
        return indices(who, "x", x, ", ".join(axes), features, meaning)
    vectors = float32(who, "x", x, f", or integers ({', '.join(axes)})")
    expected = f"({', '.join(axes)}, {meaning}={features})"
    if vectors.ndim != 3 or vectors.shape[2] != features:
        raise ValueError(f"{who}: x has shape {vectors.shape}; expected {expected}")
    _not_empty(who, "x", vectors, list(axes))
    return vectors


def _not_empty(who: str, name: str, array: NDArray[Any], letters: list[str]) -> None:
    for letter, n in zip(letters, array.shape, strict=False):
        if n == 0:
            raise ValueError(
                f"{who}: {name} has shape {array.shape}; expected {letter} >= 1, nothing runs on "
                "an empty batch or no time steps"
            )


def state(
    who: str, name: str, value: Any, names: tuple[str, ...], expected: tuple[int, int, int]
) -> list[FloatArray]:
    """Return the arrays of a state: h alone, or a pair (h, c), each (layers, B, H)."""
    if len(names) == 1:
        if isinstance(value, (tuple, list)):
            raise TypeError(
                f"{who}: {name} is a {type(value).__name__} of {len(value)}; expected the array h "
                f"(layers, B, H) = {expected} alone"
            )
        parts = [value]
    else:
        if not isinstance(value, (tuple, list)) or len(value) != len(names):
            got = type(value).__name__
            if isinstance(value, (tuple, list)):
                got += f" of {len(value)}"
            raise TypeError(
                f"{who}: {name} is a {got}; expected the pair (h, c), each (layers, B, H) = {expected}"
            )
        parts = list(value)
    labels = [name] if len(names) == 1 else [f"{name}[{i}] ({n})" for i, n in enumerate(names)]
    return [
        shape(who, label, part, expected, "(layers, B, H)")
        for label, part in zip(labels, parts, strict=True)
    ]


def rows(who: str, value: Any, B: int) -> slice | IndexArray:
    """Return rows of a batch, given as one index, several, a slice or a mask, as what indexes axis 0."""
    if isinstance(value, slice):
        return value
    array = np.asarray(value)
    if array.dtype == np.bool_:
        if array.shape != (B,):
            raise ValueError(f"{who}: rows is a mask of shape {array.shape}; expected (B,) = {(B,)}")
        return np.flatnonzero(array)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError(f"{who}: rows is {value!r}; expected an integer, several, a slice or a mask (B,)")
    if array.min() < -B or array.max() >= B:
        raise IndexError(f"{who}: rows is {value!r}; expected integers in {-B}..{B - 1}")
    return array.reshape(-1).astype(np.int64)


def state_dict(
    who: str, given: Any, shapes: Mapping[str, tuple[int, ...]], strict: bool
) -> dict[str, FloatArray]:
    """Return copies of the given tensors, all of them checked before any is used."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{who}: got a {type(given).__name__}; expected a mapping of names to arrays")
    missing = sorted(set(shapes) - set(given))
    unexpected = sorted(set(given) - set(shapes), key=repr)
    if strict and (missing or unexpected):
        raise KeyError(
            f"{who}: missing {missing or 'nothing'}, unexpected {unexpected or 'nothing'}; expected "
            f"exactly {sorted(shapes)} (strict=False ignores the difference)"
        )
    checked = {}
    for name in shapes:
        if name not in given:
            continue
        array = float32(who, name, np.asarray(given[name]))
        if array.shape != shapes[name]:
            raise ValueError(f"{who}: {name} has shape {array.shape}; expected {shapes[name]}")
        if not np.isfinite(array).all():
            raise ValueError(f"{who}: {name} holds NaN or infinity; expected finite values")
        checked[name] = array.copy()  # it may look into the very parameters that are about to change
    return checked
