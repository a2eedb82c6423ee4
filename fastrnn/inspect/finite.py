"""Where a number first ceased to be finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastrnn.layers import Tape
from fastrnn.module import FloatArray, Module

from .gradients import watched
from .walks import Walk, gated_walks, packed, place_name


@dataclass(frozen=True)
class NonFinite:
    """A NaN or an infinity, and where it is. `str` of it is a sentence.

    Attributes
    ----------
    what : str
        A parameter's name, "input", "initial h", "initial c", "gate i" and its like, "c", "h", "dy", "gradient of h",
        or "gradient of" a parameter; of a model also "outputs", "loss" and "gradient of outputs".
    value : float
    layer : int or None
        None for parameters, whose names say it, and for what is outside of layers.
    reverse : bool
    step, row : int or None
        In 0..T-1 and 0..B-1; None for parameters. A list of outputs has the row alone.
    index : tuple of int
        Of the first such element: the unit or the feature at this step of this row, or the array's whole index.
    count : int
        How many there are at this step of this row, or in the array.
    module : str or None
        The name in `model.modules` of what `look` found it in.
    """

    what: str
    value: float
    index: tuple[int, ...]
    count: int
    layer: int | None = None
    reverse: bool = False
    step: int | None = None
    row: int | None = None
    module: str | None = None

    def __str__(self) -> str:
        at = [] if self.module is None else [self.module]
        at += [] if self.layer is None else [place_name(self.layer, self.reverse)]
        at += [f"{name} {n}" for name, n in (("step", self.step), ("row", self.row)) if n is not None]
        index = f" at {self.index[0] if len(self.index) == 1 else self.index}" if self.index else ""
        others = f", and {self.count - 1} more there" if self.count > 1 else ""
        return f"{', '.join(at)}{': ' if at else ''}{self.what} is {self.value}{index}{others}"


def first_nan(tape: Tape, dy: Any = None, dstate: Any = None) -> NonFinite | None:
    """Find where a run first left the finite numbers, in the order in which it computes.

    Parameters are looked at first. Then come the layers from below, each from the step that its direction begins with:
    its input, the state before the step, the gates in their order, c, h. With dy or dstate follows backward: dy, then
    the gradient of h from the last layer's last step on. A later NaN is most often the child of this one. Gradients of
    parameters are sums over all of these; `non_finite` looks at them.

    Parameters
    ----------
    tape : Tape
        What `forward` returned, without checkpoints and not used up.
    dy, dstate : as in `backward`, optional
        Look at backward's numbers, too.

    Returns
    -------
    NonFinite or None
        None where all is finite.

    Raises
    ------
    TypeError, ValueError
        What is given is no such tape, or a wrong shape or dtype.
    """
    who = "inspect.first_nan"
    walks = gated_walks(who, tape)
    found = next(non_finite_of(walks[0].layer.params), None) or first_forward(walks)
    if found is not None or (dy is None and dstate is None):
        return found
    return first_backward(*watched(who, tape, dy, dstate, None))


def first_forward(walks: list[Walk]) -> NonFinite | None:
    """The first of a layer's forward run."""
    for walk in walks:
        stages = {} if walk.record.x.dtype.kind == "i" else {"input": packed(walk.record.x)}
        stages |= {f"initial {kind}": rows for kind, rows in walk.states(after=False).items()}
        stages |= {f"gate {gate}": rows for gate, rows in walk.gates().items()}
        stages |= reversed(walk.states(after=True).items())  # h is made of c
        if first := _first(walk, stages, walk.direction == 1):
            return first
    return None


def first_backward(walks: list[Walk], gradients: list[FloatArray], given: list[FloatArray]) -> NonFinite | None:
    """The first of a layer's backward run, of what `watched` returns."""
    for part in given:
        if first := _first(walks[-1], {"dy": part}, True):
            return first
    for walk, rows in reversed(list(zip(walks, gradients, strict=True))):
        if first := _first(walk, {"gradient of h": rows}, walk.direction == 0):
            return first
    return None


def non_finite(module: Module) -> list[NonFinite]:
    """List the parameters and gradients of a layer that hold a NaN or an infinity.

    Parameters
    ----------
    module : LSTM, GRU, RNN, UGRNN, Linear or another of fastrnn's modules

    Returns
    -------
    list of NonFinite
        One for each such array, parameters first; empty where all is finite.

    Raises
    ------
    TypeError
        What is given is no module.
    """
    if not isinstance(module, Module):
        raise TypeError(f"inspect.non_finite: module is a {type(module).__name__}; expected a layer with parameters")
    return [*non_finite_of(module.params), *non_finite_of(module.grads, "gradient of ")]


def non_finite_of(arrays: Mapping[str, FloatArray], before: str = "") -> Iterator[NonFinite]:
    """One for each array, in their order, that holds such a number."""
    for name, array in arrays.items():
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            index = tuple(bad[0].tolist())
            yield NonFinite(f"{before}{name}", float(array[index]), index, len(bad))


def _first(walk: Walk, stages: dict[str, FloatArray], from_end: bool) -> NonFinite | None:
    """The first step, then row, then stage at which (N, columns) are not finite."""
    bad = np.zeros(walk.record.rows, bool)
    for rows in stages.values():
        bad |= ~np.isfinite(rows).all(axis=1)
    if not bad.any():
        return None
    steps, places = np.nonzero(walk.placed(bad))
    step = int(steps[-1] if from_end else steps[0])
    row = int(places[steps == step][0])
    place = walk.grid[step, row]
    what, values = next((what, rows[place]) for what, rows in stages.items() if not np.isfinite(rows[place]).all())
    units = np.flatnonzero(~np.isfinite(values))
    found = NonFinite(what, float(values[units[0]]), (int(units[0]),), len(units))
    return replace(found, layer=walk.number, reverse=walk.direction == 1, step=step, row=row)
