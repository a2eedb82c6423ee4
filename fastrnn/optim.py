"""SGD, RMSprop, Adagrad and Adam over whole layers, with PyTorch's update rules.

A layer keeps all of its parameters in one buffer and all of its gradients in another, so an update
is one compiled pass over vectors (`update.pyx`); the running averages of a rule are vectors of the
same length. Written per rule: its hyperparameters, its buffers and the call of its pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check
from fastrnn import module as layers
from fastrnn._core import update

__all__ = ["SGD", "Adagrad", "Adam", "Optimizer", "RMSprop"]

Vector: TypeAlias = NDArray[Any]  # (N,), float32 or float64 as its module
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


# The range of those hyperparameters that are no shares in [0, 1). What a module's dtype would make zero, infinity or a
# subnormal number, which the kernels count as zero, would silently freeze the weights or turn those without a gradient
# into NaN.
_POSITIVE: dict[str, Callable[..., float]] = {"lr": partial(_check.positive, zero=True), "eps": _check.positive}


_MOST_STEPS = 2**53  # what a float, in which powers of the betas are taken, counts without a gap


class Hyperparameter:
    """A number that may be set at any time, is checked then, and is in effect from the next step on."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance._hyperparameters[self._name]

    def __set__(self, instance: Optimizer, value: float) -> None:
        instance._set({self._name: value})


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
        self._take(modules)
        self._step = 0
        self._names = tuple(buffers)
        self._buffers: list[dict[str, Vector]] = [{} for _ in self._modules]
        self._hyperparameters: dict[str, float] = {}
        self._set(hyperparameters)

    lr = Hyperparameter()

    @property
    def modules(self) -> tuple[Module, ...]:
        """The layers that are trained."""
        return self._modules

    @property
    def _who(self) -> str:
        return type(self).__name__

    def _take(self, modules: Module | Sequence[Module]) -> None:
        """Keep the modules, and of each the size and the dtype of its vectors."""
        self._modules = _check.modules(self._who, modules)
        params = [module.flat_params for module in self._modules]
        self._sizes = [flat.size for flat in params]
        self._dtypes = [_check.dtype_of(flat) for flat in params]

    @property
    def _narrowest(self) -> _check.DType:
        """The dtype whose range every hyperparameter must be in."""
        return min(self._dtypes, key=lambda dtype: dtype.itemsize)

    def _set(self, changes: Mapping[str, Any]) -> None:
        """Change hyperparameters, all or none, and keep just the buffers that the rule then has."""
        values = self._checked(self._who, {**self._hyperparameters, **changes})
        kept, self._buffers = self._buffers, []
        for buffers, size, dtype in zip(kept, self._sizes, self._dtypes, strict=True):
            new = {name: np.zeros(size, dtype) for name in self._buffer_names(values) if name not in buffers}
            self._buffers.append({name: {**new, **buffers}[name] for name in self._buffer_names(values)})
        self._hyperparameters = values

    def _checked(self, who: str, values: Mapping[str, Any]) -> dict[str, float]:
        """The hyperparameters as floats in their ranges."""
        return {
            name: _POSITIVE[name](who, name, value, dtype=self._narrowest)
            if name in _POSITIVE
            else _check.probability(who, name, value)
            for name, value in values.items()
        }

    def _buffer_names(self, hyperparameters: Mapping[str, float]) -> tuple[str, ...]:
        """The buffers that the rule has with these hyperparameters."""
        return self._names

    def __getstate__(self) -> dict[str, Any]:
        """Of a copy: the same modules, and hyperparameters and buffers of its own."""
        buffers = [{name: buffer.copy() for name, buffer in named.items()} for named in self._buffers]
        return {**vars(self), "_hyperparameters": dict(self._hyperparameters), "_buffers": buffers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._take(self._modules)
        self.load_state_dict(self.state_dict())  # its checks

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
            modules = enumerate(self._modules)
            grads = [self._checked_vector(i, "flat_grads", module.flat_grads) for i, module in modules]
            params = {
                i: self._checked_vector(i, "params.flat", stack.enter_context(_writing(self._modules[i])))
                for i in self._in_one_order()
            }
            # All that can fail is behind us: now every module is updated or none is.
            for i, buffers in enumerate(self._buffers):
                self._update(params[i], grads[i], buffers, self._step + 1)
            self._step += 1

    def _in_one_order(self) -> list[int]:
        """Indices of the modules in the order of their locks: two optimisers that shared modules never wait for each
        other."""
        return sorted(range(len(self._modules)), key=lambda index: id(self._modules[index]))

    def state_dict(self) -> State:
        """All that a resumed run needs, as one flat dict.

        Returns
        -------
        dict of str to float, int or array
            The hyperparameters, ``step`` (the number of updates made), and a copy of each buffer
            under ``"<buffer>.<index of the module>"``, of the shape and dtype of that module's
            flat_params. The scalars can go into JSON and the arrays into a file of tensors.
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
        state = dict(state)
        values = self._hyperparameters
        if all(name in state for name in values):
            values = self._checked(who, {name: state[name] for name in values})
        names = self._buffer_names(values)  # of the rule as it will be
        expected = {f"{name}.{index}": index for index in range(len(self._sizes)) for name in names}
        _check.entries(who, state, [*self._hyperparameters, "step", *expected])
        step = _check.integer(who, "step", state["step"], 0, _MOST_STEPS, "an integer >= 0")
        arrays = {
            name: _check.tensor(who, name, state[name], (self._sizes[index],), dtype=self._dtypes[index])
            for name, index in expected.items()
        }
        # Everything is valid: now change.
        self._hyperparameters = values
        self._step = step
        self._buffers = [{name: arrays[f"{name}.{index}"] for name in names} for index in range(len(self._sizes))]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._hyperparameters.items())
        return f"{self._who}({values})"

    def _update(self, params: Vector, grads: Vector, buffers: dict[str, Vector], step: int) -> None:
        """Apply the rule to one module; `step` is 1 for the first update."""
        raise NotImplementedError

    def _checked_vector(self, index: int, name: str, vector: Any) -> Vector:
        """The vector as it is in memory; turns a broken module into an error before anything is updated."""
        expected = (self._sizes[index],)
        plain = _check.plain(f"{self._who}.step", name, vector)
        if (
            not isinstance(plain, np.ndarray)
            or plain.dtype != self._dtypes[index]
            or plain.shape != expected
            or not plain.flags.carray
        ):
            got = f"{getattr(plain, 'dtype', type(plain))} {getattr(plain, 'shape', '')}"
            raise RuntimeError(
                f"{self._who}.step: {name} of modules[{index}] is {got};"
                f" expected a writable, contiguous {self._dtypes[index]} {expected}"
            )
        return plain


@contextmanager
def _writing(module: Module) -> Iterator[Vector]:
    """A module's parameters as a vector to change: a layer's own, or what another's editing() lends."""
    if isinstance(module, layers.Module) and type(module).editing is layers.Module.editing:
        with module._writing() as flat:
            yield flat
    else:
        with module.editing() as params:
            yield params.flat


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted.

    ``velocity = momentum * velocity + grad;  param -= lr * velocity``

    Parameters
    ----------
    modules : layer or list of layers
        What to train; each layer once.
    lr : float
        Learning rate, at least zero.
    momentum : float
        In [0, 1); 0 keeps no velocity, and forgets what there was when it is set.

    Raises
    ------
    TypeError, ValueError
        A module is not one or comes twice, or a hyperparameter is out of its range.
    """

    momentum = Hyperparameter()

    def __init__(
        self, modules: Module | Sequence[Module], lr: float = 1e-3, momentum: float = 0.0
    ) -> None:
        super().__init__(modules, {"lr": lr, "momentum": momentum}, ("momentum_buffer",))

    def _buffer_names(self, hyperparameters: Mapping[str, float]) -> tuple[str, ...]:
        return self._names if hyperparameters["momentum"] else ()

    def _update(self, params: Vector, grads: Vector, buffers: dict[str, Vector], step: int) -> None:
        h = self._hyperparameters
        update.sgd(params, grads, buffers.get("momentum_buffer"), h["lr"], h["momentum"])


class RMSprop(Optimizer):
    """Gradients divided by a running root mean square of themselves.

    ``square_avg = alpha * square_avg + (1 - alpha) * grad**2``
    ``param -= lr * grad / (sqrt(square_avg) + eps)``

    Parameters
    ----------
    modules : layer or list of layers
        What to train; each layer once.
    lr : float
        Learning rate, at least zero.
    alpha : float
        Share of the old average kept at an update, in [0, 1).
    eps : float
        Added to the root, above zero.

    Raises
    ------
    TypeError, ValueError
        A module is not one or comes twice, or a hyperparameter is out of its range.
    """

    alpha = Hyperparameter()
    eps = Hyperparameter()

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
        update.rmsprop(params, grads, buffers["square_avg"], h["lr"], h["alpha"], h["eps"])


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares so far.

    ``square_sum += grad**2;  param -= lr * grad / (sqrt(square_sum) + eps)``

    Parameters
    ----------
    modules : layer or list of layers
        What to train; each layer once.
    lr : float
        Learning rate, at least zero.
    eps : float
        Added to the root, above zero.

    Raises
    ------
    TypeError, ValueError
        A module is not one or comes twice, or a hyperparameter is out of its range.
    """

    eps = Hyperparameter()

    def __init__(
        self, modules: Module | Sequence[Module], lr: float = 1e-2, eps: float = 1e-10
    ) -> None:
        super().__init__(modules, {"lr": lr, "eps": eps}, ("square_sum",))

    def _update(self, params: Vector, grads: Vector, buffers: dict[str, Vector], step: int) -> None:
        h = self._hyperparameters
        update.adagrad(params, grads, buffers["square_sum"], h["lr"], h["eps"])


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
        Learning rate, at least zero.
    betas : (float, float)
        Shares of the old averages kept at an update, each in [0, 1).
    eps : float
        Added to the root, above zero.

    Raises
    ------
    TypeError, ValueError
        A module is not one or comes twice, or a hyperparameter is out of its range.
    """

    beta1 = Hyperparameter()
    beta2 = Hyperparameter()
    eps = Hyperparameter()

    def __init__(
        self,
        modules: Module | Sequence[Module],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        beta1, beta2 = self._pair(betas)
        hyperparameters = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        super().__init__(modules, hyperparameters, ("exp_avg", "exp_avg_sq"))

    @property
    def betas(self) -> tuple[float, float]:
        """Both shares; assign a pair to change them."""
        return self.beta1, self.beta2

    @betas.setter
    def betas(self, value: tuple[float, float]) -> None:
        beta1, beta2 = self._pair(value)
        self._set({"beta1": beta1, "beta2": beta2})

    def _pair(self, betas: Any) -> tuple[Any, Any]:
        betas = _check.plain(self._who, "betas", betas)
        array_like = isinstance(betas, np.ndarray) and betas.shape == (2,) and betas.dtype.kind in "iuf"
        if not array_like and not (isinstance(betas, (tuple, list)) and len(betas) == 2):
            raise TypeError(f"{self._who}: betas is {_check.shown(betas)}; expected a pair of numbers in [0, 1)")
        return betas[0], betas[1]

    def _checked(self, who: str, values: Mapping[str, Any]) -> dict[str, float]:
        checked = super()._checked(who, values)
        _, most = _check.float_range(self._narrowest)
        if checked["lr"] / (1 - checked["beta1"]) > most:  # the first step's size
            raise ValueError(
                f"{who}: lr is {checked['lr']} and beta1 {checked['beta1']}; expected lr / (1 - beta1) in the range of "
                f"{self._narrowest}, up to {most:.2g}"
            )
        return checked

    def _update(self, params: Vector, grads: Vector, buffers: dict[str, Vector], step: int) -> None:
        h = self._hyperparameters
        update.adam(
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
