"""Torch's recurrent operators on fastrnn's engine (see torch/bridge.pyx)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

calls: dict[str, dict[str, int]]

class Operator:
    overload: Any
    name: str
    cell: str
    def __init__(self, overload: Any, cell: str, form: str, gates: int, states: int) -> None: ...
    def __call__(self, *arguments: Any) -> Any: ...
    def attempt(self, arguments: tuple[Any, ...]) -> Any: ...
    def with_resets(self, arguments: tuple[Any, ...], reset: NDArray[np.bool_]) -> Any: ...
    def by_torch(self, arguments: tuple[Any, ...]) -> Any: ...

def with_resets_by_torch(
    operator: Callable[[tuple[Any, ...]], Any], arguments: tuple[Any, ...], reset: NDArray[np.bool_]
) -> Any: ...
