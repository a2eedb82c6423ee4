"""The processes of a run: one alone, or several over MPI that share each step's batches.

All ranks hold the same weights and the same data, take the same steps, and differ in the batches whose gradients they
compute. What they exchange in a step is the sum of the flat gradients and a few numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[Any]


class Sum:
    """The sum of the gradients (N,) of a step's batches."""

    def __init__(self) -> None:
        self._total: Vector | None = None

    def add(self, vector: Vector) -> None:
        """Add the gradient of the next batch of this rank."""
        self._total = vector if self._total is None else np.add(self._total, vector, out=self._total)

    def over_ranks(self, batches: int) -> Vector:
        """The sum over the batches of all ranks."""
        assert self._total is not None
        return self._total


class RankSum(Sum):
    """Each rank sums its own batches, and one Allreduce the ranks."""

    def __init__(self, comm: Any, size: int, dtype: Any) -> None:
        super().__init__()
        self._comm, self._size, self._dtype = comm, size, dtype

    def over_ranks(self, batches: int) -> Vector:
        from mpi4py import MPI

        total = np.zeros(self._size, self._dtype) if self._total is None else self._total
        self._comm.Allreduce(MPI.IN_PLACE, total, op=MPI.SUM)
        return total


class OrderedSum(RankSum):
    """Every rank gets the gradient of each batch, and sums them in the order of the batches."""

    def __init__(self, comm: Any, size: int, dtype: Any) -> None:
        super().__init__(comm, size, dtype)
        self._own: list[Vector] = []

    def add(self, vector: Vector) -> None:
        self._own.append(vector)

    def over_ranks(self, batches: int) -> Vector:
        each = -(-batches // self._comm.Get_size())
        missing = [np.zeros(self._size, self._dtype)] * (each - len(self._own))
        every = np.empty((self._comm.Get_size() * each, self._size), self._dtype)
        self._comm.Allgather(np.stack(self._own + missing), every)
        total: Vector = every[0].copy()
        for other in every[1:batches]:
            total += other
        return total


class Alone:
    """One process."""

    rank, size = 0, 1

    def first(self, make: Callable[[], Any]) -> Any:
        """What rank 0 makes, for all; what it raises is raised by all."""
        return make()

    def sum(self, size: int, dtype: Any) -> Sum:
        """An empty sum of a step's gradients."""
        return Sum()

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order."""
        return [value]


class Ranks(Alone):
    """The ranks of an mpi4py communicator.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    ordered : bool
        Sum in the order of the batches: every rank sends its gradients to each other one. Otherwise MPI sums as is
        fastest.
    """

    def __init__(self, comm: Any, ordered: bool) -> None:
        self._comm, self._ordered = comm, ordered
        self.rank, self.size = comm.Get_rank(), comm.Get_size()

    def first(self, make: Callable[[], Any]) -> Any:
        made, error = None, None
        if self.rank == 0:
            try:
                made = make()
            except Exception as raised:
                error = raised
        made, error = self._comm.bcast((made, error), root=0)
        if error is not None:
            raise error
        return made

    def sum(self, size: int, dtype: Any) -> Sum:
        kind = OrderedSum if self._ordered else RankSum
        return kind(self._comm, size, dtype)

    def gather(self, value: Any) -> list[Any]:
        gathered: list[Any] = self._comm.allgather(value)
        return gathered
