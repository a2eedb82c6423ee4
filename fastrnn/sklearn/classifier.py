"""One label for a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d

import fastrnn
from fastrnn.sklearn import labels
from fastrnn.sklearn.base import Seeds
from fastrnn.sklearn.weighted import WeightedEstimator, Weights


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceClassifier(ClassifierMixin, WeightedEstimator):
    """Classify whole sequences: recurrent layers, pooled over time, a linear head, softmax.

    Integers (T_i,) in X are numbers of one feature: give codes 0..n-1 of words or symbols as one-hots,
    ``[np.eye(n)[codes] for codes in X]``.

    It has the parameters of `fastrnn.sklearn.base.SequenceEstimator` and these.

    Parameters
    ----------
    pool : {"last", "mean"}
        What the head sees of a sequence: the last state, of both directions if there are two, or the mean of the
        outputs over its steps.
    class_weight : dict, "balanced" or None
        Weight of each class in the loss; "balanced" by the labels of `fit`, or of the first `partial_fit`.

    Attributes
    ----------
    classes_ : (V,)
    """

    class_weight: Any = None

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None, *, lengths: Any = None
    ) -> Self:
        """Train for one epoch more, a new model if there is none.

        Parameters
        ----------
        X, y, sample_weight, lengths
            As for `fit`.
        classes : (V,), optional
            All labels there will ever be, for the first call; those of its y by default. Later calls need not say them,
            and cannot change them.
        """
        self._announced = None if classes is None else np.unique(classes)
        try:
            return self._one_epoch(X, y, lengths, sample_weight=sample_weight)
        finally:
            del self._announced

    def _weighted_targets(
        self, y: Any, weights: Weights | None, fresh: bool
    ) -> tuple[NDArray[np.int64], NDArray[Any] | None]:
        who = type(self).__name__
        y = column_or_1d(y, warn=fresh)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        announced = getattr(self, "_announced", None)
        if fresh:
            self.classes_ = np.unique(y) if announced is None else announced
            self._class_weights = labels.weights_of(who, self.class_weight, self.classes_, y)
        elif announced is not None and not np.array_equal(announced, self.classes_):
            known = self.classes_.tolist()
            raise ValueError(f"{who}: classes are {announced.tolist()}; expected {known}, as at the fit")
        places = labels.numbers(who, y, self.classes_)
        if self._class_weights is not None:
            weights = self._class_weights[places] * (1 if weights is None else weights)
        return places, weights

    def _build(self, seeds: Seeds) -> Any:
        return self._sequence_model(seeds, len(self.classes_), cross_entropy, self.pool)

    def predict_proba(self, X: Any, *, lengths: Any = None) -> NDArray[np.float64]:
        """Return the probability of each class, (N, V)."""
        return np.asarray(softmax(np.array(self._outputs(X, lengths), np.float64), axis=1))

    def predict(self, X: Any, *, lengths: Any = None) -> NDArray[Any]:
        """Return the label of each sequence, (N,)."""
        best = np.argmax(self._outputs(X, lengths), axis=1)
        return np.asarray(self.classes_[best])

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None) -> float:
        """Return the share of sequences whose label is right."""
        return float(accuracy_score(y, self.predict(X, lengths=lengths), sample_weight=sample_weight))


def cross_entropy(outputs: Any, targets: Any, **options: Any) -> Any:
    """Softmax cross-entropy of places (B,), or of rows (B, 2) of a place and a weight."""
    if targets.ndim == 1:
        return fastrnn.softmax_cross_entropy(outputs, targets, **options)
    places, weights = targets[:, 0].astype(np.int64), targets[:, 1]
    _, gradient, _ = fastrnn.softmax_cross_entropy(outputs, places, **options)
    losses = logsumexp(outputs, axis=1) - np.take_along_axis(outputs, places[:, np.newaxis], axis=1)[:, 0]
    return float(weights @ losses), gradient * weights[:, np.newaxis], float(weights.sum())
