"""Update rules and gradient clipping over flat, C-contiguous buffers of one dtype (see _core/update.pyx)."""

from typing import TypeVar

from numpy import float32, float64
from numpy.typing import NDArray

Real = TypeVar("Real", float32, float64)

def sgd(
    params: NDArray[Real],
    grads: NDArray[Real],
    velocity: NDArray[Real] | None,
    lr: float,
    momentum: float,
) -> None: ...
def rmsprop(
    params: NDArray[Real],
    grads: NDArray[Real],
    square_avg: NDArray[Real],
    lr: float,
    alpha: float,
    eps: float,
) -> None: ...
def adagrad(
    params: NDArray[Real],
    grads: NDArray[Real],
    square_sum: NDArray[Real],
    lr: float,
    eps: float,
) -> None: ...
def adam(
    params: NDArray[Real],
    grads: NDArray[Real],
    exp_avg: NDArray[Real],
    exp_avg_sq: NDArray[Real],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
) -> None: ...
def sum_of_squares(values: NDArray[Real]) -> float: ...
def scale(values: NDArray[Real], factor: float) -> None: ...
def clamp(values: NDArray[Real], limit: float) -> None: ...
def all_finite(values: NDArray[Real]) -> bool: ...
