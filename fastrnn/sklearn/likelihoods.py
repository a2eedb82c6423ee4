"""Distributions of the next value of a series: what it is divided by, the loss, the quantiles.

Salinas et al. (2020), DeepAR. A model's outputs are (..., 2F): a mean and a spread, both raw, for each of F features.
A series is seen and predicted in units of its own, so that one model learns series of any size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri
from scipy.stats import nbinom

import fastrnn
from fastrnn.element_losses import FLOOR
from fastrnn.module import FloatArray


class Units(NamedTuple):
    """What one series, or a batch (B, F) of them, is seen in: (x - origin) / size."""

    origin: FloatArray
    size: FloatArray


def softplus(x: FloatArray) -> FloatArray:
    """log(1 + e^x), elementwise."""
    y: FloatArray = np.logaddexp(x, x.dtype.type(0))
    return y


class Gaussian:
    """A normal distribution of each feature, in units of the series' mean and deviation."""

    loss = staticmethod(fastrnn.gaussian_nll)

    @staticmethod
    def units(who: str, i: int, series: FloatArray) -> Units:
        """Of series i (T, F), in float64."""
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = series.std(axis=0)
        if not np.isfinite(deviation).all():
            raise ValueError(f"{who}: X[{i}] has a deviation beyond float64; expected smaller values")
        varies = (np.ptp(series, axis=0) > 0) & (deviation > 0)  # the mean of equal values is rounded, too
        return Units(series.mean(axis=0), np.where(varies, deviation, 1.0))

    @staticmethod
    def targets(series: FloatArray, units: Units, dtype: Any) -> FloatArray:
        """What the loss takes of values (T, F)."""
        scaled: FloatArray = ((series - units.origin) / units.size).astype(dtype)
        return scaled

    @staticmethod
    def quantile(outputs: FloatArray, share: FloatArray, units: Units) -> FloatArray:
        """The value (..., F) that a `share` of the distribution is below."""
        mean, raw = np.split(outputs.astype(np.float64), 2, axis=-1)
        value: FloatArray = units.origin + units.size * (mean + (softplus(raw) + FLOOR) * ndtri(share))
        return value


class NegativeBinomial:
    """Counts whose variance is mean + alpha mean^2; they are divided by 1 + their mean."""

    @staticmethod
    def units(who: str, i: int, series: FloatArray) -> Units:
        """Of series i (T, F), in float64."""
        if series.min() < 0 or np.any(series != np.round(series)):
            raise ValueError(f"{who}: X[{i}] is no counts; expected integers >= 0, or likelihood='gaussian'")
        size = 1 + series.mean(axis=0)
        return Units(np.zeros_like(size), size)

    @staticmethod
    def targets(series: FloatArray, units: Units, dtype: Any) -> FloatArray:
        """What the loss takes of counts (T, F): these and their units, (T, 2F)."""
        return np.concatenate([series, np.broadcast_to(units.size, series.shape)], axis=1).astype(dtype)

    @staticmethod
    def loss(outputs: Any, targets: Any, **options: Any) -> Any:
        """The loss of outputs in units: mean = size softplus(raw), alpha = softplus(raw) / sqrt(size)."""
        if isinstance(outputs, list):
            ends = np.cumsum([len(one) for one in outputs])[:-1]
            together = np.concatenate(outputs), np.concatenate(targets)
            total, gradient, *weight = NegativeBinomial.loss(*together, **options)
            return total, np.split(gradient, ends), *weight
        counts, size = np.split(np.asarray(targets), 2, axis=-1)
        factors = np.concatenate([size, 1 / np.sqrt(size)], axis=-1)
        value = np.maximum(factors * softplus(outputs), np.finfo(outputs.dtype).tiny)
        raw = value + np.log(-np.expm1(-value))  # whose softplus is value
        total, gradient, *weight = fastrnn.negative_binomial_nll(raw, counts, **options)
        return total, gradient * factors * expit(outputs) / expit(raw), *weight

    @staticmethod
    def quantile(outputs: FloatArray, share: FloatArray, units: Units) -> FloatArray:
        """The count (..., F) that a `share` of the distribution is below."""
        mean, alpha = np.split(softplus(outputs.astype(np.float64)), 2, axis=-1)
        mean, alpha = mean * units.size + FLOOR, alpha / np.sqrt(units.size) + FLOOR
        value: NDArray[np.float64] = nbinom.ppf(share, 1 / alpha, 1 / (1 + alpha * mean))
        return value


LIKELIHOODS: dict[str, Any] = {"gaussian": Gaussian, "negative_binomial": NegativeBinomial}
