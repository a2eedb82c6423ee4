"""What a CTC model has written: labellings, read from its logits of every step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn._check import FloatArray, IndexArray

from .scores import Hypothesis, Scores, finite, largest, log_softmax


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
        finite(who, own)
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
        finite(who, own)
        prefixes = _Prefixes(width, blank)
        for log_p in log_softmax(own):
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
        chosen = largest(np.concatenate([np.logaddexp(stay_blank, stay_symbol), longer.reshape(-1)]), self.width)
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
            for i in largest(totals, self.width)
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
