"""What a tape has of each direction of each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn._core.tape import LayerTape
from fastrnn.borders import Ragged
from fastrnn.layers import Recurrent, Tape
from fastrnn.module import FloatArray

Flags = NDArray[np.bool_]
Grid = NDArray[np.int64]


@dataclass(frozen=True)
class Walk:
    """One direction of one layer in a tape."""

    layer: Recurrent
    record: LayerTape
    number: int
    direction: int
    grid: Grid  # (T, B) the packed row of every step, -1 where a row takes none

    def placed(self, rows: FloatArray) -> FloatArray:
        """(T, B, ...) of packed rows (N, ...), 0 where a row takes no step."""
        result = np.zeros((*self.grid.shape, *rows.shape[1:]), rows.dtype)
        taken = self.grid >= 0
        result[taken] = rows[self.grid[taken]]
        return result

    def gates(self) -> dict[str, FloatArray]:
        """(N, H) of each gate."""
        gates = self.record.gates(self.direction)
        return {gate: gates[:, i] for i, gate in enumerate(self.layer.GATES)}

    def states(self, after: bool) -> dict[str, FloatArray]:
        """h (N, P), and c (N, H), before or after each step."""
        return {kind: self.record.state(self.direction, i, after) for i, kind in enumerate(self.layer.STATES)}


def place_name(layer: int, reverse: bool) -> str:
    return f"layer {layer}{' reverse' if reverse else ''}"


def opened(who: str, tape: Any) -> tuple[Recurrent, list[LayerTape], Any]:
    """The tape's layer, and what it keeps."""
    if not isinstance(tape, Tape):
        raise TypeError(f"{who}: tape is a {type(tape).__name__}; expected what a recurrent layer's forward returned")
    layer = tape._layer
    assert isinstance(layer, Recurrent)
    return layer, *Tape._open(tape, layer, who)


def walks_of(who: str, layer: Recurrent, records: list[LayerTape], border: Any) -> list[Walk]:
    if not records:
        raise ValueError(f"{who}: no row of the tape takes a step; expected one step or more")
    first = records[0]
    grid = border.grid if isinstance(border, Ragged) else np.arange(first.rows).reshape(first.T, first.B)
    directions = range(2 if layer.bidirectional else 1)
    return [Walk(layer, record, i, direction, grid) for i, record in enumerate(records) for direction in directions]


def gated_walks(who: str, tape: Any) -> list[Walk]:
    """Those of a tape that has all gates."""
    layer, records, border = opened(who, tape)
    if records and records[0].checkpoint:
        raise ValueError(f"{who}: the tape keeps no gates but computes them again; expected forward(checkpoint=None)")
    return walks_of(who, layer, records, border)


def packed(array: FloatArray) -> FloatArray:
    """(N, columns) of what has a row for each step of each sequence."""
    return array.reshape(-1, array.shape[-1])
