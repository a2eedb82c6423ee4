"""Softmax cross-entropy over the last axis, and its gradient.

EQUATIONS
logits (..., V), targets (...) integers, N = number of targets, p = softmax of a row of logits

F1  e    = exp(logits - max(logits))                      shift: no overflow, p unchanged
F2  p    = e / sum(e)
F3  loss = -mean(log p[target])                           nats
B1  dlogits = (p - onehot(target)) / N

With weights w (V,) of the classes, smoothing s and rows that count or do not, N = sum of w[target] where rows count:

F4  q    = w ((1 - s) onehot(target) + s / V)
F5  loss = -sum(q log p) / N                              over rows that count and classes
B2  dlogits = (sum(q) p - q) / N                          0 in rows that do not count
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


def weighted_cross_entropy(logits, targets, counted, class_weights, label_smoothing):
    """The same with weights, smoothing and rows that do not count.

    Parameters
    ----------
    logits : (..., V)
    targets : (...) integers in 0..V-1, where they count
    counted : (...) booleans
    class_weights : (V,)
    label_smoothing : float in [0, 1)

    Returns
    -------
    loss : scalar, in nats
    dlogits : (..., V)
    N : what the sum was divided by
    """
    logits, targets = logits[counted], targets[counted]
    V = logits.shape[-1]
    shifted = logits - logits.real.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # F1, F2
    onehot = targets[:, None] == np.arange(V)
    q = class_weights * ((1 - label_smoothing) * onehot + label_smoothing / V)  # F4
    N = class_weights[targets].sum()
    loss = -(q * log_p).sum() / N  # F5
    dlogits = np.zeros((*counted.shape, V), logits.dtype)
    dlogits[counted] = (q.sum(axis=-1, keepdims=True) * np.exp(log_p) - q) / N  # B2
    return loss, dlogits, N
