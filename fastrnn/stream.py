"""One time step a call, for real-time use and sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check, runtime
from fastrnn._core.stream import StreamCore
from fastrnn.module import SetOnce

if TYPE_CHECKING:
    from fastrnn.layers import Recurrent, State

FloatArray = NDArray[np.float32]


class Stream:
    """A stack of layers with its state, run one step at a time. Made by a layer's `stream`.

    T calls of `step` give bit for bit what one call of the layer gives over T steps. The stream follows changes of the
    layer's weights. One stream is for one thread at a time; a layer may have many streams. A copy starts from the same
    state and goes on by itself: `copy.copy` over the same layer, `copy.deepcopy` and pickle over a copy of the layer.

    Parameters
    ----------
    layer : LSTM, GRU, RNN or UGRNN
    batch_size, num_threads : int
    """

    batch_size = SetOnce()
    num_threads = SetOnce()

    def __init__(self, layer: Recurrent, batch_size: int = 1, num_threads: int = 1) -> None:
        from fastrnn.layers import Recurrent  # it imports this module

        if not isinstance(layer, Recurrent):
            raise TypeError(f"Stream: layer is a {type(layer).__name__}; expected an LSTM, a GRU, an RNN or a UGRNN")
        self._layer = layer
        self.batch_size = _check.count(self._who, "batch_size", batch_size)
        self.num_threads = runtime.resolve(self._who, num_threads)
        self._core = StreamCore(
            [directions[0] for directions in layer._weights], self.batch_size, self.num_threads, self._checked_input, self._checked_output, None
        )
        self._parts = self._core.states()
        if type(self).step is Stream.step:
            self.step = self._core.step  # type: ignore[method-assign]  # without a Python call on the way

    def step(self, x_t: NDArray[Any], out: FloatArray | None = None) -> FloatArray:
        """Run one time step and return y_t.

        Parameters
        ----------
        x_t : (B, I) float32, or (B,) integers in 0..I-1 that stand for one-hots
        out : (B, H) float32, optional
            Where to write y_t, without any allocation: C-contiguous, writable; may be x_t.

        Returns
        -------
        y_t : (B, H) float32, a new array or `out`

        Raises
        ------
        TypeError, ValueError, IndexError
            A wrong dtype or shape, an index outside 0..I-1. The state is as before.
        KeyboardInterrupt, or what another signal's handler raises
            In the middle of a long step. The state is as before.
        """
        return self._core.step(x_t, out)

    def __getstate__(self) -> dict[str, Any]:
        made_again = ("_core", "_parts", "step")
        return {**{k: v for k, v in vars(self).items() if k not in made_again}, "state": self.state}

    def __setstate__(self, given: dict[str, Any]) -> None:
        given = _check.mapping("Stream.__setstate__", given)
        Stream.__init__(self, *(given.pop(name, None) for name in ("_layer", "batch_size", "num_threads")))
        for name, value in given.items():
            setattr(self, name, value)

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
            Which rows of the batch. Booleans are a mask, integers row numbers; B integers that are all 0 or 1 might
            be either and are refused.
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
        x = _check.plain(who, "x_t", x)
        if not _check.is_index(x):
            return _check.shape(who, "x_t", x, (B, inputs), "(B, input_size)", ", or integers (B,)")
        indices = _check.indices(who, "x_t", x, "B", inputs, "input_size")
        if indices.shape != (B,):
            raise ValueError(f"{who}: x_t has shape {indices.shape}; expected (B,) = {(B,)}")
        return indices

    def _checked_output(self, out: Any) -> FloatArray:
        shape = (self.batch_size, self._layer.hidden_size)
        return _check.output(f"{self._who}.step", "out", out, shape, "(B, H)")
