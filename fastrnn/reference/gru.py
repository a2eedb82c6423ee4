"""GRU, gated recurrent unit, with the reset gate applied after or before the recurrent product.

EQUATIONS
x[t] (B, I) input    h[t] (B, H) state after t steps    y[t] = h[t+1] output
W (3H, I)  R (3H, H)  b b' (3H): weight_ih weight_hh bias_ih bias_hh, gate order r z n
* elementwise, @ matrix product, s logistic, dv the gradient of v, parts p_r p_z p_n and so on
lines marked a: reset_after=True (PyTorch, cuDNN); b: reset_after=False (Cho 2014, ONNX default)

F1  p      = x[t] @ W.T + b                               (B, 3H)
F2  r = s(p_r + h[t] @ R_r.T + b'_r)    z = s(p_z + h[t] @ R_z.T + b'_z)
F3a q      = h[t] @ R_n.T + b'_n
F3b q      = (r*h[t]) @ R_n.T + b'_n
F4a n      = tanh(p_n + r*q)
F4b n      = tanh(p_n + q)
F5  h[t+1] = (1 - z)*n + z*h[t]

    start: dh = gradient of the final state h[T]; then t = T-1 .. 0
B5  dh = dh + dy[t]    dn = dh*(1 - z)    dz = dh*(h[t] - n)    then  dh = dh*z
B4  dp_n = dn*(1 - n*n)
B4a dq = dp_n*r    dr = dp_n*q
B4b dq = dp_n
B3a dh = dh + dq @ R_n
B3b dk = dq @ R_n    dr = dk*h[t]    dh = dh + dk*r       k = r*h[t]
B2  dp_r = dr*r*(1 - r)    dp_z = dz*z*(1 - z)
B1  dh = dh + dp_r @ R_r + dp_z @ R_z
    end: dh = gradient of the initial state h[0]
B0  dx[t] = dp[t] @ W    dW = sum_t dp[t].T @ x[t]    db = sum of dp over t and B
    dR_r, dR_z = sum_t dp_r[t].T @ h[t], dp_z[t].T @ h[t]    db' = sum of (dp_r dp_z dq)
    dR_n = sum_t dq[t].T @ h[t] (a) or sum_t dq[t].T @ (r*h[t]) (b)
END

Many courses write the blend as (1 - z)*h + z*n: their z is 1 minus ours, so their W_z, R_z, b_z
and b'_z are ours negated. Shapes, arguments and returns are the contract in `fastrnn.reference`.
"""

import numpy as np

from .common import logistic, project, project_backward, sum_outer

GATES = ("r", "z", "n")
STATES = ("h",)


def step(x_t, state, weights, reset_after=True):
    """Run one time step: x_t (B, I) or integers (B,); returns the new state."""
    return forward(x_t[None], state, weights, reset_after)[1]


def forward(x, state, weights, reset_after=True):
    """Run over time.

    Parameters
    ----------
    x : (T, B, I), or (T, B) integers standing for one-hots
    state : (B, H)
    weights : (weight_ih, weight_hh, bias_ih, bias_hh)
    reset_after : bool

    Returns
    -------
    y : (T, B, H)
    state : (B, H), after the last step
    tape : what `backward` needs; it refers to the arguments, without copies
    """
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    R_r, R_z, R_n = np.split(weight_hh, 3)
    b_r, b_z, b_n = np.split(bias_hh, 3)
    p = project(x, weight_ih) + bias_ih  # F1
    h = [state]  # slot t: after t steps
    saved = []
    for t in range(len(x)):
        p_r, p_z, p_n = np.split(p[t], 3, axis=-1)
        r = logistic(p_r + h[t] @ R_r.T + b_r)  # F2
        z = logistic(p_z + h[t] @ R_z.T + b_z)  # F2
        if reset_after:
            q = h[t] @ R_n.T + b_n  # F3a
            n = np.tanh(p_n + r * q)  # F4a
        else:
            q = (r * h[t]) @ R_n.T + b_n  # F3b
            n = np.tanh(p_n + q)  # F4b
        h.append((1 - z) * n + z * h[t])  # F5
        saved.append((r, z, q, n))
    return np.stack(h[1:]), h[-1], (x, weights, h, saved, reset_after)


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
    x, (weight_ih, weight_hh, _, _), h, saved, reset_after = tape
    R_r, R_z, R_n = np.split(weight_hh, 3)
    dh = dstate
    dp_r, dp_z, dp_n, dq, k = ([None] * len(x) for _ in range(5))  # k: what R_n multiplied
    for t in reversed(range(len(x))):
        r, z, q, n = saved[t]
        dh = dh + dy[t]  # B5
        dn, dz, dh = dh * (1 - z), dh * (h[t] - n), dh * z  # B5
        dp_n[t] = dn * (1 - n * n)  # B4
        if reset_after:
            dq[t], dr = dp_n[t] * r, dp_n[t] * q  # B4a
            dh, k[t] = dh + dq[t] @ R_n, h[t]  # B3a
        else:
            dq[t] = dp_n[t]  # B4b
            dk = dq[t] @ R_n  # B3b
            dr, dh, k[t] = dk * h[t], dh + dk * r, r * h[t]  # B3b
        dp_r[t], dp_z[t] = dr * r * (1 - r), dz * z * (1 - z)  # B2
        dh = dh + dp_r[t] @ R_r + dp_z[t] @ R_z  # B1
    dp_rz = np.concatenate([dp_r, dp_z], axis=-1)
    dp = np.concatenate([dp_rz, dp_n], axis=-1)
    dx, dweight_ih = project_backward(x, weight_ih, dp)  # B0
    dR_rz = sum_outer(dp_rz, np.stack(h[:-1]))  # B0
    dR_n = sum_outer(np.stack(dq), np.stack(k))  # B0
    dbias_hh = np.concatenate([dp_rz, dq], axis=-1).sum(axis=(0, 1))  # B0
    dweights = (dweight_ih, np.concatenate([dR_rz, dR_n]), dp.sum(axis=(0, 1)), dbias_hh)
    return dx, dh, dweights
