"""Layers over a cell: each layer reads the outputs of the one below it.

EQUATIONS
l = 0 .. L-1 layer, x_0 = x, masks[l] (T, B, H) dropout between layers l and l+1, 1 if absent

F1  y_l, state'_l = cell.forward(x_l, state_l)
F2  x_(l+1) = y_l * masks[l]                              y = y_(L-1)
B2  dy_l = dx_(l+1) * masks[l]                            dy_(L-1) = dy
B1  dx_l, dstate_l = cell.backward(dy_l, dstate'_l)       dx = dx_0
END
"""

import numpy as np


def forward(cell, x, states, layers, masks=None, **options):
    """Run a stack of layers over time.

    Parameters
    ----------
    cell : module
        One of the cells of `fastrnn.reference`.
    x : (T, B, I), or (T, B) integers standing for one-hots
    states : h, or (h, c) for the LSTM, each (L, B, H)
    layers : sequence of L tuples (weight_ih, weight_hh, bias_ih, bias_hh)
    masks : sequence of L-1 arrays (T, B, H), optional
        Multiplied to the output of every layer but the last. Inverted dropout with probability p
        has entries 0 and 1/(1 - p).
    options
        The cell's own: `nonlinearity`, `reset_after`.

    Returns
    -------
    y : (T, B, H), of the last layer
    states : as given, each (L, B, H), after the last step
    tape : what `backward` needs
    """
    tapes, finals = [], []
    for layer, (state, weights) in enumerate(zip(unstack(cell, states), layers, strict=True)):
        if layer > 0 and masks is not None:
            x = x * masks[layer - 1]  # F2
        x, final, tape = cell.forward(x, state, weights, **options)  # F1
        tapes.append(tape)
        finals.append(final)
    return x, restack(cell, finals), (cell, tapes, masks)


def backward(tape, dy, dstates):
    """Back-propagate through time and through the layers.

    Parameters
    ----------
    tape : from `forward`
    dy : (T, B, H), gradient of y
    dstates : as states, each (L, B, H), gradient of the final states

    Returns
    -------
    dx : (T, B, I), or None where x held integers
    dstates0 : as states, each (L, B, H), gradient of the initial states
    dlayers : list of L tuples (dweight_ih, dweight_hh, dbias_ih, dbias_hh)
    """
    cell, tapes, masks = tape
    dstates = unstack(cell, dstates)
    dinitials, dlayers = [None] * len(tapes), [None] * len(tapes)
    for layer in reversed(range(len(tapes))):
        dx, dinitials[layer], dlayers[layer] = cell.backward(tapes[layer], dy, dstates[layer])  # B1
        if layer > 0:
            dy = dx if masks is None else dx * masks[layer - 1]  # B2
    return dx, restack(cell, dinitials), dlayers


def unstack(cell, states):
    """Turn h or (h, c), each (L, B, H), into a list of the layers' own states, each (B, H)."""
    return list(states) if len(cell.STATES) == 1 else list(zip(*states, strict=True))


def restack(cell, states):
    """Undo `unstack`."""
    if len(cell.STATES) == 1:
        return np.stack(states)
    return tuple(np.stack(parts) for parts in zip(*states, strict=True))
