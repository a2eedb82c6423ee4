"""Log probabilities, and what a search has found by them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn._check import FloatArray, IndexArray

Scores = NDArray[np.float64]


class Hypothesis(NamedTuple):
    """What a search has found.

    Attributes
    ----------
    tokens : (n,) int64
        Without `start` and `end`.
    log_probability : float
        In nats, that of `end` included where it was reached.
    score : float
        What hypotheses are ranked by.
    """

    tokens: IndexArray
    log_probability: float
    score: float


def finite(who: str, logits: FloatArray) -> None:
    """Raise unless each row of logits (N, V) has a finite one and no NaN or infinity but -infinity."""
    if not np.isfinite(logits.max(axis=1)).all():  # a NaN is the maximum
        raise FloatingPointError(
            f"{who}: logits hold NaN or infinity, or a row of -infinity alone; expected finite ones, and -infinity "
            "for what is impossible"
        )


def log_softmax(logits: FloatArray) -> Scores:
    """Log probabilities (N, V) in float64."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def largest(scores: Scores, count: int) -> IndexArray:
    """The indices of the largest scores (n,) but -infinity, at most so many, the largest first; of equal the first."""
    if count < len(scores):
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        above, equal = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
        among = np.sort(np.concatenate([above, equal[: count - len(above)]]))
    else:
        among = np.arange(len(scores))
    among = among[scores[among] > -math.inf]
    order: IndexArray = among[np.argsort(-scores[among], kind="stable")]
    return order
