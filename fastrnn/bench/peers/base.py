"""What a peer is: something that can make a callable of a problem."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from fastrnn.bench.cases import Case
from fastrnn.bench.problem import Problem, Results


@dataclass(frozen=True)
class Job:
    """A case, ready to be run again and again.

    Attributes
    ----------
    run : callable () -> anything
        What is timed; when it returns, the results are there.
    results : callable (what `run` returned) -> dict of arrays
        The results by name, as `problem.disagreement` takes them. Not timed.
    """

    run: Callable[[], Any]
    results: Callable[[Any], Results]


class Peer:
    """Base of the peers; the library is imported by `build` alone."""

    name: ClassVar[str]
    package: ClassVar[str]  # the distribution whose version is reported
    cells: ClassVar[tuple[str, ...]] = ("lstm", "gru", "rnn")
    trains: ClassVar[bool] = True

    def version(self) -> str | None:
        """The installed version, None if it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None

    def supports(self, case: Case) -> bool:
        """Whether it has the cell, and training if that is asked."""
        return case.cell in self.cells and (self.trains or not case.training)

    def build(self, problem: Problem, threads: int) -> Job:
        """Set the layers up with the problem's weights."""
        raise NotImplementedError
