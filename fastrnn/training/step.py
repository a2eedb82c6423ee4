"""One step: the gradients of its batches, their sum over batches and ranks, clipping, the update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastrnn.clipping import clip_grad_norm_
from fastrnn.optim import Optimizer
from fastrnn.trainable import Model

from .batches import Indices, taken
from .ranks import Alone


class Done(NamedTuple):
    """What a step measured: summed loss, what a mean divides by, the mean gradient's norm before clipping."""

    loss: float
    weight: float
    norm: float
    clipped: bool


class Stepper:
    """Takes steps.

    Parameters
    ----------
    model, optimizer
    inputs, targets : sequences of N items
    clip_norm : float or None
    seed : int
        Of dropout, together with the number of the step and of its batch.
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        data: tuple[Sequence[Any], Sequence[Any]],
        clip_norm: float | None,
        seed: int,
        ranks: Alone,
        num_threads: int | None,
    ) -> None:
        self._model, self._optimizer, self._ranks = model, optimizer, ranks
        self._inputs, self._targets = data
        self._limit = math.inf if clip_norm is None else clip_norm
        self._seed, self._threads = seed, num_threads
        self._flats = [module.flat_grads for module in model.modules.values()]

    def gradients(self, step: int, batches: list[Indices]) -> tuple[float, float]:
        """Leave the mean gradient over all batches of the step in the model; return summed loss and weight."""
        mine = self._shares(batches)[self._ranks.rank]
        together = len(mine) > 1 or self._ranks.size > 1
        losses, total = [], self._ranks.sum(sum(flat.size for flat in self._flats), self._flats[0].dtype)
        for number in mine:
            self._model.reseed(self._seed, step, number)
            self._model.zero_grad()
            batch = taken(self._inputs, batches[number]), taken(self._targets, batches[number])
            losses.append(self._model.add_gradients(*batch, num_threads=self._threads))
            if together:
                total.add(np.concatenate(self._flats))
        every = [pair for part in self._ranks.gather(losses) for pair in part]
        loss, weight = math.fsum(one for one, _ in every), math.fsum(one for _, one in every)
        self._write(total.over_ranks(len(batches)) if together else None, weight)
        return loss, weight

    def _shares(self, batches: list[Indices]) -> list[range]:
        """The numbers of the batches that each rank takes: as many for each, the last ones perhaps fewer."""
        each = -(-len(batches) // self._ranks.size)
        starts = [min(rank * each, len(batches)) for rank in range(self._ranks.size + 1)]
        return [range(start, stop) for start, stop in pairwise(starts)]

    def _write(self, total: Any, weight: float) -> None:
        """Divide the summed gradients by the weight, into the layers' own."""
        start = 0
        for flat in self._flats:
            source = flat if total is None else total[start : start + flat.size]
            start += flat.size
            np.multiply(source, flat.dtype.type(1 / weight if weight else 0), out=flat)

    def prepare(self, step: int, batches: list[Indices]) -> Done:
        """Compute and clip the gradient of a step; the weights and the optimiser stay as they are.

        Raises
        ------
        FloatingPointError
            The loss or a gradient is not finite.
        """
        loss, weight = self.gradients(step, batches)
        if not math.isfinite(loss):
            why = "finite inputs and a learning rate that is small enough"
            if loss == math.inf:
                why += ", and for ctc_loss no target longer than its sequence allows"
            raise FloatingPointError(
                f"fit: the loss of step {step + 1} is {loss}; expected {why} (fastrnn.inspect.look(model, inputs, "
                "targets).first_nan says where it begins). The weights are those before the step"
            )
        norm = clip_grad_norm_(self._model.grads, self._limit)
        return Done(loss, weight, norm, norm > self._limit)

    def apply(self, done: Done, learning_rate: float) -> None:
        """Update the weights by the gradient that `prepare` left."""
        self._optimizer.lr = learning_rate
        if done.weight:
            self._optimizer.step()
