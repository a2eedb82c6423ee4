"""The linear layer, the loss and dropout over C-contiguous arrays (see _core/dense.pyx)."""

from threading import Lock

from numpy import float32, int64
from numpy.typing import NDArray

class Version:
    number: int

    def advance(self) -> None: ...

class LinearPanels:
    inputs: int
    outputs: int
    lock: Lock
    version: Version

    def __init__(self, version: Version, weight: NDArray[float32], bias: NDArray[float32] | None) -> None: ...
    def _renew_lock(self) -> None: ...
    def refresh(self) -> None: ...
    def refresh_transposed(self) -> None: ...

def linear_forward(w: LinearPanels, x: NDArray[float32], y: NDArray[float32], num_threads: int) -> None: ...
def linear_backward(
    w: LinearPanels,
    x: NDArray[float32],
    dy: NDArray[float32],
    dx: NDArray[float32],
    dweight: NDArray[float32],
    dbias: NDArray[float32],
    num_threads: int,
) -> None: ...
def cross_entropy(
    logits: NDArray[float32],
    targets: NDArray[int64],
    scale: float,
    dlogits: NDArray[float32],
    losses: NDArray[float32],
    num_threads: int,
) -> None: ...
def dropout(source: NDArray[float32], target: NDArray[float32], p: float, key: int, num_threads: int) -> None: ...
