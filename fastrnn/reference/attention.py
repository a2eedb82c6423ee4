"""Attention over a memory, with the score of Luong et al. (2015), dot or general, or of Bahdanau et al. (2015).

EQUATIONS
q (Tq, B, Q) queries, m (Tk, B, K) memory; sequence b has the rows s < lengths[b] of its memory. For each sequence:

F1a  score[t, s] = q[t] . m[s]                        dot
F1b  score[t, s] = (W q[t]) . m[s]                    general
F1c  score[t, s] = v . h,  h = tanh(W q[t] + U m[s])  additive
F2   p[t] = exp(score[t]) / sum(exp(score[t]))        0 behind the sequence's length
F3   context[t] = sum over s of p[t, s] m[s]          0 without memory
B3   dp[t, s] = dcontext[t] . m[s],  dm[s] = sum over t of p[t, s] dcontext[t]
B2   dscore[t] = p[t] (dp[t] - sum over s of p[t, s] dp[t, s])
B1a  dq[t] = sum over s of dscore[t, s] m[s],  dm[s] += sum over t of dscore[t, s] q[t]
B1b  the same with W q[t] for q[t]; then W's gradient, and dq through W
B1c  da = dscore[t, s] v (1 - h^2), of which sums over s go through W and sums over t through U;
     dv = sum of dscore[t, s] h
END
"""

import numpy as np

from .common import sum_outer


def forward(queries, memory, lengths=None, weight_query=None, weight_key=None, weight_score=None):
    """Return context, weights and tape.

    Parameters
    ----------
    queries : (Tq, B, Q)
    memory : (Tk, B, K)
    lengths : (B,) integers in 0..Tk, or None for Tk
    weight_query : W, (K, Q) for the general score or (A, Q) for the additive one, None for dot
    weight_key, weight_score : U (A, K), v (A,) for the additive score

    Returns
    -------
    context : (Tq, B, K)
    weights : (Tq, B, Tk)
    tape : opaque
    """
    Tk, B, _ = memory.shape
    lengths = [Tk] * B if lengths is None else lengths
    projected = queries if weight_query is None else queries @ weight_query.T
    dtype = np.result_type(projected, memory)
    context = np.zeros((len(queries), *memory.shape[1:]), dtype)
    weights = np.zeros((*queries.shape[:2], Tk), dtype)
    for b, n in enumerate(lengths):
        if n == 0:
            continue
        m = memory[:n, b]
        if weight_score is None:
            score = projected[:, b] @ m.T  # F1a, F1b
        else:
            score = np.tanh(projected[:, None, b] + m @ weight_key.T) @ weight_score  # F1c
        e = np.exp(score - score.real.max(axis=1, keepdims=True))  # the shift leaves p as it is
        weights[:, b, :n] = e / e.sum(axis=1, keepdims=True)  # F2
        context[:, b] = weights[:, b, :n] @ m  # F3
    tape = queries, memory, lengths, projected, weights, (weight_query, weight_key, weight_score)
    return context, weights, tape


def backward(tape, dcontext):
    """Return dqueries, dmemory and a tuple of the gradients of the three weights, None for those there are not."""
    queries, memory, lengths, projected, weights, (weight_query, weight_key, weight_score) = tape
    dprojected, dmemory = np.zeros_like(projected), np.zeros_like(memory)
    dweight_key = None if weight_key is None else np.zeros_like(weight_key)
    dweight_score = None if weight_score is None else np.zeros_like(weight_score)
    for b, n in enumerate(lengths):
        m, p = memory[:n, b], weights[:, b, :n]
        dp = dcontext[:, b] @ m.T  # B3
        dmemory[:n, b] = p.T @ dcontext[:, b]
        dscore = p * (dp - (p * dp).sum(axis=1, keepdims=True))  # B2
        if weight_score is None:
            dprojected[:, b] = dscore @ m  # B1a, B1b
            dmemory[:n, b] += dscore.T @ projected[:, b]
        else:
            h = np.tanh(projected[:, None, b] + m @ weight_key.T)
            da = dscore[:, :, None] * weight_score * (1 - h**2)  # B1c
            dprojected[:, b] = da.sum(axis=1)
            dmemory[:n, b] += da.sum(axis=0) @ weight_key
            dweight_key += da.sum(axis=0).T @ m
            dweight_score += np.einsum("ts,tsa->a", dscore, h)
    if weight_query is None:
        return dprojected, dmemory, (None, None, None)
    dweight_query = sum_outer(dprojected, queries)
    return dprojected @ weight_query, dmemory, (dweight_query, dweight_key, dweight_score)
