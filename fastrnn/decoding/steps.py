"""A model as a function of tokens and its state: what it is given and what it returns, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn._check import FloatArray, IndexArray

from .scores import finite

State = Any
Step = Callable[[IndexArray, State], tuple[FloatArray, State]]


def checked(who: str, state: State, start: Any, end: Any, length: Any) -> tuple[int | None, int, IndexArray]:
    """end, length and the first tokens (N,)."""
    end = _check.index_or_none(who, "end", end)
    length = _check.count(who, "length", length)
    tokens = _check.array_of(who, "start", start, "an integer or (N,) integers")
    if tokens.dtype.kind not in "iu" or tokens.ndim > 1:
        raise TypeError(f"{who}: start is {_check.shown(start)}; expected an integer or (N,) integers")
    tokens = _check.places(who, "start", tokens, _check.MOST + 1)
    N = _rows_of(who, state)
    if tokens.ndim == 0:
        tokens = np.full(1 if N is None else N, tokens)
    if not len(tokens) or N not in (None, len(tokens)):
        of = "" if N is None else f" for the {N} of the state"
        raise ValueError(f"{who}: start has {len(tokens)} symbols{of}; expected one for each sequence, at least one")
    return end, length, tokens


def _arrays_of(state: State) -> list[Any]:
    """Every array of a state."""
    if isinstance(state, (tuple, list)):
        return [array for part in state for array in _arrays_of(part)]
    return [] if state is None else [state]


def _rows_of(who: str, state: State) -> int | None:
    """The length of the second axis of every array of a state, None where it has no arrays."""
    arrays = _arrays_of(state)
    for array in arrays:
        if not isinstance(array, np.ndarray) or array.ndim < 2 or array.shape[1] != arrays[0].shape[1]:
            got = f"an array of shape {array.shape}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
            raise ValueError(f"{who}: state has {got}; expected arrays whose second axis is N, in tuples and lists")
    return arrays[0].shape[1] if arrays else None


def taken(state: State, rows: IndexArray) -> State:
    """The state of those rows."""
    if isinstance(state, (tuple, list)):
        parts = [taken(part, rows) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    return None if state is None else state.take(rows, axis=1)


def stepped(who: str, step: Step, tokens: IndexArray, state: State) -> tuple[FloatArray, State]:
    """One call of step's, and what it returned looked at."""
    returned = step(tokens, state)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"{who}: step returned a {type(returned).__name__}; expected the pair (logits, state)")
    logits, state = returned
    if not isinstance(logits, np.ndarray) or logits.dtype.kind != "f":
        got = getattr(logits, "dtype", type(logits).__name__)
        raise TypeError(f"{who}: step returned logits of type {got}; expected an array of floats (N, V)")
    if logits.ndim != 2 or len(logits) != len(tokens) or not logits.size:
        raise ValueError(f"{who}: step returned logits of shape {logits.shape}; expected (N, V) with N={len(tokens)}")
    N = _rows_of(who, state)
    if N not in (None, len(tokens)):
        raise ValueError(f"{who}: step returned a state of {N} sequences; expected {len(tokens)}")
    finite(who, logits)
    return logits, state
