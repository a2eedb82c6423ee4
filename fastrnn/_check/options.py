"""Options that are no numbers: names, objects, functions, paths, seeds."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .numbers import count, integer
from .values import shown


def choice(who: str, name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return value if it is one of the allowed names."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{who}: {name} is {shown(value)}; expected one of {', '.join(allowed)}")
    return str(value)


def instance(who: str, name: str, value: Any, kind: type, expected: str, *, optional: bool = False) -> Any:
    """Return value if it is of a kind, which `expected` says in words, or None where it may be left out."""
    if isinstance(value, kind) or (optional and value is None):
        return value
    raise TypeError(f"{who}: {name} is a {type(value).__name__}; expected {expected}{' or None' if optional else ''}")


def function(who: str, name: str, value: Any, expected: str) -> Any:
    """Return value if it can be called with what `expected` says in words."""
    if callable(value):
        return value
    raise TypeError(f"{who}: {name} is {shown(value)}; expected a callable {expected}")


def path(who: str, name: str, value: Any) -> str | None:
    """Return the path of a file as a string, None for None."""
    if value is None:
        return None
    if isinstance(value, str | os.PathLike):
        found = os.fspath(value)
        if isinstance(found, str) and found and "\0" not in found:
            return found
    raise TypeError(f"{who}: {name} is {shown(value)}; expected a path, as a string or a pathlib.Path")


def checkpoint(who: str, value: Any) -> int:
    """Return after how many steps a state is kept, -1 for "auto"."""
    if isinstance(value, str):
        choice(who, "checkpoint", value, ("auto",))
        return -1
    return count(who, "checkpoint", value)


def generator(who: str, seed: Any) -> np.random.Generator:
    """Return the random numbers that a seed stands for."""
    ready = (np.random.SeedSequence, np.random.BitGenerator, np.random.Generator)
    if seed is None or isinstance(seed, ready):
        return np.random.default_rng(seed)
    expected = "a non-negative integer, a numpy.random.SeedSequence or None"
    several = isinstance(seed, (list, tuple))
    # Plain numbers: NumPy itself goes into whatever it is given and does not come back from everything.
    whole = [integer(who, "seed", each, 0, math.inf, expected) for each in (seed if several else [seed])]
    return np.random.default_rng(whole if several else whole[0])


def random_numbers(who: str, name: str, value: Any) -> np.random.Generator:
    """Return value if it is a generator of random numbers."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(
            f"{who}: {name} is a {type(value).__name__}; expected a numpy.random.Generator (np.random.default_rng(0))"
        )
    return value
