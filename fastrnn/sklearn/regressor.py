"""One number for a sequence, or several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, check_consistent_length

import fastrnn
from fastrnn.module import FloatArray
from fastrnn.sklearn.base import Seeds, SequenceEstimator, required


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceRegressor(RegressorMixin, SequenceEstimator):  # type: ignore[misc, unused-ignore]
    """Predict a number, or K of them, from a whole sequence, by the least squared error.

    The model learns y with mean 0 and deviation 1; what it predicts is scaled back. `partial_fit` keeps the mean and
    the deviation of its first call.

    Parameters
    ----------
    pool : {"mean", "last"}
        What the head sees of a sequence: the mean of the outputs over its steps, or those of its last step.
    **
        The others are those of `fastrnn.sklearn.base.SequenceEstimator`.

    Attributes
    ----------
    mean_, scale_ : (K,)
        Of y at the fit. The deviation of an output that is constant counts as 1.
    """

    pool: str = "mean"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _targets(self, y: Any, sequences: list[FloatArray], fresh: bool) -> FloatArray:
        required(type(self).__name__, y)
        y = check_array(y, ensure_2d=False, dtype="numeric", input_name="y")
        check_consistent_length(sequences, y)
        columns = y.reshape(len(y), -1).astype(np.float64)
        if fresh:
            self._single = y.ndim == 1
            self.mean_, deviation = columns.mean(axis=0), columns.std(axis=0)
            self.scale_ = np.where(deviation > 0, deviation, 1.0)
        if columns.shape[1] != len(self.mean_):
            raise ValueError(
                f"{type(self).__name__}: y has {columns.shape[1]} outputs; expected {len(self.mean_)}, as at the fit"
            )
        scaled: FloatArray = ((columns - self.mean_) / self.scale_).astype(self.dtype)
        return scaled

    def _build(self, seeds: Seeds) -> Any:
        return self._sequence_model(seeds, len(self.mean_), fastrnn.squared_error, self.pool)

    def predict(self, X: Any, *, lengths: Any = None) -> NDArray[np.float64]:
        """Return (N,) numbers, or (N, K) if y had columns at the fit."""
        outputs: NDArray[np.float64] = np.array(self._outputs(X, lengths), np.float64) * self.scale_ + self.mean_
        return outputs[:, 0] if self._single else outputs

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None) -> float:
        """Return the coefficient of determination R^2."""
        return float(r2_score(y, self.predict(X, lengths=lengths), sample_weight=sample_weight))
