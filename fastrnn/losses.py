"""Softmax cross-entropy with its gradient, from one compiled pass.

Like every loss it takes outputs and targets as arrays, as arrays (T, B, ...) with `lengths` or a `mask`, or as lists of
arrays (T_i, ...), and returns the gradient by the outputs in the same form (`fastrnn.rows`). Losses of numbers are in
`fastrnn.element_losses`, that of sequences without an alignment in `fastrnn.ctc`.
"""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check, lists, runtime
from fastrnn._check import FloatArray
from fastrnn._core import losses as core
from fastrnn._core import memory
from fastrnn.rows import Rows, reduced, reduction_of, scale_of


@overload
def softmax_cross_entropy(
    logits: FloatArray,
    targets: NDArray[Any],
    *,
    lengths: Any = ...,
    mask: Any = ...,
    batch_first: bool = ...,
    ignore_index: int | None = ...,
    class_weights: FloatArray | None = ...,
    label_smoothing: float = ...,
    reduction: Literal["mean", "sum"] = ...,
    num_threads: int | None = ...,
) -> tuple[float, FloatArray]: ...
@overload
def softmax_cross_entropy(
    logits: FloatArray | list[FloatArray],
    targets: NDArray[Any] | list[NDArray[Any]],
    *,
    lengths: Any = ...,
    mask: Any = ...,
    batch_first: bool = ...,
    ignore_index: int | None = ...,
    class_weights: FloatArray | None = ...,
    label_smoothing: float = ...,
    reduction: str = ...,
    num_threads: int | None = ...,
) -> tuple[Any, ...]: ...
def softmax_cross_entropy(
    logits: Any,
    targets: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    batch_first: bool = False,
    ignore_index: int | None = None,
    class_weights: FloatArray | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    """Return the mean of -log softmax(logits)[target] and its gradient.

    Parameters
    ----------
    logits : (..., V) float32 or float64, for a sequence model (T, B, V), or a list of arrays (T_i, V)
    targets : (...) integers in 0..V-1, or a list of arrays (T_i,)
    lengths : (B,) integers in 0..T, optional
        Steps of each sequence; logits are (T, B, V). Rows behind them do not count.
    mask : (T, B) booleans, optional
        Which rows count; of a list, a list of arrays (T_i,).
    batch_first : bool
        Whether arrays and masks are (B, T, ...) beside lengths or a mask.
    ignore_index : int, optional
        A row with this target does not count.
    class_weights : (V,) of the dtype of logits, each >= 0, optional
        A row counts as much as its target's weight.
    label_smoothing : float in [0, 1)
        The target's distribution is (1 - label_smoothing) onehot(target) + label_smoothing / V (Szegedy et al. 2016).
    reduction : "mean", "sum" or "sum_and_weight"
    num_threads : int, optional

    Returns
    -------
    loss : float
        Mean over all rows that count, in nats, summed in float64, or with another reduction their sum. With
        class_weights the sum of -weight[c] q[c] log softmax(logits)[c] over the sum of the targets' weights, as PyTorch
        weights it.
    dlogits : as logits
        Gradient of what is returned as loss.
    weight : float
        With "sum_and_weight" alone: what "mean" divides by.

    Raises
    ------
    TypeError, ValueError, IndexError
        A wrong dtype or shape, nothing to average, a target outside 0..V-1.
    """
    who = "softmax_cross_entropy"
    threads = runtime.resolve(who, num_threads)
    reduction = reduction_of(who, reduction)
    smoothing = _check.probability(who, "label_smoothing", label_smoothing)
    given = Rows(who, "logits", logits, lengths, mask, batch_first, vectors=True)
    if not given.trailing or given.rows.size == 0:
        shape = list(map(np.shape, logits)) if given.listed else np.shape(logits)
        raise ValueError(f"{who}: logits has shape {shape}; expected (..., V), not empty")
    V = given.rows.shape[1]
    weights = _class_weights(who, class_weights, V, given.dtype)
    indices = _class_indices(given, targets, V, ignore_index)
    counted = indices[indices >= 0]
    weight = float(len(counted) if weights is None else weights[counted].sum(dtype=np.float64))
    why = "no row counts" if not len(counted) else "the class weights of all targets are 0"
    scale = scale_of(who, reduction, weight, why)
    dlogits: FloatArray = memory.empty(given.rows.shape, given.dtype)
    losses: FloatArray = np.empty(len(indices), dtype=given.dtype)
    core.softmax_cross_entropy(given.rows, indices, scale, smoothing, weights, dlogits, losses, threads)
    return reduced(reduction, float(losses.sum(dtype=np.float64)), given.as_given(dlogits), weight)


def _class_weights(who: str, value: Any, V: int, dtype: _check.DType) -> FloatArray | None:
    if value is None:
        return None
    weights = _check.floats(who, "class_weights", value, dtype=dtype, meaning=f"{dtype}, as logits")
    if weights.shape != (V,):
        raise ValueError(f"{who}: class_weights has shape {weights.shape}; expected (V,) = {(V,)}")
    wrong = weights[~(np.isfinite(weights) & (weights >= 0))]
    if len(wrong):
        raise ValueError(f"{who}: class_weights holds {wrong[0]}; expected finite numbers >= 0")
    return np.ascontiguousarray(weights)


def _class_indices(given: Rows, targets: Any, V: int, ignore_index: Any) -> NDArray[np.int64]:
    """The target of each row (N,), -1 where the row does not count."""
    who, arrays = given.who, []
    for i, one in enumerate(given.each_of("targets", targets)):
        label, lead = given.label("targets", i), given.leads[i]
        array = _check.integers(who, label, one)
        if array.shape != lead:
            mend = f" ({label}.reshape({lead}))" if array.size == np.prod(lead) else ""
            raise ValueError(
                f"{who}: {label} have shape {array.shape}; expected {lead}, one for each row "
                f"of {given.label('logits', i)}{mend}"
            )
        arrays.append(array)
    flat = lists.joined_indices(arrays) if given.listed else arrays[0].reshape(-1)
    counted = given.counted
    if ignore_index is not None:
        ignored = _check.integer(who, "ignore_index", ignore_index, -(2**63), 2**63 - 1, "an integer or None")
        counted = flat != ignored if counted is None else counted & (flat != ignored)
    if counted is None:
        return _check.indices(who, "targets", flat, "...", V, "V")
    indices = np.full(len(flat), -1, np.int64)
    if counted.any():
        indices[counted] = _check.index_range(who, "targets", flat[counted], V, "V")
    return indices
