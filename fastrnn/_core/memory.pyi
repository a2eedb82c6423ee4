"""Arrays whose memory is kept for the next call of a like shape (see _core/memory.pyx)."""

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Real = TypeVar("Real", bound=np.floating[Any])

SMALL_BYTES: int

class Block: ...

def empty(shape: Iterable[int], dtype: DTypeLike = ...) -> NDArray[Any]: ...
def view_of(array: NDArray[Real], writeable: bool) -> NDArray[Real]: ...
def kept() -> int: ...
