"""Softmax cross-entropy over the last axis, and its gradient.

EQUATIONS
logits (..., V), targets (...) integers, N = number of targets, p = softmax of a row of logits

F1  e    = exp(logits - max(logits))                      shift: no overflow, p unchanged
F2  p    = e / sum(e)
F3  loss = -mean(log p[target])                           nats
B1  dlogits = (p - onehot(target)) / N
END
"""

import numpy as np


def softmax_cross_entropy(logits, targets):
    """Mean negative log likelihood of the targets, with its gradient.

    Parameters
    ----------
    logits : (..., V), usually (T, B, V)
    targets : (...) integers in 0..V-1

    Returns
    -------
    loss : scalar, mean over all targets, in nats
    dlogits : (..., V), gradient of that mean
    """
    target = targets[..., None]
    shifted = logits - logits.real.max(axis=-1, keepdims=True)  # real part: complex steps pass
    e = np.exp(shifted)  # F1
    total = e.sum(axis=-1, keepdims=True)
    log_p = np.take_along_axis(shifted - np.log(total), target, axis=-1)  # F2, as a logarithm
    loss = -log_p.mean()  # F3
    onehot = target == np.arange(logits.shape[-1])
    return loss, (e / total - onehot) / targets.size  # B1
