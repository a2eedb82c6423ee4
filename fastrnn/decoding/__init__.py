"""From logits to symbols: the likeliest, the best of several, drawn ones; and what a CTC model has written.

A model that predicts one symbol at a time is given as a function and its state:

    logits, state = step(tokens, state)

with tokens (N,) int64, the newest symbol of each sequence, logits (N, V), and state None or nested tuples and lists of
arrays whose second axis is N, as the layers' states have it. Sequences that have ended are left out of the later calls,
and a beam runs all of its hypotheses in one: the state's second axis follows.

    steps.py      the function, its tokens and its state, checked
    drawing.py    greedy, sample
    beam.py       beam_search
    ctc.py        ctc_greedy, ctc_beam_search
    scores.py     log probabilities; Hypothesis
"""

from .beam import beam_search
from .ctc import ctc_beam_search, ctc_greedy
from .drawing import greedy, probabilities, sample
from .scores import Hypothesis

__all__ = ["Hypothesis", "beam_search", "ctc_beam_search", "ctc_greedy", "greedy", "probabilities", "sample"]
