"""What every layer with weights has: named views over one buffer, gradients laid out alike, one way to change them."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check, _threads
from fastrnn._dense import Version
from fastrnn._memory import empty

FloatArray = NDArray[np.float32]
Initialiser = Callable[[str, tuple[int, ...], np.random.Generator], FloatArray | None]


class Parameters(dict[str, FloatArray]):
    """Arrays by name, in order, laid without gaps over one buffer.

    Attributes
    ----------
    flat : (N,) float32
        The whole buffer: what an optimiser, a norm or an all-reduce works on.
    """

    flat: FloatArray

    def __init__(self, flat: FloatArray, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.flat = flat
        start = 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            super().__setitem__(name, flat[start:stop].reshape(shape))
            start = stop

    def __setitem__(self, name: str, array: FloatArray) -> None:
        """Copy array into the view of that name; the view itself stays."""
        self[name][...] = _check.shape("Parameters", name, array, self[name].shape, "the parameter's shape")

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Copy each of the given arrays into the view of its name."""
        for name, array in dict(*args, **kwargs).items():
            self[name] = array

    def __reduce__(self) -> tuple[Any, ...]:
        return Parameters, (self.flat.copy(), {name: view.shape for name, view in self.items()})

    def freeze(self) -> Parameters:
        """Make every view read-only and return self."""
        for view in (*self.values(), self.flat):
            view.flags.writeable = False
        return self


class Fixed:
    """An attribute that is set once: the sizes, which the buffers have been laid out for."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else vars(instance)[self._name]

    def __set__(self, instance: Any, value: Any) -> None:
        if self._name in vars(instance):
            who = type(instance).__name__
            raise AttributeError(f"{who}: {self._name} is {vars(instance)[self._name]} and fixed; make a new {who}")
        vars(instance)[self._name] = value


class Module:
    """Base of the layers: `params`, `grads`, and what keeps packed copies true to them."""

    params: Parameters
    grads: Parameters

    # What `_lay_out` makes again in a copy.
    _REBUILT: ClassVar[frozenset[str]] = frozenset(
        {"params", "grads", "_buffer", "_lock", "_version", "_panels", "_stack"}
    )

    def _create(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        default: Initialiser,
        init: Initialiser | None,
        rng: np.random.Generator,
    ) -> None:
        """Allocate and fill the parameters: by `init` where it returns an array, else by `default`."""
        _check.parameter_bytes(self._who, shapes)
        if init is not None and not callable(init):
            raise TypeError(f"{self._who}: init is a {type(init).__name__}; expected a callable (name, shape, rng)")
        self._shapes = dict(shapes)
        self._lay_out()
        for name, view in Parameters(self._buffer, shapes).items():
            given = None if init is None else init(name, view.shape, rng)
            if given is None:
                given = default(name, view.shape, rng)
            else:
                given = _check.shape(self._who, f"init({name!r}, ...)", given, view.shape, name)
            view[...] = given

    def _lay_out(self) -> None:
        """Allocate the buffers and all that looks into them."""
        size = sum(math.prod(shape) for shape in self._shapes.values())
        self._buffer: FloatArray = empty((size,))
        self.params = Parameters(self._buffer[:], self._shapes).freeze()
        grads: FloatArray = empty((size,))
        grads[:] = 0
        self.grads = Parameters(grads, self._shapes)
        self._version = Version()
        self._renew_lock()
        _threads.renew_in_children(self)
        self._compile()

    def _renew_lock(self) -> None:
        """Set a new lock, held by nobody."""
        self._lock = threading.RLock()  # a signal's handler may train in the middle of a long backward

    def _compile(self) -> None:
        """Make the packed copies of the weights."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        plain = {name: value for name, value in vars(self).items() if name not in self._REBUILT}
        return {**plain, "flat_params": self.flat_params.copy(), "flat_grads": self.flat_grads.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        flat_params, flat_grads = state.pop("flat_params"), state.pop("flat_grads")
        vars(self).update(state)
        self._lay_out()
        self._buffer[:] = flat_params
        self.grads.flat[:] = flat_grads

    def __copy__(self) -> Self:
        """A layer of its own: two layers over one buffer could not keep their packed copies true."""
        return copy.deepcopy(self)

    @property
    def _who(self) -> str:
        return type(self).__name__

    @property
    def flat_params(self) -> FloatArray:
        """All parameters as one read-only vector (N,)."""
        return self.params.flat

    @property
    def flat_grads(self) -> FloatArray:
        """All gradients as one vector (N,)."""
        return self.grads.flat

    @contextmanager
    def editing(self) -> Iterator[Parameters]:
        """Lend writable views of the parameters; packed copies are stale from the end of the block on.

        Finish the block before the next call: one inside it may still use the old weights.

        Yields
        ------
        Parameters
            The arrays by name, and `.flat`, all writable inside the block and read-only after it.
        """
        views = Parameters(self._buffer[:], self._shapes)
        self._version.advance()
        try:
            yield views
        finally:
            views.freeze()
            self._version.advance()

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        self.grads.flat[:] = 0

    def state_dict(self) -> dict[str, FloatArray]:
        """Return copies of the parameters by name, in PyTorch's names and shapes."""
        return {name: view.copy() for name, view in self.params.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Set the parameters from arrays, or from tensors that `np.asarray` accepts, by name.

        All are checked before any is set.

        Parameters
        ----------
        state_dict : mapping of str to float32 arrays
        strict : bool
            Refuse missing and unexpected names; otherwise ignore them.

        Raises
        ------
        KeyError, TypeError, ValueError
            A name missing or unexpected, a wrong dtype or shape, NaN or infinity.
        """
        given = _check.state_dict(
            f"{self._who}.load_state_dict", state_dict, self._shapes, strict
        )
        with self.editing() as params:
            for name, array in given.items():
                params[name][...] = array
