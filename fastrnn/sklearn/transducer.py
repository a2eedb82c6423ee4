"""A sequence for a sequence of another length: encoder, attention, decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_consistent_length, check_is_fitted

import fastrnn
from fastrnn import _check
from fastrnn.sklearn import threads
from fastrnn.sklearn.base import Seeds, SequenceEstimator, blocks
from fastrnn.sklearn.inputs import are_tokens
from fastrnn.sklearn.symbols import Symbols, Tokens, are_strings, sequences_of


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceTransducer(SequenceEstimator):
    """Write a sequence of symbols for a sequence of symbols or vectors, as in translation or spelling out.

    An encoder reads X, a decoder begins with its last state, looks back at all of its outputs and writes symbol after
    symbol (Sutskever et al., 2014; Luong et al., 2015).

    X is a list of N strings, of N sequences of labels (lists or arrays (T_i,) of strings or integers), or sequences of
    vectors in any form of `fastrnn.sklearn.inputs.read`; y is a list of N strings, or of N sequences of labels. What is
    predicted has the form of y. Symbols of X that the fit has not seen are all read as one that it has never trained.

    It has the parameters of `fastrnn.sklearn.base.SequenceEstimator`, bidirectional of the encoder, and these.

    Parameters
    ----------
    attention : {"dot", "general", "additive"} or None
        Score of the decoder's output and each of the encoder's; None is without attention.
    beam_width : int
        Beginnings that the search keeps; 1 takes the most probable symbol each time.
    length_penalty : float
        How far long results are favoured by the search (Wu et al., 2016), 0 for not at all.
    max_length : int or None
        Longest result; None for twice the longest y of the fit.
    label_smoothing : float in [0, 1)

    Attributes
    ----------
    source_symbols_ : fastrnn.sklearn.symbols.Symbols or None
        Of X at the fit; None if that was vectors, and then there is ``n_features_in_``.
    symbols_ : fastrnn.sklearn.symbols.Symbols
        Of y at the fit.
    longest_ : int
        Symbols of the longest y of the fit.
    """

    attention: str | None = "general"
    beam_width: int = 4
    length_penalty: float = 0.6
    max_length: int | None = None
    label_smoothing: float = 0.0

    _OF_THE_MODEL = (*SequenceEstimator._OF_THE_MODEL, "attention", "label_smoothing")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # scikit-learn's checks have one label for each row
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags

    # ------------------------------------------------------------------------------------- training

    def _check_parameters(self) -> None:
        super()._check_parameters()
        who = type(self).__name__
        _check.count(who, "beam_width", self.beam_width)
        _check.length_penalty(who, "length_penalty", self.length_penalty)
        if self.max_length is not None:
            _check.count(who, "max_length", self.max_length)

    def _data(self, X: Any, y: Any, lengths: Any, fresh: bool) -> tuple[Any, Any]:
        who = type(self).__name__
        targets = sequences_of(who, "y", y)
        if fresh:
            self.symbols_ = Symbols(targets, are_strings(y), who, "y")
            self.longest_ = max(map(len, targets))
            self._learn_source(X)
        self.symbols_.check(who, "y", targets)
        sources = self._sources(X, lengths, fresh)
        check_consistent_length(sources, targets)
        return sources, self.symbols_.encode(targets)

    def _learn_source(self, X: Any) -> None:
        self.source_symbols_ = None
        if are_tokens(X):
            who = type(self).__name__
            self.source_symbols_ = Symbols(sequences_of(who, "X", X), are_strings(X), who, "X")
            if hasattr(self, "n_features_in_"):
                del self.n_features_in_

    def _sources(self, X: Any, lengths: Any, fresh: bool = False) -> list[Any]:
        """X as arrays (T_i,) of numbers, or (T_i, F) of vectors."""
        who = type(self).__name__
        if self.source_symbols_ is None:
            if not fresh and are_tokens(X):
                raise TypeError(f"{who}: X has symbols; expected vectors (T, F), as at the fit")
            return self._sequences(X, lengths, reset=fresh)
        if lengths is not None:
            raise ValueError(f"{who}: lengths go with X (N, T, F); expected none with symbols")
        if not are_tokens(X) and not isinstance(X, str) and len(X):
            raise TypeError(f"{who}: X has vectors; expected sequences of symbols, as at the fit")
        items = sequences_of(who, "X", X)
        if empty := [i for i, item in enumerate(items) if not item]:
            raise ValueError(f"{who}: X[{empty[0]}] is empty; expected at least one symbol")
        return self.source_symbols_.encode(items)

    def _build(self, seeds: Seeds) -> Any:
        """Symbols are read as one-hots: that of X not seen is the last, start and end of y are the last two."""
        seeds = [*seeds, *seeds[3].spawn(2)]
        V = len(self.symbols_)
        features = self._features if self.source_symbols_ is None else len(self.source_symbols_) + 1
        encoder = self._recurrent(features, self.hidden_size, self.bidirectional, seeds[0])
        width = self.hidden_size * (2 if self.bidirectional else 1)
        attention = combine = None
        if self.attention is not None:
            attention = fastrnn.Attention(width, width, self.attention, dtype=self.dtype, seed=seeds[3])
            combine = fastrnn.Linear(2 * width, width, dtype=self.dtype, seed=seeds[4])
        return fastrnn.EncoderDecoder(
            encoder,
            self._recurrent(V + 2, width, False, seeds[1]),
            fastrnn.Linear(width, V + 2, dtype=self.dtype, seed=seeds[5]),
            start=V,
            end=V + 1,
            attention=attention,
            combine=combine,
            dropout=self.dropout,
            label_smoothing=self.label_smoothing,
            seed=seeds[2],
        )

    # -------------------------------------------------------------------------------------- running

    def predict(self, X: Any, *, lengths: Any = None) -> list[Any]:
        """Return the best result that beam search finds for each sequence: N strings, or lists of labels."""
        check_is_fitted(self, "model_")
        found = [tokens for some in blocks(self._sources(X, lengths)) for tokens in self._decoded(some)]
        return [self.symbols_.decode(tokens[tokens < len(self.symbols_)]) for tokens in found]  # not the end

    def _decoded(self, sources: list[Any]) -> list[Tokens]:
        tokens: list[Tokens] = self.model_.decode(
            sources,
            length=max(1, 2 * self.longest_) if self.max_length is None else self.max_length,
            width=self.beam_width,
            length_penalty=self.length_penalty,
            num_threads=threads.allowed(self.num_threads),
        )
        return tokens

    def score(self, X: Any, y: Any, *, lengths: Any = None) -> float:
        """Return the share of sequences whose result is wholly right."""
        targets, found = sequences_of(type(self).__name__, "y", y), self.predict(X, lengths=lengths)
        check_consistent_length(found, targets)
        pairs = zip(targets, found, strict=True)
        return float(np.mean([expected == list(predicted) for expected, predicted in pairs]))
