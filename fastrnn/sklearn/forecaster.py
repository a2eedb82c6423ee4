"""The next values of a series, with intervals."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fastrnn import _check
from fastrnn.module import FloatArray
from fastrnn.sklearn import inputs, threads
from fastrnn.sklearn.base import Seeds, SequenceEstimator, inside, one_of
from fastrnn.sklearn.likelihoods import LIKELIHOODS, Units

Forecast = NDArray[np.float64]


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceForecaster(SequenceEstimator):
    """Learn the distribution of a series' next value from those before it, and forecast by sampled paths (DeepAR).

    X is a list of N series (T_i, F) or (T_i,), of any lengths and sizes: each is seen in its own units. One series is
    ``[series]``: a bare 2-D array or frame is a table of N series, a row each, here as in all estimators, and a warning
    says so. There is no y: scikit-learn's tools may hand one on to `fit`, which does not look at it.
    The paths are drawn from shares of the distribution that the fit has settled, so a forecast is the same each time.

    It has the parameters of `fastrnn.sklearn.base.SequenceEstimator`, of which bidirectional must be False, and these.

    Parameters
    ----------
    horizon : int
        Steps that are forecast unless a call says another number, and that `score` holds out.
    likelihood : {"gaussian", "negative_binomial"}
        Of the next value: a normal distribution, or one of counts.
    window : int
        Longest piece of a series that is trained on at a time; pieces begin every window // 2 steps.
    samples : int
        Paths of a forecast.
    period : int
        Of the seasonal naive forecast that `score` compares with: 1 repeats the last value, 12 the same month's.
    """

    horizon: int = 1
    likelihood: str = "gaussian"
    window: int = 64
    samples: int = 100
    period: int = 1

    _OF_THE_MODEL = (*SequenceEstimator._OF_THE_MODEL, "likelihood")

    # ------------------------------------------------------------------------------------- training

    def fit(self, X: Any, y: None = None, *, lengths: Any = None) -> Self:
        """Train a new model on series (T_i, F) of at least two steps."""
        return super().fit(X, y, lengths=lengths)

    def partial_fit(self, X: Any, y: None = None, *, lengths: Any = None) -> Self:
        """Train for one epoch more, a new model if there is none."""
        return super().partial_fit(X, y, lengths=lengths)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        who = type(self).__name__
        one_of(who, "likelihood", self.likelihood, LIKELIHOODS)
        if self.bidirectional:
            raise ValueError(f"{who}: bidirectional is True; expected False, for what is to come cannot be read")
        self._check_counts()

    def _check_counts(self) -> None:
        """Also before a forecast, for they may be set after the fit."""
        for name, least in (("horizon", 1), ("window", 2), ("samples", 1), ("period", 1)):
            self._count(name, getattr(self, name), least)

    def _count(self, name: str, value: Any, least: int = 1) -> int:
        return _check.integer(type(self).__name__, name, value, least, _check.MOST, f"an integer >= {least}")

    def _data(self, X: Any, y: Any, lengths: Any, fresh: bool) -> tuple[list[FloatArray], list[FloatArray]]:
        """Pieces of the series, each with the values one step later."""
        series = self._sequences(X, lengths, reset=fresh)
        pieces, targets = [], []
        for i, (one, units) in enumerate(zip(series, self._units(series), strict=True)):
            if len(one) < 2:
                table = " of a table with 1 feature(s)" if self._read_a_table else ""
                raise ValueError(f"{type(self).__name__}: X[{i}]{table} has 1 step; expected at least 2")
            scaled, later = self._scaled(one, units), self._law.targets(one[1:], units, self.dtype)
            for start in range(0, max(1, len(later) - self.window // 2), self.window // 2):
                pieces.append(scaled[start : start + self.window][: len(later) - start])
                targets.append(later[start : start + self.window])
        return pieces, targets

    def _build(self, seeds: Seeds) -> Any:
        self._settled = np.random.default_rng(seeds[3])
        return self._sequence_model(seeds, 2 * self._features, self._law.loss)

    @property
    def _law(self) -> Any:
        return LIKELIHOODS[self._made_of["likelihood"]]

    def _sequences(self, X: Any, lengths: Any, reset: bool = False) -> list[FloatArray]:
        """Read float64: what float32 keeps of a value may be less than a series varies by, before it is scaled."""
        if getattr(X, "ndim", None) == 2:
            N, T = X.shape
            warnings.warn(
                f"{type(self).__name__}: X ({N}, {T}) is read as {N} series of {T} steps; [X] would be one series of "
                f"{N} steps, and list(numpy.asarray(X)) means the {N} without a warning",
                stacklevel=2,
            )
        return inputs.read(self, X, lengths, "float64", reset=reset, lists_are_rows=False)

    def _units(self, series: list[FloatArray]) -> list[Units]:
        return [self._law.units(type(self).__name__, i, one) for i, one in enumerate(series)]

    def _scaled(self, values: FloatArray, units: Units) -> FloatArray:
        scaled: FloatArray = ((values - units.origin) / units.size).astype(self.dtype)
        return scaled

    # ---------------------------------------------------------------------------------- forecasting

    def predict(self, X: Any, horizon: int | None = None, *, lengths: Any = None) -> Forecast:
        """Return the mean of what comes after each series, (N, horizon, F)."""
        mean: Forecast = self.sample(X, horizon, lengths=lengths).mean(axis=0)
        return mean

    def predict_interval(
        self, X: Any, horizon: int | None = None, coverage: float = 0.9, *, lengths: Any = None
    ) -> tuple[Forecast, Forecast]:
        """Return the bounds that leave out (1 - coverage) / 2 of the paths on either side, each (N, horizon, F)."""
        inside(type(self).__name__, "coverage", coverage)
        paths = self.sample(X, horizon, lengths=lengths)
        low, high = np.quantile(paths, [(1 - coverage) / 2, (1 + coverage) / 2], axis=0)
        return low, high

    def sample(self, X: Any, horizon: int | None = None, *, lengths: Any = None) -> Forecast:
        """Return the paths, (samples, N, horizon, F)."""
        check_is_fitted(self, "model_")
        self._check_counts()
        steps = self._count("horizon", self.horizon if horizon is None else horizon)
        return self._paths(self._sequences(X, lengths), steps)

    def _paths(self, series: list[FloatArray], horizon: int) -> Forecast:
        """Draw each step's values from the distribution that the network gives after those before."""
        recurrent, head = self.model_.modules["recurrent"], self.model_.modules["head"]
        at_most = threads.allowed(self.num_threads)
        each = self._units(series)
        seen, state = recurrent([self._scaled(*pair) for pair in zip(series, each, strict=True)], num_threads=at_most)
        # The rows of a batch are the paths of the first series, of the second, ...
        units = Units(*(np.repeat(np.array(part), self.samples, axis=0) for part in zip(*each, strict=True)))
        hidden = np.repeat([one[-1] for one in seen], self.samples, axis=0)
        state = _repeated(state, self.samples)
        paths = np.empty((len(series), self.samples, horizon, self._features))
        for step, share in enumerate(self._shares(horizon)):
            outputs = head(hidden, num_threads=at_most)
            values = self._law.quantile(outputs, np.tile(share, (len(series), 1)), units)
            paths[:, :, step] = values.reshape(len(series), self.samples, -1)
            y, state = recurrent(self._scaled(values, units)[np.newaxis], state, num_threads=at_most)
            hidden = y[0]
        return np.moveaxis(paths, 1, 0)

    def _shares(self, horizon: int) -> Forecast:
        """Shares (horizon, samples, F) of a distribution: in each step all parts of it, in an order of its own."""
        rng = copy.deepcopy(self._settled)
        middles = (np.arange(self.samples) + 0.5) / self.samples
        return rng.permuted(np.tile(middles, (horizon, self._features, 1)), axis=2).transpose(0, 2, 1)

    # ------------------------------------------------------------------------------------- measuring

    def score(self, X: Any, y: Any = None, *, lengths: Any = None) -> float:
        """Return 1 - MASE: 1 is a perfect forecast, 0 as good as the seasonal naive one is within the series.

        Parameters
        ----------
        X : list of N series
        y : (N, S, F), optional
            What came after them, of any number of steps S; (N, S) for one feature, (N,) for one step of it. Without y
            the last `horizon` steps of each series are held out.

        Notes
        -----
        MASE is that of Hyndman and Koehler (2006): the mean absolute error over that of the forecast x_t = x_{t-period}
        within the history, here the mean over all series and features. A history that repeats exactly counts with the
        least error that can be told from zero.
        """
        check_is_fitted(self, "model_")
        self._check_counts()
        histories = self._sequences(X, lengths)
        self._check_steps(histories, self.horizon if y is None else 0)
        if y is None:
            after = np.array([one[-self.horizon :] for one in histories])
            histories = [one[: -self.horizon] for one in histories]
        else:
            after = self._what_came_after(y, len(histories))
        error = np.abs(self._paths(histories, after.shape[1]).mean(axis=0) - after).mean(axis=1)
        naive = np.array([np.abs(one[self.period :] - one[: -self.period]).mean(axis=0) for one in histories])
        return float(1 - np.mean(error / np.maximum(naive, np.finfo(self.dtype).eps)))

    def _check_steps(self, series: list[FloatArray], horizon: int) -> None:
        """Refuse histories without two values a period apart."""
        least = horizon + self.period + 1
        for i, one in enumerate(series):
            if len(one) < least:
                raise ValueError(
                    f"{type(self).__name__}.score: X[{i}] has {len(one)} steps; expected at least {least} "
                    f"({'horizon + ' if horizon else ''}period + 1)"
                )

    def _what_came_after(self, y: Any, n: int) -> Forecast:
        who = f"{type(self).__name__}.score"
        after = _check.array_of(who, "y", y, f"(N={n}, S, F={self._features}) numbers")
        if after.dtype.kind not in "biuf":
            raise TypeError(f"{who}: y has dtype {after.dtype}; expected numbers")
        if self._features == 1 and after.ndim in (1, 2):
            after = after.reshape(len(after), *after.shape[1:] or (1,), 1)
        if after.ndim != 3 or (len(after), after.shape[2]) != (n, self._features) or not after.shape[1]:
            raise ValueError(
                f"{who}: y has shape {after.shape}; expected ({n}, S, {self._features}), the S steps after each series"
            )
        if not np.isfinite(after).all():
            raise ValueError(f"{who}: y contains NaN or infinity; expected finite numbers")
        return after.astype(np.float64)


def _repeated(state: Any, times: int) -> Any:
    """Return a state (layers, B, H), or a pair of them, with each row so many times."""
    if isinstance(state, tuple):
        return tuple(_repeated(part, times) for part in state)
    return np.repeat(state, times, axis=1)
