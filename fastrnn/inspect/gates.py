"""What a run computed: gates and states, and how often a gate was nearly closed or open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check
from fastrnn.layers import Recurrent, Tape
from fastrnn.module import FloatArray

from .walks import Flags, gated_walks, place_name


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
    for walk in gated_walks("inspect.activations", tape):
        states = {kind: walk.placed(rows) for kind, rows in walk.states(after=True).items()}
        gates = {gate: walk.placed(rows) for gate, rows in walk.gates().items()}
        reverse, taken = walk.direction == 1, walk.grid >= 0
        found.append(Activations(walk.number, reverse, gates, states["h"], states.get("c"), taken))
    return found


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
        return f"{place_name(self.layer, self.reverse)}, gate {self.gate}: {shares}"


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
    for walk in gated_walks(who, tape):
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
