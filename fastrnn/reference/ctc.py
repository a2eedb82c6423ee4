"""Connectionist temporal classification (Graves et al. 2006): the loss of labels without an alignment.

A path has one symbol a step, of the V that there are. Merge its repeats, then take out its blanks: what is left are its
labels. The loss is -log of the probability of all paths that leave the S targets.

A path that does so walks over 2 S + 1 places: blank 0, label 0, blank 1, label 1, ..., label S-1, blank S. At each step
it stays, goes on by one place, or by two from a label to a label that differs. `a` sums over all beginnings of paths,
`b` over all ends; both are scaled at every step so that nothing underflows.

EQUATIONS
logits (T, V), y_t = softmax of row t, join(i) = 1 where label i differs from label i-1, else 0

F1  a_t(blank i) = (a_t-1(blank i) + a_t-1(label i-1)) y_t(blank)
F2  a_t(label i) = (a_t-1(label i) + a_t-1(blank i) + join(i) a_t-1(label i-1)) y_t(label i)
F3  loss         = -log(a_T-1(blank S) + a_T-1(label S-1))
B1  b_t(blank i) = g_t+1(blank i) + g_t+1(label i)                                            g_t = b_t y_t
B2  b_t(label i) = g_t+1(label i) + g_t+1(blank i+1) + join(i+1) g_t+1(label i+1)
B3  posterior    = a_t b_t e^loss
B4  dlogits_t    = y_t - sum of the posteriors of all places with that symbol

Before the first step all is at blank 0, behind the last one at blank S; a and g beside the places are 0.
END
"""

from itertools import groupby, product

import numpy as np


def moved(values, by):
    """values[i - by] at place i, 0 where there is none."""
    result = np.zeros_like(values)
    if by > 0:
        result[by:] = values[:-by]
    else:
        result[:by] = values[-by:]
    return result


def forward(p, targets, blank):
    """Both parts of a scaled by their sum: (T, S + 1) each, the last label's place empty; the loss."""
    T, S = len(p), len(targets)
    join = np.zeros(S + 1)
    join[1:S] = targets[1:] != targets[:-1]
    a_blank, a_label = np.zeros((2, T, S + 1), p.dtype)
    blanks, labels = np.eye(1, S + 1)[0], np.zeros(S + 1)
    loss = 0
    for t in range(T):
        y_label = np.append(p[t, targets], 0)
        before = moved(labels, 1)
        a_blank[t] = (blanks + before) * p[t, blank]  # F1
        a_label[t] = (labels + blanks + join * before) * y_label  # F2
        scale = a_blank[t].sum() + a_label[t].sum()
        if scale == 0:
            return a_blank, a_label, np.inf
        a_blank[t] /= scale
        a_label[t] /= scale
        loss = loss - np.log(scale)
        blanks, labels = a_blank[t], a_label[t]
    end = blanks[S] + (labels[S - 1] if S else 0)
    return a_blank, a_label, loss - np.log(end) if end != 0 else np.inf  # F3


def backward(p, targets, blank, a_blank, a_label):
    """The posterior of every symbol at every step, (T, V)."""
    S = len(targets)
    join = np.zeros(S + 1)
    join[1:S] = targets[1:] != targets[:-1]
    g_blank, g_label = np.eye(1, S + 1, S)[0], np.zeros(S + 1)
    posterior = np.zeros_like(p)
    for t in reversed(range(len(p))):
        b_blank = g_blank + g_label  # B1
        b_label = g_label + moved(g_blank, -1) + moved(join * g_label, -1)  # B2
        own_blank, own_label = a_blank[t] * b_blank, a_label[t] * b_label
        scale = own_blank.sum() + own_label.sum()  # B3: whatever the scales are, the posteriors' sum is 1
        posterior[t, blank] += own_blank.sum() / scale
        np.add.at(posterior[t], targets, own_label[:S] / scale)
        g_blank, g_label = b_blank * p[t, blank], b_label * np.append(p[t, targets], 0)
        largest = max(g_blank.max(), g_label.max())
        g_blank, g_label = g_blank / largest, g_label / largest
    return posterior


def ctc_loss(logits, targets, blank=0):
    """Loss of one sequence, and its gradient.

    Parameters
    ----------
    logits : (T, V)
    targets : (S,) integers in 0..V-1, none of them the blank
    blank : int

    Returns
    -------
    loss : scalar, in nats; infinity where T steps cannot have the targets
    dlogits : (T, V); 0 where the loss is infinite
    """
    if not len(logits):
        return 0.0 if not len(targets) else np.inf, np.zeros(logits.shape)
    e = np.exp(logits - logits.real.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    a_blank, a_label, loss = forward(p, targets, blank)
    if loss == np.inf:
        return loss, np.zeros(logits.shape)
    p = p.real
    return loss, p - backward(p, targets, blank, a_blank.real, a_label.real)  # B4


def every_path(logits, targets, blank=0):
    """The same loss by its definition: V^T paths, one by one."""
    T, V = logits.shape
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    total = 0
    for path in product(range(V), repeat=T):
        if [symbol for symbol, _ in groupby(path) if symbol != blank] == list(targets):
            total = total + np.prod(p[np.arange(T), path])
    return -np.log(total) if total != 0 else np.inf
