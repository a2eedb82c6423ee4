"""An embedding: a row of a matrix for every index.

EQUATIONS
i (...) integers in 0..V-1, W (V, E)

F1  y = W[i]
B1  dW[v] = sum of dy wherever i = v; 0 for v = padding
END
"""

import numpy as np


def forward(indices, weight):
    """Return y (..., E) of indices (...) and weight (V, E)."""
    return weight[indices]  # F1


def backward(indices, weight, dy, padding_index=None):
    """Return dweight (V, E) of dy (..., E)."""
    dweight = np.zeros(weight.shape, dtype=dy.dtype)
    np.add.at(dweight, indices, dy)  # B1
    if padding_index is not None:
        dweight[padding_index] = 0
    return dweight
