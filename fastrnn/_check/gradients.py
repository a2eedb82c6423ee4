"""Layers that are trained, and their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .values import plain


def modules(who: str, given: Any) -> tuple[Any, ...]:
    """Return a layer or several as a tuple, each of them once."""
    found = tuple(given) if isinstance(given, Sequence) else (given,)
    if not found:
        raise ValueError(f"{who}: modules is empty; expected at least one layer")
    for index, module in enumerate(found):
        if not all(hasattr(module, n) for n in ("flat_params", "flat_grads", "editing")):
            got = type(module).__name__
            raise TypeError(f"{who}: modules has a {got}; expected a layer or a list of layers ([lstm, head])")
        first = next(i for i, other in enumerate(found) if other is module)
        if first < index:
            raise ValueError(f"{who}: modules[{index}] is also modules[{first}]; expected each layer once")
    return found


def gradient_dicts(who: str, grads: Any) -> list[Mapping[str, Any]]:
    """The dicts of `grads`, each checked to be one and to come once."""
    dicts = [grads] if isinstance(grads, Mapping) else grads
    if not isinstance(dicts, (list, tuple)) or not all(isinstance(d, Mapping) for d in dicts):
        got = type(grads).__name__
        raise TypeError(
            f"{who}: grads is a {got}; expected a layer's grads or a list of such ([lstm.grads, head.grads])"
        )
    for index, one in enumerate(dicts):
        if any(one is other for other in dicts[:index]):
            raise ValueError(f"{who}: grads[{index}] comes twice; expected distinct dicts")
    return list(dicts)


def gradient_vectors(who: str, dicts: list[Mapping[str, Any]]) -> list[NDArray[Any]]:
    """Every element once, in as few arrays as possible: a layer's one buffer, or dict values."""
    vectors: dict[str, NDArray[Any]] = {}
    for index, one in enumerate(dicts):
        flat = getattr(one, "flat", None)
        if isinstance(flat, np.ndarray):
            vectors[f"grads[{index}]"] = _gradient(who, "flat", flat)
        else:
            vectors.update({f"grads[{index}][{name!r}]": _gradient(who, name, one[name]) for name in one})
    _distinct(who, vectors)
    return list(vectors.values())


def _gradient(who: str, name: str, array: Any) -> NDArray[Any]:
    found = plain(who, name, array)
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
        got = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{who}: {name} is of type {got}; expected an array of floats")
    if not found.flags.writeable:
        raise ValueError(f"{who}: {name} is read-only; expected a writable array")
    return found


def _distinct(who: str, vectors: dict[str, NDArray[Any]]) -> None:
    """Raise if a number would be counted and changed twice."""
    extents = {name: _extent(vector) for name, vector in vectors.items()}
    near: list[str] = []  # those that may reach to the next one's begin
    for name in sorted(extents, key=lambda name: extents[name]):
        begin, end = extents[name]
        if vectors[name].nbytes > end - begin:
            raise ValueError(f"{who}: {name} has several elements in one place; expected every gradient once")
        near = [other for other in near if extents[other][1] > begin]
        for other in near:
            if np.shares_memory(vectors[name], vectors[other]):
                raise ValueError(f"{who}: {name} shares memory with {other}; expected every gradient once")
        near.append(name)


def _extent(array: NDArray[Any]) -> tuple[int, int]:
    """The addresses of an array's first byte and after its last."""
    steps = [stride * (n - 1) for stride, n in zip(array.strides, array.shape, strict=True)]
    if not array.size:
        return 0, 0
    begin = int(array.__array_interface__["data"][0])
    return begin + sum(min(step, 0) for step in steps), begin + sum(max(step, 0) for step in steps) + array.itemsize
