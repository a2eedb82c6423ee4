"""One number for a sequence, or several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array

import fastrnn
from fastrnn.sklearn.base import Seeds, required
from fastrnn.sklearn.weighted import WeightedEstimator, Weights


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceRegressor(RegressorMixin, WeightedEstimator):
    """Predict a number, or K of them, from a whole sequence, by the least squared error.

    The model learns y with mean 0 and deviation 1; what it predicts is scaled back. `partial_fit` keeps the mean and
    the deviation of its first call.

    It has the parameters of `fastrnn.sklearn.base.SequenceEstimator` and these.

    Parameters
    ----------
    pool : {"last", "mean"}
        What the head sees of a sequence: the last state, of both directions if there are two, or the mean of the
        outputs over its steps.

    Attributes
    ----------
    mean_, scale_ : (K,)
        Of y at the fit. The deviation of an output that is constant counts as 1.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None) -> Self:
        """Train for one epoch more, a new model if there is none. Arguments are those of `fit`."""
        return self._one_epoch(X, y, lengths, sample_weight=sample_weight)

    def _weighted_targets(
        self, y: Any, weights: Weights | None, fresh: bool
    ) -> tuple[NDArray[Any], NDArray[Any] | None]:
        required(type(self).__name__, y)
        y = check_array(y, ensure_2d=False, dtype="numeric", input_name="y")
        columns = y.reshape(len(y), -1).astype(np.float64)
        if fresh:
            self._single = y.ndim == 1
            with np.errstate(over="ignore", invalid="ignore"):
                self.mean_ = np.average(columns, axis=0, weights=weights)
                deviation = np.sqrt(np.average((columns - self.mean_) ** 2, axis=0, weights=weights))
            if not np.isfinite(deviation).all():
                raise ValueError(f"{type(self).__name__}: y has a deviation beyond float64; expected smaller values")
            self.scale_ = np.where(deviation > 0, deviation, 1.0)
        if columns.shape[1] != len(self.mean_):
            raise ValueError(
                f"{type(self).__name__}: y has {columns.shape[1]} outputs; expected {len(self.mean_)}, as at the fit"
            )
        return ((columns - self.mean_) / self.scale_).astype(self.dtype), weights

    def _build(self, seeds: Seeds) -> Any:
        return self._sequence_model(seeds, len(self.mean_), squared_error, self.pool)

    def predict(self, X: Any, *, lengths: Any = None) -> NDArray[np.float64]:
        """Return (N,) numbers, or (N, K) if y had columns at the fit."""
        outputs: NDArray[np.float64] = np.array(self._outputs(X, lengths), np.float64) * self.scale_ + self.mean_
        return outputs[:, 0] if self._single else outputs

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, lengths: Any = None) -> float:
        """Return the coefficient of determination R^2."""
        return float(r2_score(y, self.predict(X, lengths=lengths), sample_weight=sample_weight))


def squared_error(outputs: Any, targets: Any, **options: Any) -> Any:
    """Squared error of rows (B, K), or of rows (B, K + 1) of which the last column is a weight."""
    if targets.shape == outputs.shape:
        return fastrnn.squared_error(outputs, targets, **options)
    weights = targets[:, -1:]
    _, gradient, _ = fastrnn.squared_error(outputs, targets[:, :-1], **options)
    loss = np.sum(weights * (outputs - targets[:, :-1]) ** 2, dtype=np.float64)
    return float(loss), gradient * weights, float(weights.sum() * outputs.shape[1])
