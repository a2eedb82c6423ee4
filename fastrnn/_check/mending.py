"""What to type for a value to make it what is expected."""

from __future__ import annotations

from typing import Any

import numpy as np

from .dtypes import FLOAT32, DType
from .values import is_tensor


def floats_code(name: str, value: Any, dtype: DType) -> str:
    """What to type for value as an array of floats of that dtype."""
    code = name.split(" (")[0]
    if is_tensor(value):
        return f"{code}.{'float' if dtype == FLOAT32 else 'double'}().numpy(force=True)"
    if not isinstance(value, np.ndarray):
        return f"np.asarray({code}, dtype=np.{dtype})"
    if value.dtype.names:
        return f"{code}[{value.dtype.names[0]!r}].astype(np.{dtype})"
    return f"{code}{'.real' if value.dtype.kind == 'c' else ''}.astype(np.{dtype})"


def integers_code(name: str, value: Any) -> str:
    """What to type for value as an integer array."""
    if is_tensor(value):
        return f"{name}.long().numpy(force=True)"
    if isinstance(value, np.ndarray):
        return f"{name}{'.real' if value.dtype.kind == 'c' else ''}.astype(np.int64)"
    return f"np.asarray({name}, dtype=np.int64)"
