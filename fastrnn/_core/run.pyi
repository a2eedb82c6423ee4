"""A stack of layers: buffers, order and states (see _core/run.pyx)."""

from typing import Any

from numpy import floating
from numpy.random import Generator
from numpy.typing import NDArray

from fastrnn._core.gradients import Gradients
from fastrnn._core.tape import LayerTape, PackedBatch
from fastrnn._core.weights import RecurrentWeights

_Floats = NDArray[floating[Any]]  # float32 or float64
_Kinds = list[Any]  # of a state: each an array, or a list of one for each layer

class Stack:
    def __init__(self, weights: list[tuple[RecurrentWeights, ...]], merge: str | None = None) -> None: ...
    def takes(self, x: object) -> bool: ...
    def takes_gradient(self, dy: object, T: int, B: int) -> bool: ...
    def takes_state(self, state: object, B: int) -> _Kinds | None: ...
    def forward(
        self,
        x: NDArray[Any],
        initial: _Kinds | None,
        tape: bool,
        drop: float,
        rng: Generator,
        num_threads: int,
        packed: PackedBatch | None = None,
        checkpoint: int = 0,
        reusable: bool = False,
    ) -> tuple[_Floats, _Kinds, list[LayerTape]]: ...
    def outputs(self, records: list[LayerTape]) -> list[_Floats]: ...
    def prepare_backward(self, records: list[LayerTape], input_gradient: bool) -> None: ...
    def backward(
        self,
        records: list[LayerTape],
        dy: Any,
        dfinal: _Kinds | None,
        input_gradient: bool,
        gradients: list[tuple[Gradients, ...]],
        num_threads: int,
    ) -> tuple[_Floats | None, _Kinds]: ...
