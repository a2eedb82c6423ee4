"""Arrays whose memory is kept for the next call of a like shape (see _core/memory.pyx)."""

from collections.abc import Iterable

from numpy import float32
from numpy.typing import NDArray

SMALL_BYTES: int

class Block: ...

def empty(shape: Iterable[int]) -> NDArray[float32]: ...
def view_of(array: NDArray[float32], writeable: bool) -> NDArray[float32]: ...
def kept() -> int: ...
