"""One label for each step of a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils.multiclass import check_classification_targets

import fastrnn
from fastrnn.module import FloatArray
from fastrnn.sklearn import labels
from fastrnn.sklearn.base import Seeds, SequenceEstimator, of_weight, per_step


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceTagger(SequenceEstimator):
    """Label every step of a sequence: recurrent layers, a linear head, softmax. y is a list of N arrays (T_i,).

    Integers (T_i,) in X are numbers of one feature: give codes 0..n-1 of words or symbols as one-hots,
    ``[np.eye(n)[codes] for codes in X]``.

    It has the parameters of `fastrnn.sklearn.base.SequenceEstimator` and these.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        Weight of each label in the loss.

    Attributes
    ----------
    classes_ : (V,)
    """

    class_weight: Any = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # scikit-learn's checks would give it one label for each row
        tags.target_tags.required = True
        return tags

    def _data(self, X: Any, y: Any, lengths: Any, fresh: bool) -> tuple[Any, Any]:
        sequences, tags = super()._data(X, y, lengths, fresh)
        if self._class_weights is None:
            return sequences, tags
        counted = of_weight(type(self).__name__, [self._class_weights[one].any() for one in tags])
        return [sequences[i] for i in counted], [tags[i] for i in counted]

    def _targets(self, y: Any, sequences: list[FloatArray], fresh: bool) -> list[NDArray[np.int64]]:
        who = type(self).__name__
        tags = per_step(who, y, sequences)
        if fresh:
            if len({one.dtype.kind == "U" for one in tags}) > 1:  # NumPy would make strings of numbers
                raise TypeError(f"{who}: y has strings and numbers; expected labels of one kind")
            together = np.concatenate(tags)
            check_classification_targets(together)
            self.classes_ = np.unique(together)
            self._class_weights = labels.weights_of(who, self.class_weight, self.classes_, together)
        return [labels.numbers(who, one, self.classes_) for one in tags]

    def _build(self, seeds: Seeds) -> Any:
        weights = None if self._class_weights is None else self._class_weights.astype(self.dtype)
        return self._sequence_model(
            seeds, len(self.classes_), partial(fastrnn.softmax_cross_entropy, class_weights=weights)
        )

    def predict_proba(self, X: Any, *, lengths: Any = None) -> list[NDArray[np.float64]]:
        """Return for each sequence the probability of each label at each step, (T_i, V)."""
        return [np.asarray(softmax(one.astype(np.float64), axis=1)) for one in self._outputs(X, lengths)]

    def predict(self, X: Any, *, lengths: Any = None) -> list[NDArray[Any]]:
        """Return for each sequence the label of each step, (T_i,)."""
        return [self.classes_[np.argmax(one, axis=1)] for one in self._outputs(X, lengths)]

    def score(self, X: Any, y: Any, *, lengths: Any = None) -> float:
        """Return the share of steps, of all sequences together, whose label is right."""
        predicted = self.predict(X, lengths=lengths)
        tags = per_step(type(self).__name__, y, predicted)
        return float(np.mean(np.concatenate(predicted) == np.concatenate(tags)))
