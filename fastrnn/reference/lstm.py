"""LSTM, long short-term memory: a cell c that gates write, keep and read.

EQUATIONS
x[t] (B, I) input    h[t] c[t] (B, H) state after t steps    y[t] = h[t+1] output
W (4H, I)  R (4H, H)  b b' (4H): weight_ih weight_hh bias_ih bias_hh, gate order i f g o
* elementwise, @ matrix product, s logistic, dv the gradient of v

F1  a      = x[t] @ W.T + b + h[t] @ R.T + b'             (B, 4H), parts a_i a_f a_g a_o
F2  i = s(a_i)    f = s(a_f)    g = tanh(a_g)    o = s(a_o)
F3  c[t+1] = f*c[t] + i*g
F4  m      = tanh(c[t+1])
F5  h[t+1] = o*m

    start: dh, dc = gradients of the final state h[T], c[T]; then t = T-1 .. 0
B5  dh = dh + dy[t]    do = dh*m    dm = dh*o
B4  dc = dc + dm*(1 - m*m)
B3  di = dc*g    df = dc*c[t]    dg = dc*i    then  dc = dc*f
B2  da_i = di*i*(1 - i)    da_f = df*f*(1 - f)    da_g = dg*(1 - g*g)    da_o = do*o*(1 - o)
B1  dh = da @ R
    end: dh, dc = gradients of the initial state h[0], c[0]
B0  dx[t] = da[t] @ W    dW = sum_t da[t].T @ x[t]    dR = sum_t da[t].T @ h[t]
    db = db' = sum of da over t and B
END

Shapes, arguments and returns are the contract in `fastrnn.reference`.
"""

import numpy as np

from .common import logistic, project, project_backward, sum_outer

GATES = ("i", "f", "g", "o")
STATES = ("h", "c")


def step(x_t, state, weights):
    """Run one time step: x_t (B, I) or integers (B,); returns the new state."""
    return forward(x_t[None], state, weights)[1]


def forward(x, state, weights):
    """Run over time.

    Parameters
    ----------
    x : (T, B, I), or (T, B) integers standing for one-hots
    state : (h, c), each (B, H)
    weights : (weight_ih, weight_hh, bias_ih, bias_hh)

    Returns
    -------
    y : (T, B, H)
    state : (h, c), each (B, H), after the last step
    tape : what `backward` needs; it refers to the arguments, without copies
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    p = project(x, weight_ih) + bias_ih
    h, c = [state[0]], [state[1]]  # slot t: after t steps
    saved = []
    for t in range(len(x)):
        a = p[t] + h[t] @ weight_hh.T + bias_hh  # F1
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=-1)
        i, f, g, o = logistic(a_i), logistic(a_f), np.tanh(a_g), logistic(a_o)  # F2
        c.append(f * c[t] + i * g)  # F3
        m = np.tanh(c[t + 1])  # F4
        h.append(o * m)  # F5
        saved.append((i, f, g, o, m))
    return np.stack(h[1:]), (h[-1], c[-1]), (x, weights, h, c, saved)


def backward(tape, dy, dstate):
    """Back-propagate through time.

    Parameters
    ----------
    tape : from `forward`
    dy : (T, B, H), gradient of y
    dstate : (dh, dc), each (B, H), gradient of the final state

    Returns
    -------
    dx : (T, B, I), or None where x held integers
    dstate0 : (dh, dc), each (B, H), gradient of the initial state
    dweights : (dweight_ih, dweight_hh, dbias_ih, dbias_hh)
    """
    x, (weight_ih, weight_hh, _, _), h, c, saved = tape
    dh, dc = dstate
    da = [None] * len(x)
    for t in reversed(range(len(x))):
        i, f, g, o, m = saved[t]
        dh = dh + dy[t]  # B5
        do, dm = dh * m, dh * o  # B5
        dc = dc + dm * (1 - m * m)  # B4
        di, df, dg, dc = dc * g, dc * c[t], dc * i, dc * f  # B3
        da_i, da_f = di * i * (1 - i), df * f * (1 - f)  # B2
        da_g, da_o = dg * (1 - g * g), do * o * (1 - o)  # B2
        da[t] = np.concatenate([da_i, da_f, da_g, da_o], axis=-1)
        dh = da[t] @ weight_hh  # B1
    da = np.stack(da)
    dx, dweight_ih = project_backward(x, weight_ih, da)  # B0
    dweight_hh = sum_outer(da, np.stack(h[:-1]))  # B0
    dbias = da.sum(axis=(0, 1))  # B0
    return dx, (dh, dc), (dweight_ih, dweight_hh, dbias, dbias.copy())
