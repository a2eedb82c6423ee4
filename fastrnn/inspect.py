"""Looking into a run: gates, the gradient at every step, and where a number first ceased to be finite.

    y, state, tape = lstm.forward(x)
    print(*inspect.saturation(tape), sep="\\n")
    norms = inspect.gradient_norms(tape, dy)    # (layers * directions, T)
    print(inspect.first_nan(tape, dy))          # None, or the place where it began
    lstm.backward(tape, dy)                     # the tape is as it was

All functions read a tape before `backward` has used it up, and leave it and the layer as they are. They see that very
run: its dropout, its resets, its rows of different lengths. Time comes first in all that they return, whatever the
layer's `batch_first`, and what is behind a row's end is 0. The directions of a layer stand as in a state: layer 0,
layer 0 reverse, layer 1, ...
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check, clipping, runtime
from fastrnn._core.gradients import Gradients
from fastrnn._core.tape import LayerTape
from fastrnn.borders import Ragged
from fastrnn.layers import Recurrent, Tape
from fastrnn.module import FloatArray, Module

__all__ = [
    "Activations",
    "Clipping",
    "NonFinite",
    "Saturation",
    "activations",
    "first_nan",
    "gradient_norms",
    "hidden_gradients",
    "non_finite",
    "saturation",
]

Flags = NDArray[np.bool_]
Grid = NDArray[np.int64]


# ------------------------------------------------------------------------------------------------------ what a tape has


@dataclass(frozen=True)
class _Walk:
    """One direction of one layer in a tape."""

    layer: Recurrent
    record: LayerTape
    number: int
    direction: int
    grid: Grid  # (T, B) the packed row of every step, -1 where a row takes none

    def placed(self, rows: FloatArray) -> FloatArray:
        """(T, B, ...) of packed rows (N, ...), 0 where a row takes no step."""
        result = np.zeros((*self.grid.shape, *rows.shape[1:]), rows.dtype)
        taken = self.grid >= 0
        result[taken] = rows[self.grid[taken]]
        return result

    def gates(self) -> dict[str, FloatArray]:
        """(N, H) of each gate."""
        gates = self.record.gates(self.direction)
        return {gate: gates[:, i] for i, gate in enumerate(self.layer.GATES)}

    def states(self, after: bool) -> dict[str, FloatArray]:
        """h (N, P), and c (N, H), before or after each step."""
        return {kind: self.record.state(self.direction, i, after) for i, kind in enumerate(self.layer.STATES)}


def _name(layer: int, reverse: bool) -> str:
    return f"layer {layer}{' reverse' if reverse else ''}"


def _opened(who: str, tape: Any) -> tuple[Recurrent, list[LayerTape], Any]:
    """The tape's layer, and what it keeps."""
    if not isinstance(tape, Tape):
        raise TypeError(f"{who}: tape is a {type(tape).__name__}; expected what a recurrent layer's forward returned")
    layer = tape._layer
    assert isinstance(layer, Recurrent)
    return layer, *Tape._open(tape, layer, who)


def _walks(who: str, layer: Recurrent, records: list[LayerTape], border: Any) -> list[_Walk]:
    if not records:
        raise ValueError(f"{who}: no row of the tape takes a step; expected one step or more")
    first = records[0]
    grid = border.grid if isinstance(border, Ragged) else np.arange(first.rows).reshape(first.T, first.B)
    directions = range(2 if layer.bidirectional else 1)
    return [_Walk(layer, record, i, direction, grid) for i, record in enumerate(records) for direction in directions]


def _gated_walks(who: str, tape: Any) -> list[_Walk]:
    """Those of a tape that has all gates."""
    layer, records, border = _opened(who, tape)
    if records and records[0].checkpoint:
        raise ValueError(f"{who}: the tape keeps no gates but computes them again; expected forward(checkpoint=None)")
    return _walks(who, layer, records, border)


@dataclass(frozen=True)
class Activations:
    """What one direction of one layer computed.

    Attributes
    ----------
    layer : int
    reverse : bool
    gates : dict of arrays (T, B, H)
        By the names and in the order of the layer's `GATES`, after their nonlinearities.
    h : (T, B, H), or (T, B, P) with a projection
        After each step, before dropout.
    c : (T, B, H), or None but for the LSTM
    taken : (T, B) bool
        Whether the row takes the step. Where it does not, all arrays are 0.
    """

    layer: int
    reverse: bool
    gates: dict[str, FloatArray]
    h: FloatArray
    c: FloatArray | None
    taken: Flags


def activations(tape: Tape) -> list[Activations]:
    """Copy gates and states out of a tape.

    Parameters
    ----------
    tape : Tape
        What `forward` returned, without checkpoints and not used up.

    Returns
    -------
    list of Activations
        One for each layer and direction.

    Raises
    ------
    TypeError, ValueError
        What is given is no such tape.
    """
    found = []
    for walk in _gated_walks("inspect.activations", tape):
        states = {kind: walk.placed(rows) for kind, rows in walk.states(after=True).items()}
        gates = {gate: walk.placed(rows) for gate, rows in walk.gates().items()}
        reverse, taken = walk.direction == 1, walk.grid >= 0
        found.append(Activations(walk.number, reverse, gates, states["h"], states.get("c"), taken))
    return found


# ----------------------------------------------------------------------------------------------------------- saturation


@dataclass(frozen=True)
class Saturation:
    """How often each unit of a gate was nearly closed or open.

    Attributes
    ----------
    layer : int
    reverse : bool
    gate : str
    closed, open : (H,) float64
        The share of all steps of all rows in 0..1, for each unit.
    """

    layer: int
    reverse: bool
    gate: str
    closed: NDArray[np.float64]
    open: NDArray[np.float64]

    def __str__(self) -> str:
        shares = f"closed {self.closed.mean():.1%}, open {self.open.mean():.1%}"
        return f"{_name(self.layer, self.reverse)}, gate {self.gate}: {shares}"


def saturation(tape: Tape, low: float = 0.1, high: float = 0.9) -> list[Saturation]:
    """Count how often gates are saturated: a gate that is stuck passes no gradient to its own weights.

    A logistic gate is closed below `low` and open above `high`. A tanh, which an LSTM's g, a GRU's n, a UGRNN's c and
    an RNN's h are, has two saturated ends: closed is below -high, open above high. A relu is closed, or dead, at 0
    and never open. The defaults are those of Karpathy, Johnson and Fei-Fei (2016), who plot closed against open with a
    point for each unit.

    Parameters
    ----------
    tape : Tape
        What `forward` returned, without checkpoints and not used up.
    low, high : float
        0 < low < high < 1.

    Returns
    -------
    list of Saturation
        Layer after layer, direction after direction, gate after gate.

    Raises
    ------
    TypeError, ValueError
        What is given is no such tape, or the limits are out of order.
    """
    who = "inspect.saturation"
    low = _check.number(who, "low", low, "0 < low < high < 1")
    high = _check.number(who, "high", high, "0 < low < high < 1")
    if not 0 < low < high < 1:
        raise ValueError(f"{who}: low is {low} and high is {high}; expected 0 < low < high < 1")
    found = []
    for walk in _gated_walks(who, tape):
        for gate, rows in walk.gates().items():
            closed, opened = _ends(_nonlinearity(walk.layer, gate), rows, low, high)
            shares = closed.mean(axis=0), opened.mean(axis=0)
            found.append(Saturation(walk.number, walk.direction == 1, gate, *shares))
    return found


def _nonlinearity(layer: Recurrent, gate: str) -> str:
    if gate != layer.CELL.candidate:
        return "sigmoid"
    return str(getattr(layer, "nonlinearity", "tanh"))


def _ends(nonlinearity: str, values: FloatArray, low: float, high: float) -> tuple[Flags, Flags]:
    if nonlinearity == "relu":
        return values == 0, np.zeros(values.shape, bool)
    return values < (-high if nonlinearity == "tanh" else low), values > high


# ------------------------------------------------------------------------------------------------------------ gradients


def hidden_gradients(
    tape: Tape, dy: Any, dstate: Any = None, *, num_threads: int | None = None
) -> list[FloatArray]:
    """Backpropagate, and return the gradient of the loss by h after every step, over all paths from there on.

    That is what an h gives to y, to the layer above and to all later steps of its own. `grads` stay as they are, and so
    does the tape.

    Parameters
    ----------
    tape : Tape
        What `forward` returned, not used up. It may have checkpoints.
    dy, dstate, num_threads
        As in `backward`.

    Returns
    -------
    list of arrays (T, B, H), or (T, B, P) with a projection
        One for each layer and direction; 0 where a row takes no step.

    Raises
    ------
    TypeError, ValueError
        As in `backward`.
    """
    walks, gradients, _ = _backward("inspect.hidden_gradients", tape, dy, dstate, num_threads)
    return [walk.placed(rows) for walk, rows in zip(walks, gradients, strict=True)]


def _backward(
    who: str, tape: Any, dy: Any, dstate: Any, num_threads: int | None
) -> tuple[list[_Walk], list[FloatArray], list[FloatArray]]:
    """The tape's walks, the gradient of each one's h (N, P), and dy (N, width), of each direction or of both."""
    layer, records, border = _opened(who, tape)
    threads = runtime.resolve(who, num_threads)
    dy, final, _ = layer._upstream(who, records, border, dy, dstate)
    walks = _walks(who, layer, records, border)
    nowhere = [tuple(Gradients() for _ in directions) for directions in layer._weights]
    with layer._lock:
        layer._stack.prepare_backward(records, False)
        tape._begin(layer, who, keep=True)
        try:
            for record in records:
                record.watch(True)
            layer._stack.backward(records, dy, final, False, nowhere, threads)
            gradients = [own for record in records for own in record.dh or []]
        finally:
            for record in records:
                record.watch(False)
            tape._end()
    given = dy if isinstance(dy, list) else [] if dy is None else [dy]
    return walks, gradients, [_packed(part) for part in given if part is not None]


def gradient_norms(
    tape: Tape, dy: Any, dstate: Any = None, *, num_threads: int | None = None
) -> NDArray[np.float64]:
    """Return the norm of `hidden_gradients` at every step: they vanish or explode towards the first one.

    A gradient that passes many steps shrinks or grows by about the same factor at each (Bengio, Simard and Frasconi,
    1994; Pascanu, Mikolov and Bengio, 2013). A dy of the last step alone shows that best.

    Parameters
    ----------
    tape, dy, dstate, num_threads
        As in `hidden_gradients`.

    Returns
    -------
    (layers * directions, T) float64
        Each is the Euclidean norm over all rows and units.
    """
    walks, gradients, _ = _backward("inspect.gradient_norms", tape, dy, dstate, num_threads)
    squares = [np.square(rows, dtype=np.float64).sum(axis=1) for rows in gradients]
    of_steps = [walk.placed(rows).sum(axis=1) for walk, rows in zip(walks, squares, strict=True)]
    norms: NDArray[np.float64] = np.sqrt(np.stack(of_steps))
    return norms


# --------------------------------------------------------------------------------------------------- what is not finite


@dataclass(frozen=True)
class NonFinite:
    """A NaN or an infinity, and where it is. `str` of it is a sentence.

    Attributes
    ----------
    what : str
        A parameter's name, "input", "initial h", "initial c", "gate i" and its like, "c", "h", "dy", "gradient of h",
        or "gradient of" a parameter.
    value : float
    layer : int or None
        None for dy and for parameters, whose names say it.
    reverse : bool
    step, row : int or None
        In 0..T-1 and 0..B-1; None for parameters.
    index : tuple of int
        Of the first such element: the unit or the feature at this step of this row, or the parameter's whole index.
    count : int
        How many there are at this step of this row, or in the parameter.
    """

    what: str
    value: float
    index: tuple[int, ...]
    count: int
    layer: int | None = None
    reverse: bool = False
    step: int | None = None
    row: int | None = None

    def __str__(self) -> str:
        at = [] if self.layer is None else [_name(self.layer, self.reverse)]
        at += [] if self.step is None else [f"step {self.step}", f"row {self.row}"]
        index = self.index[0] if len(self.index) == 1 else self.index
        others = f", and {self.count - 1} more there" if self.count > 1 else ""
        return f"{', '.join(at)}{': ' if at else ''}{self.what} is {self.value} at {index}{others}"


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
    walks = _gated_walks(who, tape)
    for found in _non_finite(walks[0].layer.params, ""):
        return found
    for walk in walks:
        stages = {} if walk.record.x.dtype.kind == "i" else {"input": _packed(walk.record.x)}
        stages |= {f"initial {kind}": rows for kind, rows in walk.states(after=False).items()}
        stages |= {f"gate {gate}": rows for gate, rows in walk.gates().items()}
        stages |= reversed(walk.states(after=True).items())  # h is made of c
        if first := _first(walk, stages, walk.direction == 1):
            return first
    if dy is None and dstate is None:
        return None
    walks, gradients, given = _backward(who, tape, dy, dstate, None)
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
    return [*_non_finite(module.params, ""), *_non_finite(module.grads, "gradient of ")]


def _non_finite(arrays: Mapping[str, FloatArray], before: str) -> Iterator[NonFinite]:
    for name, array in arrays.items():
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            index = tuple(bad[0].tolist())
            yield NonFinite(f"{before}{name}", float(array[index]), index, len(bad))


def _packed(array: FloatArray) -> FloatArray:
    """(N, columns) of what has a row for each step of each sequence."""
    return array.reshape(-1, array.shape[-1])


def _first(walk: _Walk, stages: dict[str, FloatArray], from_end: bool) -> NonFinite | None:
    """The first step, then row, then stage at which (N, columns) are not finite."""
    bad = np.zeros(walk.record.rows, bool)
    for rows in stages.values():
        bad |= ~np.isfinite(rows).all(axis=1)
    if not bad.any():
        return None
    steps, places = np.nonzero(walk.placed(bad))
    step = int(steps[-1] if from_end else steps[0])
    row = int(places[steps == step][0])
    packed = walk.grid[step, row]
    what, values = next((what, rows[packed]) for what, rows in stages.items() if not np.isfinite(rows[packed]).all())
    units = np.flatnonzero(~np.isfinite(values))
    found = NonFinite(what, float(values[units[0]]), (int(units[0]),), len(units))
    return replace(found, layer=walk.number, reverse=walk.direction == 1, step=step, row=row)


# ------------------------------------------------------------------------------------------------------------- clipping


class Clipping:
    """Counts how many steps of a training run were clipped.

        norm = fastrnn.clip_grad_norm_(lstm.grads, limit)
        clipping.add(norm, limit)

    A share near 1 says that the limit, not the learning rate, sets the length of the steps; a share near 0 that only
    rare explosions are cut.

    Attributes
    ----------
    norms : list of float
        The global norm of each step before clipping.
    clipped : int
        Steps at which `clip_grad_norm_` scaled the gradients down.
    """

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.clipped = 0

    def add(self, norm: float, limit: float) -> None:
        """Count a step.

        Parameters
        ----------
        norm : float
            What `clip_grad_norm_` returned, finite and at least 0.
        limit : float
            Its `max_norm`, above 0; math.inf for a step that was only measured.

        Raises
        ------
        TypeError, ValueError
            Another number.
        """
        who = "Clipping.add"
        norm = _check.number(who, "norm", norm, "a finite number of at least 0")
        if not 0 <= norm < math.inf:
            raise ValueError(f"{who}: norm is {norm}; expected a finite number of at least 0")
        limit = _check.positive(who, "limit", limit, infinite=True)
        self.clipped += clipping.factor(norm, limit) < 1
        self.norms.append(norm)

    @property
    def steps(self) -> int:
        """How many steps were added."""
        return len(self.norms)

    @property
    def share(self) -> float:
        """The share of clipped steps in 0..1; 0 before the first one."""
        return self.clipped / max(1, self.steps)

    def __str__(self) -> str:
        largest = f", largest norm {max(self.norms):.3g}" if self.norms else ""
        return f"{self.clipped} of {self.steps} steps clipped ({self.share:.1%}){largest}"
