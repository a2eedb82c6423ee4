"""A layer's packed weights (see _core/weights.pyx)."""

from threading import Lock
from typing import Any, Final, TypeAlias

from numpy import floating
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[floating[Any]]

class Version:
    number: Final[int]

    def advance(self) -> None: ...

class PackedWeights:
    version: Final[Version]
    lock: Final[Lock]

    def _renew_lock(self) -> None: ...

class RecurrentWeights(PackedWeights):
    def __init__(
        self,
        cell: str,
        version: Version,
        weight_ih: FloatArray,
        weight_hh: FloatArray,
        bias_ih: FloatArray | None = None,
        bias_hh: FloatArray | None = None,
        weight_hr: FloatArray | None = None,
    ) -> None: ...
    def refresh(self, indices: bool) -> None: ...
    def refresh_transposed(self, inputs: bool) -> None: ...

class LinearWeights(PackedWeights):
    def __init__(self, version: Version, weight: FloatArray, bias: FloatArray | None) -> None: ...
    def refresh(self) -> None: ...
    def refresh_transposed(self) -> None: ...
