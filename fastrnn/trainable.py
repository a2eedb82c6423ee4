"""What whole models share: layers by name, their weights as one dict, and what `fastrnn.fit` needs of a model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from fastrnn import _check
from fastrnn._check import FloatArray
from fastrnn.dropout import Dropout
from fastrnn.module import Module, Parameters
from fastrnn.naming import made_as, name_of

Data = tuple[Sequence[Any], Sequence[Any]]  # inputs and targets, an item for each sequence


class Model:
    """What whole models share: layers by name, their weights as one dict, and the seed of dropout.

    Attributes
    ----------
    modules : dict of str to layer
        In the order in which an optimiser takes them.
    """

    LAYERS: ClassVar[dict[str, type[Module]]]
    OPTIONAL: ClassVar[tuple[str, ...]]
    loss: Callable[..., Any]
    pool: str | None = None
    _watch: Callable[[str, Any, Any, Any], None] | None = None

    def __init__(self, modules: Mapping[str, Any], dropout: float, seed: Any) -> None:
        for name, kind in self.LAYERS.items():
            optional = name in self.OPTIONAL
            _check.instance(self._who, name, modules[name], kind, f"a layer, {kind.__name__}", optional=optional)
        self.modules = {name: modules[name] for name in self.LAYERS if modules[name] is not None}
        self._dropout = Dropout(_check.dropout(self._who, "dropout", dropout))
        self._dropout.rng = _check.generator(self._who, seed)
        self.dtype = next(iter(self.modules.values())).dtype
        for name, module in self.modules.items():
            if module.dtype != self.dtype:
                raise ValueError(f"{self._who}: {name} is of {module.dtype}; expected {self.dtype}, as the others")

    @property
    def _who(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return made_as(self, ",\n    ")

    @property
    def dropout(self) -> float:
        """The share that is dropped of what the head takes, in training."""
        return self._dropout.p

    @property
    def grads(self) -> list[Parameters]:
        """The gradients of all layers: what clipping takes as one vector."""
        return [module.grads for module in self.modules.values()]

    @property
    def parameter_count(self) -> int:
        """How many numbers are trained."""
        return sum(module.flat_params.size for module in self.modules.values())

    def __copy__(self) -> Self:
        return copy.deepcopy(self)

    @property
    def settings(self) -> str:
        """What two models of the same layers may differ in, in words: a run goes on with the same alone."""
        parts = [getattr(one, "dropout", 0.0) for one in self.modules.values()]
        shares = ", ".join(map(str, [*parts, self._dropout.p]))
        return f"{self._who}({', '.join(self.modules)}), pool {self.pool}, dropout {shares}, loss {name_of(self.loss)}"

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for module in self.modules.values():
            module.zero_grad()

    def reseed(self, *key: int) -> None:
        """Begin dropout's random numbers anew from a key, so that a step's masks depend on nothing before it."""
        parts: list[Any] = [part for part in (*self.modules.values(), self._dropout) if hasattr(part, "rng")]
        for index, part in enumerate(parts):
            part.rng = np.random.default_rng([*key, index])

    def state_dict(self) -> dict[str, FloatArray]:
        """Return copies of all parameters, named `recurrent.weight_ih_l0` and so on."""
        named = ((name, module.state_dict()) for name, module in self.modules.items())
        return {f"{name}.{key}": value for name, values in named for key, value in values.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take the parameters from a mapping as `state_dict` gives it: all of them, or none where one does not fit."""
        who = f"{self._who}.load_state_dict"
        given = _check.mapping(who, state_dict)
        _check.entries(who, given, list(self.state_dict()))
        before = self.state_dict()
        try:
            self._load(given)
        except BaseException:
            self._load(before)
            raise

    def _load(self, given: Mapping[str, Any]) -> None:
        for name, module in self.modules.items():
            start = f"{name}."
            module.load_state_dict({key[len(start):]: given[key] for key in given if key.startswith(start)})

    def add_gradients(self, inputs: Any, targets: Any, *, num_threads: int | None = None) -> tuple[float, float]:
        """Add the gradients of a batch's summed loss to `grads`.

        Returns
        -------
        loss : float
            The sum over everything that the loss counts.
        weight : float
            What a mean divides by.
        """
        outputs, tape = self._train(inputs, targets, num_threads)
        loss, doutputs, weight = self._loss(outputs, targets, num_threads)
        self.backward(tape, doutputs, num_threads=num_threads)
        return loss, weight

    def measure(self, inputs: Any, targets: Any, *, num_threads: int | None = None) -> tuple[float, float]:
        """Return the loss and the weight as `add_gradients` does, without dropout and gradients."""
        loss, _, weight = self._loss(self._infer(inputs, targets, num_threads), targets, num_threads)
        return loss, weight

    def __call__(self, inputs: Any, *, num_threads: int | None = None) -> Any:
        """Return the outputs, without dropout."""
        raise NotImplementedError

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Return the outputs, with dropout, and the tape that `backward` needs."""
        raise NotImplementedError

    def backward(self, tape: Any, doutputs: Any, *, num_threads: int | None = None) -> Any:
        """Add to the gradients of all layers and use the tape up."""
        raise NotImplementedError

    def _through(self, name: str, tape: Any, dy: Any, dstate: Any, num_threads: int | None) -> tuple[Any, Any]:
        """Backward of a recurrent layer; `fastrnn.inspect.look` watches, and sees first what it is given."""
        if self._watch is not None:
            self._watch(name, tape, dy, dstate)
        gradients: tuple[Any, Any] = getattr(self, name).backward(tape, dy, dstate, num_threads=num_threads)
        return gradients

    def _train(self, inputs: Any, targets: Any, num_threads: int | None) -> tuple[Any, Any]:
        """Outputs with dropout, and the tape."""
        return self.forward(inputs, num_threads=num_threads)

    def _infer(self, inputs: Any, targets: Any, num_threads: int | None) -> Any:
        """Outputs without dropout."""
        return self(inputs, num_threads=num_threads)

    def _loss(self, outputs: Any, targets: Any, num_threads: int | None) -> Any:
        """Summed loss, its gradient by the outputs, and the weight."""
        raise NotImplementedError


def as_model(who: str, model: Any) -> Model:
    """Return model if it is one."""
    if not isinstance(model, Model):
        raise TypeError(f"{who}: model is a {type(model).__name__}; expected a SequenceModel or an EncoderDecoder")
    return model


def as_data(who: str, inputs: tuple[str, Any], targets: tuple[str, Any]) -> Data:
    """Return inputs and targets, each given with its name, if they are lists of as many items."""
    for name, items in (inputs, targets):
        listed = isinstance(items, Sequence) and not isinstance(items, (str, bytes))
        if not listed and not (isinstance(items, np.ndarray) and items.ndim):
            raise TypeError(f"{who}: {name} is {_check.shown(items)}; expected a list of an item for each sequence")
    (first, given), (name, other) = inputs, targets
    if not len(given):
        raise ValueError(f"{who}: {first} has no items; expected one for each sequence")
    for index, one in enumerate(given):
        if not np.size(one):
            raise ValueError(f"{who}: {first}[{index}] has no steps; expected one or more, leave it out")
    if len(given) != len(other):
        raise ValueError(f"{who}: {name} has {len(other)} items; expected {len(given)}, as {first} has")
    return given, other
