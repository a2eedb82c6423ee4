"""LSTMP, the LSTM with a projection: what leaves a step, y and h, is P linear mixtures of H units.

EQUATIONS
x[t] (B, I) input    h[t] (B, P) c[t] (B, H) state after t steps    y[t] = h[t+1] output
W (4H, I)  R (4H, P)  b b' (4H)  S (P, H): weight_ih weight_hh bias_ih bias_hh weight_hr
* elementwise, @ matrix product, dv the gradient of v

F1  u, c[t+1] = the LSTM's step of x[t] and (h[t], c[t])  u (B, H): its h[t+1] = o*tanh(c[t+1])
F2  h[t+1] = u @ S.T

    start: dh, dc = gradients of the final state h[T], c[T]; then t = T-1 .. 0
B2  dh = dh + dy[t]    du = dh @ S    dS = dS + dh.T @ u
B1  dx[t], (dh, dc) = the LSTM's backward of (du, dc)
    end: dh, dc = gradients of the initial state h[0], c[0]
B0  dW, dR, db, db' = sums over t of the LSTM's
END

The cell is PyTorch's LSTM with proj_size=P. Shapes, arguments and returns are the contract in
`fastrnn.reference`.
"""

import numpy as np

from . import lstm

GATES = lstm.GATES
STATES = lstm.STATES


def step(x_t, state, weights):
    """Run one time step: x_t (B, I) or integers (B,); returns the new state."""
    return forward(x_t[None], state, weights)[1]


def forward(x, state, weights):
    """Run over time.

    Parameters
    ----------
    x : (T, B, I), or (T, B) integers standing for one-hots
    state : (h, c), (B, P) and (B, H)
    weights : (weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)

    Returns
    -------
    y : (T, B, P)
    state : (h, c), after the last step
    tape : what `backward` needs; it refers to the arguments, without copies
    """
    *own, weight_hr = weights
    h, c = state
    y, saved = [], []
    for t in range(len(x)):
        _, (u, c), tape = lstm.forward(x[t : t + 1], (h, c), own)  # F1
        h = u @ weight_hr.T  # F2
        y.append(h)
        saved.append((u, tape))
    return np.stack(y), (h, c), (weights, saved)


def backward(tape, dy, dstate):
    """Back-propagate through time.

    Parameters
    ----------
    tape : from `forward`
    dy : (T, B, P), gradient of y
    dstate : (dh, dc), gradient of the final state

    Returns
    -------
    dx : (T, B, I), or None where x held integers
    dstate0 : (dh, dc), gradient of the initial state
    dweights : (dweight_ih, dweight_hh, dbias_ih, dbias_hh, dweight_hr)
    """
    weights, saved = tape
    weight_hr = weights[-1]
    dh, dc = dstate
    dx = [None] * len(saved)
    dweights = [np.zeros_like(weight) for weight in weights]
    for t in reversed(range(len(saved))):
        u, tape_t = saved[t]
        dh = dh + dy[t]  # B2
        du = dh @ weight_hr  # B2
        dweight_hr = dh.T @ u  # B2
        dx[t], (dh, dc), own = lstm.backward(tape_t, np.zeros_like(du[None]), (du, dc))  # B1
        dweights = [total + one for total, one in zip(dweights, (*own, dweight_hr), strict=True)]  # B0
    return None if dx[0] is None else np.concatenate(dx), (dh, dc), tuple(dweights)
