"""One symbol at a time: the likeliest, or one that is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastrnn import _check
from fastrnn._check import FloatArray, IndexArray

from .scores import Scores
from .steps import State, Step, checked, stepped, taken

Chooser = Callable[[FloatArray, IndexArray], IndexArray]  # of logits (N, V) and their sequences' numbers (N,): (N,)


def greedy(step: Step, state: State, start: Any, *, end: int | None = None, length: int) -> list[IndexArray]:
    """Take the likeliest symbol at every step; of equally likely ones the smallest.

    Parameters
    ----------
    step : function
        See `fastrnn.decoding`.
    state : state before the first step
    start : int, or (N,) integers
        The symbol before the first one; an int for all sequences of the state, for one where the state is None.
    end : int, optional
        The symbol that ends a sequence.
    length : int
        At most so many symbols, `end` counted.

    Returns
    -------
    list of N arrays (n,) int64, without start and end

    Raises
    ------
    TypeError, ValueError
        An argument, or logits or a state of step's, of a wrong type or shape.
    FloatingPointError
        A logit is NaN or infinite, or all are -infinity: this alone means impossible.
    """
    return _one_by_one("greedy", step, state, start, end, length, lambda logits, rows: logits.argmax(axis=1))


def sample(
    step: Step,
    state: State,
    start: Any,
    *,
    end: int | None = None,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | np.random.SeedSequence | None = None,
) -> list[IndexArray]:
    """Draw every symbol with the probability that the model gives it.

    Parameters
    ----------
    step, state, start, end, length
        As for `greedy`.
    temperature : float
        Divides the logits: below 1 the likely becomes likelier, 0 always takes the likeliest.
    top_k : int, optional
        Draw among the k likeliest symbols only.
    top_p : float in (0, 1], optional
        Draw among the likeliest symbols that together have this probability (Holtzman et al., 2020).
    seed : int, numpy.random.SeedSequence or None
        Every sequence has random numbers of its own, spawned from it: what is drawn does not depend on the others.

    Returns
    -------
    list of N arrays (n,) int64, without start and end

    Raises
    ------
    As `greedy`.
    """
    temperature = _check.positive("sample", "temperature", temperature, zero=True, dtype=_check.FLOAT64)
    kept = 0 if top_k is None else _check.count("sample", "top_k", top_k)
    mass = 1.0 if top_p is None else _check.share("sample", "top_p", top_p)
    rng = _check.generator("sample", seed)
    sources: list[np.random.Generator] = []

    def choose(logits: FloatArray, rows: IndexArray) -> IndexArray:
        if not sources:
            sources.extend(rng.spawn(len(rows)))  # the first step has all sequences
        drawn = [
            draw(probabilities(own, temperature, kept, mass), sources[row])
            for own, row in zip(logits, rows, strict=True)
        ]
        return np.array(drawn, np.int64)

    return _one_by_one("sample", step, state, start, end, length, choose)


def _one_by_one(
    who: str, step: Step, state: State, start: Any, end: Any, length: Any, choose: Chooser
) -> list[IndexArray]:
    """Every sequence's symbols, each chosen from the logits that follow the one before."""
    end, length, tokens = checked(who, state, start, end, length)
    N = len(tokens)
    chosen = np.zeros((N, length), np.int64)
    lengths = np.full(N, length)
    rows = np.arange(N)
    for i in range(length):
        logits, state = stepped(who, step, tokens, state)
        tokens = choose(logits, rows)
        if end is not None:
            goes_on = tokens != end
            lengths[rows[~goes_on]] = i
            if not goes_on.any():
                break
            if not goes_on.all():
                rows, tokens, state = rows[goes_on], tokens[goes_on], taken(state, np.flatnonzero(goes_on))
        chosen[rows, i] = tokens
    return [own[:n].copy() for own, n in zip(chosen, lengths, strict=True)]


def probabilities(logits: ArrayLike, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Scores:
    """Probabilities to draw from: softmax at a temperature, the unlikely cut off.

    The softmax at `temperature` comes first, then `top_k`, then `top_p` on what is left, rescaled to sum 1. Of equally
    likely symbols the smaller one counts as likelier.

    Parameters
    ----------
    logits : array (V,)
        Not all -infinity, and otherwise finite.
    temperature : float >= 0
        0 for the likeliest alone.
    top_k : int >= 0
        0 for all.
    top_p : float in (0, 1]

    Returns
    -------
    float64 array (V,)
        Sums to 1.
    """
    scores = np.asarray(logits, dtype=np.float64)
    weights: Scores
    if temperature == 0.0:
        weights = np.zeros_like(scores)
        weights[np.argmax(scores)] = 1.0
        return weights
    # The maximum goes first, so that a tiny temperature overflows to -inf only, whose exp is 0.
    with np.errstate(over="ignore"):
        weights = np.exp((scores - scores.max()) / temperature)
    weights /= weights.sum()
    if (top_k == 0 or top_k >= scores.size) and top_p >= 1.0:
        return weights
    order = np.argsort(-weights, kind="stable")
    kept = order[:top_k] if top_k else order
    if top_p < 1.0:
        mass = np.cumsum(weights[kept]) / weights[kept].sum()
        # The symbol that brings the sum up to top_p is the last one kept.
        kept = kept[: np.searchsorted(mass, top_p) + 1]
    cut = np.zeros_like(weights)
    cut[kept] = weights[kept] / weights[kept].sum()
    return cut


def draw(weights: Scores, rng: np.random.Generator) -> int:
    """A symbol drawn with probabilities `weights` (V,)."""
    cumulative = np.cumsum(weights)
    # Rounding may leave the last sum a little below 1, where a draw could fall behind it.
    return int(np.searchsorted(cumulative / cumulative[-1], rng.random(), side="right"))
