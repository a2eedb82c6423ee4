"""The NumPy twins: every cell, the options of a layer and the loss, written to be read.

The compiled package must equal these modules, and these modules are proved against the complex
step. They import NumPy alone, check nothing, and run in whatever dtype the arrays share: float64
for proofs, float32 to imitate the kernels, complex128 for the complex step.

Words
-----
T time, B batch, I input size, H hidden size, P projection, G gates, L layers, D directions; a
leading d is a gradient.
Slot t of a sequence of states is the state after t steps, so T steps make T+1 slots.

The contract of a cell module: `rnn`, `lstm`, `lstmp`, `gru`, `ugrnn`
--------------------------------------------------------------------
GATES
    Names of the gates in the order of the weights' rows: weight_ih[k*H:(k+1)*H] is GATES[k].
STATES
    ("h", "c") for LSTM and LSTMP, whose state is the tuple (h, c); ("h",) elsewhere, a bare array h.
step(x_t, state, weights, **options) -> state'
forward(x, state, weights, **options) -> (y, state', tape)
backward(tape, dy, dstate) -> (dx, dstate0, dweights)

    x         (T, B, I), or (T, B) integers in 0..I-1 standing for one-hots; x_t is x[t]
    state     h or (h, c), each (B, H); state' after the last step
    weights   weight_ih (G*H, I), weight_hh (G*H, H), bias_ih (G*H,), bias_hh (G*H,): PyTorch's
    y         (T, B, H), the states h after each step
    dy        (T, B, H), gradient of y; dstate is that of state', dstate0 that of state
    dx        as x, or None where x holds integers
    dweights  as weights: gradients summed over time and batch, returned, not accumulated
    options   rnn: nonlinearity="tanh", "relu" or "sigmoid"; gru: reset_after=True or False
    lstmp     is the LSTM with proj_size=P: y and h have P columns, c has H, weight_hh is (4H, P),
              and a fifth weight comes last, weight_hr (P, H)

`tape` is opaque. It refers to the arguments of `forward` without copies: leave them unchanged
until `backward`.

Each cell's docstring holds its equations between the lines EQUATIONS and END: forward F1, F2, ...,
backward in reverse, so that B3 undoes F3, and B0 gathers what needs no loop. The code carries the
labels. The same table, verbatim, heads the C source of a cell that is compiled.

The contract of a layer: `stack`
--------------------------------
forward(cell, x, states, layers, masks=None, *, merge=None, lengths=None, mask=None,
        zero_output_for_mask=None, reset=None, **options) -> (y, states', tape)
backward(tape, dy, dstates) -> (dx, dstates0, dlayers)

    states    as the cell's state, each (L*D, B, H), D directions: layer 0, layer 0 reverse, layer 1,
              ...; where layers differ in width, a list of L arrays (D, B, the layer's H). What is
              returned has the form of what was given, h and c each for itself
    layers    L*D tuples of weights in that order; a layer's width is that of its weights
    masks     L-1 arrays (T, B, D*H), dropout between the layers, on merged outputs
    merge     None: one direction. "concat", "sum", "mul", "ave": two, and how their outputs merge
    lengths   (B,) integers 0..T in any order: row b ends after lengths[b] steps. Behind that nothing
              is read, not even of dy; y and dx are 0. The state returned is the one after the row's
              own last step (the initial one for length 0), and the reverse direction starts there.
              `sequence.pad` makes x and lengths of a list of rows, `sequence.unpad` a list of y
    mask      (T, B) bool, any pattern, Keras's: where False the step is not taken. x is not read, dx
              is 0, the state stays, and y repeats the output of the step before in the direction's
              order, which gets the gradient as well; before the first step taken y is 0
    zero_output_for_mask
              True: y is 0 at every masked step. None, Keras's way: True where there are two
              directions, else False
    reset     (T, B) bool: where reset[t] nothing passes between steps t-1 and t, forward or
              backward, in either direction, whether step t is masked or not: the state is 0 before
              step t, or in the reverse direction before step t-1. What y would repeat is 0 then too.
              reset[0] separates the forward direction from the initial state and does nothing else;
              resets behind a row's end do nothing

Who reads the code goes down: `stack` has the layers, `bidirectional` the directions of one layer,
`sequence` the steps of one direction, and the cell is given only the rows that take a step.

`loss.softmax_cross_entropy(logits, targets)` returns the mean in nats and its gradient; so do the other losses, of
numbers and forecasts in `element_losses` and of labels without an alignment in `ctc`. `embedding` and `attention` have
`forward` and `backward` of the layers that know no time.
"""

from . import (
    attention,
    bidirectional,
    ctc,
    element_losses,
    embedding,
    gru,
    loss,
    lstm,
    lstmp,
    rnn,
    sequence,
    stack,
    ugrnn,
)

__all__ = [
    "attention",
    "bidirectional",
    "ctc",
    "element_losses",
    "embedding",
    "gru",
    "loss",
    "lstm",
    "lstmp",
    "rnn",
    "sequence",
    "stack",
    "ugrnn",
]
