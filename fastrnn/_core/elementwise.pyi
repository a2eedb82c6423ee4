"""Dropout and rows of C-contiguous arrays, all floats of a call of one dtype (see _core/elementwise.pyx)."""

from typing import Any, TypeAlias

from numpy import floating, int64
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[floating[Any]]

def dropout(source: FloatArray, target: FloatArray, p: float, key: int, num_threads: int) -> None: ...
def take_rows(source: FloatArray, index: NDArray[int64], target: FloatArray, num_threads: int) -> None: ...
def add_rows(source: FloatArray, index: NDArray[int64], target: FloatArray) -> None: ...
