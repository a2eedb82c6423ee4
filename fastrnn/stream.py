"""One time step a call, for real-time use and sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check
from fastrnn._stream import StreamCore
from fastrnn.module import Fixed

if TYPE_CHECKING:
    from fastrnn.layers import Recurrent, State

FloatArray = NDArray[np.float32]


class Stream:
    """A stack of layers with its state, run one step at a time. Made by a layer's `stream`.

    T calls of `step` give bit for bit what one call of the layer gives over T steps. The stream follows changes of the
    layer's weights. One stream is for one thread at a time; a layer may have many streams.

    Attributes
    ----------
    step : callable (x_t, out=None) -> y_t
        One time step. x_t (B, I) float32 or (B,) integers; y_t (B, H) float32, a new array or `out`, which must be
        C-contiguous float32 of that shape and is then filled and returned without any allocation. Where Ctrl-C ends a
        long one, the state is as before it.
    """

    batch_size = Fixed()

    def __init__(self, layer: Recurrent, batch_size: int, num_threads: int) -> None:
        self._layer = layer
        self.batch_size = batch_size
        self._core = StreamCore(
            layer._panels, batch_size, num_threads, self._checked_input, self._checked_output
        )
        self.step = self._core.step
        self._parts = self._core.states()

    @property
    def state(self) -> State:
        """The state after the steps so far, a copy: h (layers, B, H), or (h, c). Assign to set it, None for zeros."""
        return self._layer._state([np.stack(part) for part in self._parts if part])

    @state.setter
    def state(self, value: State) -> None:
        given = self._layer._checked_state(f"{self._who}.state", "state", value, self.batch_size)
        for i, layers in enumerate(self._parts):
            for layer, array in enumerate(layers):
                array[...] = given[i][layer] if given else 0

    def reset(self, rows: Any = None) -> None:
        """Set the state to zero, of all rows or of some.

        Parameters
        ----------
        rows : None, int, sequence of int, slice or boolean array (B,)
            Which rows of the batch.
        """
        which = slice(None) if rows is None else _check.rows(f"{self._who}.reset", rows, self.batch_size)
        for layers in self._parts:
            for array in layers:
                array[which] = 0

    @property
    def _who(self) -> str:
        return f"{type(self._layer).__name__}.stream"

    def _checked_input(self, x: Any) -> NDArray[Any]:
        """x as exactly what the core takes, or the error that says why it cannot be."""
        who, B, inputs = f"{self._who}.step", self.batch_size, self._layer.input_size
        if not _check.is_index(x):
            return _check.shape(who, "x_t", x, (B, inputs), "(B, input_size)", ", or integers (B,)")
        indices = _check.indices(who, "x_t", x, "B", inputs, "input_size")
        if indices.shape != (B,):
            raise ValueError(f"{who}: x_t has shape {indices.shape}; expected (B,) = {(B,)}")
        return indices

    def _checked_output(self, out: Any) -> None:
        shape = (self.batch_size, self._layer.hidden_size)
        _check.shape(f"{self._who}.step", "out", out, shape, "(B, H)")
        if not (out.flags.c_contiguous and out.flags.writeable):
            raise ValueError(f"{self._who}.step: out is not writable and C-contiguous; expected both")
