"""Gradient clipping in place: by the global norm and by value.

An exploding gradient is cut to a length that one update can bear (Pascanu, Mikolov and Bengio,
2013). A gradient that is not finite has no length to cut: it raises, and nothing is changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check
from fastrnn._core import update

__all__ = ["clip_grad_norm_", "clip_grad_value_"]

Gradients: TypeAlias = Mapping[str, NDArray[Any]]

# Keeps the factor finite for a norm of zero; PyTorch's value.
_NORM_MARGIN = 1e-6


def clip_grad_norm_(grads: Gradients | Sequence[Gradients], max_norm: float) -> float:
    """Scale all gradients together so that their global norm is at most `max_norm`.

    The norm is that of all elements of all arrays taken as one vector, summed in float64 in a fixed
    order. The arrays are multiplied in place by ``min(1, max_norm / (norm + 1e-6))``. They may be of
    different dtypes: float32 and float64 layers have one norm together.

    Parameters
    ----------
    grads : dict of floating arrays, or a list of them
        A layer's ``grads``, several layers' for one norm over all, or any dict of writable arrays.
    max_norm : float
        Largest norm to leave, above zero; ``math.inf`` only measures.

    Returns
    -------
    float
        The global norm before clipping.

    Raises
    ------
    FloatingPointError
        A gradient holds an infinity or a NaN; the message names the parameter. Nothing is changed.
    TypeError, ValueError
        `grads` is not made of distinct dicts of writable floating arrays, or `max_norm` is not
        above zero. Nothing is changed.
    """
    limit = _check.positive("clip_grad_norm_", "max_norm", max_norm, infinite=True)
    dicts = _check.gradient_dicts("clip_grad_norm_", grads)
    vectors = _check.gradient_vectors("clip_grad_norm_", dicts)
    norm = math.sqrt(sum(_sum_of_squares(vector) for vector in vectors))
    if not math.isfinite(norm):
        raise _non_finite("clip_grad_norm_", dicts, several=not isinstance(grads, Mapping))
    if factor(norm, limit) < 1.0:
        for vector in vectors:
            _scale(vector, factor(norm, limit))
    return norm


def factor(norm: float, limit: float) -> float:
    """What `clip_grad_norm_` multiplies gradients by where it is below 1."""
    return limit / (norm + _NORM_MARGIN)


def clip_grad_value_(grads: Gradients | Sequence[Gradients], limit: float) -> None:
    """Clamp every element of every gradient to ``[-limit, limit]``, in place.

    Parameters
    ----------
    grads : dict of floating arrays, or a list of them
        As for :func:`clip_grad_norm_`.
    limit : float
        Largest absolute value to leave, above zero.

    Raises
    ------
    FloatingPointError
        A gradient holds an infinity or a NaN; the message names the parameter. Nothing is changed.
    TypeError, ValueError
        As for :func:`clip_grad_norm_`.
    """
    limit = _check.positive("clip_grad_value_", "limit", limit, infinite=True)
    dicts = _check.gradient_dicts("clip_grad_value_", grads)
    vectors = _check.gradient_vectors("clip_grad_value_", dicts)
    if not all(_all_finite(vector) for vector in vectors):
        raise _non_finite("clip_grad_value_", dicts, several=not isinstance(grads, Mapping))
    for vector in vectors:
        _clamp(vector, limit)


def _non_finite(who: str, dicts: list[Gradients], several: bool) -> FloatingPointError:
    """The error that names the first parameter with a non-finite gradient."""
    for index, one in enumerate(dicts):
        for name, array in one.items():
            bad = array.size - np.count_nonzero(np.isfinite(array))
            if bad:
                where = f"grads[{index}][{name!r}]" if several else f"grads[{name!r}]"
                return FloatingPointError(
                    f"{who}: {where} has {bad} non-finite of {array.size} elements;"
                    " nothing was changed"
                )
    return FloatingPointError(f"{who}: the norm overflows; nothing was changed")


# A compiled pass where there is one buffer of float32 or float64, NumPy for any other array.


def _is_plain(array: NDArray[Any]) -> bool:
    return array.dtype in (_check.FLOAT32, _check.FLOAT64) and array.flags.carray


def _sum_of_squares(array: NDArray[Any]) -> float:
    if _is_plain(array):
        return update.sum_of_squares(array.reshape(-1))
    with np.errstate(over="ignore"):
        return float(np.sum(np.square(array, dtype=np.float64)))


def _all_finite(array: NDArray[Any]) -> bool:
    if _is_plain(array):
        return update.all_finite(array.reshape(-1))
    return bool(np.isfinite(array).all())


def _scale(array: NDArray[Any], factor: float) -> None:
    if _is_plain(array):
        update.scale(array.reshape(-1), factor)
    else:
        array *= factor


def _clamp(array: NDArray[Any], limit: float) -> None:
    if _is_plain(array):
        update.clamp(array.reshape(-1), limit)
    else:
        limit = min(limit, float(np.finfo(array.dtype).max))  # what is beyond it clips nothing
        np.clip(array, -limit, limit, out=array)
