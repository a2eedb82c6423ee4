"""The forms in which a caller brings outputs and targets to a loss: as rows, some of which count.

A row is what one step of one sequence has. Outputs are one array of any leading axes, one array (T, B, ...) with
lengths or a mask, or a list of arrays (T_i, ...), one a sequence. Rows that do not count are not read: their gradient
is 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check
from fastrnn._check import FloatArray

Flags = NDArray[np.bool_]


class Rows:
    """Outputs as rows (N, columns), contiguous.

    Parameters
    ----------
    who : str
    name : str
        Of the outputs, for messages.
    outputs : as the caller gives them, float32 or float64
    lengths, mask, batch_first : as the caller gives them
    vectors : bool
        Whether the last axis is of one row (the classes of a softmax); else every element is an output of its own.
    """

    def __init__(
        self, who: str, name: str, outputs: Any, lengths: Any, mask: Any, batch_first: Any, *, vectors: bool
    ) -> None:
        self.who, self.name = who, name
        self.listed = isinstance(outputs, list)
        self._vectors = vectors
        self._axes = ("B", "T") if _check.flag(who, "batch_first", batch_first) else ("T", "B")
        arrays = self._arrays(outputs)
        self.dtype = arrays[0].dtype
        self._lead_axes = 1 if self.listed else self._axes_of(arrays[0], lengths is not None or mask is not None)
        self.leads = [array.shape[: self._lead_axes] for array in arrays]
        self.trailing = arrays[0].shape[self._lead_axes :]
        for i, array in enumerate(arrays):
            self._check_trailing(i, array)
        self.counted = self._counted(lengths, mask)
        self.rows = self._flat(arrays, self.trailing)

    # ------------------------------------------------------------------------------------------ what is given

    def label(self, name: str, i: int) -> str:
        return f"{name}[{i}]" if self.listed else name

    def _arrays(self, outputs: Any) -> list[FloatArray]:
        who, given = self.who, outputs
        if not self.listed or (outputs and not any(hasattr(one, "shape") for one in outputs)):
            given = [outputs]  # numbers in a list are refused as such
        if not given:
            raise ValueError(f"{who}: {self.name} is an empty list; expected one array (T_i, ...) or more")
        dtype = _check.dtype_of(given[0])
        return [
            _check.floats(
                who, self.name if one is outputs else self.label(self.name, i), one, dtype=dtype,
                meaning=f"{dtype}, as {self.name}[0]" if i else "float32 or float64",
            )
            for i, one in enumerate(given)
        ]

    def _axes_of(self, array: FloatArray, by_time: bool) -> int:
        """How many of its axes number rows."""
        if by_time:
            least, most = (3, 3) if self._vectors else (2, math.inf)
            if not least <= array.ndim <= most:
                last = "n" if self._vectors else "..."
                raise ValueError(
                    f"{self.who}: {self.name} has shape {array.shape}; expected ({', '.join(self._axes)}, {last}) "
                    "beside lengths or a mask"
                )
            return 2
        return max(array.ndim - 1, 0) if self._vectors else array.ndim

    def _check_trailing(self, i: int, array: FloatArray) -> None:
        """Of a list: all arrays have the same axes behind T_i."""
        alike = array.ndim >= 1 and array.shape[1:] == self.trailing and (len(self.trailing) == 1 or not self._vectors)
        if self.listed and not alike:
            expected = f"(T_i, {'n' if self._vectors else '...'}){', the same behind T_i for all' if i else ''}"
            raise ValueError(f"{self.who}: {self.name}[{i}] has shape {array.shape}; expected {expected}")

    def _flat(self, arrays: list[NDArray[Any]], trailing: tuple[int, ...]) -> NDArray[Any]:
        """(N, columns) of arrays of these leading axes, contiguous."""
        columns = math.prod(trailing)
        count = sum(math.prod(lead) for lead in self.leads)
        if not self.listed:
            return np.ascontiguousarray(arrays[0]).reshape(count, columns)
        return np.concatenate([array.reshape(len(array), columns) for array in arrays])

    # ------------------------------------------------------------------------------------------ which rows count

    def _counted(self, lengths: Any, mask: Any) -> Flags | None:
        """(N,), or None where all count."""
        if self.listed:
            return self._counted_of_list(lengths, mask)
        counted = None
        if lengths is not None or mask is not None:
            lead = self.leads[0]
            T, B = lead if self._axes == ("T", "B") else lead[::-1]
        if lengths is not None:
            inside = np.arange(T)[:, None] < _check.lengths(self.who, lengths, B, T)
            counted = inside if self._axes == ("T", "B") else inside.T
        if mask is not None:
            flags = _check.flags(self.who, "mask", mask, lead, f"({', '.join(self._axes)})")
            counted = flags if counted is None else counted & flags
        return None if counted is None else counted.reshape(-1)

    def _counted_of_list(self, lengths: Any, mask: Any) -> Flags | None:
        who = self.who
        if lengths is not None:
            raise ValueError(f"{who}: lengths are given with a list, whose arrays have lengths; expected lengths=None")
        if mask is None:
            return None
        return np.concatenate([
            _check.flags(who, f"mask[{i}]", one, self.leads[i], "(T_i,)")
            for i, one in enumerate(self.each_of("mask", mask))
        ])

    # -------------------------------------------------------------------------------------------- targets and back

    def targets(self, targets: Any, trailing: tuple[int, ...]) -> FloatArray:
        """Targets as rows (N, columns), of the dtype of the outputs and the same axes, but `trailing`."""
        arrays = []
        for i, one in enumerate(self.each_of("targets", targets)):
            label, expected = self.label("targets", i), (*self.leads[i], *trailing)
            meaning = f"{self.dtype}, as {self.name}"
            array = _check.floats(self.who, label, one, dtype=self.dtype, meaning=meaning)
            if array.shape != expected:
                raise ValueError(
                    f"{self.who}: {label} has shape {array.shape}; expected {expected}, as {self.label(self.name, i)}"
                )
            arrays.append(array)
        return self._flat(arrays, trailing)

    def each_of(self, name: str, given: Any) -> list[Any]:
        """What is given beside the outputs: a list beside a list, or one thing."""
        if not self.listed:
            return [given]
        return _check.list_of(self.who, name, given, len(self.leads), f"one array for each of {self.name}")

    def as_given(self, rows: NDArray[Any]) -> Any:
        """Rows (N, columns) in the form of the outputs."""
        if not self.listed:
            return rows.reshape((*self.leads[0], *self.trailing))
        ends = np.cumsum([lead[0] for lead in self.leads])
        return [part.reshape(-1 if part.size else 0, *self.trailing) for part in np.split(rows, ends[:-1])]


def reduction_of(who: str, value: Any) -> str:
    return _check.choice(who, "reduction", value, ("mean", "sum", "sum_and_weight"))


def scale_of(who: str, reduction: str, weight: float, why: str) -> float:
    """What the gradient of the sum is multiplied by; an error where there is nothing to average."""
    if reduction != "mean":
        return 1.0
    if not weight > 0:
        raise ValueError(f"{who}: nothing to average, {why}; expected some to count, or reduction='sum'")
    return 1 / weight


def reduced(reduction: str, total: float, gradient: Any, weight: float) -> tuple[Any, ...]:
    """What a loss returns."""
    if reduction == "mean":
        return total / weight, gradient
    return (total, gradient) if reduction == "sum" else (total, gradient, weight)
