"""Single numbers in their ranges, and truth values."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any

import numpy as np

from .dtypes import FLOAT32, DType, float_range
from .values import plain, shown

# What a C int holds; products of two such numbers stay below 2^63.
MOST = 2**31 - 1


def integer(who: str, name: str, value: Any, least: int, most: float, expected: str) -> int:
    """Return value as an int in least..most, which `expected` says in words."""
    value = plain(who, name, value)
    if isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{who}: {name} is {value}; expected {expected}")
    try:
        number = operator.index(value)
    except Exception:  # whatever an object's __index__ raises
        raise TypeError(f"{who}: {name} is a {type(value).__name__}; expected {expected}") from None
    if number < least:
        raise ValueError(f"{who}: {name} is {number}; expected {expected}")
    if number > most:
        raise ValueError(f"{who}: {name} is {number}; expected an integer in {least}..{most}")
    return number


def count(who: str, name: str, value: Any, most: int = MOST) -> int:
    """Return value as an int in 1..most."""
    return integer(who, name, value, 1, most, "an integer >= 1")


def token(who: str, name: str, value: Any) -> int:
    """Return value as an int in 0..most."""
    return integer(who, name, value, 0, MOST, "an integer >= 0")


def count_or_none(who: str, name: str, value: Any) -> int | None:
    """Return value as an int >= 1, or None."""
    return None if value is None else integer(who, name, value, 1, MOST, "an integer >= 1 or None")


def index_or_none(who: str, name: str, value: Any) -> int | None:
    """Return value as an int >= 0, or None."""
    return None if value is None else integer(who, name, value, 0, MOST, "an integer >= 0 or None")


def number(who: str, name: str, value: Any, expected: str) -> float:
    """Return any real number but a truth value as a float: NumPy's scalars, arrays without axes, fractions."""
    value = plain(who, name, value)
    without_axes = isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iuf"
    if isinstance(value, (bool, np.timedelta64)) or not (isinstance(value, Real) or without_axes):
        raise TypeError(f"{who}: {name} is a {type(value).__name__}; expected {expected}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{who}: {name} is beyond every float; expected {expected}") from None


def probability(who: str, name: str, value: Any) -> float:
    """Return value as a float in [0, 1)."""
    expected = "a number in [0, 1)"
    given = number(who, name, value, expected)
    if not 0 <= given < 1:
        raise ValueError(f"{who}: {name} is {value}; expected {expected}")
    return given


def share(who: str, name: str, value: Any) -> float:
    """Return value as a float in (0, 1]."""
    expected = "a number in (0, 1]"
    given = number(who, name, value, expected)
    if not 0 < given <= 1:
        raise ValueError(f"{who}: {name} is {given}; expected {expected}")
    return given


def length_penalty(who: str, name: str, value: Any) -> float:
    """Return value as a float in [0, 30]: no length to that power is beyond a float."""
    expected = "a number in [0, 30]"
    given = number(who, name, value, expected)
    if not 0 <= given <= 30:
        raise ValueError(f"{who}: {name} is {given}; expected {expected}")
    return given


def dropout(who: str, name: str, value: Any) -> float:
    """Return value as a float in [0, 1) that is below 1 as a float32, too: what is kept grows by 1 / (1 - value)."""
    given = probability(who, name, value)
    if np.float32(given) == 1:
        raise ValueError(f"{who}: {name} is {given}, 1 as a float32; expected a number in [0, 1)")
    return given


def positive(
    who: str, name: str, value: Any, *, zero: bool = False, infinite: bool = False, dtype: DType = FLOAT32
) -> float:
    """Return value as a float above 0 that dtype holds; 0 or infinity where they have a meaning."""
    expected = f"a {'' if infinite else 'finite '}number {'>= 0' if zero else '> 0'}"
    given = number(who, name, value, expected)
    if not given >= 0 or (given == 0 and not zero) or (given == math.inf and not infinite):
        raise ValueError(f"{who}: {name} is {given}; expected {expected}")
    least, most = float_range(dtype)
    if 0 < given < least or (given > most and not infinite):
        raise ValueError(
            f"{who}: {name} is {given}; expected {expected} in the range of {dtype}, {least:.2g} to {most:.2g}"
        )
    return given


def flag(who: str, name: str, value: Any) -> bool:
    """Return value if it is true or false."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{who}: {name} is {shown(value)}; expected True or False")
    return bool(value)
