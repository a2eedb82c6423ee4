"""One recurrent layer over time, on C-contiguous arrays (see _core/loop.pyx)."""

from numpy import float32, int64
from numpy.typing import NDArray

from fastrnn._core.weights import Panels

def forward(
    w: Panels,
    x: NDArray[float32],
    indices: NDArray[int64],
    gates: NDArray[float32],
    h: NDArray[float32],
    c: NDArray[float32],
    aux: NDArray[float32],
    num_threads: int,
) -> None: ...
def backward(
    w: Panels,
    x: NDArray[float32],
    indices: NDArray[int64],
    gates: NDArray[float32],
    h: NDArray[float32],
    c: NDArray[float32],
    aux: NDArray[float32],
    dy: NDArray[float32],
    dh: NDArray[float32],
    dc: NDArray[float32],
    dx: NDArray[float32],
    dweight_ih: NDArray[float32],
    dweight_hh: NDArray[float32],
    dbias_ih: NDArray[float32],
    dbias_hh: NDArray[float32],
    num_threads: int,
) -> None: ...
