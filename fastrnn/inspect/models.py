"""Looking into a whole model: what a batch makes of each of its recurrent layers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn import runtime
from fastrnn.trainable import Model, as_data, as_model

from .finite import NonFinite, first_backward, first_forward, non_finite_of
from .gates import Saturation, saturation
from .gradients import norms_of, watched
from .walks import gated_walks


@dataclass(frozen=True)
class Look:
    """What a batch made of a model.

    Attributes
    ----------
    loss : float
        Summed over everything that the loss counts.
    weight : float
        What a mean divides by.
    gradient_norms : dict of str to (layers * directions, T) float64
        Of each recurrent layer by its name in `model.modules`, what the function `gradient_norms` says of it, for the
        summed loss.
    saturation : dict of str to list of Saturation
        What the function `saturation` says of each.
    first_nan : NonFinite or None
        The first number that is not finite; None where all are.
    """

    loss: float
    weight: float
    gradient_norms: dict[str, NDArray[np.float64]]
    saturation: dict[str, list[Saturation]]
    first_nan: NonFinite | None


class _Layer(NamedTuple):
    """What a recurrent layer's run shows."""

    norms: NDArray[np.float64]
    saturation: list[Saturation]
    forward: NonFinite | None
    backward: NonFinite | None


def look(model: Model, inputs: Sequence[Any], targets: Sequence[Any], *, num_threads: int | None = None) -> Look:
    """Run a batch through a copy of a model, forward and backward, and look at its recurrent layers.

    The model stays as it is: weights, gradients, and the random numbers of dropout, whose next masks the copy has. The
    first number that is not finite is looked for in this order: the parameters of all layers; forward through each
    recurrent layer, as `first_nan` has it; the outputs, the loss and its gradient by the outputs; backward through the
    recurrent layers; and the gradients of parameters, which are sums over all of these. What lies between recurrent
    layers, such as an embedding or an attention, shows in what comes next. NumPy's warnings of such numbers are left
    out.

    Parameters
    ----------
    model : SequenceModel or EncoderDecoder
    inputs, targets : sequences of N items
        As for `fastrnn.fit`, but one batch; row n of a result is that of item n.
    num_threads : int, optional
        At most so many threads; the result does not depend on it.

    Returns
    -------
    Look

    Raises
    ------
    TypeError, ValueError, IndexError
        What is given is no model, no such lists, or what the model refuses.
    """
    who = "inspect.look"
    as_model(who, model)
    inputs, targets = map(list, as_data(who, ("inputs", inputs), ("targets", targets)))
    runtime.resolve(who, num_threads)
    seen: dict[str, _Layer] = {}  # in the order of backward

    def watch(name: str, tape: Any, dy: Any, dstate: Any) -> None:
        run = watched(who, tape, dy, dstate, num_threads)
        forward = first_forward(gated_walks(who, tape))
        seen[name] = _Layer(norms_of(*run[:2]), saturation(tape), forward, first_backward(*run))

    model = copy.deepcopy(model)
    model.zero_grad()
    model._watch = watch
    with np.errstate(all="ignore"):
        outputs, tape = model._train(inputs, targets, num_threads)
        loss, doutputs, weight = model._loss(outputs, targets, num_threads)
        model.backward(tape, doutputs, num_threads=num_threads)
    layers = dict(reversed(seen.items()))
    norms = {name: layer.norms for name, layer in layers.items()}
    shares = {name: layer.saturation for name, layer in layers.items()}
    between = {"outputs": outputs, "loss": np.array(loss), "gradient of outputs": doutputs}
    return Look(loss, weight, norms, shares, next(_places(model, layers, between), None))


def _places(model: Model, layers: dict[str, _Layer], between: dict[str, Any]) -> Iterator[NonFinite]:
    """Every place with a number that is not finite, in the order of `look`."""
    for name, module in model.modules.items():
        yield from (replace(found, module=name) for found in non_finite_of(module.params))
    for name, layer in layers.items():
        if layer.forward is not None:
            yield replace(layer.forward, module=name)
    for what, given in between.items():
        if not isinstance(given, list):
            yield from non_finite_of({what: given})
            continue
        for row, array in enumerate(given):
            yield from (replace(found, row=row) for found in non_finite_of({what: array}))
    for name, layer in reversed(layers.items()):
        if layer.backward is not None:
            yield replace(layer.backward, module=name)
    for name, module in model.modules.items():
        yield from (replace(found, module=name) for found in non_finite_of(module.grads, "gradient of "))
