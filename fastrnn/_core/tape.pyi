"""What one layer keeps of a forward run, and batches packed by time (see _core/tape.pyx)."""

from typing import Any, Final, TypeVar

from numpy import floating, int64
from numpy.typing import NDArray

from fastrnn._core.weights import RecurrentWeights

_Floats = TypeVar("_Floats", bound=NDArray[floating[Any]])

class PackedBatch:
    T: Final[int]
    B: Final[int]
    rows: Final[int]
    offset: Final[NDArray[int64]]
    last_rows: Final[NDArray[int64]]
    reverse_rows: Final[NDArray[int64]]

    def __init__(self, lengths: NDArray[int64]) -> None: ...

class LayerTape:
    T: Final[int]
    B: Final[int]
    rows: Final[int]
    x: Final[NDArray[Any]]
    dropped: Final[tuple[float, int] | None]
    checkpoint: Final[int]
    dh: Final[list[NDArray[floating[Any]]] | None]

    def __init__(
        self,
        x: NDArray[Any],
        weights: tuple[RecurrentWeights, ...],
        merge: str | None,
        packed: PackedBatch | None,
        taped: bool,
        checkpoint: int,
    ) -> None: ...
    def gates(self, direction: int) -> NDArray[floating[Any]]: ...
    def state(self, direction: int, kind: int, after: bool) -> NDArray[floating[Any]]: ...
    def watch(self, on: bool) -> None: ...

def set_small(bytes: int) -> None: ...
def merged(merge: str, forward: _Floats, reverse: _Floats) -> _Floats: ...
def unmerged(merge: str, dy: _Floats, forward: _Floats, reverse: _Floats) -> tuple[_Floats, _Floats]: ...
