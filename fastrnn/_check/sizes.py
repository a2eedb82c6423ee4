"""Sizes of layers and of their parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .numbers import MOST, count, integer
from .values import shown


def widths(who: str, name: str, value: Any) -> int | tuple[int, ...]:
    """Return the units of all layers, or of each."""
    if not isinstance(value, (list, tuple, np.ndarray)) or (isinstance(value, np.ndarray) and value.ndim != 1):
        return count(who, name, value)
    if not len(value):
        raise ValueError(f"{who}: {name} is empty; expected an integer, or one for each layer")
    return tuple(count(who, f"{name}[{layer}]", one) for layer, one in enumerate(value))


def layers_of(who: str, num_layers: Any, hidden_size: int | tuple[int, ...]) -> Any:
    """Return the number of layers, which a width for each of them says already."""
    if not isinstance(hidden_size, tuple):
        return num_layers
    if num_layers not in (1, len(hidden_size)):
        raise ValueError(
            f"{who}: num_layers is {shown(num_layers)} and hidden_size has {len(hidden_size)} widths; "
            f"expected num_layers={len(hidden_size)}, or hidden_size alone"
        )
    return len(hidden_size)


def projection(who: str, name: str, value: Any) -> int:
    """Return the size of a projection, 0 for none."""
    return integer(who, name, value, 0, MOST, "an integer >= 0")


def options_fit(
    who: str, states: tuple[str, ...], widths: tuple[int, ...], proj_size: int, bidirectional: bool, merge: str
) -> None:
    """Refuse options that say nothing or the impossible together."""
    if proj_size and len(states) == 1:
        raise ValueError(f"{who}: proj_size is {proj_size}; only an LSTM has projections, expected 0")
    if proj_size >= min(widths):
        raise ValueError(f"{who}: proj_size is {proj_size}; expected less than hidden_size={min(widths)}")
    if merge != "concat" and not bidirectional:
        raise ValueError(f"{who}: merge is {merge!r} with one direction; expected bidirectional=True, or no merge")


def attention_sizes(who: str, kind: str, query_size: int, key_size: int, hidden_size: Any) -> None:
    """Refuse sizes that do not go with the kind of attention."""
    if kind == "dot" and query_size != key_size:
        raise ValueError(
            f"{who}: query_size is {query_size} and key_size {key_size}; expected equal ones for 'dot', or 'general'"
        )
    if kind != "additive" and hidden_size is not None:
        raise ValueError(f"{who}: hidden_size is {shown(hidden_size)}; only 'additive' has one, expected None")


def padding_fits(who: str, padding_index: int | None, size: int) -> None:
    """Refuse an index of padding that is none of 0..size-1."""
    if padding_index is not None and padding_index >= size:
        raise ValueError(
            f"{who}: padding_index is {padding_index}; expected one of 0..{size - 1} (num_embeddings={size})"
        )


def dimensions(who: str, value: Any) -> tuple[int, ...]:
    """Return the shape of an array to be made."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{who}: shape is {shown(value)}; expected a tuple of integers")
    shape = tuple(integer(who, f"shape[{i}]", n, 0, MOST, "an integer >= 0") for i, n in enumerate(value))
    parameter_bytes(who, {"shape": shape})
    return shape


def matrix(who: str, value: Any) -> tuple[int, int]:
    """Return the shape of a matrix that is not empty."""
    shape = dimensions(who, value)
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"{who}: shape is {shape}; expected (rows, columns), each at least 1")
    return shape[0], shape[1]


def rows_per_gate(who: str, shape: tuple[int, ...], gates: Any) -> int:
    """Return how many rows of an array of that shape each gate has."""
    blocks = count(who, "gates", gates)
    if not shape or shape[0] % blocks:
        raise ValueError(f"{who}: shape is {shape}; expected rows in {blocks} equal blocks")
    return shape[0] // blocks


def parameter_bytes(who: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the number of parameters if an array of any dtype can hold them."""
    total = sum(map(math.prod, shapes.values()))
    if total > np.iinfo(np.intp).max // 8:
        raise ValueError(f"{who}: {total} parameters; expected what fits in memory")
    return total
