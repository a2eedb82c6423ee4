"""What a peer is: something that can make a callable of a problem."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import ClassVar

from fastrnn.bench.cases import Case
from fastrnn.bench.problem import Job, Problem


class Peer:
    """Base of the peers; the library is imported by `build` alone."""

    name: ClassVar[str]
    package: ClassVar[str]  # the distribution whose version is reported
    cells: ClassVar[tuple[str, ...]] = ("lstm", "gru", "rnn")
    trains: ClassVar[bool] = True
    environment: ClassVar[Mapping[str, str]] = {}  # what its process must be started with
    remark: ClassVar[str] = ""  # what the report says about it

    def version(self) -> str | None:
        """The installed version, None if it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None

    def why_not(self) -> str | None:
        """Why it cannot be compared with here; None where it can."""
        return None if self.version() else f"{self.package} is not installed"

    def supports(self, case: Case) -> bool:
        """Whether it has the cell, and training if that is asked."""
        return case.cell in self.cells and (self.trains or not case.training)

    def build(self, problem: Problem, threads: int) -> Job:
        """Set the layers up with the problem's weights."""
        raise NotImplementedError
