"""One label for a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_consistent_length, column_or_1d

from fastrnn.module import FloatArray
from fastrnn.sklearn import labels
from fastrnn.sklearn.base import Seeds, SequenceEstimator


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceClassifier(ClassifierMixin, SequenceEstimator):  # type: ignore[misc, unused-ignore]
    """Classify whole sequences: recurrent layers, their outputs pooled over time, a linear head, softmax.

    Parameters
    ----------
    pool : {"mean", "last"}
        What the head sees of a sequence: the mean of the outputs over its steps, or those of its last step.
    class_weight : dict, "balanced" or None
        Weight of each class in the loss.
    **
        The others are those of `fastrnn.sklearn.base.SequenceEstimator`.

    Attributes
    ----------
    classes_ : (V,)
    """

    pool: str = "mean"
    class_weight: Any = None

    def partial_fit(self, X: Any, y: Any, classes: Any = None, *, lengths: Any = None) -> Self:
        """Train for one epoch more, a new model if there is none.

        Parameters
        ----------
        X, y, lengths
            As for `fit`.
        classes : (V,), optional
            All labels there will ever be, for the first call; those of its y by default.
        """
        self._announced = None if classes is None else np.unique(classes)
        try:
            return super().partial_fit(X, y, lengths=lengths)
        finally:
            del self._announced

    def _targets(self, y: Any, sequences: list[FloatArray], fresh: bool) -> NDArray[np.int64]:
        y = column_or_1d(y, warn=fresh)
        check_consistent_length(sequences, y)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        if fresh:
            announced = getattr(self, "_announced", None)
            self.classes_ = np.unique(y) if announced is None else announced
            self._loss = labels.loss_of(self.class_weight, self.classes_, y, self.dtype)
        return labels.numbers(type(self).__name__, y, self.classes_)

    def _build(self, seeds: Seeds) -> Any:
        return self._sequence_model(seeds, len(self.classes_), self._loss, self.pool)

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
