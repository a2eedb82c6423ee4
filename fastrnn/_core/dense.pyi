"""The linear layer over C-contiguous arrays of the dtype of its weights (see _core/dense.pyx)."""

from typing import Any, TypeAlias

from numpy import floating
from numpy.typing import NDArray

from fastrnn._core.weights import LinearWeights

FloatArray: TypeAlias = NDArray[floating[Any]]

def linear_forward(weights: LinearWeights, x: FloatArray, y: FloatArray, num_threads: int) -> None: ...
def linear_backward(
    weights: LinearWeights,
    x: FloatArray,
    dy: FloatArray,
    dx: FloatArray,
    dweight: FloatArray,
    dbias: FloatArray,
    num_threads: int,
) -> None: ...
