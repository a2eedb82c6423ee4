"""Which rows a batch has: lengths, lists, masks and resets as indices, so that the core sees sequences packed by time.

A sequence is a run of steps that one row of the batch takes without a reset between them. A mask takes steps out of it,
a reset cuts a row into several sequences. Sequences are sorted by length, the longest first, and packed by time: step s
of all of them that have one, then step s + 1 (`fastrnn._core.plan`). Below the border nobody knows which it was.

Words: T, B time and batch of the caller; a place is (t, b) there; L layers, D directions; -1 in an index means zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn._core.elementwise import add_rows, take_rows
from fastrnn._core.memory import empty
from fastrnn._core.tape import PackedBatch

Array = NDArray[Any]
Index = NDArray[np.int64]
Flags = NDArray[np.bool_]

ZERO, INITIAL = -1, -2  # of a final state: it is 0; it is the initial one, because the row takes no step


@dataclass(frozen=True)
class Direction:
    """How one direction's outputs and states lie among the packed ones."""

    outputs: Index  # (places,): the packed row that y shows there, or -1
    start: Index  # (sequences,): the batch row whose initial state it begins with, or -1
    end: Index  # (B,): the sequence whose last state is the row's final one, or ZERO or INITIAL


@dataclass(frozen=True)
class Packing:
    """One batch's indices.

    Attributes
    ----------
    batch : PackedBatch, or None where no row takes any step
    source : (N,) place of every packed row
    target : (places,) packed row of every place, or -1 where the row does not take the step
    repeats : bool
        Whether y shows a packed row at several places.
    directions : tuple of Direction
    """

    batch: PackedBatch | None
    source: Index
    target: Index
    repeats: bool
    directions: tuple[Direction, ...]

    def pack(self, x: Array) -> Array:
        """(N, ...) of x (places, ...)."""
        if x.ndim == 1:
            return x[self.source]
        return taken(x, self.source)

    def unpack(self, packed: Array) -> Array:
        """(places, columns) of packed (N, columns), 0 where no row takes a step."""
        return taken(packed, self.target)

    def show(self, packed: Array, direction: int) -> Array:
        """(places, P) of a direction's outputs (N, P)."""
        return taken(packed, self.directions[direction].outputs)

    def unshow(self, dy: Array, direction: int) -> Array:
        """The gradient (N, P) of a direction's outputs: backward of `show`."""
        if not self.repeats:
            return taken(dy, self.source)
        packed = np.zeros((len(self.source), dy.shape[1]), dy.dtype)
        add_rows(dy, self.directions[direction].outputs, packed)
        return packed

    def initial_states(self, kind: Array) -> Array:
        """(L*D, sequences, width) of a kind of state (L*D, B, width)."""
        return self._by_direction(kind, [own.start for own in self.directions])

    def final_states(self, packed: Array | None, initial: Array | None, shape: tuple[int, ...], dtype: Any) -> Array:
        """(L*D, B, width), that shape, of the sequences' final states and the rows' initial ones; None for zeros."""
        result = np.zeros(shape, dtype)
        for layer in range(len(result)):
            end = self.directions[layer % len(self.directions)].end
            if packed is not None:
                result[layer, end >= 0] = packed[layer, end[end >= 0]]
            if initial is not None:
                result[layer, end == INITIAL] = initial[layer, end == INITIAL]
        return result

    def final_gradients(self, kind: Array) -> Array:
        """(L*D, sequences, width), the gradient of the sequences' final states, of that of the rows'."""
        index = [np.full(len(own.start), ZERO, np.int64) for own in self.directions]
        for own, rows in zip(self.directions, index, strict=True):
            rows[own.end[own.end >= 0]] = np.flatnonzero(own.end >= 0)
        return self._by_direction(kind, index)

    def initial_gradients(self, packed: Array | None, final: Array | None, shape: tuple[int, ...], dtype: Any) -> Array:
        """(L*D, B, width), that shape: of the sequences' initial states, or passed through rows without a step."""
        result = np.zeros(shape, dtype)
        for layer in range(len(result)):
            own = self.directions[layer % len(self.directions)]
            if packed is not None:
                result[layer, own.start[own.start >= 0]] = packed[layer, own.start >= 0]
            if final is not None:
                result[layer, own.end == INITIAL] = final[layer, own.end == INITIAL]
        return result

    def _by_direction(self, kind: Array, index: list[Index]) -> Array:
        result: Array = np.empty((len(kind), len(index[0]), kind.shape[2]), kind.dtype)
        for layer, part in enumerate(kind):
            result[layer] = taken(part, index[layer % len(index)])
        return result


def taken(rows: Array, index: Index) -> Array:
    """rows[index], zeros where it is -1."""
    result: Array = empty((len(index), rows.shape[1]), rows.dtype)
    take_rows(np.ascontiguousarray(rows), index, result, 1)
    return result


def packing(
    places: Index,
    count: int,
    lengths: Index,
    mask: Flags | None,
    reset: Flags | None,
    zero_output_for_mask: bool,
    directions: int,
) -> Packing:
    """Work out the indices of a batch.

    Parameters
    ----------
    places : (T, B) int64 in 0..count-1
        Where (t, b) stands among the caller's rows; not read behind a row's length.
    count : int
    lengths : (B,) in 0..T
    mask, reset : (T, B) bool, or None
        See `fastrnn.layers.Recurrent.__call__`.
    zero_output_for_mask : bool
    directions : 1 or 2
    """
    T, B = places.shape
    inside = np.arange(T)[:, None] < lengths
    alive = inside if mask is None else inside & mask
    resets = np.zeros((T + 1, B), np.int64)  # of each row at earlier steps
    if reset is not None:
        np.cumsum(inside & reset, axis=0, out=resets[1:])
    sequences = _sequences(alive, resets)
    source = np.zeros(len(sequences.rows), np.int64)
    source[sequences.packed] = places[sequences.times, sequences.rows]
    grid = np.full((T, B), ZERO, np.int64)  # the packed row of every step
    grid[sequences.times, sequences.rows] = sequences.packed
    repeats = mask is not None and not zero_output_for_mask
    own = []
    for direction in range(directions):
        shown = _shown(grid, alive, inside, resets, reverse=direction == 1) if repeats else grid
        outputs = np.full(count, ZERO, np.int64)
        outputs[places[inside]] = shown[inside]
        own.append(Direction(outputs, *_ends(sequences, resets, reverse=direction == 1)))
    target = own[0].outputs
    if repeats:
        target = np.full(count, ZERO, np.int64)
        target[places[inside]] = grid[inside]
    return Packing(sequences.batch, source, target, repeats, tuple(own))


@dataclass(frozen=True)
class _Sequences:
    """The steps that are taken, row by row: (N,) each; and the first and last of them of every sequence, sorted."""

    batch: PackedBatch | None
    rows: Index
    times: Index
    packed: Index
    first: Index
    last: Index


def _sequences(alive: Flags, resets: Index) -> _Sequences:
    rows, times = np.nonzero(alive.T)
    if not len(rows):
        none = np.zeros(0, np.int64)
        return _Sequences(None, rows, times, none, none, none)
    before = resets[times + 1, rows]
    begins = np.ones(len(rows), bool)
    begins[1:] = (rows[1:] != rows[:-1]) | (before[1:] != before[:-1])
    first = np.flatnonzero(begins)
    lengths = np.diff(np.append(first, len(rows)))
    order = np.argsort(-lengths, kind="stable")
    batch = PackedBatch(lengths[order])
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    number = np.cumsum(begins) - 1  # of the sequence that each step is in
    packed = batch.offset[np.arange(len(rows)) - first[number]] + rank[number]
    return _Sequences(batch, rows, times, packed, first[order], (first + lengths - 1)[order])


def _ends(sequences: _Sequences, resets: Index, reverse: bool) -> tuple[Index, Index]:
    """`start` and `end` of a direction: which states pass between the rows of the batch and the sequences."""
    rows, times = sequences.rows, sequences.times
    total = resets[-1]
    apart = np.ones(len(rows) + 1, bool)  # whether step i is of another row than step i - 1
    apart[1:-1] = rows[1:] != rows[:-1]
    at_first, at_last = sequences.first, sequences.last
    opens = np.flatnonzero(apart[at_first])  # the sequence that each row begins with, and the one it ends with
    closes = np.flatnonzero(apart[at_last + 1])
    after = total[rows[at_last]] - resets[times[at_last] + 1, rows[at_last]]  # resets behind a sequence's last step
    before = resets[times[at_first] + 1, rows[at_first]]  # and up to its first
    if reverse:  # a reset before step 0 separates it from the initial state of the other direction alone
        opens, closes = closes, opens
        first_step = resets[min(1, len(resets) - 1)]
        before, after, total = after, before - first_step[rows[at_first]], total - first_step
    start = np.full(len(at_first), ZERO, np.int64)
    start[opens] = np.where(before[opens] == 0, rows[at_first[opens]], ZERO)
    end = np.where(total > 0, ZERO, INITIAL)
    end[rows[at_first[closes]]] = np.where(after[closes] == 0, closes, ZERO)
    return start, end


def _shown(grid: Index, alive: Flags, inside: Flags, resets: Index, reverse: bool) -> Index:
    """The packed row that y shows at every step: the newest in the direction's order, 0 after a reset."""
    T = len(grid)
    times = np.arange(T)[:, None]
    if reverse:
        newest = np.minimum.accumulate(np.where(alive, times, T)[::-1])[::-1]
    else:
        newest = np.maximum.accumulate(np.where(alive, times, -1))
    exists = (newest >= 0) & (newest < T)
    newest = np.where(exists, newest, 0)
    unbroken = np.take_along_axis(resets, newest + 1, 0) == resets[1:]
    return np.where(exists & inside & unbroken, np.take_along_axis(grid, newest, 0), ZERO)
