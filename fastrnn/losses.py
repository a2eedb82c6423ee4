"""Softmax cross-entropy fused with its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check, runtime
from fastrnn._check import FloatArray
from fastrnn._core import elementwise, memory


def softmax_cross_entropy(
    logits: Any,
    targets: Any,
    *,
    lengths: Any = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    num_threads: int | None = None,
) -> Any:
    """For the time being: the whole family of losses is on its way."""
    if reduction == "mean":
        return _mean_cross_entropy(logits, targets, num_threads=num_threads)
    if isinstance(logits, list):
        loss, rows, weight = softmax_cross_entropy(np.concatenate(logits), np.concatenate(targets), reduction=reduction)
        return loss, np.split(rows, np.cumsum([len(one) for one in logits[:-1]])), weight
    inside = np.ones(targets.shape, bool)
    if lengths is not None:
        inside = np.arange(len(targets))[:, None] < lengths
    dlogits = np.zeros_like(logits)
    loss, counted = _mean_cross_entropy(logits[inside], targets[inside], num_threads=num_threads)
    weight = int(inside.sum())
    dlogits[inside] = counted * counted.dtype.type(weight)
    return loss * weight, dlogits, weight


def _mean_cross_entropy(
    logits: FloatArray, targets: NDArray[Any], *, num_threads: int | None = None
) -> tuple[float, FloatArray]:
    """Return the mean of -log softmax(logits)[target] and its gradient.

    Parameters
    ----------
    logits : (..., V) float32 or float64, for a sequence model (T, B, V)
    targets : (...) integers in 0..V-1
    num_threads : int, optional

    Returns
    -------
    loss : float
        Mean over all targets, in nats, summed in float64.
    dlogits : (..., V) of the dtype of logits
        Gradient of that mean: (softmax(logits) - onehot(targets)) / number of targets.

    Raises
    ------
    TypeError, ValueError, IndexError
        A wrong dtype or shape, nothing to average, a target outside 0..V-1.
    """
    who = "softmax_cross_entropy"
    threads = runtime.resolve(who, num_threads)
    logits = _check.floats(
        who, "logits", logits, dtype=_check.dtype_of(logits), meaning="float32 or float64"
    )
    if logits.ndim < 1 or logits.size == 0:
        raise ValueError(f"{who}: logits has shape {logits.shape}; expected (..., V), not empty")
    targets = _check.integers(who, "targets", targets)
    if targets.shape != logits.shape[:-1]:
        fits = targets.size == logits.size // logits.shape[-1]
        mend = f" (targets.reshape({logits.shape[:-1]}))" if fits else ""
        raise ValueError(
            f"{who}: targets have shape {targets.shape}; expected {logits.shape[:-1]}, one for each row "
            f"of logits{mend}"
        )
    V = logits.shape[-1]
    rows = np.ascontiguousarray(logits).reshape(-1, V)
    indices = _check.indices(who, "targets", targets.reshape(-1), "...", V, "V")
    dlogits: FloatArray = memory.empty(rows.shape, rows.dtype)
    losses: FloatArray = np.empty(len(rows), dtype=rows.dtype)
    elementwise.cross_entropy(rows, indices, 1.0 / len(rows), dlogits, losses, threads)
    return float(losses.mean(dtype=np.float64)), dlogits.reshape(logits.shape)
