"""The best of several hypotheses that are followed side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn._check import IndexArray

from .scores import Hypothesis, Scores, largest, log_softmax
from .steps import State, Step, checked, stepped, taken


def beam_search(
    step: Step,
    state: State,
    start: Any,
    *,
    end: int | None,
    length: int,
    width: int = 4,
    length_penalty: float = 0.6,
) -> list[list[Hypothesis]]:
    """Follow the likeliest hypotheses of every sequence side by side.

    At each step the `width` likeliest of all continuations are kept; those that end are put aside, the others go on. A
    hypothesis of n symbols, `end` counted, has the score log_probability / ((5 + n) / 6) ** length_penalty (Wu et al.,
    2016). The search stops where nothing that goes on can still be among the best. Of equal continuations that of the
    likelier hypothesis comes first, then the smaller symbol; of equal scores the one that ended first.

    Parameters
    ----------
    step, state, start, end, length
        As for `greedy`. A hypothesis that has not ended after `length` symbols counts as it is.
    width : int
        1 finds what `greedy` does.
    length_penalty : float in [0, 30]
        0 ranks by the log probability, which favours the short.

    Returns
    -------
    for each sequence a list of at most `width` Hypothesis, the best first

    Raises
    ------
    As `greedy`.
    """
    who = "beam_search"
    end, length, tokens = checked(who, state, start, end, length)
    width = _check.count(who, "width", width)
    penalty = _check.length_penalty(who, "length_penalty", length_penalty)
    beams = [_Beam(width, length, end, partial(_penalty, alpha=penalty)) for _ in tokens]
    lively = list(beams)
    for _ in range(length):
        logits, state = stepped(who, step, tokens, state)
        log_p = log_softmax(logits)
        first, index = 0, []
        for beam in lively:
            count = len(beam.scores)
            index.append(first + beam.extend(log_p[first : first + count]))
            first += count
        rows = np.concatenate(index)
        lively = [beam for beam in lively if len(beam.scores)]
        if not lively:
            break
        tokens = np.concatenate([beam.tokens[:, -1] for beam in lively])
        if not np.array_equal(rows, np.arange(first)):
            state = taken(state, rows)
    return [beam.best() for beam in beams]


def _penalty(n: int, alpha: float) -> float:
    """What divides the log probability of n symbols."""
    return float(((5 + n) / 6) ** alpha)


class _Beam:
    """The hypotheses of one sequence.

    Attributes
    ----------
    tokens : (n, t) int64, scores : (n,)
        Those that go on, the likeliest first, and their log probabilities.
    ended : list of Hypothesis
        At most `width`, the best first.
    """

    def __init__(self, width: int, length: int, end: int | None, penalty: Callable[[int], float]) -> None:
        self.width, self.length, self.end, self.penalty = width, length, end, penalty
        self.tokens, self.scores = np.zeros((1, 0), np.int64), np.zeros(1)
        self.ended: list[Hypothesis] = []

    def extend(self, log_p: Scores) -> IndexArray:
        """Go one step, by log_p (n, V) of what may follow; return which of the n each one that goes on came from."""
        totals = self.scores[:, None] + log_p
        chosen = largest(totals.reshape(-1), self.width)
        parents, symbols = np.divmod(chosen, log_p.shape[1])
        scores = totals[parents, symbols]
        ends = symbols == self.end if self.end is not None else np.zeros(len(chosen), bool)
        for parent, score in zip(parents[ends], scores[ends], strict=True):
            self._put_aside(self.tokens[parent], score, self.tokens.shape[1] + 1)
        # A log probability only falls, so no score will be beyond this.
        bounds = scores / self.penalty(self.length)
        goes_on = ~ends
        if len(self.ended) == self.width:
            goes_on &= bounds >= self.ended[-1].score
        origin: IndexArray = parents[goes_on]
        self.tokens = np.column_stack([self.tokens[origin], symbols[goes_on]])
        self.scores = scores[goes_on]
        return origin

    def _put_aside(self, tokens: IndexArray, log_probability: float, n: int) -> None:
        score = float(log_probability) / self.penalty(n)
        self.ended.append(Hypothesis(tokens.copy(), float(log_probability), score))
        self.ended.sort(key=lambda one: -one.score)  # stable: of equal ones the first stays first
        del self.ended[self.width :]

    def best(self) -> list[Hypothesis]:
        """All that has ended, and what has not."""
        for tokens, score in zip(self.tokens, self.scores, strict=True):
            self._put_aside(tokens, score, self.tokens.shape[1])
        return self.ended
