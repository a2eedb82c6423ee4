"""Initial and final states of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .dtypes import FLOAT32, DType
from .float_arrays import shape

StateShape = tuple[int, ...] | list[tuple[int, ...]]  # of a kind: of one array, or of one for each layer


def list_of(who: str, name: str, value: Any, n: int, expected: str) -> list[Any]:
    """Return a list or tuple of n things."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{who}: {name} is a {type(value).__name__}; expected a list of {n}, {expected}")
    if len(value) != n:
        raise ValueError(f"{who}: {name} has {len(value)} items; expected {n}, {expected}")
    return list(value)


def state(
    who: str,
    name: str,
    value: Any,
    names: tuple[str, ...],
    expected: Sequence[StateShape],
    meanings: Sequence[str],
    *,
    dtype: DType = FLOAT32,
) -> list[Any]:
    """Return the kinds of a state: h alone, or a pair (h, c), each an array or a list of one for each layer."""
    said = [f"{meaning} = {shapes}" for meaning, shapes in zip(meanings, expected, strict=True)]
    if len(names) == 1:
        if isinstance(value, (tuple, list)) and not isinstance(expected[0], list):
            raise TypeError(
                f"{who}: {name} is a {type(value).__name__} of {len(value)}; expected the array h {said[0]} alone"
            )
        parts = [value]
    else:
        if not isinstance(value, (tuple, list)) or len(value) != len(names):
            got = type(value).__name__
            if isinstance(value, (tuple, list)):
                got += f" of {len(value)}"
            each = f"each {said[0]}" if len(set(said)) == 1 else " and ".join(said)
            raise TypeError(f"{who}: {name} is a {got}; expected the pair (h, c), {each}")
        parts = list(value)
    kinds: list[Any] = []
    for i, (part, shapes, meaning) in enumerate(zip(parts, expected, meanings, strict=True)):
        label, kind = (name, "") if len(names) == 1 else (f"{name}[{i}]", f" ({names[i]})")
        if isinstance(shapes, list):
            arrays = list_of(who, f"{label}{kind}", part, len(shapes), "one array for each layer")
            kinds.append([
                shape(who, f"{label}[{layer}]{kind}", array, one, meaning, dtype=dtype)
                for layer, (array, one) in enumerate(zip(arrays, shapes, strict=True))
            ])
        else:
            kinds.append(shape(who, f"{label}{kind}", part, shapes, meaning, dtype=dtype))
    return kinds
