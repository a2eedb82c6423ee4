"""Truncated back-propagation through time: a long sequence as streams, cut into windows.

A text of a million characters cannot be unrolled at once: its tape would not fit, and one update
would have to wait for all of it. Truncated BPTT (Williams and Peng, 1990) goes through it in
windows of `seq_length` steps. The state at the end of a window is carried into the next, so what is
computed forward is the same as in one long run; gradients stop at the border, because each window
has a tape of its own and `backward` starts from that window's loss alone.

A mini-batch of such a run is made of contiguous streams: the sequence is cut into `batch_size`
pieces of equal length, read side by side, so that row b of a window continues row b of the window
before it::

    windows = fastrnn.tbptt(text, batch_size=50, seq_length=50)
    for epoch in range(epochs):
        state = None
        for x, target in windows:
            y, state, tape = lstm.forward(x, state)
            ...
            lstm.backward(tape, dy)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastrnn import _check
from fastrnn.module import SetOnce

__all__ = ["Windows", "streams", "tbptt"]

Array: TypeAlias = NDArray[Any]


def streams(sequence: ArrayLike, batch_size: int) -> Array:
    """Lay a sequence out as contiguous streams, time first.

    Stream b holds the items ``b * S`` to ``(b + 1) * S - 1``, where ``S = len(sequence) //
    batch_size``. The last ``len(sequence) % batch_size`` items do not fill a step of all streams
    and are left out.

    Parameters
    ----------
    sequence : array of numbers, shape (N, ...)
        Indices or rows of features in their order in time.
    batch_size : int
        Number of streams, at least 1.

    Returns
    -------
    array, shape (S, batch_size, ...)
        A C-contiguous copy of the same dtype; ``result[t, b]`` is ``sequence[b * S + t]``.

    Raises
    ------
    TypeError, ValueError
        `sequence` is not an array of numbers with at least `batch_size` items, or `batch_size` is
        not a positive integer.
    """
    items = _check.items("streams", "sequence", sequence)
    batch_size = _check.count("streams", "batch_size", batch_size)
    if len(items) < batch_size:
        raise ValueError(
            f"streams: sequence has length {len(items)}; expected at least batch_size={batch_size}"
        )
    return _lay_out(items, batch_size)


def tbptt(
    inputs: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    batch_size: int,
    seq_length: int,
) -> Windows:
    """Cut a long sequence into windows for truncated back-propagation through time.

    Parameters
    ----------
    inputs : array of numbers, shape (N, ...)
        One long sequence: indices (N,) or rows of features (N, I).
    targets : array of numbers, shape (N, ...), optional
        What belongs to each input. By default each input's target is the input after it, as a
        language model wants it, so the last item is only a target.
    batch_size : int
        Number of streams read side by side.
    seq_length : int
        Number of time steps in a window.

    Returns
    -------
    Windows
        An iterable of ``(x, target)`` with shapes (seq_length, batch_size, ...). All windows have
        the same shape: the items at the end of the sequence that do not fill one more window are
        left out, and ``Windows.dropped`` counts them.

    Raises
    ------
    TypeError, ValueError
        `inputs` is shorter than one window, `targets` is not as long as `inputs`, one of them is
        not an array of numbers, or a size is not a positive integer.
    """
    return Windows(inputs, targets, batch_size=batch_size, seq_length=seq_length)


class Windows:
    """Successive windows of a long sequence; see :func:`tbptt` for the arguments.

    Every loop over it gives all windows, whatever other loops do or did: nested, side by side in a
    ``zip``, or left early. A resumed run goes on after ``windows.position = saved``, which says
    where the next loop begins; ``windows.position = windows.position`` goes on where the last loop
    was left. Start the state of the network anew with window 0.

    Attributes
    ----------
    batch_size, seq_length : int
        As given.
    dropped : int
        Number of pairs of input and target at the end of the sequence that are in no window.
    """

    batch_size = SetOnce()
    seq_length = SetOnce()
    dropped = SetOnce()

    def __init__(
        self,
        inputs: ArrayLike,
        targets: ArrayLike | None = None,
        *,
        batch_size: int,
        seq_length: int,
    ) -> None:
        self.batch_size = _check.count("tbptt", "batch_size", batch_size)
        self.seq_length = _check.count("tbptt", "seq_length", seq_length)
        xs, ys = _pairs(inputs, targets, self.batch_size, self.seq_length)
        window = self.batch_size * self.seq_length
        self._count: int = len(xs) // window
        used = self._count * window
        self.dropped = len(xs) - used
        self._inputs = _lay_out(xs[:used], self.batch_size)
        self._targets = _lay_out(ys[:used], self.batch_size)
        self._position = self._start = 0
        self._freeze()

    def _freeze(self) -> None:
        """The windows are views of these, and a changed one would change the next epoch."""
        self._inputs.flags.writeable = False
        self._targets.flags.writeable = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._freeze()  # NumPy does not pickle that

    def __len__(self) -> int:
        """Number of windows in an epoch."""
        return self._count

    @property
    def position(self) -> int:
        """Index of the window that comes next, from 0 to ``len(self)``.

        While the body of a loop works on window k this is k + 1, the place to go on from once that
        window is learnt; after the last window's body it is 0. Where several iterations are under
        way it is that of the one which gave a window last. Set it to begin the next iteration, and
        that one alone, elsewhere than at window 0; at ``len(self)`` that iteration gives nothing.
        """
        return self._position

    @position.setter
    def position(self, value: int) -> None:
        expected = f"an integer in 0..{self._count}"
        self._start = _check.integer("tbptt", "position", value, 0, self._count, expected)
        self._position = self._start

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        """Give ``(x, target)``, read-only, C-contiguous, time first; iterations do not know of each other."""
        start, self._start = self._start, 0
        return self._windows_from(start)

    def _windows_from(self, first: int) -> Iterator[tuple[Array, Array]]:
        for index in range(first, self._count):
            self._position = index + 1
            span = slice(index * self.seq_length, (index + 1) * self.seq_length)
            yield self._inputs[span], self._targets[span]
        self._position = 0

    def __repr__(self) -> str:
        return (
            f"Windows({self._count} of {self.seq_length} steps by {self.batch_size} streams,"
            f" position={self._position}, dropped={self.dropped})"
        )


def _pairs(
    inputs: ArrayLike, targets: ArrayLike | None, batch_size: int, seq_length: int
) -> tuple[Array, Array]:
    """Inputs and targets item by item, enough of them for one window."""
    xs = _check.items("tbptt", "inputs", inputs)
    ys = xs if targets is None else _check.items("tbptt", "targets", targets)
    if len(ys) != len(xs):
        raise ValueError(f"tbptt: targets has length {len(ys)}; expected {len(xs)} as inputs")
    shift = 1 if targets is None else 0
    needed = batch_size * seq_length + shift
    if len(xs) < needed:
        raise ValueError(
            f"tbptt: inputs has length {len(xs)}; expected at least batch_size * seq_length"
            f"{' + 1' if shift else ''} = {needed}"
            f" (batch_size={batch_size}, seq_length={seq_length})"
        )
    return xs[: len(xs) - shift], ys[shift:]


def _lay_out(items: Array, batch_size: int) -> Array:
    """(N, ...) as (N // batch_size, batch_size, ...); always a copy."""
    steps = len(items) // batch_size
    by_stream = items[: steps * batch_size].reshape(batch_size, steps, *items.shape[1:])
    return np.array(by_stream.swapaxes(0, 1), order="C", copy=True)
