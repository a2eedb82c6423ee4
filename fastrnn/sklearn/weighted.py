"""Estimators of one target for each sequence, which may have a weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, check_consistent_length

from fastrnn.module import FloatArray
from fastrnn.sklearn.base import SequenceEstimator, of_weight

Weights = NDArray[np.float64]


@dataclass(eq=False, repr=False, kw_only=True)
class WeightedEstimator(SequenceEstimator):
    """Base of the classifier and the regressor.

    Parameters
    ----------
    pool : {"last", "mean"}
        What the head sees of a sequence: the last state, of both directions if there are two, or the mean of the
        outputs over its steps.
    """

    pool: str = "last"

    _OF_THE_MODEL = (*SequenceEstimator._OF_THE_MODEL, "pool")

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None) -> Self:
        """Train a new model.

        Parameters
        ----------
        X, y, lengths
            As for `SequenceEstimator.fit`.
        sample_weight : (N,), optional
            Of each sequence in the loss. Those of weight 0 are neither trained on nor set aside.
        """
        weights = {"sample_weight": sample_weight}
        return self._train(X, y, lengths, fresh=True, epochs=self.max_epochs, patience=self.patience, **weights)

    def _data(
        self, X: Any, y: Any, lengths: Any, fresh: bool, sample_weight: Any = None
    ) -> tuple[list[FloatArray], NDArray[Any]]:
        sequences = self._sequences(X, lengths, reset=fresh)
        check_consistent_length(sequences, y, sample_weight)
        targets, weights = self._weighted_targets(y, self._weights(sample_weight), fresh)
        if weights is None:
            return sequences, targets
        weights = weights.astype(self.dtype)
        counted = of_weight(type(self).__name__, weights)
        return [sequences[i] for i in counted], np.column_stack([targets, weights])[counted].astype(self.dtype)

    def _weights(self, sample_weight: Any) -> Weights | None:
        if sample_weight is None:
            return None
        weights: Weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
        who = type(self).__name__
        if weights.ndim != 1:
            raise ValueError(f"{who}: sample_weight has shape {weights.shape}; expected (N,), one for each sequence")
        if weights.min() < 0 or not weights.any():
            raise ValueError(f"{who}: sample_weight is negative or all zero; expected numbers >= 0, some above")
        return weights

    def _weighted_targets(
        self, y: Any, weights: Weights | None, fresh: bool
    ) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return the targets (N, ...), and the weights (N,) of the sequences in the loss; None for equal ones."""
        raise NotImplementedError
