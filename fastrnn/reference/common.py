"""What every cell shares: the logistic function, the input product, the gradient sums, states as parts.

Nothing here compares or takes magnitudes, so every function is analytic and accepts complex
arrays: the gradient tests differentiate by the complex step.
"""

import numpy as np


def logistic(a):
    """1 / (1 + exp(-a)), elementwise, for real or complex `a`.

    Where exp(-a) overflows the quotient is 0, which is the right limit: only the warning is muted.
    """
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-a))


def parts(state):
    """The arrays of a state, h or (h, c), as a tuple either way."""
    return state if isinstance(state, tuple) else (state,)


def from_parts(arrays):
    """Undo `parts`."""
    arrays = tuple(arrays)
    return arrays if len(arrays) > 1 else arrays[0]


def is_index(x):
    """Tell whether `x` holds integers, each standing for a one-hot row."""
    return np.issubdtype(x.dtype, np.integer)


def project(x, weight_ih):
    """Multiply all inputs by the input weights at once: x @ W.T.

    Parameters
    ----------
    x : (T, B, I) floating, or (T, B) integers
        Integers in 0..I-1 are one-hots: a product with a one-hot is a column of the weight.
    weight_ih : (G*H, I)

    Returns
    -------
    (T, B, G*H)
    """
    return weight_ih.T[x] if is_index(x) else x @ weight_ih.T


def project_backward(x, weight_ih, da):
    """Gradients of `project` for an upstream gradient `da` (T, B, G*H).

    Returns
    -------
    dx : (T, B, I), or None where `x` holds integers
    dweight_ih : (G*H, I)
    """
    if is_index(x):
        dweight_ih = np.zeros(weight_ih.shape, dtype=da.dtype)
        np.add.at(dweight_ih.T, x, da)  # an index met twice adds twice
        return None, dweight_ih
    return da @ weight_ih, sum_outer(da, x)


def sum_outer(da, v):
    """Sum over time and batch of da[t, b] (outer) v[t, b], as one matrix product.

    Parameters
    ----------
    da : (T, B, M)
    v : (T, B, K)

    Returns
    -------
    (M, K)
    """
    return da.reshape(-1, da.shape[-1]).T @ v.reshape(-1, v.shape[-1])
