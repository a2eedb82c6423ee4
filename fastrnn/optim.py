"""SGD, RMSprop, Adagrad and Adam over whole layers, with PyTorch's update rules.

A layer keeps all of its parameters in one buffer and all of its gradients in another, so an update
is one compiled pass over vectors (`_optim.pyx`); the running averages of a rule are vectors of the
same length. Written per rule: its hyperparameters, its buffers and the call of its pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from numbers import Integral, Real
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check, _optim

__all__ = ["SGD", "Adagrad", "Adam", "Optimizer", "RMSprop"]

Vector: TypeAlias = NDArray[np.float32]
State: TypeAlias = dict[str, Any]


class _Flat(Protocol):
    @property
    def flat(self) -> Vector: ...


class Module(Protocol):
    """What an optimiser needs of a layer."""

    @property
    def flat_params(self) -> Vector: ...
    @property
    def flat_grads(self) -> Vector: ...
    def editing(self) -> AbstractContextManager[_Flat]: ...
    def zero_grad(self) -> None: ...


class Optimizer:
    """What the rules share: the modules, the hyperparameters, the buffers and their state.

    The update itself is left to the subclasses. Non-finite gradients are not looked for here:
    :func:`fastrnn.clip_grad_norm_` finds them before they reach the weights.
    """

    def __init__(
        self,
        modules: Module | Sequence[Module],
        hyperparameters: Mapping[str, float],
        buffers: Sequence[str],
    ) -> None:
        self._who = type(self).__name__
        self._modules = _modules(self._who, modules)
        self._hyperparameters = {
            name: _hyperparameter(self._who, name, value) for name, value in hyperparameters.items()
        }
        self._step = 0
        self._sizes = [module.flat_params.size for module in self._modules]
        self._buffers: list[dict[str, Vector]] = [
            {name: np.zeros(size, np.float32) for name in buffers} for size in self._sizes
        ]

    @property
    def lr(self) -> float:
        """The learning rate; assign to it to follow a schedule."""
        return self._hyperparameters["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        self._hyperparameters["lr"] = _hyperparameter(self._who, "lr", value)

    def zero_grad(self) -> None:
        """Set the gradients of every module to zero."""
        for module in self._modules:
            module.zero_grad()

    def step(self) -> None:
        """Update the parameters of every module once, from its gradients.

        Raises
        ------
        RuntimeError
            A module's buffers are not what they were at construction. Nothing is changed.
        """
        with ExitStack() as stack:
            updates = []
            for index, module in enumerate(self._modules):
                params = stack.enter_context(module.editing()).flat
                grads = module.flat_grads
                self._check_vector(index, "params.flat", params)
                self._check_vector(index, "flat_grads", grads)
                updates.append((params, grads, self._buffers[index]))
            # All that can fail is behind us: now every module is updated or none is.
            for params, grads, buffers in updates:
                self._update(params, grads, buffers, self._step + 1)
            self._step += 1

    def state_dict(self) -> State:
        """All that a resumed run needs, as one flat dict.

        Returns
        -------
        dict of str to float, int or float32 array
            The hyperparameters, ``step`` (the number of updates made), and a copy of each buffer
            under ``"<buffer>.<index of the module>"``, of shape (module.flat_params.size,). The
            scalars can go into JSON and the arrays into a file of tensors.
        """
        state: State = dict(self._hyperparameters)
        state["step"] = self._step
        for index, buffers in enumerate(self._buffers):
            for name, buffer in buffers.items():
                state[f"{name}.{index}"] = buffer.copy()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`: its hyperparameters (the learning rate too) and buffers.

        Parameters
        ----------
        state : dict
            What :meth:`state_dict` of the same rule over the same modules returned.

        Raises
        ------
        KeyError, TypeError, ValueError
            An entry is missing or unexpected, of a wrong type or shape, out of its range or not
            finite. Nothing is changed.
        """
        who = f"{self._who}.load_state_dict"
        if not isinstance(state, Mapping):
            raise TypeError(f"{who}: state is a {type(state).__name__}; expected a dict")
        buffers = {
            f"{name}.{index}": buffer
            for index, named in enumerate(self._buffers)
            for name, buffer in named.items()
        }
        _check_names(who, state, [*self._hyperparameters, "step", *buffers])
        hyperparameters = {n: _hyperparameter(who, n, state[n]) for n in self._hyperparameters}
        step = _step_count(who, state["step"])
        arrays = {name: _loaded(who, name, state[name], buffers[name].size) for name in buffers}
        # Everything is valid: now change.
        self._hyperparameters = hyperparameters
        self._step = step
        for name, buffer in buffers.items():
            np.copyto(buffer, arrays[name])

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._hyperparameters.items())
        return f"{self._who}({values})"

    def _update(self, params: Vector, grads: Vector, buffers: dict[str, Vector], step: int) -> None:
        """Apply the rule to one module; `step` is 1 for the first update."""
        raise NotImplementedError

    def _check_vector(self, index: int, name: str, vector: object) -> None:
        """Turn a broken module into an error before anything is updated."""
        expected = (self._sizes[index],)
        if (
            not isinstance(vector, np.ndarray)
            or vector.dtype != np.float32
            or vector.shape != expected
            or not vector.flags.carray
        ):
            got = f"{getattr(vector, 'dtype', type(vector))} {getattr(vector, 'shape', '')}"
            raise RuntimeError(
                f"{self._who}.step: {name} of modules[{index}] is {got};"
                f" expected a writable, contiguous float32 {expected}"
            )


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted.

    ``velocity = momentum * velocity + grad;  param -= lr * velocity``

    Parameters
    ----------
    modules : layer or list of layers
        What to train; each layer once.
    lr : float
        Learning rate, above zero.
    momentum : float
        In [0, 1); 0 keeps no velocity.

    Raises
    ------
    TypeError, ValueError
        A module is not one or comes twice, or a hyperparameter is out of its range.
    """

    def __init__(
        self, modules: Module | Sequence[Module], lr: float = 1e-3, momentum: float = 0.0
    ) -> None:
        buffers = () if momentum == 0 else ("momentum_buffer",)
        super().__init__(modules, {"lr": lr, "momentum": momentum}, buffers)

    def _update(self, params: Vector, grads: Vector, buffers: dict[str, Vector], step: int) -> None:
        h = self._hyperparameters
        _optim.sgd(params, grads, buffers.get("momentum_buffer"), h["lr"], h["momentum"])


class RMSprop(Optimizer):
    """Gradients divided by a running root mean square of themselves.

    ``square_avg = alpha * square_avg + (1 - alpha) * grad**2``
    ``param -= lr * grad / (sqrt(square_avg) + eps)``

    Parameters
    ----------
    modules : layer or list of layers
        What to train; each layer once.
    lr : float
        Learning rate, above zero.
    alpha : float
        Share of the old average kept at an update, in [0, 1).
    eps : float
        Added to the root, above zero.

    Raises
    ------
    TypeError, ValueError
        A module is not one or comes twice, or a hyperparameter is out of its range.
    """

    def __init__(
        self,
        modules: Module | Sequence[Module],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(modules, {"lr": lr, "alpha": alpha, "eps": eps}, ("square_avg",))

    def _update(self, params: Vector, grads: Vector, buffers: dict[str, Vector], step: int) -> None:
        h = self._hyperparameters
        _optim.rmsprop(params, grads, buffers["square_avg"], h["lr"], h["alpha"], h["eps"])


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares so far.

    ``square_sum += grad**2;  param -= lr * grad / (sqrt(square_sum) + eps)``

    Parameters
    ----------
    modules : layer or list of layers
        What to train; each layer once.
    lr : float
        Learning rate, above zero.
    eps : float
        Added to the root, above zero.

    Raises
    ------
    TypeError, ValueError
        A module is not one or comes twice, or a hyperparameter is out of its range.
    """

    def __init__(
        self, modules: Module | Sequence[Module], lr: float = 1e-2, eps: float = 1e-10
    ) -> None:
        super().__init__(modules, {"lr": lr, "eps": eps}, ("square_sum",))

    def _update(self, params: Vector, grads: Vector, buffers: dict[str, Vector], step: int) -> None:
        h = self._hyperparameters
        _optim.adagrad(params, grads, buffers["square_sum"], h["lr"], h["eps"])


class Adam(Optimizer):
    """Averaged gradients divided by the root of averaged squares, both free of their start at zero.

    ``exp_avg += (1 - beta1) * (grad - exp_avg)``
    ``exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * grad**2``
    ``mean = exp_avg / (1 - beta1**step);  square = exp_avg_sq / (1 - beta2**step)``
    ``param -= lr * mean / (sqrt(square) + eps)``

    Parameters
    ----------
    modules : layer or list of layers
        What to train; each layer once.
    lr : float
        Learning rate, above zero.
    betas : (float, float)
        Shares of the old averages kept at an update, each in [0, 1).
    eps : float
        Added to the root, above zero.

    Raises
    ------
    TypeError, ValueError
        A module is not one or comes twice, or a hyperparameter is out of its range.
    """

    def __init__(
        self,
        modules: Module | Sequence[Module],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if not isinstance(betas, Sequence) or len(betas) != 2:
            raise TypeError(f"Adam: betas is {betas!r}; expected a pair of numbers in [0, 1)")
        hyperparameters = {"lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps}
        super().__init__(modules, hyperparameters, ("exp_avg", "exp_avg_sq"))

    def _update(self, params: Vector, grads: Vector, buffers: dict[str, Vector], step: int) -> None:
        h = self._hyperparameters
        _optim.adam(
            params,
            grads,
            buffers["exp_avg"],
            buffers["exp_avg_sq"],
            h["lr"],
            h["beta1"],
            h["beta2"],
            h["eps"],
            step,
        )


# The rules of the arguments, and their messages.


def _modules(who: str, modules: Module | Sequence[Module]) -> tuple[Module, ...]:
    """`modules` as a tuple of distinct modules."""
    found = tuple(modules) if isinstance(modules, Sequence) else (modules,)
    if not found:
        raise ValueError(f"{who}: modules is empty; expected at least one layer")
    for index, module in enumerate(found):
        if not all(hasattr(module, n) for n in ("flat_params", "flat_grads", "editing")):
            got = type(module).__name__
            raise TypeError(f"{who}: modules has a {got}; expected a layer or a list of layers ([lstm, head])")
        if any(module is other for other in found[:index]):
            raise ValueError(
                f"{who}: modules[{index}] is also modules"
                f"[{next(i for i, other in enumerate(found) if other is module)}];"
                " expected each layer once"
            )
    return found


def _hyperparameter(who: str, name: str, value: Any) -> float:
    """`value` as a float, in the range that `name` allows; a NaN is in none."""
    if name not in ("lr", "eps"):
        return _check.probability(who, name, value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{who}: {name} is a {type(value).__name__}; expected a finite number > 0")
    number = float(value)
    if not 0.0 < number < math.inf:
        raise ValueError(f"{who}: {name} is {number}; expected a finite number > 0")
    return number


def _check_names(who: str, state: Mapping[str, Any], expected: Sequence[str]) -> None:
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    if missing or unexpected:
        raise KeyError(
            f"{who}: missing {missing}, unexpected {unexpected}; expected {list(expected)}"
        )


def _step_count(who: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{who}: step is {value!r}; expected an integer >= 0")
    if value < 0:
        raise ValueError(f"{who}: step is {value!r}; expected an integer >= 0")
    return int(value)


def _loaded(who: str, name: str, value: Any, size: int) -> Vector:
    """A buffer from a state dict, checked."""
    array = np.asarray(value)
    if array.dtype != np.float32:
        raise TypeError(f"{who}: {name} has dtype {array.dtype}; expected float32")
    if array.shape != (size,):
        raise ValueError(f"{who}: {name} has shape {array.shape}; expected ({size},)")
    if not np.isfinite(array).all():
        raise ValueError(f"{who}: {name} is not finite everywhere; expected finite numbers")
    return array
