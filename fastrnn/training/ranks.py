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


class Alone:
    """One process."""

    rank, size = 0, 1

    def first(self, make: Callable[[], Any]) -> Any:
        """What rank 0 makes, for all; what it raises is raised by all."""
        return make()

    def add(self, vector: Vector) -> None:
        """Sum a vector over the ranks, in place."""

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order."""
        return [value]


class Ranks(Alone):
    """The ranks of an mpi4py communicator.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    ordered : bool
        Sum in the order of the ranks: every rank sends its vector to each other one. Otherwise MPI sums as is fastest.
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

    def add(self, vector: Vector) -> None:
        if not self._ordered:
            from mpi4py import MPI

            self._comm.Allreduce(MPI.IN_PLACE, vector, op=MPI.SUM)
            return
        every = np.empty((self.size, vector.size), vector.dtype)
        self._comm.Allgather(vector, every)
        vector[:] = every[0]
        for other in every[1:]:
            vector += other

    def gather(self, value: Any) -> list[Any]:
        gathered: list[Any] = self._comm.allgather(value)
        return gathered
