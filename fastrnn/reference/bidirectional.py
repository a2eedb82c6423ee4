"""One layer in two directions, each with states and weights of its own, whose outputs are merged.

EQUATIONS
_f the direction from first to last step, _r the reverse one; flip turns time around

F1  y_f, state'_f = forward(x, state_f)
F2  y_r, state'_r = forward(flip x, state_r)              then  y_r = flip y_r
F3  y = merge(y_f, y_r)
    concat: (y_f y_r)    sum: y_f + y_r    mul: y_f*y_r    ave: (y_f + y_r)/2

B3  concat: (dy_f dy_r) = dy    sum: dy_f = dy_r = dy    mul: dy_f = dy*y_r, dy_r = dy*y_f
    ave: dy_f = dy_r = dy/2
B2  dx_r, dstate_r = backward(flip dy_r, dstate'_r)       then  dx_r = flip dx_r
B1  dx_f, dstate_f = backward(dy_f, dstate'_f)            dx = dx_f + dx_r
END

Where a row ends early, the reverse direction leaves its state alone until it comes to the row's
own last step: so it starts there. An output repeated at a masked step is that of the step before
in the direction's own order, for the reverse one that of step t+1. Keras has zeros there.
"""

import numpy as np

from . import sequence

# Name: (y of the two outputs, the two dy of dy and the two outputs).
MERGES = {
    "concat": (lambda f, r: np.concatenate([f, r], axis=-1), lambda dy, f, r: np.split(dy, 2, axis=-1)),
    "sum": (lambda f, r: f + r, lambda dy, f, r: (dy, dy)),
    "mul": (lambda f, r: f * r, lambda dy, f, r: (dy * r, dy * f)),
    "ave": (lambda f, r: (f + r) / 2, lambda dy, f, r: (dy / 2, dy / 2)),
}


def forward(cell, x, state, weights, steps=None, merge="concat", **options):
    """Run one layer in both directions.

    Parameters
    ----------
    cell : module
        One of the cells of `fastrnn.reference`.
    x : (T, B, I), or (T, B) integers standing for one-hots
    state : (state_f, state_r), each h or (h, c), each (B, H)
    weights : (weights_f, weights_r), each as the cell takes them
    steps : sequence.Steps, or None where every row takes every step
    merge : "concat", "sum", "mul" or "ave"
    options
        The cell's own.

    Returns
    -------
    y : (T, B, 2H) where merge is "concat", else (T, B, H)
    state : as given; state_r is the one after the row's step 0
    tape : what `backward` needs
    """
    y_f, state_f, tape_f = sequence.forward(cell, x, state[0], weights[0], steps, **options)  # F1
    around = sequence.reverse(steps)
    y_r, state_r, tape_r = sequence.forward(cell, x[::-1], state[1], weights[1], around, **options)  # F2
    y_r = y_r[::-1]  # F2
    join, _ = MERGES[merge]
    return join(y_f, y_r), (state_f, state_r), (merge, y_f, y_r, tape_f, tape_r)  # F3


def backward(tape, dy, dstate):
    """Back-propagate through time.

    Parameters
    ----------
    tape : from `forward`
    dy : as y, gradient of y
    dstate : as state, gradient of the final states

    Returns
    -------
    dx : (T, B, I), or None where x held integers
    dstate0 : as state, gradient of the initial states
    dweights : as weights
    """
    merge, y_f, y_r, tape_f, tape_r = tape
    _, part = MERGES[merge]
    dy_f, dy_r = part(dy, y_f, y_r)  # B3
    dx_r, dstate_r, dweights_r = sequence.backward(tape_r, dy_r[::-1], dstate[1])  # B2
    dx_f, dstate_f, dweights_f = sequence.backward(tape_f, dy_f, dstate[0])  # B1
    dx = None if dx_f is None else dx_f + dx_r[::-1]  # B2, B1
    return dx, (dstate_f, dstate_r), (dweights_f, dweights_r)
