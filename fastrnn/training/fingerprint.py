"""What tells one set of sequences from another, for a checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np


def fingerprint(*data: tuple[Sequence[Any], Sequence[Any]] | None) -> str:
    """SHA-256 of all inputs and targets: types, shapes and values, as hexadecimal digits."""
    total = hashlib.sha256()
    for pair in data:
        for items in pair or ():
            total.update(f"{len(items)};".encode())
            for item in items:
                array = np.ascontiguousarray(item)
                if array.dtype == object:
                    raise TypeError("fit: an item is an array of objects; expected numbers beside checkpoint or comm")
                total.update(f"{array.dtype.str}{array.shape};".encode())
                total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()
