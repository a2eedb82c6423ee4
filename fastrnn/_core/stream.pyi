"""One time step a call (see _core/stream.pyx)."""

from collections.abc import Callable
from typing import Any, Final

from numpy import floating
from numpy.typing import NDArray

from fastrnn._core.weights import RecurrentWeights

_Floats = NDArray[floating[Any]]  # float32 or float64

class StreamCore:
    batch: Final[int]
    inputs: Final[int]
    outputs: Final[int]

    def __init__(
        self,
        weights: list[RecurrentWeights],
        batch: int,
        num_threads: int,
        check_input: Callable[[Any], NDArray[Any]],
        check_output: Callable[[Any], _Floats],
        choosing_step: Callable[[Any, Any, Any, Any], Any] | None,
    ) -> None: ...
    def step(self, x_t: Any, out: Any = None, *, reset: Any = None, mask: Any = None) -> Any: ...
    def states(self) -> tuple[list[_Floats], list[_Floats]]: ...
