"""A stack of layers: buffers, order and states (see _core/run.pyx)."""

from typing import Any, Final

from numpy import float32
from numpy.random import Generator
from numpy.typing import NDArray

from fastrnn._core.weights import Panels

class Record:
    T: Final[int]
    B: Final[int]

    def __init__(self, x: NDArray[Any], panels: Panels, T: int, B: int, tape: bool) -> None: ...

class Stack:
    def __init__(
        self, panels: list[Panels], gradients: list[list[NDArray[float32] | None]]
    ) -> None: ...
    def takes(self, x: object) -> bool: ...
    def takes_gradient(self, dy: object, T: int, B: int) -> bool: ...
    def takes_state(self, state: object, B: int) -> list[NDArray[float32]] | None: ...
    def forward(
        self,
        x: NDArray[Any],
        initial: list[NDArray[float32]] | None,
        tape: bool,
        drop: float,
        rng: Generator,
        num_threads: int,
    ) -> tuple[NDArray[float32], list[NDArray[float32]], list[Record]]: ...
    def prepare_backward(self, records: list[Record], input_gradient: bool) -> None: ...
    def backward(
        self,
        records: list[Record],
        dy: NDArray[float32] | None,
        dfinal: list[NDArray[float32]] | None,
        input_gradient: bool,
        num_threads: int,
    ) -> tuple[NDArray[float32] | None, list[NDArray[float32]]]: ...
