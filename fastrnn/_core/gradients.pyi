"""Where the gradients of a layer are added (see _core/gradients.pyx)."""

from typing import Any

from numpy import floating
from numpy.typing import NDArray

_Floats = NDArray[floating[Any]]  # float32 or float64

class Gradients:
    def __init__(
        self,
        weight_ih: _Floats | None = None,
        weight_hh: _Floats | None = None,
        bias_ih: _Floats | None = None,
        bias_hh: _Floats | None = None,
        weight_hr: _Floats | None = None,
    ) -> None: ...
