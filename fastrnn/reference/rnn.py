"""Elman network: the state is one nonlinearity of input and previous state.

EQUATIONS
x[t] (B, I) input    h[t] (B, H) state after t steps    y[t] = h[t+1] output
W (H, I)  R (H, H)  b b' (H): weight_ih weight_hh bias_ih bias_hh
* elementwise, @ matrix product, s logistic, dv the gradient of v

F1  a      = x[t] @ W.T + b + h[t] @ R.T + b'             (B, H)
F2  h[t+1] = f(a)         f(a): tanh(a), relu: max(a, 0), sigmoid: s(a)

    start: dh = gradient of the final state h[T]; then t = T-1 .. 0
B2  dh = dh + dy[t]    da = dh*f'(a)    with v = h[t+1], f'(a) is
    tanh: 1 - v*v    relu: 1 where v > 0, else 0    sigmoid: v*(1 - v)
B1  dh = da @ R
    end: dh = gradient of the initial state h[0]
B0  dx[t] = da[t] @ W    dW = sum_t da[t].T @ x[t]    dR = sum_t da[t].T @ h[t]
    db = db' = sum of da over t and B
END

Shapes, arguments and returns are the contract in `fastrnn.reference`.
"""

import numpy as np

from .common import logistic, project, project_backward, sum_outer

GATES = ("h",)
STATES = ("h",)

# Name: (f of the pre-activation, f' as a function of f's own value). The relu looks at real parts
# only, so that it stays analytic away from its kink; a NaN passes through.
NONLINEARITIES = {
    "tanh": (np.tanh, lambda v: 1 - v * v),
    "relu": (lambda a: np.where(a.real <= 0, 0, a), lambda v: v.real > 0),
    "sigmoid": (logistic, lambda v: v * (1 - v)),
}


def step(x_t, state, weights, nonlinearity="tanh"):
    """Run one time step: x_t (B, I) or integers (B,); returns the new state."""
    return forward(x_t[None], state, weights, nonlinearity)[1]


def forward(x, state, weights, nonlinearity="tanh"):
    """Run over time.

    Parameters
    ----------
    x : (T, B, I), or (T, B) integers standing for one-hots
    state : (B, H)
    weights : (weight_ih, weight_hh, bias_ih, bias_hh)
    nonlinearity : "tanh", "relu" or "sigmoid"

    Returns
    -------
    y : (T, B, H)
    state : (B, H), after the last step
    tape : what `backward` needs; it refers to the arguments, without copies
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    f, _ = NONLINEARITIES[nonlinearity]
    p = project(x, weight_ih) + bias_ih
    h = [state]  # slot t: after t steps
    for t in range(len(x)):
        a = p[t] + h[t] @ weight_hh.T + bias_hh  # F1
        h.append(f(a))  # F2
    return np.stack(h[1:]), h[-1], (x, weights, h, nonlinearity)


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
    x, (weight_ih, weight_hh, _, _), h, nonlinearity = tape
    _, derivative = NONLINEARITIES[nonlinearity]
    dh = dstate
    da = [None] * len(x)
    for t in reversed(range(len(x))):
        dh = dh + dy[t]  # B2
        da[t] = dh * derivative(h[t + 1])  # B2
        dh = da[t] @ weight_hh  # B1
    da = np.stack(da)
    dx, dweight_ih = project_backward(x, weight_ih, da)  # B0
    dweight_hh = sum_outer(da, np.stack(h[:-1]))  # B0
    dbias = da.sum(axis=(0, 1))  # B0
    return dx, dh, (dweight_ih, dweight_hh, dbias, dbias.copy())
