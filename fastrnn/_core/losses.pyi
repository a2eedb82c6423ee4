"""Losses of C-contiguous rows, all floats of a call of one dtype (see _core/losses.pyx)."""

from typing import Any, TypeAlias

from numpy import float64, floating, int64, uint8
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[floating[Any]]

KINDS: dict[str, int]

def softmax_cross_entropy(
    logits: FloatArray,
    targets: NDArray[int64],
    scale: float,
    smoothing: float,
    class_weights: FloatArray | None,
    dlogits: FloatArray,
    losses: FloatArray,
    num_threads: int,
) -> None: ...
def block_count(rows: int, columns: int) -> int: ...
def elements(
    who: str,
    outputs: FloatArray,
    targets: FloatArray,
    counted: NDArray[uint8] | None,
    scale: float,
    option: float,
    doutputs: FloatArray,
    sums: NDArray[float64],
    num_threads: int,
) -> None: ...
