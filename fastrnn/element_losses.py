"""Losses element by element, each with its gradient from one compiled pass: of probabilities, numbers and forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastrnn import _check, runtime
from fastrnn._check import FloatArray
from fastrnn._core import losses as core
from fastrnn._core import memory
from fastrnn.rows import Rows, reduced, reduction_of, scale_of

FLOOR = 1e-6  # of the scale of a Gaussian, and of the mean and the dispersion of a negative binomial


def _elements(
    who: str, outputs: Any, targets: Any, pairs: bool, option: float, lengths: Any, mask: Any, batch_first: Any,
    reduction: Any, num_threads: Any, allowed: tuple[float, float] | None = None,
) -> tuple[Any, ...]:  # fmt: skip
    """A loss of elements, or of pairs of outputs; targets lie in `allowed`."""
    threads = runtime.resolve(who, num_threads)
    reduction = reduction_of(who, reduction)
    name = "logits" if who == "binary_cross_entropy" else "outputs"
    given = Rows(who, name, outputs, lengths, mask, batch_first, vectors=pairs)
    trailing = given.trailing
    if pairs:
        if len(trailing) != 1 or trailing[0] % 2:
            shape = np.shape(outputs[0] if given.listed else outputs)
            raise ValueError(f"{who}: {given.label(name, 0)} has shape {shape}; expected (..., 2 * F), two a target")
        trailing = (trailing[0] // 2,)
    wanted = given.targets(targets, trailing)
    if allowed is not None:
        _check_targets(given, wanted, allowed)
    count = len(wanted) if given.counted is None else int(np.count_nonzero(given.counted))
    weight = float(count * wanted.shape[1])
    scale = scale_of(who, reduction, weight, "no element counts")
    gradient: FloatArray = memory.empty(given.rows.shape, given.dtype)
    blocks = core.block_count(*wanted.shape) if wanted.size else 0
    sums = np.zeros(blocks)
    counted = None if given.counted is None else np.ascontiguousarray(given.counted).view(np.uint8)
    core.elements(who, given.rows, wanted, counted, scale, option, gradient, sums, threads)
    return reduced(reduction, float(sums.sum()), given.as_given(gradient), weight)


def _check_targets(given: Rows, wanted: FloatArray, allowed: tuple[float, float]) -> None:
    """Raise if a target that counts is outside of what is allowed; NaN makes its own loss NaN."""
    least, most = allowed
    wrong = (wanted < least) | (wanted > most)
    if given.counted is not None:
        wrong &= given.counted[:, None]
    if wrong.any():
        expected = f"numbers in {least:g}..{most:g}" if np.isfinite(most) else f"numbers >= {least:g}"
        raise ValueError(f"{given.who}: targets hold {wanted[wrong][0]}; expected {expected}")


def binary_cross_entropy(
    logits: Any,
    targets: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    batch_first: bool = False,
    positive_weight: float | None = None,
    reduction: str = "mean",
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    """Return the mean of -(w y log p + (1 - y) log(1 - p)) for p = sigmoid(logits), and its gradient.

    Parameters
    ----------
    logits : (...) float32 or float64, (T, B, ...) with lengths or a mask, or a list of arrays (T_i, ...)
    targets : as logits, numbers y in 0..1
    lengths, mask, batch_first, reduction, num_threads
        As for `softmax_cross_entropy`; a mask is of rows (T, B), all elements of which count or do not.
    positive_weight : float > 0, optional
        What a positive counts beside a negative, w; 1 if None.

    Returns
    -------
    loss : float
        Mean over all elements that count, in nats, or their sum.
    dlogits : as logits
    weight : float
        With reduction="sum_and_weight" alone: the number of elements that count.

    Raises
    ------
    TypeError, ValueError
        A wrong dtype or shape, nothing to average, a target outside 0..1.
    """
    who = "binary_cross_entropy"
    weight = 1.0 if positive_weight is None else _check.positive(who, "positive_weight", positive_weight)
    return _elements(
        who, logits, targets, False, weight, lengths, mask, batch_first, reduction, num_threads, (0, 1)
    )


def squared_error(
    outputs: Any,
    targets: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    batch_first: bool = False,
    reduction: str = "mean",
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    """Return the mean of (outputs - targets)^2 and its gradient.

    Parameters
    ----------
    outputs : (...) float32 or float64, (T, B, ...) with lengths or a mask, or a list of arrays (T_i, ...)
    targets : as outputs
    lengths, mask, batch_first, reduction, num_threads
        As for `binary_cross_entropy`.

    Returns
    -------
    loss, doutputs, and with reduction="sum_and_weight" the number of elements

    Raises
    ------
    TypeError, ValueError
        A wrong dtype or shape, nothing to average.
    """
    who = "squared_error"
    return _elements(who, outputs, targets, False, 0.0, lengths, mask, batch_first, reduction, num_threads)


def huber_loss(
    outputs: Any,
    targets: Any,
    *,
    delta: float = 1.0,
    lengths: Any = None,
    mask: Any = None,
    batch_first: bool = False,
    reduction: str = "mean",
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    """Return the mean of Huber's loss (1964) and its gradient.

    Of a difference e it is ``e^2 / 2`` where ``|e| <= delta``, else ``delta (|e| - delta / 2)``.

    Parameters
    ----------
    outputs : (...) float32 or float64, (T, B, ...) with lengths or a mask, or a list of arrays (T_i, ...)
    targets : as outputs; e = outputs - targets
    delta : float > 0
        From where on errors count by their size and not by their square.
    lengths, mask, batch_first, reduction, num_threads
        As for `binary_cross_entropy`.

    Returns
    -------
    loss, doutputs, and with reduction="sum_and_weight" the number of elements

    Raises
    ------
    TypeError, ValueError
        A wrong dtype or shape, nothing to average.
    """
    who = "huber_loss"
    delta = _check.positive(who, "delta", delta)
    return _elements(who, outputs, targets, False, delta, lengths, mask, batch_first, reduction, num_threads)


def gaussian_nll(
    outputs: Any,
    targets: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    batch_first: bool = False,
    reduction: str = "mean",
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    """Return the mean of -log of a Gaussian's density at the targets, and its gradient (Salinas et al. 2020, DeepAR).

    Parameters
    ----------
    outputs : (..., 2 F) float32 or float64, (T, B, 2 F) with lengths or a mask, or a list of arrays (T_i, 2 F)
        F means, then F raw scales: the standard deviation is log(1 + exp(raw)) + 1e-6.
    targets : (..., F)
    lengths, mask, batch_first, reduction, num_threads
        As for `binary_cross_entropy`.

    Returns
    -------
    loss, doutputs, and with reduction="sum_and_weight" the number of targets

    Raises
    ------
    TypeError, ValueError
        A wrong dtype or shape, nothing to average.
    """
    who = "gaussian_nll"
    return _elements(who, outputs, targets, True, FLOOR, lengths, mask, batch_first, reduction, num_threads)


def negative_binomial_nll(
    outputs: Any,
    targets: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    batch_first: bool = False,
    reduction: str = "mean",
    num_threads: int | None = None,
) -> tuple[Any, ...]:
    """Return the mean of -log of a negative binomial's probability of the targets, and its gradient (DeepAR).

    Parameters
    ----------
    outputs : (..., 2 F) float32 or float64, (T, B, 2 F) with lengths or a mask, or a list of arrays (T_i, 2 F)
        F raw means, then F raw dispersions: m = log(1 + exp(raw)) + 1e-6, and alpha likewise. The variance is
        m + alpha m^2.
    targets : (..., F)
        Counts >= 0, as floats.
    lengths, mask, batch_first, reduction, num_threads
        As for `binary_cross_entropy`.

    Returns
    -------
    loss, doutputs, and with reduction="sum_and_weight" the number of targets

    Raises
    ------
    TypeError, ValueError
        A wrong dtype or shape, nothing to average, a target below 0.
    """
    who = "negative_binomial_nll"
    return _elements(
        who, outputs, targets, True, FLOOR, lengths, mask, batch_first, reduction, num_threads, (0, np.inf)
    )
