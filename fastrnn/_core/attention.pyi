"""Attention over C-contiguous arrays, all of one dtype (see _core/attention.pyx)."""

from typing import Any, TypeAlias

from numpy import floating, int64
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[floating[Any]]

class Sequences:
    def __init__(self, layout: NDArray[int64], query_step: int, key_step: int) -> None: ...
    def forward(
        self,
        queries: FloatArray,
        keys: FloatArray,
        values: FloatArray,
        v: FloatArray,
        weights: FloatArray,
        context: FloatArray,
        num_threads: int,
    ) -> None: ...
    def backward(
        self,
        queries: FloatArray,
        keys: FloatArray,
        values: FloatArray,
        v: FloatArray,
        weights: FloatArray,
        dcontext: FloatArray,
        dqueries: FloatArray,
        dkeys: FloatArray,
        dvalues: FloatArray,
        dv: FloatArray,
        num_threads: int,
    ) -> None: ...
