"""Parameters by name, as they are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .dtypes import FLOAT32, DType, FloatArray
from .float_arrays import of_the_layer
from .mending import floats_code
from .numbers import flag
from .values import array_of


class Keys(NamedTuple):
    """Names that a state dict had too few and too many, as PyTorch returns them."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"Keys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def mapping(who: str, given: Any) -> dict[Any, Any]:
    """Return what a mapping holds: it is asked once."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{who}: got a {type(given).__name__}; expected a mapping of names to arrays")
    return dict(given)


def names(who: str, given: Mapping[Any, Any], expected: Mapping[str, Any], strict: bool) -> Keys:
    """Return the names that are missing and those that are unexpected, neither of which there may be if strict."""
    missing, unexpected = [n for n in expected if n not in given], [n for n in given if n not in expected]
    if strict and (missing or unexpected):
        raise KeyError(
            f"{who}: missing {sorted(missing) or 'nothing'}, unexpected {sorted(unexpected, key=repr) or 'nothing'}; "
            f"expected exactly {sorted(expected)} (strict=False ignores the difference)"
        )
    return Keys(missing, unexpected)


def entries(who: str, given: Mapping[Any, Any], expected: Sequence[str]) -> None:
    """Raise unless given has exactly the expected names."""
    missing = [name for name in expected if name not in given]
    unexpected = [name for name in given if name not in expected]
    if missing or unexpected:
        raise KeyError(f"{who}: missing {missing}, unexpected {unexpected}; expected {list(expected)}")


def tensor(
    who: str, name: str, value: Any, expected: tuple[int, ...], *, dtype: DType = FLOAT32
) -> FloatArray:
    """Return a copy of a finite array of dtype of exactly that shape, or of a tensor that NumPy reads as one."""
    code = f"a {dtype} numpy array ({floats_code(name, value, dtype)})"
    array = array_of(who, name, value, code)
    if array.dtype != dtype:
        raise TypeError(
            f"{who}: {name} has dtype {array.dtype}; expected {of_the_layer(dtype)} "
            f"({floats_code(name, array if isinstance(value, np.ndarray) else value, dtype)})"
        )
    if array.shape != expected:
        raise ValueError(f"{who}: {name} has shape {array.shape}; expected {expected}")
    array = np.array(array, order="C")  # it may look into what is about to change
    if not np.isfinite(array).all():
        raise ValueError(f"{who}: {name} holds NaN or infinity; expected finite values")
    return array


def state_dict(
    who: str, given: Any, shapes: Mapping[str, tuple[int, ...]], strict: Any, *, dtype: DType = FLOAT32
) -> tuple[dict[str, FloatArray], Keys]:
    """Return copies of the given tensors, all of them checked before any is used, and how the names differ."""
    strict = flag(who, "strict", strict)
    given = mapping(who, given)
    keys = names(who, given, shapes, strict)
    return {name: tensor(who, name, given[name], shapes[name], dtype=dtype) for name in shapes if name in given}, keys
