"""The named arrays that a layer shows: its parameters, read-only but while they are edited, and its gradients.

Compiled code never reads or writes through these objects. It has arrays of its own over the same memory, so whatever is
done to a dict, or to the shape of an array in it, cannot move what C touches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn, Self

import numpy as np

from fastrnn import _check
from fastrnn._check import FloatArray


def views(flat: FloatArray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, FloatArray]:
    """Arrays by name, in order, laid without gaps over flat (N,)."""
    arrays, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        arrays[name] = flat[start:stop].reshape(shape)
        start = stop
    return arrays


_READ_ONLY = (
    "Parameters: they are read-only outside of editing(); expected the change in a block "
    "`with layer.editing() as params:`"
)


@contextmanager
def _saying_how_to_edit() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if "read-only" not in str(error) or str(error).startswith(_READ_ONLY):
            raise
        raise ValueError(f"{_READ_ONLY} ({error})") from None


def _unwrapped(value: Any) -> Any:
    return np.asarray(value) if type(value) is Weights else value


class Weights(np.ndarray[Any, np.dtype[np.floating[Any]]]):
    """Parameters as a layer shows them: where they are read-only, an attempt to write says how they are changed.

    What is computed of them is a plain array.
    """

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *inputs: Any, **options: Any) -> Any:
        if method == "at" and isinstance(inputs[0], Weights) and not inputs[0].flags.writeable:
            raise ValueError(f"{_READ_ONLY} ({ufunc.__name__}.at)")  # NumPy 2.4 itself would write
        out = options.get("out", ())
        if out:
            options["out"] = tuple(map(_unwrapped, out))
        with _saying_how_to_edit():
            result = getattr(ufunc, method)(*map(_unwrapped, inputs), **options)
        return out[0] if len(out) == 1 else result

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        with _saying_how_to_edit():
            result = super().__array_function__(function, types, args, options)
        return _unwrapped(result) if isinstance(result, Weights) and result.base is None else result

    def __setattr__(self, name: str, value: Any) -> None:
        if not self.flags.writeable:
            raise ValueError(
                f"Parameters: {name} of an array is fixed; expected `with layer.editing() as params:` for new values, "
                "or a copy for another shape or type (np.array(...))"
            )
        super().__setattr__(name, value)

    def copy(self, order: Any = "C") -> Any:
        return np.array(self, order=order)

    def view(self, *args: Any, **options: Any) -> Any:
        return _unwrapped(self).view(*args, **options)

    def astype(self, *args: Any, **options: Any) -> Any:
        return _unwrapped(self).astype(*args, **options)

    def __copy__(self) -> Any:
        return np.array(self)

    def __deepcopy__(self, memo: Any) -> Any:
        return np.array(self)

    def __reduce__(self) -> Any:
        return np.array(self).__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return np.array(self).__reduce_ex__(protocol)


def _writing(name: str) -> Callable[..., Any]:
    method = getattr(np.ndarray, name)

    @wraps(method)
    def write(self: Weights, *args: Any, **options: Any) -> Any:
        with _saying_how_to_edit():
            return method(self, *args, **options)

    return write


for _name in ("__setitem__", "byteswap", "fill", "partition", "put", "setfield", "sort"):
    setattr(Weights, _name, _writing(_name))


def _refused(name: str) -> Callable[..., NoReturn]:
    def refuse(self: Parameters, *args: Any, **options: Any) -> NoReturn:
        raise TypeError(
            f"Parameters: {name} would take an array from its layer; expected new values instead (params[name] = "
            "array, params.update(...), grads.flat[:] = 0) or a dict that is yours (dict(params))"
        )

    refuse.__name__ = name
    return refuse


class Parameters(dict[str, FloatArray]):
    """Arrays by name, in order, laid without gaps over one buffer: entries get new values and are never replaced.

    Attributes
    ----------
    flat : (N,), float32 or float64
        The whole buffer: what an optimiser, a norm or an all-reduce works on.
    """

    def __init__(self, flat: FloatArray, shapes: Mapping[str, tuple[int, ...]]) -> None:
        shapes = {name: _check.dimensions(f"Parameters: {name}", shape) for name, shape in shapes.items()}
        size = sum(map(math.prod, shapes.values()))
        _check.shape("Parameters", "flat", flat, (size,), "(N,)", dtype=_check.dtype_of(flat))
        super().__init__(views(flat, shapes))
        self._flat, self._shapes = flat, shapes

    @property
    def flat(self) -> FloatArray:
        return self._flat

    @flat.setter
    def flat(self, value: FloatArray) -> None:
        if value is not self._flat:  # `flat *= 2` comes here with what it has changed in place
            raise AttributeError("Parameters: flat cannot be replaced; expected new values (params.flat[:] = array)")

    def __missing__(self, name: Any) -> NoReturn:
        raise KeyError(f"Parameters: there is no {_check.shown(name)}; expected one of {', '.join(self)}")

    def __setitem__(self, name: str, array: FloatArray) -> None:
        """Copy array into the view of that name; the view itself stays."""
        self[name][...] = self._checked(name, array)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Copy each of the given arrays into the view of its name, or none of them if one does not fit."""
        try:
            given = dict(*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"Parameters: update got {_check.shown(args)} ({error}); expected a mapping of names to arrays"
            ) from None
        checked = {name: self._checked(name, array) for name, array in given.items()}
        for name, array in checked.items():
            if np.may_share_memory(array, self._flat):  # it may look into what is about to change
                checked[name] = array.copy()
        for name, array in checked.items():
            self[name][...] = array

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)
        return self

    def setdefault(self, name: str, default: Any = None) -> FloatArray:
        """Return the array of that name; there are no others to be set."""
        return self[name]

    def _checked(self, name: str, array: Any) -> FloatArray:
        if name not in self._shapes:
            self.__missing__(name)
        expected = self._shapes[name]
        return _check.shape("Parameters", name, array, expected, "the parameter's shape", dtype=self._flat.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return Parameters, (np.array(self._flat), self._shapes)

    def freeze(self) -> Parameters:
        """Make every view read-only and return self."""
        for view in (*self.values(), self._flat):
            view.flags.writeable = False
        return self


for _name in ("pop", "popitem", "clear", "__delitem__"):
    setattr(Parameters, _name, _refused(_name))
