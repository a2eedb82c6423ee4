"""The forms in which a caller brings a batch, and what comes back in the same form.

`Dense` is one array of equal sequences, `Ragged` everything else: lengths, lists, masks, resets. Both check what they
take and hand the compiled stack what it runs on. A tape keeps its border, because gradients come and go in the same
form, whatever becomes of the layer's attributes meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check
from fastrnn._core.tape import merged, unmerged
from fastrnn.packing import Packing, packing

Array = NDArray[Any]
Kinds = list[Any]  # of a state: h, or h and c; see `fastrnn._core.run`


class Steps(NamedTuple):
    """Which steps the rows of a batch take, as a caller says it."""

    lengths: Any = None
    mask: Any = None
    reset: Any = None
    zero_output_for_mask: Any = None


@dataclass(frozen=True)
class Sizes:
    """What a border has to know of a stack of layers.

    Attributes
    ----------
    input_size : int
    widths : tuple of int
        H of each layer.
    projection : int
        P, 0 for none.
    merge : str or None
        None for one direction.
    states : tuple of str
        Names of the kinds of a state.
    dtype : numpy.dtype
    """

    input_size: int
    widths: tuple[int, ...]
    projection: int
    merge: str | None
    states: tuple[str, ...]
    dtype: _check.DType

    @property
    def directions(self) -> int:
        return 1 if self.merge is None else 2

    @property
    def y_width(self) -> int:
        """Columns of y."""
        width = self.projection or self.widths[-1]
        return 2 * width if self.merge == "concat" else width

    @property
    def y_letters(self) -> str:
        """Columns of y, in letters."""
        letter = "P" if self.projection else "H"
        return f"2 * {letter}" if self.merge == "concat" else letter

    def state_shapes(self, B: int | None) -> list[_check.StateShape]:
        """For each kind of state its shape, or those of each layer where they differ; None for no batch's axis."""
        batch = () if B is None else (B,)
        kinds: list[_check.StateShape] = []
        for kind in self.states:
            widths = [self.projection if kind == "h" and self.projection else width for width in self.widths]
            if len(set(widths)) == 1:
                kinds.append((len(widths) * self.directions, *batch, widths[0]))
            else:
                kinds.append([(self.directions, *batch, width) for width in widths])
        return kinds

    def checked_state(self, who: str, name: str, state: Any, B: int | None) -> Kinds | None:
        """The kinds of a state, each with the batch's axis, None for zeros; B None for a single sequence."""
        if state is None:
            return None
        shapes, letters = self.state_shapes(B), self._state_letters(B)
        kinds = _check.state(who, name, state, self.states, shapes, letters, dtype=self.dtype)
        if B is not None:
            return kinds
        return [[part[:, None] for part in kind] if isinstance(kind, list) else kind[:, None] for kind in kinds]

    def _state_letters(self, B: int | None) -> list[str]:
        """The axes of each kind's arrays."""
        batch = "" if B is None else "B, "
        letters = []
        for kind, shapes in zip(self.states, self.state_shapes(B), strict=True):
            first = "directions" if isinstance(shapes, list) else "layers" if self.merge is None else "2 * layers"
            letters.append(f"({first}, {batch}{'P' if kind == 'h' and self.projection else 'H'})")
        return letters


def is_single(x: Any) -> bool:
    """Whether x is one sequence without the batch's axis, (T, I) or integers (T,)."""
    return isinstance(x, np.ndarray) and x.ndim == (1 if _check.is_index(x) else 2) and x.dtype != bool


def without_batch(kinds: Kinds) -> Kinds:
    """A state of one row without the batch's axis."""
    return [[part[:, 0] for part in kind] if isinstance(kind, list) else kind[:, 0] for kind in kinds]


class Dense:
    """One array of sequences of equal length: time first, batch first, or one sequence without the batch's axis."""

    def __init__(self, sizes: Sizes, swapped: bool = False, single: bool = False) -> None:
        self._sizes, self._swapped, self._single = sizes, swapped, single

    def time_first(self, array: Array) -> Array:
        """The caller's x or dy as (T, B, ...), contiguous."""
        if self._single:
            array = array[:, None]
        elif self._swapped:
            array = array.swapaxes(0, 1)
        return np.ascontiguousarray(array)

    def as_given(self, array: Array) -> Array:
        """What has (T, B, ...) in the caller's form."""
        if self._single:
            return array[:, 0]
        return np.ascontiguousarray(array.swapaxes(0, 1)) if self._swapped else array

    def initial(self, who: str, name: str, state: Any, B: int) -> Kinds | None:
        """The kinds (L*D, B, width) of a state, None for zeros."""
        return self._sizes.checked_state(who, name, state, None if self._single else B)

    def dy(self, who: str, dy: Any, T: int, B: int) -> Any:
        """dy as the stack takes it."""
        lead, letters = ((T,), "T") if self._single else ((B, T), "B, T") if self._swapped else ((T, B), "T, B")
        expected, meaning = (*lead, self._sizes.y_width), f"({letters}, {self._sizes.y_letters})"
        return self.time_first(_check.shape(who, "dy", dy, expected, meaning, dtype=self._sizes.dtype))

    def state(self, kinds: Kinds) -> Kinds:
        """A state, or its gradient, in the caller's form."""
        return without_batch(kinds) if self._single else kinds


class Ragged:
    """Rows of different lengths, one array or a list of one array a row; rows with masked steps and resets.

    A single sequence with a mask or resets is a batch of one row.

    Parameters
    ----------
    sizes : Sizes
    swapped : bool
        Whether arrays are batch first.
    who : str
    x, steps : as the caller gives them; checked here
    """

    def __init__(self, sizes: Sizes, swapped: bool, who: str, x: Any, steps: Steps) -> None:
        self._listed = isinstance(x, list)
        self._single = not self._listed and is_single(x := _check.plain(who, "x", x))
        self._sizes, self._swapped = sizes, swapped and not self._single
        self._axes = ("B", "T") if self._swapped else ("T", "B")
        rows = self._take_list(who, x, steps) if self._listed else self._take_array(who, x, steps)
        zero = sizes.merge is not None
        if steps.zero_output_for_mask is not None:
            zero = _check.flag(who, "zero_output_for_mask", steps.zero_output_for_mask)
        mask, reset = (self._flags(who, name, getattr(steps, name)) for name in ("mask", "reset"))
        self._packing: Packing = packing(
            self._places, len(rows), self._lengths, mask, reset, zero, sizes.directions
        )
        self.batch = self._packing.batch
        self.x = self._packing.pack(rows)
        self._indices(who)

    # ------------------------------------------------------------------------------------- what is given

    def _take_array(self, who: str, x: Any, steps: Steps) -> Array:
        """The caller's rows, all places one after the other."""
        if self._single and steps.lengths is not None:
            raise ValueError(f"{who}: lengths are given with a single sequence (T, ...); expected lengths=None")
        check = _check.sequence if self._single else _check.padded_sequence
        x = check(who, x, self._axes, self._sizes.input_size, dtype=self._sizes.dtype)
        if self._single:
            x = x[:, None]
        self._lead = x.shape[:2]
        self._T, self._B = self._lead[::-1] if self._swapped else self._lead
        places = np.arange(self._T * self._B).reshape(self._lead)
        self._places = np.ascontiguousarray(places.T) if self._swapped else places
        self._lengths = np.full(self._B, self._T)
        if steps.lengths is not None:
            self._lengths = _check.lengths(who, steps.lengths, self._B, self._T)
        rows: Array = x.reshape(self._T * self._B, *x.shape[2:])
        return rows

    def _take_list(self, who: str, x: list[Any], steps: Steps) -> Array:
        if steps.lengths is not None:
            raise ValueError(f"{who}: lengths are given with a list, whose arrays have lengths; expected lengths=None")
        arrays = _check.sequences(who, x, self._axes, self._sizes.input_size, dtype=self._sizes.dtype)
        self._lengths = np.array([len(array) for array in arrays])
        self._T, self._B = int(self._lengths.max()), len(arrays)
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)])
        self._places = np.arange(self._T)[:, None] + self._starts[:-1]
        if _check.is_index(arrays[0]):
            return np.concatenate(arrays, dtype=np.int64, casting="unsafe")  # read ones are checked
        return np.concatenate(arrays)

    def _flags(self, who: str, name: str, value: Any) -> NDArray[np.bool_] | None:
        """(T, B) of a mask or of resets."""
        if value is None:
            return None
        if self._single:
            return _check.flags(who, name, value, (self._T,), "(T,)")[:, None]
        if not self._listed:
            flags = _check.flags(who, name, value, self._lead, f"({', '.join(self._axes)})")
            return flags.T if self._swapped else flags
        result = np.zeros((self._T, self._B), bool)
        for b, own in enumerate(_check.list_of(who, name, value, self._B, "one array (T_i,) for each of x's")):
            length = int(self._lengths[b])
            result[:length, b] = _check.flags(who, f"{name}[{b}]", own, (length,), "(T_i,)")
        return result

    def _indices(self, who: str) -> None:
        """Integers that stand for one-hots: those that are read are in their range."""
        if _check.is_index(self.x):
            if len(self.x):
                self.x = _check.index_range(who, "x", self.x, self._sizes.input_size, "input_size")
            self.x = self.x.astype(np.int64)

    def _as_given(self, rows: Array) -> Any:
        """What has a row a place in the caller's form."""
        if self._listed:
            return [rows[start : start + n] for start, n in zip(self._starts[:-1], self._lengths, strict=True)]
        return rows if self._single else rows.reshape(*self._lead, *rows.shape[1:])

    @property
    def grid(self) -> Array:
        """(T, B) the packed row of every step, -1 where a row takes none."""
        result = np.full((self._T, self._B), -1, np.int64)
        inside = np.arange(self._T)[:, None] < self._lengths
        result[inside] = self._packing.target[self._places[inside]]
        return result

    # ------------------------------------------------------------------------------------------- forward

    @property
    def holds_indices(self) -> bool:
        """Whether x is of integers, which have no gradient."""
        return _check.is_index(self.x)

    def initial(self, who: str, name: str, state: Any) -> tuple[Kinds | None, Kinds | None]:
        """The initial state of the sequences (L*D, sequences, width) and of the rows, both None for zeros."""
        given = self._sizes.checked_state(who, name, state, None if self._single else self._B)
        return self._each(self._packing.initial_states, given), given

    def y(self, y: Array | None, outputs: list[Array]) -> Any:
        """y in the caller's form: 0 where a row takes no step, or what the mask says."""
        if y is None:
            return self._as_given(np.zeros((len(self._packing.target), self._sizes.y_width), self._sizes.dtype))
        if self._packing.repeats:
            shown = [self._packing.show(one, direction) for direction, one in enumerate(outputs)]
            return self._as_given(shown[0] if self._sizes.merge is None else merged(self._sizes.merge, *shown))
        return self._as_given(self._packing.unpack(y))

    def state(self, kinds: Kinds | None, initial: Kinds | None) -> Kinds:
        """The final state of the rows: that of their last sequences, or the initial one."""
        return self._joined(self._packing.final_states, kinds, initial)

    # ------------------------------------------------------------------------------------------ backward

    def dy(self, who: str, dy: Any, outputs: list[Array]) -> Any:
        """dy packed, of each direction apart where y shows some rows several times."""
        width, letters = self._sizes.y_width, self._sizes.y_letters
        if self._listed:
            parts = _check.list_of(who, "dy", dy, self._B, "one array for each of x's")
            dtype = self._sizes.dtype
            rows = np.concatenate([
                _check.shape(who, f"dy[{b}]", part, (int(n), width), f"(T_i, {letters})", dtype=dtype)
                for b, (part, n) in enumerate(zip(parts, self._lengths, strict=True))
            ])
        elif self._single:
            rows = _check.shape(who, "dy", dy, (self._T, width), f"(T, {letters})", dtype=self._sizes.dtype)
        else:
            meaning = f"({', '.join(self._axes)}, {letters})"
            given = _check.shape(who, "dy", dy, (*self._lead, width), meaning, dtype=self._sizes.dtype)
            rows = given.reshape(-1, width)
        if self.batch is None:
            return None
        if not self._packing.repeats:
            return self._packing.unshow(rows, 0)
        with np.errstate(all="ignore"):  # padding may hold anything
            own = [rows]
            if self._sizes.merge is not None:
                shown = [self._packing.show(one, direction) for direction, one in enumerate(outputs)]
                own = list(unmerged(self._sizes.merge, rows, *shown))
        return [self._packing.unshow(np.ascontiguousarray(part), direction) for direction, part in enumerate(own)]

    def final(self, who: str, name: str, state: Any) -> tuple[Kinds | None, Kinds | None]:
        """The gradient of the final states of the sequences and of the rows, both None for zeros."""
        given = self._sizes.checked_state(who, name, state, None if self._single else self._B)
        return self._each(self._packing.final_gradients, given), given

    def dx(self, dx: Array | None) -> Any:
        """dx in the caller's form, 0 where a row takes no step."""
        if dx is None:
            return self._as_given(np.zeros((len(self._packing.target), self._sizes.input_size), self._sizes.dtype))
        return self._as_given(self._packing.unpack(dx))

    def dstate(self, kinds: Kinds | None, final: Kinds | None) -> Kinds:
        """The gradient of the rows' initial states: that of their first sequences, or that of the final ones."""
        return self._joined(self._packing.initial_gradients, kinds, final)

    def _each(self, pack: Any, kinds: Kinds | None) -> Kinds | None:
        """`pack` of every array of a state; None for no state, or no sequences."""
        if kinds is None or self.batch is None:
            return None
        return [[pack(part) for part in kind] if isinstance(kind, list) else pack(kind) for kind in kinds]

    def _joined(self, unpack: Any, packed: Kinds | None, through: Kinds | None) -> Kinds:
        """For each kind `unpack` of what the sequences have and of what passes through rows without a step."""
        result: Kinds = []
        for i, shapes in enumerate(self._sizes.state_shapes(self._B)):
            own = None if packed is None else packed[i]
            past = None if through is None else through[i]
            if isinstance(shapes, list):
                result.append([
                    unpack(own and own[layer], past and past[layer], shape, self._sizes.dtype)
                    for layer, shape in enumerate(shapes)
                ])
            else:
                result.append(unpack(own, past, shapes, self._sizes.dtype))
        return without_batch(result) if self._single else result
