"""Connectionist temporal classification: the loss of sequences whose labels have no alignment with their steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check, lists, runtime
from fastrnn._check import FloatArray
from fastrnn._core import ctc as core
from fastrnn._core import memory
from fastrnn.rows import Rows, reduced, reduction_of

Index = NDArray[np.int64]


class Labels(NamedTuple):
    """The labels of a batch, one sequence's after the other's, and where those of each begin."""

    symbols: Index  # (all labels,)
    starts: Index  # (B + 1,)

    @property
    def counts(self) -> Index:
        return np.diff(self.starts)


def ctc_loss(
    logits: Any,
    targets: Any,
    *,
    lengths: Any = None,
    target_lengths: Any = None,
    blank: int = 0,
    zero_infinity: bool = False,
    batch_first: bool = False,
    reduction: str = "mean",
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    """Return the CTC loss (Graves et al. 2006) and its gradient: -log p(targets), the sum over all alignments.

    An alignment has one symbol a step; repeats are merged, then blanks are taken out. Targets that repeat a label need
    a blank between the two, so a sequence needs as many steps as it has labels and repeats. Each thread has memory for
    one sequence, some 24 T (S + 20) bytes.

    Parameters
    ----------
    logits : (T, B, V) float32 or float64, or a list of arrays (T_i, V)
        The softmax is taken inside.
    targets : list of B integer arrays (S_i,), or (B, S) integers with target_lengths
        Labels in 0..V-1 without the blank, S_i >= 0.
    lengths : (B,) integers in 0..T, optional
        Steps of each sequence; not with a list. Rows behind them are not read, and their gradient is 0.
    target_lengths : (B,) integers in 0..S, optional
        Labels of each row of targets (B, S), all of them if None; not with a list. Labels behind them are not read.
    blank : int in 0..V-1
    zero_infinity : bool
        Whether an infinite loss becomes 0.
    batch_first : bool
        Whether logits are (B, T, V).
    reduction : "mean", "sum" or "sum_and_weight"
    num_threads : int, optional

    Returns
    -------
    loss : float
        "mean": each sequence's loss in nats over its number of labels, 1 at least, and of these the mean over B, as
        PyTorch has it. Else the sum.
    dlogits : as logits
        Gradient of what is returned as loss. A sequence that cannot have its targets costs infinity, and its gradient
        is 0, where PyTorch's is NaN.
    weight : float
        With "sum_and_weight" alone: the number of labels, at least 1 a sequence.

    Raises
    ------
    TypeError, ValueError, IndexError
        A wrong dtype or shape, a label outside 0..V-1 or equal to the blank, a blank outside 0..V-1.
    """
    who = "ctc_loss"
    threads = runtime.resolve(who, num_threads)
    reduction = reduction_of(who, reduction)
    zero_infinity = _check.flag(who, "zero_infinity", zero_infinity)
    swapped = _check.flag(who, "batch_first", batch_first)
    if isinstance(logits, np.ndarray) and logits.ndim != 3:
        axes = "(B, T, V)" if swapped else "(T, B, V)"
        raise ValueError(f"{who}: logits has shape {logits.shape}; expected {axes}, or a list of arrays (T_i, V)")
    given = Rows(who, "logits", logits, lengths, None, batch_first, vectors=True)
    if given.rows.size == 0:
        shape = [len(one) for one in logits] if given.listed else np.shape(logits)
        raise ValueError(f"{who}: logits has shape {shape}; expected (T, B, V), not empty")
    V = given.rows.shape[1]
    blank = _check.integer(who, "blank", blank, 0, V - 1, f"an integer in 0..{V - 1} (V={V})")
    first, rows, step = _places(given, swapped)
    steps = rows if lengths is None else _check.lengths(who, lengths, len(rows), int(rows[0]))
    labels = _labels(who, targets, target_lengths, len(rows), V, blank)
    least_one = np.maximum(labels.counts, 1)
    scales = 1 / (len(rows) * least_one) if reduction == "mean" else np.ones(len(rows))
    dlogits: FloatArray = memory.empty(given.rows.shape, given.dtype)
    losses = np.empty(len(rows))
    sequences = core.Sequences(step, first, rows, steps, labels.symbols, labels.starts)
    core.ctc_loss(given.rows, sequences, blank, zero_infinity, scales, dlogits, losses, threads)
    if reduction == "mean":
        return float((losses / least_one).mean()), given.as_given(dlogits)
    return reduced(reduction, float(losses.sum()), given.as_given(dlogits), float(least_one.sum()))


def _places(given: Rows, swapped: bool) -> tuple[Index, Index, int]:
    """Each sequence's first row and its rows, and from one row to the next."""
    if given.listed:
        rows = np.array([lead[0] for lead in given.leads], np.int64)
        return np.cumsum(rows) - rows, rows, 1
    lead = given.leads[0]
    B, T = lead if swapped else lead[::-1]
    first = np.arange(B, dtype=np.int64) * (T if swapped else 1)
    return first, np.full(B, T, np.int64), 1 if swapped else B


def _labels(who: str, targets: Any, target_lengths: Any, B: int, V: int, blank: int) -> Labels:
    if isinstance(targets, (list, tuple)):
        arrays = _listed(who, targets, target_lengths, B)
    else:
        arrays = _padded(who, targets, target_lengths, B)
    counts = [len(array) for array in arrays]
    symbols = np.zeros(0, np.int64)
    if sum(counts):
        symbols = _check.index_range(who, "targets", lists.joined_indices(arrays), V, "V")
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    wrong = np.flatnonzero(symbols == blank)
    if len(wrong):
        b = int(np.searchsorted(starts, wrong[0], side="right")) - 1
        raise ValueError(
            f"{who}: targets[{b}] has {blank}, the blank, at {wrong[0] - starts[b]}; expected labels without the blank"
        )
    return Labels(symbols, starts)


def _listed(who: str, targets: Any, target_lengths: Any, B: int) -> list[NDArray[Any]]:
    if target_lengths is not None:
        raise ValueError(
            f"{who}: target_lengths are given with a list, whose arrays have lengths; expected target_lengths=None"
        )
    arrays = []
    for b, one in enumerate(_check.list_of(who, "targets", targets, B, "one array (S_i,) for each sequence")):
        array = _check.integers(who, f"targets[{b}]", one)
        if array.ndim != 1:
            raise ValueError(f"{who}: targets[{b}] has shape {array.shape}; expected (S_i,)")
        arrays.append(array)
    return arrays


def _padded(who: str, targets: Any, target_lengths: Any, B: int) -> list[NDArray[Any]]:
    array = _check.integers(who, "targets", targets)
    if array.ndim != 2 or len(array) != B:
        raise ValueError(
            f"{who}: targets have shape {array.shape}; expected (B={B}, S), or a list of {B} arrays (S_i,)"
        )
    S = array.shape[1]
    counts = np.full(B, S)
    if target_lengths is not None:
        counts = _check.lengths(who, target_lengths, B, S, "target_lengths", "S")
    return [row[:count] for row, count in zip(array, counts, strict=True)]
