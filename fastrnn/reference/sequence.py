"""One layer in one direction over rows that may end early, sit steps out, or start again.

A cell knows nothing of this: at each step it is given only the rows that take the step.

EQUATIONS
x[t] (B, I) input    state[t] (B, H), h and for the LSTM c, after t steps    y[t] (B, H) output
alive[t] (B) bool: the row takes step t    fresh[t] (B) bool: its state is 0 before step t
shown[t] (B) bool: y[t] is the newest output, not 0; never before the row's first step
"where" chooses rows; what is not chosen is not read, so NaN in it goes nowhere

F1  state[t] = 0 where fresh[t]
F2  state[t+1] = cell(x[t], state[t]) where alive[t], else state[t]
F3  y[t] = h[t+1] where shown[t], else 0

    start: dstate = gradient of the final state; then t = T-1 .. 0
B3  dh = dh + dy[t] where shown[t]
B2  dx[t], dstate = the cell's backward of dstate where alive[t], else 0, dstate
B1  dstate = 0 where fresh[t]
    end: dstate = gradient of the initial state
B0  dweights = sum over t of the cell's
END

Why F3 is all that a masked step needs: its state is left as it was, so h[t+1] is still the output
of the step before. Only where the row has had no step yet is h[t+1] the initial state, no output.
"""

from typing import NamedTuple

import numpy as np

from .common import from_parts, is_index, parts


class Steps(NamedTuple):
    """What each row does at each step, (T, B) bool each: see the equations."""

    alive: np.ndarray
    fresh: np.ndarray
    shown: np.ndarray  # before it is known where a row's first step is, which depends on direction


def plan(time, batch, lengths=None, mask=None, zero_output_for_mask=False, reset=None):
    """Say what each row does at each step.

    Parameters
    ----------
    time, batch : int
    lengths : (B,) integers in 0..T, any order, optional
        Row b has lengths[b] steps; what comes after is padding.
    mask : (T, B) bool, optional
        False: the row does not take the step; its state stays, its output is that of the step
        before (0 before its first step).
    zero_output_for_mask : bool
        The output of a masked step is 0 instead.
    reset : (T, B) bool, optional
        True: nothing passes between steps t-1 and t, masked or not: the state is 0 before step t.

    Returns
    -------
    Steps, or None where every row takes every step
    """
    if lengths is None and mask is None and reset is None:
        return None
    everywhere = np.ones((time, batch), dtype=bool)
    inside = everywhere if lengths is None else np.arange(time)[:, None] < np.asarray(lengths)
    alive = inside if mask is None else inside & mask
    fresh = ~everywhere if reset is None else inside & reset
    return Steps(alive, fresh, alive if zero_output_for_mask else inside)


def reverse(steps):
    """The same steps from last to first; with lengths, each row then starts at its own end.

    A reset between steps t-1 and t now comes before step t-1, which is the later one. A reset
    before step 0 separates that step from the initial state only, so there is none here.
    """
    if steps is None:
        return None
    alive, fresh, shown = steps
    fresh = np.concatenate([fresh[1:], np.zeros_like(fresh[:1])])
    return Steps(alive[::-1], fresh[::-1], shown[::-1])


def forward(cell, x, state, weights, steps=None, **options):
    """Run one layer over time.

    Parameters
    ----------
    cell : module
        One of the cells of `fastrnn.reference`.
    x : (T, B, I), or (T, B) integers standing for one-hots
    state : h or (h, c), each (B, H)
    weights : as the cell takes them
    steps : Steps, or None where every row takes every step
    options
        The cell's own.

    Returns
    -------
    y : (T, B, H)
    state : as given, after the row's last step: the initial one where it has none
    tape : what `backward` needs
    """
    if steps is None:  # the cell's own loop over time
        y, state, tape = cell.forward(x, state, weights, **options)
        return y, state, (cell, x, weights, None, tape)
    steps = steps._replace(shown=steps.shown & np.logical_or.accumulate(steps.alive))
    alive, fresh, shown = steps
    y, tapes = [], []
    for t in range(len(x)):
        rows = np.flatnonzero(alive[t])
        state = choose(~fresh[t], state)  # F1
        _, after, tape = cell.forward(x[t : t + 1, rows], take(state, rows), weights, **options)  # F2
        state = put(state, rows, after)  # F2
        y.append(choose(shown[t], parts(state)[0]))  # F3
        tapes.append(tape)
    return np.stack(y), state, (cell, x, weights, steps, tapes)


def backward(tape, dy, dstate):
    """Back-propagate through time.

    Parameters
    ----------
    tape : from `forward`
    dy : (T, B, H), gradient of y; read only where y is shown
    dstate : as state, gradient of the final state

    Returns
    -------
    dx : (T, B, I), 0 where the row does not take the step; None where x held integers
    dstate0 : as state, gradient of the initial state
    dweights : as weights
    """
    cell, x, weights, steps, tapes = tape
    if steps is None:
        return cell.backward(tapes, dy, dstate)
    alive, fresh, shown = steps
    dx = None if is_index(x) else np.zeros_like(x)
    dweights = [np.zeros_like(weight) for weight in weights]
    for t in reversed(range(len(x))):
        rows = np.flatnonzero(alive[t])
        dh, *rest = parts(dstate)
        dstate = from_parts([dh + choose(shown[t], dy[t]), *rest])  # B3
        nothing = np.zeros_like(dh[None, rows])  # dy is in dh by now
        dx_t, before, dweights_t = cell.backward(tapes[t], nothing, take(dstate, rows))  # B2
        if dx is not None:
            dx[t, rows] = dx_t[0]  # B2
        dstate = choose(~fresh[t], put(dstate, rows, before))  # B2, B1
        dweights = [total + one for total, one in zip(dweights, dweights_t, strict=True)]  # B0
    return dx, dstate, tuple(dweights)


def choose(where, state):
    """The chosen rows, zeros elsewhere."""
    return from_parts([np.where(where[:, None], part, 0) for part in parts(state)])


def take(state, rows):
    """Only these rows, in this order."""
    return from_parts([part[rows] for part in parts(state)])


def put(state, rows, values):
    """A copy in which these rows are `values`."""
    copies = [part.copy() for part in parts(state)]
    for copy, value in zip(copies, parts(values), strict=True):
        copy[rows] = value
    return from_parts(copies)


def pad(rows):
    """Lay B arrays (T_b, ...) side by side: (T, B, ...), 0 behind their ends, and lengths (B,)."""
    lengths = np.array([len(row) for row in rows])
    x = np.zeros((lengths.max(), len(rows), *rows[0].shape[1:]), dtype=rows[0].dtype)
    for b, row in enumerate(rows):
        x[: len(row), b] = row
    return x, lengths


def unpad(y, lengths):
    """Undo `pad`."""
    return [y[:length, b] for b, length in enumerate(lengths)]
