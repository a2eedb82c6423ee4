"""CTC of a batch, all floats of a call of one dtype (see _core/ctc.pyx)."""

from typing import Any, TypeAlias

from numpy import float64, floating, int64
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[floating[Any]]
Index: TypeAlias = NDArray[int64]

class Sequences:
    def __init__(self, step: int, first: Index, rows: Index, lengths: Index, labels: Index, starts: Index) -> None: ...

def ctc_loss(
    logits: FloatArray,
    given: Sequences,
    blank: int,
    zero_infinity: bool,
    scales: NDArray[float64],
    dlogits: FloatArray,
    losses: NDArray[float64],
    num_threads: int,
) -> None: ...
