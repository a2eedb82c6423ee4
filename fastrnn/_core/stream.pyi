"""One time step a call (see _core/stream.pyx)."""

from collections.abc import Callable
from typing import Any

from numpy import bool_, int64
from numpy.typing import NDArray

from fastrnn._core.weights import RecurrentWeights

class StreamCore:
    batch: int
    inputs: int
    outputs: int

    def __init__(
        self,
        weights: list[RecurrentWeights],
        batch: int,
        num_threads: int,
        check_input: Callable[[Any, NDArray[bool_] | None], NDArray[Any]],
        check_output: Callable[[Any], NDArray[Any]],
        check_flags: Callable[[str, Any], NDArray[bool_]],
    ) -> None: ...
    def step(self, x_t: Any, out: Any = None, *, reset: Any = None, mask: Any = None) -> NDArray[Any]: ...
    def select(self, rows: NDArray[int64], B: int) -> None: ...
    def rows_shown(self) -> NDArray[bool_]: ...
    def states(self) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]: ...
