"""Layers over a cell: each layer reads the outputs of the one below it.

EQUATIONS
l = 0 .. L-1 layer, x_0 = x, masks[l] as y_l, dropout between layers l and l+1, 1 if absent

F1  y_l, state'_l = forward(x_l, state_l)                 the cell's, in one direction or two
F2  x_(l+1) = y_l * masks[l]                              y = y_(L-1)
B2  dy_l = dx_(l+1) * masks[l]                            dy_(L-1) = dy
B1  dx_l, dstate_l = backward(dy_l, dstate'_l)            dx = dx_0
END
"""

from itertools import chain

import numpy as np

from . import bidirectional, sequence
from .common import from_parts, parts


def forward(
    cell,
    x,
    states,
    layers,
    masks=None,
    *,
    merge=None,
    lengths=None,
    mask=None,
    zero_output_for_mask=None,
    reset=None,
    **options,
):
    """Run a stack of layers over time.

    Parameters
    ----------
    cell : module
        One of the cells of `fastrnn.reference`.
    x : (T, B, I), or (T, B) integers standing for one-hots
    states : h, or (h, c) for the LSTM and the LSTMP
        Each is an array (L*D, B, H), D = 1 direction or 2: layer 0, layer 0 reverse, layer 1, ...
        Where layers differ in width it is a list of L arrays (D, B, the layer's H).
    layers : sequence of L*D tuples of weights in the same order
    masks : sequence of L-1 arrays, as the outputs of the layers, optional
        Multiplied to the (merged) output of every layer but the last. Inverted dropout with
        probability p has entries 0 and 1/(1 - p).
    merge : "concat", "sum", "mul" or "ave", optional
        How to merge the outputs of two directions; None for one direction.
    lengths, mask, zero_output_for_mask, reset
        Which steps the rows take, the same in all layers: see `sequence.plan`. Without a word on
        zero_output_for_mask it is what it is in Keras: True for two directions, False for one.
    **options
        The cell's own: `nonlinearity`, `reset_after`.

    Returns
    -------
    y : (T, B, H) of the last layer, or (T, B, 2H) where merge is "concat"
    states : as given, after each row's last step
    tape : what `backward` needs
    """
    if zero_output_for_mask is None:
        zero_output_for_mask = merge is not None
    steps = sequence.plan(*x.shape[:2], lengths, mask, zero_output_for_mask, reset)
    run, directions = sequence, 1
    if merge is not None:
        run, directions, options = bidirectional, 2, {"merge": merge, **options}
    tapes, finals = [], []
    of_layers = zip(unstack(cell, states, directions), grouped(layers, directions), strict=True)
    for layer, (state, weights) in enumerate(of_layers):
        if layer > 0 and masks is not None:
            x = x * masks[layer - 1]  # F2
        x, final, tape = run.forward(cell, x, state, weights, steps, **options)  # F1
        tapes.append(tape)
        finals.append(final)
    return x, restack(cell, states, finals, directions), (cell, run, directions, tapes, masks)


def backward(tape, dy, dstates):
    """Back-propagate through time and through the layers.

    Parameters
    ----------
    tape : from `forward`
    dy : as y, gradient of y; not read where the plan of the steps makes y 0
    dstates : as states, gradient of the final states

    Returns
    -------
    dx : (T, B, I), 0 where a row does not take a step; None where x held integers
    dstates0 : as dstates, gradient of the initial states
    dlayers : list of L*D tuples, as layers
    """
    cell, run, directions, tapes, masks = tape
    dstate = unstack(cell, dstates, directions)
    dinitials, dlayers = [None] * len(tapes), [None] * len(tapes)
    for layer in reversed(range(len(tapes))):
        dx, dinitials[layer], dlayers[layer] = run.backward(tapes[layer], dy, dstate[layer])  # B1
        if layer > 0:
            dy = dx if masks is None else dx * masks[layer - 1]  # B2
    return dx, restack(cell, dstates, dinitials, directions), ungrouped(dlayers, directions)


def grouped(items, directions):
    """Make one item a layer of one a layer and direction: itself, or a pair of two."""
    items = list(items)
    return items if directions == 1 else list(zip(items[::2], items[1::2], strict=True))


def ungrouped(items, directions):
    """Undo `grouped`."""
    return items if directions == 1 else [item for pair in items for item in pair]


def unstack(cell, states, directions):
    """Turn the caller's states into one a layer: h or (h, c), each (B, H), or a pair of such."""
    kinds = [kind if is_stacked(kind) else chain.from_iterable(kind) for kind in of_kinds(cell, states)]
    return grouped(map(from_parts, zip(*kinds, strict=True)), directions)


def restack(cell, states, of_layers, directions):
    """Undo `unstack`, in the form of the caller's states."""

    def as_given(kind, own):
        if is_stacked(kind):
            return np.stack(own)
        return [np.stack(own[first : first + directions]) for first in range(0, len(own), directions)]

    results = zip(*map(parts, ungrouped(of_layers, directions)), strict=True)
    return from_parts(map(as_given, of_kinds(cell, states), results))


def of_kinds(cell, states):
    """The caller's h, or his h and c."""
    return [states] if len(cell.STATES) == 1 else states


def is_stacked(kind):
    """Tell an array (L*D, B, H) from a list of L arrays (D, B, the layer's H)."""
    return isinstance(kind, np.ndarray)
