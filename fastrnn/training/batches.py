"""Which sequences make a batch, and in which order: a function of the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check

Indices = NDArray[np.int64]

# Batches of a bucket: more make lengths within a batch more equal, and batches of one epoch more like those of another.
BUCKET_BATCHES = 50


def lengths_of(inputs: Sequence[Any]) -> Indices:
    """Steps of each sequence (N,); what has no length counts as one."""
    return np.array([len(one) if np.ndim(one) or isinstance(one, (str, list)) else 1 for one in inputs], dtype=np.int64)


def epoch_steps(lengths: Indices, size: int, together: int, bucket: bool, seed: int, epoch: int) -> list[list[Indices]]:
    """The steps of one epoch, each a list of `together` batches; one step may have fewer.

    Parameters
    ----------
    lengths : (N,)
    size : int
        Sequences of a batch; one batch may have fewer.
    together : int
        Batches whose gradients are summed in one step.
    bucket : bool
        Sort by length within buckets of some batches, so that a batch's sequences are of like lengths.
    seed, epoch : int
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    if bucket:
        reach = size * together * BUCKET_BATCHES
        buckets = [order[at : at + reach] for at in range(0, len(order), reach)]
        order = np.concatenate([one[np.argsort(lengths[one], kind="stable")] for one in buckets])
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    steps = [batches[at : at + together] for at in range(0, len(batches), together)]
    # In any order: buckets go from short sequences to long ones, and an epoch should not.
    return [steps[index] for index in rng.permutation(len(steps))] if bucket else steps


def plain_batches(lengths: Indices, size: int) -> list[Indices]:
    """All sequences once, sorted by length: for measuring."""
    order = np.argsort(lengths, kind="stable")
    return [order[at : at + size] for at in range(0, len(order), size)]


def taken(items: Sequence[Any], indices: Indices) -> list[Any]:
    """The items of a batch, as a list."""
    return [items[index] for index in indices.tolist()]


@contextmanager
def naming(where: str, indices: Indices) -> Iterator[None]:
    """Errors of the block say which sequences the batch had: a layer or a loss knows their places in it alone."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in {where} of fit, sequences {_check.shown(indices.tolist())}")
        raise
