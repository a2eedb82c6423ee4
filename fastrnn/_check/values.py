"""What a value is, and what a message shows of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shown(value: Any) -> str:
    """What a message shows of a value: one line of no great length."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an object that fails at everything
        text = f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def _unmasked(who: str, name: str, value: Any) -> None:
    if isinstance(value, np.ma.MaskedArray):
        code = name.split(" (")[0]
        raise TypeError(
            f"{who}: {name} is a masked array, whose mask would be lost; expected a plain one ({code}.filled(0)), with "
            "a number of your choice in the place of what is masked"
        )


def plain(who: str, name: str, value: Any) -> Any:
    """Return an ndarray of a subclass as what it is in memory, whatever its class says of itself; else the value."""
    if type(value) is np.ndarray or not isinstance(value, np.ndarray):
        return value
    _unmasked(who, name, value)
    return np.asarray(value)


def array_of(who: str, name: str, value: Any, expected: str) -> NDArray[Any]:
    """Return anything that NumPy reads as an array: lists, tensors, data frames."""
    value = plain(who, name, value)
    try:
        return np.asarray(value)
    except Exception as error:  # whatever the other library raises
        reason = " ".join(str(error).split())
        raise TypeError(
            f"{who}: {name} is a {type(value).__name__} that cannot be read as an array ({reason}); expected {expected}"
        ) from None


def is_index(array: Any) -> bool:
    """Whether array is an integer ndarray, which stands for one-hot vectors."""
    return isinstance(array, np.ndarray) and array.dtype.kind in "iu"


def is_tensor(value: Any) -> bool:
    """Whether value is like a tensor of PyTorch, which may hold a gradient, a type of its own or lie on a device."""
    return all(hasattr(value, name) for name in ("detach", "cpu", "numpy"))
