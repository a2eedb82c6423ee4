"""A string for a longer sequence of vectors, without knowing which step says which symbol."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sklearn.utils.validation import check_consistent_length

import fastrnn
from fastrnn import _check, decoding
from fastrnn.module import FloatArray
from fastrnn.sklearn.base import Seeds, SequenceEstimator
from fastrnn.sklearn.symbols import Symbols, Tokens, are_strings, error_rate, sequences_of

_BLANK = 0


@dataclass(eq=False, repr=False, kw_only=True)
class CTCTranscriber(SequenceEstimator):
    """Transcribe sequences of vectors by connectionist temporal classification (Graves et al., 2006).

    y is a list of N strings, or of N sequences of labels; each needs no more symbols than X has steps, and a step
    between two equal ones. What is predicted has the form of y.

    It has the parameters of `fastrnn.sklearn.base.SequenceEstimator` and these.

    Parameters
    ----------
    beam_width : int
        Prefixes that the search keeps; 1 takes the best symbol of each step.

    Attributes
    ----------
    symbols_ : fastrnn.sklearn.symbols.Symbols
        Of y at the fit.
    """

    beam_width: int = 1

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # scikit-learn's checks have one label for each row
        tags.target_tags.required = True
        return tags

    def _check_parameters(self) -> None:
        super()._check_parameters()
        _check.count(type(self).__name__, "beam_width", self.beam_width)

    def _targets(self, y: Any, sequences: list[FloatArray], fresh: bool) -> list[Tokens]:
        who = type(self).__name__
        items = sequences_of(who, "y", y)
        check_consistent_length(sequences, items)
        if fresh:
            self.symbols_ = Symbols(items, are_strings(y), who, "y")
        self.symbols_.check(who, "y", items)
        for i, (item, sequence) in enumerate(zip(items, sequences, strict=True)):
            least = len(item) + sum(one == other for one, other in pairwise(item))
            if len(sequence) < least:
                raise ValueError(f"{who}: X[{i}] has {len(sequence)} steps; expected at least {least} for y[{i}]")
        return self.symbols_.encode(items, first=_BLANK + 1)

    def _build(self, seeds: Seeds) -> Any:
        return self._sequence_model(seeds, len(self.symbols_) + 1, fastrnn.ctc_loss)

    def predict(self, X: Any, *, lengths: Any = None) -> list[Any]:
        """Return N strings, or lists of labels."""
        outputs = self._outputs(X, lengths)
        if self.beam_width == 1:
            found = decoding.ctc_greedy(outputs, blank=_BLANK)
        else:
            beams = decoding.ctc_beam_search(outputs, width=self.beam_width, blank=_BLANK)
            found = [hypotheses[0].tokens for hypotheses in beams]
        return [self.symbols_.decode(tokens, first=_BLANK + 1) for tokens in found]

    def score(self, X: Any, y: Any, *, lengths: Any = None) -> float:
        """Return 1 - the error rate: edits from what is predicted to y, for each symbol of y."""
        targets, found = sequences_of(type(self).__name__, "y", y), self.predict(X, lengths=lengths)
        check_consistent_length(found, targets)
        return 1 - error_rate(targets, found)
