"""Update rules and gradient clipping over flat, C-contiguous float32 buffers (see _core/update.pyx)."""

from numpy import float32
from numpy.typing import NDArray

def sgd(
    params: NDArray[float32],
    grads: NDArray[float32],
    velocity: NDArray[float32] | None,
    lr: float,
    momentum: float,
) -> None: ...
def rmsprop(
    params: NDArray[float32],
    grads: NDArray[float32],
    square_avg: NDArray[float32],
    lr: float,
    alpha: float,
    eps: float,
) -> None: ...
def adagrad(
    params: NDArray[float32],
    grads: NDArray[float32],
    square_sum: NDArray[float32],
    lr: float,
    eps: float,
) -> None: ...
def adam(
    params: NDArray[float32],
    grads: NDArray[float32],
    exp_avg: NDArray[float32],
    exp_avg_sq: NDArray[float32],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
) -> None: ...
def sum_of_squares(values: NDArray[float32]) -> float: ...
def scale(values: NDArray[float32], factor: float) -> None: ...
def clamp(values: NDArray[float32], limit: float) -> None: ...
def all_finite(values: NDArray[float32]) -> bool: ...
