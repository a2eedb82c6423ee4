"""The NumPy twins: every cell, the stack and the loss, written to be read.

The compiled package must equal these modules, and these modules are proved against the complex
step. They import NumPy alone, check nothing, and run in whatever dtype the arrays share: float64
for proofs, float32 to imitate the kernels, complex128 for the complex step.

Words
-----
T time, B batch, I input size, H hidden size, G gates, L layers; a leading d is a gradient.
Slot t of a sequence of states is the state after t steps, so T steps make T+1 slots.

The contract of a cell module: `rnn`, `lstm`, `gru`, `ugrnn`
-------------------------------------------------------------
GATES
    Names of the gates in the order of the weights' rows: weight_ih[k*H:(k+1)*H] is GATES[k].
STATES
    ("h", "c") for the LSTM, whose state is the tuple (h, c); ("h",) elsewhere, a bare array h.
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

`tape` is opaque. It refers to the arguments of `forward` without copies: leave them unchanged
until `backward`.

Each cell's docstring holds its equations between the lines EQUATIONS and END: forward F1, F2, ...,
backward in reverse, so that B3 undoes F3, and B0 gathers what needs no loop. The code carries the
labels. The same table, verbatim, heads the cell's C source.

`stack.forward(cell, x, states, layers, masks=None, **options)` and
`stack.backward(tape, dy, dstates)` run L layers, their states stacked to (L, B, H);
`loss.softmax_cross_entropy(logits, targets)` returns the mean in nats and its gradient.
"""

from . import gru, loss, lstm, rnn, stack, ugrnn

__all__ = ["gru", "loss", "lstm", "rnn", "stack", "ugrnn"]
