"""Learning rates over a run, as factors of the optimiser's own rate.

A schedule is a function of where the run stands and of the losses so far, and keeps nothing: a resumed run needs no
state of it. Any callable (epoch, losses) -> factor serves as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastrnn import _check

Factor = Callable[[float, Sequence[float]], float]


class Schedule:
    """Base of the schedules: a call gives the factor of the learning rate."""

    def __call__(self, epoch: float, losses: Sequence[float]) -> float:
        """Return the factor.

        Parameters
        ----------
        epoch : float
            Epochs done, with the part of the one that is going on: 2.5 in the middle of the third.
        losses : sequence of float
            Validation loss of each epoch done, or training loss where there is no validation.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class StepDecay(Schedule):
    """``factor ** floor(epoch / every)``: the rate falls by a factor every so many epochs."""

    every: float
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check.positive("StepDecay", "every", self.every)
        _check.positive("StepDecay", "factor", self.factor)

    def __call__(self, epoch: float, losses: Sequence[float]) -> float:
        return float(self.factor ** math.floor(epoch / self.every))


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """``factor ** floor(epoch)``: the rate falls by a factor each epoch, from epoch `after` on."""

    factor: float
    after: int = 0

    def __post_init__(self) -> None:
        _check.positive("ExponentialDecay", "factor", self.factor)
        _check.token("ExponentialDecay", "after", self.after)

    def __call__(self, epoch: float, losses: Sequence[float]) -> float:
        return float(self.factor ** max(0, math.floor(epoch) - self.after))


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """From 1 to `floor` along half a cosine over `epochs`, and `floor` from then on (Loshchilov and Hutter, 2017)."""

    epochs: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check.positive("CosineDecay", "epochs", self.epochs)
        _check.positive("CosineDecay", "floor", self.floor, zero=True)

    def __call__(self, epoch: float, losses: Sequence[float]) -> float:
        done = min(1.0, epoch / self.epochs)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class WarmUp(Schedule):
    """From `start` to 1 along a line over the first `epochs`; then another schedule, which counts from there."""

    epochs: float
    then: Factor | None = None
    start: float = 0.0

    def __post_init__(self) -> None:
        _check.positive("WarmUp", "epochs", self.epochs)
        _check.positive("WarmUp", "start", self.start, zero=True)
        if self.then is not None:
            _check.function("WarmUp", "then", self.then, "(epoch, losses) -> factor, or None")

    def __call__(self, epoch: float, losses: Sequence[float]) -> float:
        if epoch < self.epochs:
            return self.start + (1 - self.start) * epoch / self.epochs
        return 1.0 if self.then is None else self.then(epoch - self.epochs, losses[math.ceil(self.epochs) :])


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """The rate falls by a factor, down to `floor`, after every `patience` epochs in a row without a better loss.

    A loss is better if it is below the last better one by more than `least`, as for PyTorch with
    ``threshold_mode="abs"`` and for Keras.
    """

    patience: int = 5
    factor: float = 0.5
    least: float = 0.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check.count("ReduceOnPlateau", "patience", self.patience)
        _check.share("ReduceOnPlateau", "factor", self.factor)
        _check.positive("ReduceOnPlateau", "least", self.least, zero=True)
        _check.probability("ReduceOnPlateau", "floor", self.floor)

    def __call__(self, epoch: float, losses: Sequence[float]) -> float:
        rate, best, waited = 1.0, math.inf, 0
        for loss in losses:
            waited += 1
            if loss < best - self.least:
                best, waited = loss, 0
            if waited == self.patience:
                rate, waited = max(rate * self.factor, self.floor), 0
        return rate
