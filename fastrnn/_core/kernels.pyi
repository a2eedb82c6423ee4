"""The kernel table: which instruction set this process uses (see _core/kernels.pyx)."""

from typing import Literal, TypedDict, TypeVar

from numpy import float32, float64
from numpy.typing import DTypeLike, NDArray

_Real = TypeVar("_Real", float32, float64)

class _Isa(TypedDict):
    name: str
    vector: int
    tile_rows: int

class _Cell(TypedDict):
    gates: int
    states: int

def available() -> list[str]: ...
def choose(limit: str | None) -> None: ...
def isa(dtype: DTypeLike = ...) -> _Isa: ...
def openmp() -> bool: ...
def cells() -> dict[str, _Cell]: ...
def activation(name: Literal["tanh", "sigmoid"], x: NDArray[_Real]) -> NDArray[_Real]: ...
def product(init: NDArray[_Real], x: NDArray[_Real], weight: NDArray[_Real]) -> NDArray[_Real]: ...
