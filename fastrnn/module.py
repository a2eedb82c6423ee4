"""What every layer with weights has: named views over one buffer, gradients laid out alike, one way to change them."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Never, NoReturn, Self

import numpy as np

from fastrnn import _check
from fastrnn._check import FloatArray, Keys
from fastrnn._core.memory import empty, view_of
from fastrnn._core.team import renew_in_children
from fastrnn._core.weights import Version
from fastrnn.naming import made_as
from fastrnn.parameters import Parameters, Weights, views

__all__ = ["FloatArray", "Initialiser", "Keys", "Module", "Parameters", "SetOnce"]

Default = Callable[[str, tuple[int, ...], np.random.Generator], FloatArray]
Initialiser = Callable[[str, tuple[int, ...], np.random.Generator], FloatArray | None]


class SetOnce:
    """An attribute that is checked and set once: the buffers have been laid out for it.

    One with a default has that from the first look at it on, if it was not set before.
    """

    def __init__(
        self, check: Callable[[str, str, Any], Any] = lambda who, name, value: value, default: Any = None
    ) -> None:
        self._check, self._default = check, default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self._name not in vars(instance):
            if self._default is None:
                raise AttributeError(f"{type(instance).__name__}: {self._name} is not set yet; expected a value")
            vars(instance)[self._name] = self._default
        return vars(instance)[self._name]

    def __set__(self, instance: Any, value: Any) -> None:
        if self._name in vars(instance):
            self.__delete__(instance)
        vars(instance)[self._name] = self._check(type(instance).__name__, self._name, value)

    def __delete__(self, instance: Any) -> NoReturn:
        who = type(instance).__name__
        raise AttributeError(
            f"{who}: {self._name} is {vars(instance).get(self._name)!r} and fixed; expected a new {who} for another"
        )


class Module:
    """Base of the layers: `params`, `grads`, and what keeps packed copies true to them.

    Attributes
    ----------
    dtype : numpy.dtype
        float32 or float64: of parameters and gradients, and of all arrays that a layer takes and gives. Fixed.
    """

    dtype = SetOnce(_check.dtype, _check.FLOAT32)

    # Attributes that may be set at any time, and their checks. No descriptors: a call reads them.
    _CHECKS: ClassVar[dict[str, Callable[[str, str, Any], Any]]] = {}

    # What `_lay_out` makes again in a copy.
    _REBUILT: ClassVar[tuple[str, ...]] = (
        *("_shapes", "_buffer", "_params", "_grads", "_draft", "_drafts", "_version", "_lock"),
        *("_weights", "_stack", "_gradients"),
    )

    def _create(self, default: Default, init: Initialiser | None, rng: np.random.Generator) -> None:
        """Allocate and fill the parameters: by `init` where it returns an array, else by `default`."""
        shapes = self._parameter_shapes()
        _check.parameter_bytes(self._who, shapes)
        if init is not None and not callable(init):
            raise TypeError(f"{self._who}: init is a {type(init).__name__}; expected a callable (name, shape, rng)")
        self._lay_out(shapes)
        for name, view in views(self._buffer, shapes).items():
            given = None if init is None else init(name, view.shape, rng)
            if given is None:
                values = default(name, view.shape, rng)
            else:
                values = _check.shape(self._who, f"init({name!r}, ...)", given, view.shape, name, dtype=self.dtype)
            np.copyto(view, values, casting="no")

    def _lay_out(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Allocate the buffers and all that looks into them."""
        size = sum(map(math.prod, shapes.values()))
        self._shapes = shapes
        self._buffer: FloatArray = empty((size,), self.dtype)
        gradients: FloatArray = empty((size,), self.dtype)
        gradients[:] = 0
        self._params = Parameters(view_of(self._buffer, False).view(Weights), shapes)
        self._grads = Parameters(view_of(gradients, True), shapes)
        self._drafts = 0
        self._version = Version()
        self._renew_lock()
        renew_in_children(self)
        # Not the arrays of the public dicts: these are the user's to reshape.
        self._compile(views(self._buffer, shapes), views(gradients, shapes))

    def _renew_lock(self) -> None:
        """Set a new lock, held by nobody."""
        self._lock = threading.RLock()  # a signal's handler may train in the middle of a long backward

    def _parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's shape by its name."""
        raise NotImplementedError

    def _compile(self, params: dict[str, FloatArray], grads: dict[str, FloatArray]) -> None:
        """Make the packed copies of the weights, and bind where gradients are added."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return made_as(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._CHECKS:
            value = self._CHECKS[name](self._who, name, value)
        elif name in vars(self).get("_shapes", ()):
            raise AttributeError(
                f"{self._who}: {name} is a parameter, not an attribute; expected `with layer.editing() as params: "
                f"params[{name!r}] = array`"
            )
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        plain = {name: value for name, value in vars(self).items() if name not in self._REBUILT}
        return {**plain, "flat_params": self.flat_params.copy(), "flat_grads": self.flat_grads.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = _check.mapping(f"{self._who}.__setstate__", state)
        flat = {name: state.pop(name, None) for name in ("flat_params", "flat_grads")}
        for name, value in state.items():
            setattr(self, name, value)  # checked as the constructor's arguments are
        shapes = self._parameter_shapes()
        size = (_check.parameter_bytes(self._who, shapes),)
        given = {
            name: _check.shape(self._who, name, array, size, "(N,)", dtype=self.dtype) for name, array in flat.items()
        }
        self._lay_out(shapes)
        self._buffer[:] = given["flat_params"]
        self.flat_grads[:] = given["flat_grads"]

    def __copy__(self) -> Self:
        """A layer of its own: two layers over one buffer could not keep their packed copies true."""
        return copy.deepcopy(self)

    @property
    def _who(self) -> str:
        return type(self).__name__

    @property
    def params(self) -> Parameters:
        """The parameters by name, read-only outside of `editing()`."""
        return self._params

    @params.setter
    def params(self, value: Parameters) -> None:
        mend = "`with layer.editing() as params: params.update(...)` or load_state_dict"
        self._keep("params", self._params, value, mend)

    @property
    def grads(self) -> Parameters:
        """The gradients by the parameters' names."""
        return self._grads

    @grads.setter
    def grads(self, value: Parameters) -> None:
        self._keep("grads", self._grads, value, "layer.grads.update(...), layer.grads[name] = array or zero_grad()")

    @property
    def flat_params(self) -> FloatArray:
        """All parameters as one read-only vector (N,)."""
        return self._params.flat

    @property
    def flat_grads(self) -> FloatArray:
        """All gradients as one vector (N,)."""
        return self._grads.flat

    @flat_grads.setter
    def flat_grads(self, value: Never) -> None:
        self._keep("flat_grads", self._grads.flat, value, "layer.flat_grads[:] = array or zero_grad()")

    def _keep(self, name: str, kept: object, given: object, mend: str) -> None:
        if given is not kept:  # `grads |= {...}` comes here with what it has changed in place
            raise AttributeError(f"{self._who}: {name} cannot be replaced; expected {mend}")

    @contextmanager
    def editing(self) -> Iterator[Parameters]:
        """Lend writable copies of the parameters, which are the layer's parameters from the end of the block on.

        Until then calls run with the weights as they were. What a block changed before it raised an exception counts.
        Blocks that overlap, in one thread or several, lend views of the same copies.

        Yields
        ------
        Parameters
            The arrays by name, and `.flat`, all writable inside the block and read-only after it. What else still looks
            into them after it, a slice that was taken inside, changes nothing.
        """
        with self._lock:
            if not self._drafts:
                self._draft: FloatArray = self._buffer.copy()
            self._drafts += 1
            lent = Parameters(self._draft[:].view(Weights), self._shapes)
        try:
            yield lent
        finally:
            lent.freeze()
            with self._writing():
                self._drafts -= 1
                if not self._drafts:
                    del self._draft

    @contextmanager
    def _writing(self) -> Iterator[FloatArray]:
        """The weights themselves (N,), for a change that takes no time of the user's."""
        with self._lock:
            flat = self._draft if self._drafts else self._buffer
            self._version.advance()
            try:
                yield flat
            finally:
                if flat is not self._buffer:
                    self._buffer[:] = flat
                self._version.advance()

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        self.flat_grads[:] = 0

    def state_dict(self) -> dict[str, FloatArray]:
        """Return copies of the parameters by name, in PyTorch's names and shapes."""
        return {name: view.copy() for name, view in views(self._buffer, self._shapes).items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Keys:
        """Set the parameters from arrays, or from tensors that `np.asarray` accepts, by name.

        All are checked before any is set.

        Parameters
        ----------
        state_dict : mapping of str to arrays of the layer's dtype
        strict : bool
            Refuse missing and unexpected names; otherwise ignore them.

        Returns
        -------
        missing_keys, unexpected_keys : lists of str
            As PyTorch returns them: names of this layer that state_dict has not, and names that this layer has not.

        Raises
        ------
        KeyError, TypeError, ValueError
            A name missing or unexpected, a wrong dtype or shape, NaN or infinity.
        """
        given, keys = self._checked_state_dict(state_dict, strict)
        self._load(given)
        return keys

    def _checked_state_dict(self, state_dict: Any, strict: Any) -> tuple[dict[str, FloatArray], Keys]:
        return _check.state_dict(
            f"{self._who}.load_state_dict", state_dict, self._shapes, strict, dtype=self.dtype
        )

    def _load(self, given: dict[str, FloatArray]) -> None:
        with self._writing() as flat:
            Parameters(flat, self._shapes).update(given)
