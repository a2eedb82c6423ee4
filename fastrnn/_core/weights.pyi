"""A layer's packed weights (see _core/weights.pyx)."""

from threading import Lock

from numpy import float32
from numpy.typing import NDArray

from fastrnn._core.dense import Version

class Panels:
    inputs: int
    H: int
    Hp: int
    columns: int
    row: int
    input_floats: int
    recurrent_floats: int
    states: int
    aux: int
    lock: Lock
    version: Version

    def __init__(
        self,
        cell: str,
        version: Version,
        weight_ih: NDArray[float32],
        weight_hh: NDArray[float32],
        bias_ih: NDArray[float32] | None = None,
        bias_hh: NDArray[float32] | None = None,
    ) -> None: ...
    def _renew_lock(self) -> None: ...
    def refresh(self, indices: bool) -> None: ...
    def refresh_transposed(self, inputs: bool) -> None: ...
