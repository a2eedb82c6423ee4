"""From logits to symbols: the likeliest, the best of several, drawn ones; and what a CTC model has written.

A model that predicts one symbol at a time is given as a function and its state:

    logits, state = step(tokens, state)

with tokens (N,) int64, the newest symbol of each sequence, logits (N, V), and state None or nested tuples and lists of
arrays whose second axis is N, as the layers' states have it. Sequences that have ended are left out of the later calls,
and a beam runs all of its hypotheses in one: the state's second axis follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastrnn import _check
from fastrnn._check import FloatArray, IndexArray

__all__ = ["Hypothesis", "beam_search", "ctc_beam_search", "ctc_greedy", "greedy", "probabilities", "sample"]

State = Any
Step = Callable[[IndexArray, State], tuple[FloatArray, State]]
Scores = NDArray[np.float64]
Chooser = Callable[[FloatArray, IndexArray], IndexArray]  # of logits (N, V) and their sequences' numbers (N,): (N,)


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


# ------------------------------------------------------------------------------------------- one symbol at a time


def greedy(step: Step, state: State, start: Any, *, end: int | None = None, length: int) -> list[IndexArray]:
    """Take the likeliest symbol at every step; of equally likely ones the smallest.

    Parameters
    ----------
    step : function
        See the module.
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
    end, length, tokens = _checked(who, state, start, end, length)
    N = len(tokens)
    chosen = np.zeros((N, length), np.int64)
    lengths = np.full(N, length)
    rows = np.arange(N)
    for i in range(length):
        logits, state = _stepped(who, step, tokens, state)
        tokens = choose(logits, rows)
        if end is not None:
            goes_on = tokens != end
            lengths[rows[~goes_on]] = i
            if not goes_on.any():
                break
            if not goes_on.all():
                rows, tokens, state = rows[goes_on], tokens[goes_on], _taken(state, np.flatnonzero(goes_on))
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


# ---------------------------------------------------------------------------------------------------- beam search


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
    end, length, tokens = _checked(who, state, start, end, length)
    width = _check.count(who, "width", width)
    penalty = _check.length_penalty(who, "length_penalty", length_penalty)
    beams = [_Beam(width, length, end, partial(_penalty, alpha=penalty)) for _ in tokens]
    lively = list(beams)
    for _ in range(length):
        logits, state = _stepped(who, step, tokens, state)
        log_p = _log_softmax(logits)
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
            state = _taken(state, rows)
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
        chosen = _best(totals.reshape(-1), self.width)
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


def _best(scores: Scores, count: int) -> IndexArray:
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


# ------------------------------------------------------------------------------------------------------------ CTC


def ctc_greedy(
    logits: FloatArray | list[FloatArray], lengths: Any = None, blank: int = 0
) -> list[IndexArray]:
    """The labelling of the likeliest path: its symbols without repetitions, then without blanks (Graves et al., 2006).

    Parameters
    ----------
    logits : (T, B, V), or a list of B arrays (T_i, V)
    lengths : (B,) integers in 0..T, optional
        Steps of each sequence; not with a list.
    blank : int in 0..V-1

    Returns
    -------
    list of B arrays (n,) int64
    """
    who = "ctc_greedy"
    sequences, blank = _ctc_sequences(who, logits, lengths, blank)
    found = []
    for own in sequences:
        _finite(who, own)
        path = own.argmax(axis=1)
        new = np.ones(len(path), bool)
        new[1:] = path[1:] != path[:-1]
        found.append(path[new & (path != blank)])
    return found


def ctc_beam_search(
    logits: FloatArray | list[FloatArray], lengths: Any = None, *, width: int = 16, blank: int = 0
) -> list[list[Hypothesis]]:
    """The likeliest labellings, each with the probability of all paths that it is read from (Hannun et al., 2014).

    The beam is of prefixes, each of which has the probabilities of its paths that end in a blank and that do not: so
    paths of one labelling add up, and a symbol is repeated across a blank alone. The probabilities are lower bounds
    where the beam has lost paths, and exact where it is wide enough for all prefixes.

    Parameters
    ----------
    logits, lengths, blank
        As for `ctc_greedy`.
    width : int
        How many prefixes are kept at each step.

    Returns
    -------
    for each sequence a list of at most `width` Hypothesis, the likeliest first; its score is its log probability
        Without steps the empty labelling alone.
    """
    who = "ctc_beam_search"
    sequences, blank = _ctc_sequences(who, logits, lengths, blank)
    width = _check.count(who, "width", width)
    found = []
    for own in sequences:
        _finite(who, own)
        prefixes = _Prefixes(width, blank)
        for log_p in _log_softmax(own):
            prefixes.extend(log_p)
        found.append(prefixes.best())
    return found


class _Prefixes:
    """The prefixes of one sequence's labellings, as nodes of a tree.

    Attributes
    ----------
    node : (n,) int64
        Of each prefix in the beam.
    ending_blank, ending_symbol : (n,)
        Log probabilities of its paths that end in a blank, and in its last symbol.
    """

    def __init__(self, width: int, blank: int) -> None:
        self.width, self.blank = width, blank
        self.parent, self.symbol = [-1], [-1]  # of every node: the root's are none
        self.child: dict[tuple[int, int], int] = {}
        self.node = np.zeros(1, np.int64)
        self.ending_blank, self.ending_symbol = np.zeros(1), np.full(1, -math.inf)

    def extend(self, log_p: Scores) -> None:
        """Go one step with log probabilities (V,)."""
        n, V = len(self.node), len(log_p)
        last = np.array([self.symbol[node] for node in self.node])
        total = np.logaddexp(self.ending_blank, self.ending_symbol)
        # The last symbol again is the same prefix, or behind a blank a new one.
        longer = total[:, None] + log_p
        longer[:, self.blank] = -math.inf
        labelled = np.flatnonzero(last >= 0)
        longer[labelled, last[labelled]] = self.ending_blank[labelled] + log_p[last[labelled]]
        stay_blank = total + log_p[self.blank]
        stay_symbol = np.where(last >= 0, self.ending_symbol + log_p[last], -math.inf)
        self._join(longer, stay_symbol)
        chosen = _best(np.concatenate([np.logaddexp(stay_blank, stay_symbol), longer.reshape(-1)]), self.width)
        stays, grown = chosen[chosen < n], chosen[chosen >= n] - n
        new = [self._grown(int(self.node[at // V]), int(at % V)) for at in grown]
        self.node = np.concatenate([self.node[stays], np.array(new, np.int64)])
        self.ending_blank = np.concatenate([stay_blank[stays], np.full(len(grown), -math.inf)])
        self.ending_symbol = np.concatenate([stay_symbol[stays], longer.reshape(-1)[grown]])

    def _join(self, longer: Scores, stay_symbol: Scores) -> None:
        """Where a prefix grows into another of the beam, add it to that one."""
        place = {int(node): i for i, node in enumerate(self.node)}
        for i, node in enumerate(self.node):
            origin = place.get(self.parent[node])
            if origin is not None:
                symbol = self.symbol[node]
                stay_symbol[i] = np.logaddexp(stay_symbol[i], longer[origin, symbol])
                longer[origin, symbol] = -math.inf

    def _grown(self, node: int, symbol: int) -> int:
        """The node of a prefix with one more symbol, which may have been in the beam before."""
        found = self.child.setdefault((node, symbol), len(self.parent))
        if found == len(self.parent):
            self.parent.append(node)
            self.symbol.append(symbol)
        return found

    def best(self) -> list[Hypothesis]:
        totals = np.logaddexp(self.ending_blank, self.ending_symbol)
        return [
            Hypothesis(self._labelling(int(self.node[i])), float(totals[i]), float(totals[i]))
            for i in _best(totals, self.width)
        ]

    def _labelling(self, node: int) -> IndexArray:
        symbols = []
        while node:
            symbols.append(self.symbol[node])
            node = self.parent[node]
        return np.array(symbols[::-1], np.int64)


def _ctc_sequences(who: str, logits: Any, lengths: Any, blank: Any) -> tuple[list[FloatArray], int]:
    """The logits (T_i, V) of each sequence."""
    if isinstance(logits, list):
        if lengths is not None:
            raise ValueError(f"{who}: lengths are given with a list, which has its own; expected None")
        given = _check.arrays(who, "logits", logits, "float arrays (T_i, V)")
        names = [f"logits[{i}]" for i in range(len(given))]
    else:
        given, names = [logits], ["logits"]
    axes, expected = (2, "(T_i, V)") if isinstance(logits, list) else (3, "(T, B, V)")
    for name, one in zip(names, given, strict=True):
        _check.floats(who, name, one, dtype=_check.dtype_of(one), meaning="float32 or float64")
        V = given[0].shape[-1] if given[0].ndim else 0
        if one.ndim != axes or one.shape[-1] != V or V < 1:
            raise ValueError(f"{who}: {name} has shape {one.shape}; expected {expected}, with one V >= 1 for all")
    blank = _check.integer(who, "blank", blank, 0, V - 1, "an integer >= 0")
    if isinstance(logits, list):
        return given, blank
    T, B, _ = logits.shape
    counts = np.full(B, T) if lengths is None else _check.lengths(who, lengths, B, T)
    return [logits[:n, b] for b, n in enumerate(counts)], blank


# --------------------------------------------------------------------------------------------- steps and their states


def _checked(who: str, state: State, start: Any, end: Any, length: Any) -> tuple[int | None, int, IndexArray]:
    """end, length and the first tokens (N,)."""
    end = _check.index_or_none(who, "end", end)
    length = _check.count(who, "length", length)
    tokens = _check.array_of(who, "start", start, "an integer or (N,) integers")
    if tokens.dtype.kind not in "iu" or tokens.ndim > 1:
        raise TypeError(f"{who}: start is {_check.shown(start)}; expected an integer or (N,) integers")
    tokens = _check.places(who, "start", tokens, _check.MOST + 1)
    N = _rows_of(who, state)
    if tokens.ndim == 0:
        tokens = np.full(1 if N is None else N, tokens)
    if not len(tokens) or N not in (None, len(tokens)):
        of = "" if N is None else f" for the {N} of the state"
        raise ValueError(f"{who}: start has {len(tokens)} symbols{of}; expected one for each sequence, at least one")
    return end, length, tokens


def _arrays_of(state: State) -> list[Any]:
    """Every array of a state."""
    if isinstance(state, (tuple, list)):
        return [array for part in state for array in _arrays_of(part)]
    return [] if state is None else [state]


def _rows_of(who: str, state: State) -> int | None:
    """The length of the second axis of every array of a state, None where it has no arrays."""
    arrays = _arrays_of(state)
    for array in arrays:
        if not isinstance(array, np.ndarray) or array.ndim < 2 or array.shape[1] != arrays[0].shape[1]:
            got = f"an array of shape {array.shape}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
            raise ValueError(f"{who}: state has {got}; expected arrays whose second axis is N, in tuples and lists")
    return arrays[0].shape[1] if arrays else None


def _taken(state: State, rows: IndexArray) -> State:
    """The state of those rows."""
    if isinstance(state, (tuple, list)):
        parts = [_taken(part, rows) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    return None if state is None else state.take(rows, axis=1)


def _stepped(who: str, step: Step, tokens: IndexArray, state: State) -> tuple[FloatArray, State]:
    """One call of step's, and what it returned looked at."""
    returned = step(tokens, state)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"{who}: step returned a {type(returned).__name__}; expected the pair (logits, state)")
    logits, state = returned
    if not isinstance(logits, np.ndarray) or logits.dtype.kind != "f":
        got = getattr(logits, "dtype", type(logits).__name__)
        raise TypeError(f"{who}: step returned logits of type {got}; expected an array of floats (N, V)")
    if logits.ndim != 2 or len(logits) != len(tokens) or not logits.size:
        raise ValueError(f"{who}: step returned logits of shape {logits.shape}; expected (N, V) with N={len(tokens)}")
    N = _rows_of(who, state)
    if N not in (None, len(tokens)):
        raise ValueError(f"{who}: step returned a state of {N} sequences; expected {len(tokens)}")
    _finite(who, logits)
    return logits, state


def _finite(who: str, logits: FloatArray) -> None:
    """Raise unless each row of logits (N, V) has a finite one and no NaN or infinity but -infinity."""
    if not np.isfinite(logits.max(axis=1)).all():  # a NaN is the maximum
        raise FloatingPointError(
            f"{who}: logits hold NaN or infinity, or a row of -infinity alone; expected finite ones, and -infinity "
            "for what is impossible"
        )


def _log_softmax(logits: FloatArray) -> Scores:
    """Log probabilities (N, V) in float64."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores
