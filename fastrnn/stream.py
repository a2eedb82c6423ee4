"""One time step a call, for real-time use and sampling, and chunks of any length between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check, runtime
from fastrnn._core.stream import StreamCore
from fastrnn.borders import Steps
from fastrnn.module import FloatArray, Module, SetOnce

Flags = NDArray[np.bool_]
Index = NDArray[np.int64]


class Stream:
    """A stack of layers with its state, run one step or one chunk at a time. Made by a layer's `stream`.

    Steps and chunks of any length, in any order, give bit for bit what one call of the layer gives over all of them,
    with its masks and resets. The stream follows changes of the layer's weights. One stream is for one thread at a
    time; a layer may have many streams. A copy starts from the same state and goes on by itself: `copy.copy` over the
    same layer, `copy.deepcopy` and pickle over a copy of the layer.

    Parameters
    ----------
    layer : LSTM, GRU, RNN or UGRNN, of one direction
    batch_size, num_threads : int

    Attributes
    ----------
    batch_size : int
        B. It may be set: fewer are the first rows, more are new rows with zero state behind the others.
    state : h (layers, B, H), for the LSTM a pair (h, c)
        After the steps so far, a copy. It may be set, also to one of another batch.
    num_threads : int
        Fixed.

    Raises
    ------
    ValueError
        A bidirectional layer: its second direction starts at the end of the sequence, which a stream does not know.
    """

    num_threads = SetOnce()

    def __init__(self, layer: Any, batch_size: int = 1, num_threads: int = 1) -> None:
        if not _is_recurrent(layer):
            raise TypeError(f"Stream: layer is a {type(layer).__name__}; expected an LSTM, a GRU, an RNN or a UGRNN")
        self._layer = layer
        if layer.bidirectional:
            raise ValueError(
                f"{self._who}: the layer is bidirectional, and its reverse direction starts at the end of the sequence"
                ", which a stream does not know; expected bidirectional=False, or calls of the layer on whole sequences"
            )
        rows = _check.count(self._who, "batch_size", batch_size)
        self.num_threads = runtime.resolve(self._who, num_threads)
        self._core = StreamCore(
            [directions[0] for directions in layer._weights],
            rows,
            self.num_threads,
            self._checked_input,
            self._checked_output,
            self._checked_flags,
        )
        if type(self).step is Stream.step:
            self.step = self._core.step  # type: ignore[method-assign]  # without a Python call on the way

    # ------------------------------------------------------------------------------------------ running

    def step(
        self, x_t: NDArray[Any], out: FloatArray | None = None, *, reset: Any = None, mask: Any = None
    ) -> FloatArray:
        """Run one time step and return y_t.

        Parameters
        ----------
        x_t : (B, I) in the layer's dtype, or (B,) integers in 0..I-1 that stand for one-hots
            Rows that do not take the step are not read.
        out : (B, H) in the layer's dtype, optional
            Where to write y_t, without any allocation: C-contiguous, writable; may be x_t. P columns with a projection.
        reset : (B,) bool, optional
            True: the row's state is 0 before the step (an episode begins), also where it does not take the step.
        mask : (B,) bool, optional
            False: the row does not take the step. Its state stays, and y_t is that of its last step; 0 where it has
            taken none since its state was set, reset or new.

        Returns
        -------
        y_t : (B, H), or (B, P) with a projection, a new array or `out`

        Raises
        ------
        TypeError, ValueError, IndexError
            A wrong dtype or shape, an index outside 0..I-1. The state is as before.
        KeyboardInterrupt, or what another signal's handler raises
            In the middle of a long step. The state is as before.
        """
        return self._core.step(x_t, out, reset=reset, mask=mask)

    def run(
        self,
        x: Any,
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
        *,
        zero_output_for_mask: bool | None = None,
    ) -> Any:
        """Run a chunk of any number of time steps and return y; the state goes on from where it is.

        It is as many calls of `step`, with the bits of these, but faster.

        Parameters
        ----------
        x : (T, B, I) in the layer's dtype, or (T, B) integers in 0..I-1 that stand for one-hots
            As the layer takes it: batch first if the layer is, a list of B arrays (T_i, I) or (T_i,), for a batch of
            one also (T, I) or (T,).
        lengths : (B,) integers in 0..T, optional
            Steps of each row; those behind it are not taken.
        mask, reset : (T, B) bool, like x's first axes, optional
            As in `step`. With a list, lists of arrays (T_i,).
        zero_output_for_mask : bool, optional
            Whether y is 0 at masked steps instead of that of the step before.

        Returns
        -------
        y : (T, B, H), or (T, B, P) with a projection, in the form of x

        Raises
        ------
        TypeError, ValueError, IndexError
            A wrong dtype or shape, no steps at all, an index outside 0..I-1. The state is as before.
        KeyboardInterrupt, or what another signal's handler raises
            In the middle of a long chunk. The state is as before.
        """
        who, layer = f"{self._who}.run", self._layer
        steps = layer._steps(who, x, lengths, mask, reset, zero_output_for_mask)
        kinds = self._kinds()
        if self._is_single(who, x, steps):
            kinds = [[part[:, 0] for part in kind] if isinstance(kind, list) else kind[:, 0] for kind in kinds]
        y, final, *_ = layer._run(who, x, layer._state(kinds), steps, self.num_threads, tape=False)
        shown = self._core.rows_shown()
        if steps is None:
            shown[:] = True
        else:
            taken, fresh = _by_time(x, steps, layer.batch_first)
            waiting = shown & ~np.logical_or.accumulate(taken | fresh)  # they still show what came before this chunk
            if mask is not None and not zero_output_for_mask:
                _put(y, waiting & _inside(x, steps, layer.batch_first), self._core.states()[0][-1], layer.batch_first)
            shown[:] = _shown_after(taken, fresh, shown)
        self._write([final] if len(layer.STATES) == 1 else final)
        return y

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name not in ("_core", "step")}
        return {**own, "batch_size": self.batch_size, "state": self.state, "_shown": self._core.rows_shown().copy()}

    def __setstate__(self, given: dict[str, Any]) -> None:
        given = _check.mapping("Stream.__setstate__", given)
        Stream.__init__(self, *(given.pop(name, None) for name in ("_layer", "batch_size", "num_threads")))
        shown = given.pop("_shown", np.zeros(self.batch_size, bool))
        for name, value in given.items():
            setattr(self, name, value)
        self._core.rows_shown()[:] = _check.flags("Stream.__setstate__", "_shown", shown, (self.batch_size,), "(B,)")

    # ------------------------------------------------------------------------------------- state and rows

    @property
    def state(self) -> Any:
        """The state after the steps so far, a copy: h (layers, B, H), or (h, c), as the layer takes and gives it.

        With a projection h has P columns. Where layers differ in width, h (or c) is a list of an array (1, B, H) for
        each layer. Assign to set it, None for zeros: rows then have taken no step yet. A state of another number of
        rows changes `batch_size`. What the layer would not take raises a TypeError or ValueError, and the state is as
        before.
        """
        return self._layer._state(self._kinds())

    @state.setter
    def state(self, value: Any) -> None:
        rows = _rows_of(value) or self.batch_size
        given = self._layer._checked_state(f"{self._who}.state", "state", value, rows)
        if rows != self.batch_size:
            self._core.select(np.arange(0), rows)
        if given is None:
            self.reset()
        else:
            self._write(given)
        self._core.rows_shown()[:] = False

    @property
    def batch_size(self) -> int:
        """B, rows of a step. Assign to keep the first rows, or to add rows with zero state."""
        return self._core.batch

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        rows = _check.count(self._who, "batch_size", value)
        self._core.select(np.arange(min(rows, self.batch_size)), rows)

    def select(self, rows: Any) -> None:
        """Keep these rows of the batch in this order, for sequences that end and for beam search.

        Parameters
        ----------
        rows : int, sequence of int, slice or boolean array (B,)
            Integers are row numbers, also negative ones, and may come several times; booleans say which rows stay.

        Raises
        ------
        TypeError, ValueError, IndexError
            No row at all, a row that is not there, something else than rows. Everything is as before.
        """
        which = self._numbers(rows)
        self._core.select(which, len(which))

    def reset(self, rows: Any = None) -> None:
        """Set the state to zero, of all rows or of some.

        Parameters
        ----------
        rows : None, int, sequence of int, slice or boolean array (B,)
            Which rows of the batch. Booleans are a mask, integers row numbers; B integers that are all 0 or 1 might
            be either and are refused.
        """
        which = slice(None) if rows is None else _check.rows(f"{self._who}.reset", rows, self.batch_size)
        for layers in self._core.states():
            for array in layers:
                array[which] = 0
        self._core.rows_shown()[which] = False

    def _kinds(self) -> list[Any]:
        """Copies of the kinds of the state, in the layer's form."""
        shapes = self._layer._sizes.state_shapes(self.batch_size)
        return [
            [array[None].copy() for array in layers] if isinstance(shape, list) else np.stack(layers)
            for shape, layers in zip(shapes, filter(None, self._core.states()), strict=True)
        ]

    def _write(self, kinds: Any) -> None:
        """Set the state to kinds in the layer's form."""
        for kind, layers in zip(kinds, filter(None, self._core.states()), strict=True):
            for values, array in zip(kind, layers, strict=True):
                array[...] = values.reshape(array.shape)

    # ------------------------------------------------------------------------------------------- checks

    @property
    def _who(self) -> str:
        return f"{type(self._layer).__name__}.stream"

    def _checked_input(self, x: Any, mask: Flags | None) -> NDArray[Any]:
        """x as exactly what the core takes, or the error that says why it cannot be."""
        who, B, inputs = f"{self._who}.step", self.batch_size, self._layer.input_size
        x = _check.plain(who, "x_t", x)
        if not _check.is_index(x):
            otherwise = ", or integers (B,)"
            return _check.shape(who, "x_t", x, (B, inputs), "(B, input_size)", otherwise, dtype=self._layer.dtype)
        if mask is not None and x.shape == mask.shape:
            x = np.where(mask, x, 0)  # what is not read may be anything
        indices = _check.indices(who, "x_t", x, "B", inputs, "input_size", dtype=self._layer.dtype)
        if indices.shape != (B,):
            raise ValueError(f"{who}: x_t has shape {indices.shape}; expected (B,) = {(B,)}")
        return indices

    def _checked_output(self, out: Any) -> FloatArray:
        width, letter = self._layer._sizes.y_width, self._layer._sizes.y_letters
        shape = (self.batch_size, width)
        return _check.output(f"{self._who}.step", "out", out, shape, f"(B, {letter})", dtype=self._layer.dtype)

    def _checked_flags(self, name: str, flags: Any) -> Flags:
        return np.ascontiguousarray(_check.flags(f"{self._who}.step", name, flags, (self.batch_size,), "(B,)"))

    def _is_single(self, who: str, x: Any, steps: Steps | None) -> bool:
        """Whether x is one sequence without the batch's axis. Raises if it has another batch than the stream."""
        B, axes = self.batch_size, 2 if _check.is_index(x) else 3
        if isinstance(x, list) and all(isinstance(one, np.ndarray) for one in x):
            rows = len(x)
        elif isinstance(x, np.ndarray) and x.ndim == axes:
            rows = x.shape[0 if self._layer.batch_first else 1]
        elif isinstance(x, np.ndarray) and x.ndim == axes - 1 and steps is None:
            rows = 1
        else:
            return False  # the layer says what is wrong
        if rows not in (0, B):
            raise ValueError(
                f"{who}: x is a batch of {rows}; expected batch_size={B} (stream.batch_size = {rows} changes that)"
            )
        return isinstance(x, np.ndarray) and x.ndim == axes - 1

    def _numbers(self, rows: Any) -> Index:
        """Rows of the batch as their numbers."""
        who, B, expected = f"{self._who}.select", self.batch_size, "expected integers, a slice or a mask (B,)"
        if isinstance(rows, slice):
            which = np.arange(B)[_check.rows(who, rows, B)]
        else:
            array = _check.array_of(who, "rows", rows, expected.removeprefix("expected "))
            if array.dtype == np.bool_:
                which = np.flatnonzero(_check.flags(who, "rows", array, (B,), "a mask (B,)"))
            elif array.ndim > 1 or (array.size and array.dtype.kind not in "iu"):
                raise TypeError(f"{who}: rows is {_check.shown(rows)}; {expected}")
            else:
                which = array.reshape(-1)
        if not len(which):
            raise ValueError(f"{who}: rows is {_check.shown(rows)}, no row at all; expected one or more")
        if which.min() < -B or which.max() >= B:
            raise IndexError(f"{who}: rows is {_check.shown(rows)}; expected integers in {-B}..{B - 1}")
        which = which.astype(np.int64)
        return np.where(which < 0, which + B, which)


def _rows_of(state: Any) -> int | None:
    """The rows that all arrays of a state have, whatever else is wrong with them."""
    if isinstance(state, (list, tuple)):
        found = {_rows_of(part) for part in state}
        return found.pop() if len(found) == 1 else None
    return state.shape[1] if isinstance(state, np.ndarray) and state.ndim == 3 else None


# --------------------------------------------------------------------------- what the rows of a chunk do, (T, B) each


def _inside(x: Any, steps: Steps, batch_first: bool) -> Flags:
    """Whether a row has such a step."""
    if isinstance(x, list):
        lengths = np.array([len(one) for one in x])
        return np.arange(lengths.max())[:, None] < lengths
    B, T = x.shape[:2] if batch_first else x.shape[1::-1]
    lengths = np.full(B, T) if steps.lengths is None else np.asarray(steps.lengths)
    return np.arange(T)[:, None] < lengths


def _by_time(x: Any, steps: Steps, batch_first: bool) -> tuple[Flags, Flags]:
    """Whether a row takes a step, and whether it is reset before it; all arguments are checked."""
    inside = _inside(x, steps, batch_first)
    given = []
    for value, default in ((steps.mask, True), (steps.reset, False)):
        flags = np.full(inside.shape, default)
        if value is not None and isinstance(x, list):
            for b, one in enumerate(value):
                flags[: len(one), b] = one
        elif value is not None:
            flags[:] = np.asarray(value).T if batch_first else value
        given.append(inside & flags)
    return given[0], given[1]


def _shown_after(taken: Flags, fresh: Flags, before: Flags) -> Flags:
    """(B,) whether rows took a step since their state was set, if that was so before."""
    times = np.arange(1, len(taken) + 1)[:, None]
    last_step, last_reset = (times * taken).max(axis=0), (times * fresh).max(axis=0)
    return np.where(last_reset > last_step, False, before | (last_step > 0))


def _put(y: Any, where: Flags, last: FloatArray, batch_first: bool) -> None:
    """y = the row's last output there."""
    if isinstance(y, list):
        for b, rows in enumerate(y):
            rows[where[: len(rows), b]] = last[b]
    else:
        np.copyto(y.swapaxes(0, 1) if batch_first else y, last, where=where[..., None])


def _is_recurrent(layer: Any) -> bool:
    """Whether layer is one of `fastrnn.layers`, which makes streams and so cannot be imported here."""
    return isinstance(layer, Module) and hasattr(layer, "CELL")
