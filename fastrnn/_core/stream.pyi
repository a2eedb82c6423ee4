"""One time step a call (see _core/stream.pyx)."""

from collections.abc import Callable
from typing import Any

from numpy import float32
from numpy.typing import NDArray

from fastrnn._core.weights import Panels

class StreamCore:
    batch: int
    inputs: int
    hidden: int

    def __init__(
        self,
        panels: list[Panels],
        batch: int,
        num_threads: int,
        check_input: Callable[[Any], NDArray[Any]],
        check_output: Callable[[Any], NDArray[float32]],
    ) -> None: ...
    def step(self, x_t: NDArray[Any], out: NDArray[float32] | None = None) -> NDArray[float32]: ...
    def states(self) -> tuple[list[NDArray[float32]], list[NDArray[float32]]]: ...
