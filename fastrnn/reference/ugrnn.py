"""UGRNN, update-gate network: one gate blends the old state with a candidate.

EQUATIONS
x[t] (B, I) input    h[t] (B, H) state after t steps    y[t] = h[t+1] output
W (2H, I)  R (2H, H)  b b' (2H): weight_ih weight_hh bias_ih bias_hh, gate order g c
* elementwise, @ matrix product, s logistic, dv the gradient of v

F1  a      = x[t] @ W.T + b + h[t] @ R.T + b'             (B, 2H), parts a_g a_c
F2  g = s(a_g)    c = tanh(a_c)
F3  h[t+1] = g*h[t] + (1 - g)*c

    start: dh = gradient of the final state h[T]; then t = T-1 .. 0
B3  dh = dh + dy[t]    dg = dh*(h[t] - c)    dc = dh*(1 - g)    then  dh = dh*g
B2  da_g = dg*g*(1 - g)    da_c = dc*(1 - c*c)
B1  dh = dh + da @ R
    end: dh = gradient of the initial state h[0]
B0  dx[t] = da[t] @ W    dW = sum_t da[t].T @ x[t]    dR = sum_t da[t].T @ h[t]
    db = db' = sum of da over t and B
END

Shapes, arguments and returns are the contract in `fastrnn.reference`.
"""

import numpy as np

from .common import logistic, project, project_backward, sum_outer

GATES = ("g", "c")
STATES = ("h",)


def step(x_t, state, weights):
    """Run one time step: x_t (B, I) or integers (B,); returns the new state."""
    return forward(x_t[None], state, weights)[1]


def forward(x, state, weights):
    """Run over time.

    Parameters
    ----------
    x : (T, B, I), or (T, B) integers standing for one-hots
    state : (B, H)
    weights : (weight_ih, weight_hh, bias_ih, bias_hh)

    Returns
    -------
    y : (T, B, H)
    state : (B, H), after the last step
    tape : what `backward` needs; it refers to the arguments, without copies
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    p = project(x, weight_ih) + bias_ih
    h = [state]  # slot t: after t steps
    saved = []
    for t in range(len(x)):
        a = p[t] + h[t] @ weight_hh.T + bias_hh  # F1
        a_g, a_c = np.split(a, 2, axis=-1)
        g, c = logistic(a_g), np.tanh(a_c)  # F2
        h.append(g * h[t] + (1 - g) * c)  # F3
        saved.append((g, c))
    return np.stack(h[1:]), h[-1], (x, weights, h, saved)


def backward(tape, dy, dstate):
    """Back-propagate through time.

    Parameters
    ----------
    tape : from `forward`
    dy : (T, B, H), gradient of y
    dstate : (B, H), gradient of the final state

    Returns
    -------
    dx : (T, B, I), or None where x held integers
    dstate0 : (B, H), gradient of the initial state
    dweights : (dweight_ih, dweight_hh, dbias_ih, dbias_hh)
    """
    x, (weight_ih, weight_hh, _, _), h, saved = tape
    dh = dstate
    da = [None] * len(x)
    for t in reversed(range(len(x))):
        g, c = saved[t]
        dh = dh + dy[t]  # B3
        dg, dc, dh = dh * (h[t] - c), dh * (1 - g), dh * g  # B3
        da_g, da_c = dg * g * (1 - g), dc * (1 - c * c)  # B2
        da[t] = np.concatenate([da_g, da_c], axis=-1)
        dh = dh + da[t] @ weight_hh  # B1
    da = np.stack(da)
    dx, dweight_ih = project_backward(x, weight_ih, da)  # B0
    dweight_hh = sum_outer(da, np.stack(h[:-1]))  # B0
    dbias = da.sum(axis=(0, 1))  # B0
    return dx, dh, (dweight_ih, dweight_hh, dbias, dbias.copy())
