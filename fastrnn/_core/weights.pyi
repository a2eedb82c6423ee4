"""A layer's packed weights (see _core/weights.pyx)."""

from threading import Lock
from typing import Any

from numpy import floating
from numpy.typing import NDArray

_Floats = NDArray[floating[Any]]  # float32 or float64

class Version:
    number: int

    def advance(self) -> None: ...

class PackedWeights:
    lock: Lock
    version: Version

    def _renew_lock(self) -> None: ...

class RecurrentWeights(PackedWeights):
    def __init__(
        self,
        cell: str,
        version: Version,
        weight_ih: _Floats,
        weight_hh: _Floats,
        bias_ih: _Floats | None = None,
        bias_hh: _Floats | None = None,
        weight_hr: _Floats | None = None,
    ) -> None: ...
    def refresh(self, indices: bool) -> None: ...
    def refresh_transposed(self, inputs: bool) -> None: ...

class LinearWeights(PackedWeights):
    def __init__(self, version: Version, weight: _Floats, bias: _Floats | None) -> None: ...
    def refresh(self) -> None: ...
    def refresh_transposed(self) -> None: ...
