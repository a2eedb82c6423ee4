"""The kernel table: which instruction set this process uses (see _core/kernels.pyx)."""

from typing import Literal, TypedDict

from numpy import float32
from numpy.typing import ArrayLike, NDArray

class _Isa(TypedDict):
    name: str
    vector: int
    tile_rows: int

class _Cell(TypedDict):
    gates: int
    states: int

def available() -> list[str]: ...
def choose(limit: str | None) -> None: ...
def isa() -> _Isa: ...
def openmp() -> bool: ...
def cells() -> dict[str, _Cell]: ...
def activation(name: Literal["tanh", "sigmoid"], x: ArrayLike) -> NDArray[float32]: ...
