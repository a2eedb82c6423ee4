"""The recurrent layers: names, shapes, defaults and the tape. The arithmetic is in `_core/` and `src/`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, ClassVar, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastrnn import _check, runtime, tape
from fastrnn import init as initial_values
from fastrnn._core.gradients import Gradients
from fastrnn._core.memory import view_of
from fastrnn._core.run import Stack
from fastrnn._core.tape import LayerTape
from fastrnn._core.weights import RecurrentWeights
from fastrnn.borders import Dense, Ragged, Sizes, Steps, is_single
from fastrnn.cells import CELLS, Cell
from fastrnn.module import FloatArray, Initialiser, Keys, Module, SetOnce
from fastrnn.stream import Stream

MOST_LAYERS = 10_000  # a number beyond it is a mistake, whose names alone would fill the memory

State = Any  # an array h (layers * directions, B, H), or for the LSTM a pair (h, c) of them

MERGES = ("concat", "sum", "mul", "ave")


class Tape(tape.Tape[tuple[list[LayerTape], Dense | Ragged | None]]):
    """A forward run, kept for one backward run. Made by a layer's `forward`, used up by its `backward`."""


class Recurrent(Module):
    """A stack of recurrent layers of one cell; the base of LSTM, GRU, RNN and UGRNN.

    Parameters
    ----------
    input_size : int
        I, features of a time step; for integer inputs the number of indices.
    hidden_size : int, or a sequence of one for each layer
        H, units of a layer.
    num_layers : int
        Left out where hidden_size is a sequence.
    bias : bool
        Whether there are biases b (with the input) and b' (with the state).
    batch_first : bool
        Whether x and y are (B, T, features) instead of (T, B, features). States are (layers, B, H) either way.
    dropout : float in [0, 1)
        Between layers, in `forward` alone: the share of a layer's outputs that is zeroed; the rest grow by 1/(1-p).
        One layer has no such place: a warning says so.
    bidirectional : bool
        Whether every layer has a second direction, from the last step to the first, with weights of its own.
    proj_size : int
        P, of the LSTM alone: h is weight_hr (P, H) times the cell's output, 0 for without (Sak, Senior and Beaufays,
        2014). It must be less than every hidden_size.
    merge : {"concat", "sum", "mul", "ave"}
        How the outputs of two directions become one: side by side, forward first, or elementwise.
    dtype : {"float32", "float64"}
        Of parameters, inputs, states and gradients.
    seed : int, numpy.random.SeedSequence or None
        Of the initial weights and of dropout. None draws one from the operating system.
    init : callable (name, shape, rng) -> array or None, optional
        Initial value of each parameter; None for the default of `fastrnn.init`.

    Attributes
    ----------
    params, grads : Parameters
        Views by PyTorch's names: weight_ih_l0 (G*H, I), weight_hh_l0 (G*H, H), bias_ih_l0, bias_hh_l0 (G*H,), with a
        projection weight_hr_l0 (P, H) and weight_hh_l0 (G*H, P); then those of the other direction,
        weight_ih_l0_reverse, ...; then l1, ... The parameters are read-only but in `editing()`.
    rng : numpy.random.Generator
        Where dropout's masks come from; save `rng.bit_generator.state` to resume exactly.
    dropout, batch_first
        As given; they and rng may be set at any time. The others are fixed.
    """

    CELL: ClassVar[Cell]
    NAME: ClassVar[str]  # these three are the row's
    GATES: ClassVar[tuple[str, ...]]
    STATES: ClassVar[tuple[str, ...]]

    input_size = SetOnce(_check.count)
    hidden_size = SetOnce(_check.widths)
    num_layers = SetOnce(partial(_check.count, most=MOST_LAYERS))
    bias = SetOnce(_check.flag)
    bidirectional = SetOnce(_check.flag, False)
    proj_size = SetOnce(_check.projection, 0)
    merge = SetOnce(partial(_check.choice, allowed=MERGES), "concat")
    batch_first: bool
    dropout: float
    rng: np.random.Generator

    _REBUILT: ClassVar[tuple[str, ...]] = (*Module._REBUILT, "_sizes")
    _CHECKS: ClassVar = {"batch_first": _check.flag, "dropout": _check.dropout, "rng": _check.random_numbers}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.NAME, cls.GATES, cls.STATES = cls.CELL.name, cls.CELL.gates, cls.CELL.states

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        merge: str = "concat",
        dtype: DTypeLike = "float32",
        seed: int | np.random.SeedSequence | None = None,
        init: Initialiser | None = None,
    ) -> None:
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = _check.layers_of(self._who, num_layers, self.hidden_size)
        self.dropout = dropout
        self.bias = bias
        self.batch_first = batch_first
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self.merge = merge
        self.dtype = dtype
        _check.options_fit(self._who, self.STATES, self._widths, self.proj_size, self.bidirectional, self.merge)
        if self.dropout and self.num_layers == 1:
            constructors = [kind for kind in type(self).__mro__ if "__init__" in vars(kind)]
            warnings.warn(
                _no_place(self._who, self.dropout),
                stacklevel=2 + constructors.index(Recurrent),  # whoever called the first of them
            )
        self.rng = _check.generator(self._who, seed)
        self._create(self._default, init, self.rng)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "dropout" and self.dropout and vars(self).get("num_layers") == 1 and "_shapes" in vars(self):
            warnings.warn(_no_place(self._who, self.dropout), stacklevel=2)

    def _default(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
        return initial_values.default(self.NAME, name, shape, rng, self.dtype)

    def _compile(self, params: dict[str, FloatArray], grads: dict[str, FloatArray]) -> None:
        self._weights = [
            tuple(RecurrentWeights(self._cell, self._version, *arrays) for arrays in layer)
            for layer in self._by_layer(params)
        ]
        self._gradients = [tuple(Gradients(*arrays) for arrays in layer) for layer in self._by_layer(grads)]
        merge = self.merge if self.bidirectional else None
        self._stack = Stack(self._weights, merge)
        self._sizes = Sizes(self.input_size, self._widths, self.proj_size, merge, self.STATES, self.dtype)

    @property
    def _cell(self) -> str:
        """The name of the cell's row in the kernel table."""
        return self.NAME.lower()

    @property
    def _widths(self) -> tuple[int, ...]:
        """H of each layer."""
        size = self.hidden_size
        return size if isinstance(size, tuple) else (size,) * self.num_layers

    @property
    def _suffixes(self) -> tuple[str, ...]:
        """What ends the names of each direction's parameters."""
        return ("", "_reverse") if self.bidirectional else ("",)

    def _parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        inputs = self.input_size
        for layer, width in enumerate(self._widths):
            rows, outputs = len(self.GATES) * width, self.proj_size or width
            for suffix in self._suffixes:
                own: dict[str, tuple[int, ...]] = {"weight_ih": (rows, inputs), "weight_hh": (rows, outputs)}
                if self.bias:
                    own |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if self.proj_size:
                    own["weight_hr"] = (outputs, width)
                shapes |= {f"{name}_l{layer}{suffix}": shape for name, shape in own.items()}
            inputs = outputs * (2 if self.bidirectional and self.merge == "concat" else 1)
        return shapes

    def _by_layer(self, arrays: dict[str, FloatArray]) -> list[list[list[Any]]]:
        """Per layer and direction weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, None for what there is not."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return [
            [[arrays.get(f"{name}_l{layer}{suffix}") for name in names] for suffix in self._suffixes]
            for layer in range(self.num_layers)
        ]

    # ------------------------------------------------------------------------------------------ running

    @overload
    def __call__(
        self, x: NDArray[Any], state: State = None, lengths: Any = None, mask: Any = None, reset: Any = None,
        *, zero_output_for_mask: bool | None = None, num_threads: int | None = None,
    ) -> tuple[FloatArray, State]: ...

    @overload
    def __call__(
        self, x: list[NDArray[Any]], state: State = None, lengths: Any = None, mask: Any = None, reset: Any = None,
        *, zero_output_for_mask: bool | None = None, num_threads: int | None = None,
    ) -> tuple[list[FloatArray], State]: ...

    def __call__(
        self,
        x: Any,
        state: State = None,
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
        *,
        zero_output_for_mask: bool | None = None,
        num_threads: int | None = None,
    ) -> tuple[Any, State]:
        """Run over a batch of sequences and keep nothing for backward. Arguments are never changed.

        Parameters
        ----------
        x : (T, B, I) in the layer's dtype, or (T, B) integers in 0..I-1 that stand for one-hots
            Batch first if the layer is; any strides. Without the batch's axis, (T, I) or (T,), a single sequence;
            states and y are then without it, too. A list of B arrays (T_i, I) or (T_i,), sequences of different
            lengths, some of which may have no steps; y is then such a list.
        state : h (layers * directions, B, H), for the LSTM a pair (h, c); None for zeros
            Layer 0, layer 0 reverse, layer 1, ... With a projection h has P columns. Where layers differ in width, h
            (or c) is a list of an array (directions, B, H) for each layer.
        lengths : (B,) integers in 0..T, optional
            Steps of each row, in any order. What comes after is padding: never read, and 0 in y and dx. The final state
            is that after each row's own last step, and the reverse direction starts at each row's own end.
        mask : (T, B) bool, like x's first axes, optional
            False: the row does not take this step. Its state stays as it is, and y is that of the step before, in the
            direction's own order; 0 before the first one. With a list, a list of arrays (T_i,); of a single
            sequence (T,).
        reset : (T, B) bool, like x's first axes, optional
            True: nothing passes from the step before, the state is 0 before this step (an episode begins). With a list,
            a list of arrays (T_i,); of a single sequence (T,).
        zero_output_for_mask : bool, optional
            Whether y is 0 at masked steps instead, as it always is in Keras's Bidirectional: by default with two
            directions.
        num_threads : int, optional
            At most so many threads; the default is `get_num_threads()`. The result is the same bit for bit.

        Returns
        -------
        y : (T, B, width), the last layer's outputs after each step, in the form of x
            Its width is H, or P with a projection; twice that where two directions are concatenated.
        state : as the argument, after the last step

        Raises
        ------
        TypeError, ValueError, IndexError
            A wrong dtype, a wrong shape or no steps at all, an index outside 0..I-1.
        KeyboardInterrupt, or what another signal's handler raises
            In the middle of a long call: signals are looked at many times a second. Everything is as before the call.
        """
        steps = self._steps(self._who, x, lengths, mask, reset, zero_output_for_mask)
        y, state, _, _ = self._run(self._who, x, state, steps, num_threads, tape=False)
        return y, state

    @overload
    def forward(
        self, x: NDArray[Any], state: State = None, lengths: Any = None, mask: Any = None, reset: Any = None,
        checkpoint: int | str | None = None, *,
        reusable: bool = False, zero_output_for_mask: bool | None = None, num_threads: int | None = None,
    ) -> tuple[FloatArray, State, Tape]: ...

    @overload
    def forward(
        self, x: list[NDArray[Any]], state: State = None, lengths: Any = None, mask: Any = None, reset: Any = None,
        checkpoint: int | str | None = None, *,
        reusable: bool = False, zero_output_for_mask: bool | None = None, num_threads: int | None = None,
    ) -> tuple[list[FloatArray], State, Tape]: ...

    def forward(
        self,
        x: Any,
        state: State = None,
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
        checkpoint: int | str | None = None,
        *,
        reusable: bool = False,
        zero_output_for_mask: bool | None = None,
        num_threads: int | None = None,
    ) -> tuple[Any, State, Tape]:
        """Run as a call does, with dropout, and return the tape that `backward` needs.

        The tape refers to x where it need not copy it: leave x as it is until `backward`. y is a read-only view of what
        the tape keeps.

        Parameters
        ----------
        x, state, lengths, mask, reset
            As in a call.
        checkpoint : int, "auto" or None
            For very long sequences: keep the state only at every so many steps, or a few more, and compute what lies
            between again in backward. The gradients are the same bit for bit. "auto" chooses the number that needs
            least memory, about the square root of T.
        reusable : bool
            Whether the tape serves for several backward runs: each copies the gates, which one run uses up.
        zero_output_for_mask, num_threads
            As in a call.

        Returns
        -------
        y, state : as a call returns them
        tape : Tape
        """
        who = f"{self._who}.forward"
        version = self._version.number
        steps = self._steps(who, x, lengths, mask, reset, zero_output_for_mask)
        kept_steps = 0 if checkpoint is None else _check.checkpoint(who, checkpoint)
        reusable = _check.flag(who, "reusable", reusable)
        draws = self.dropout > 0 and self.num_layers > 1
        before = self.rng.bit_generator.state if draws else None
        try:
            y, final, records, border = self._run(who, x, state, steps, num_threads, True, kept_steps, reusable)
            if isinstance(y, list):
                y = [view_of(np.ascontiguousarray(one), False) for one in y]
            else:
                y = view_of(np.ascontiguousarray(y), False)
        except BaseException:
            if before is not None:
                self.rng.bit_generator.state = before
            raise
        return y, final, Tape(self, version, (records, border), reusable)

    def _steps(self, who: str, x: Any, lengths: Any, mask: Any, reset: Any, zero: Any) -> Steps | None:
        """Which steps rows take, None where each takes all."""
        if zero is not None and mask is None:
            raise ValueError(f"{who}: zero_output_for_mask is given without a mask; expected both or neither")
        if lengths is None and mask is None and reset is None and not isinstance(x, list):
            return None
        return Steps(lengths, mask, reset, zero)

    def _run(
        self,
        who: str,
        x: Any,
        state: State,
        steps: Steps | None,
        num_threads: int | None,
        tape: bool,
        checkpoint: int = 0,
        reusable: bool = False,
    ) -> tuple[Any, State, list[LayerTape], Dense | Ragged | None]:
        threads = runtime.resolve(who, num_threads)
        dropout = self.dropout if tape else 0.0
        if steps is not None:
            ragged = Ragged(self._sizes, self.batch_first, who, x, steps)
            return self._run_ragged(who, ragged, state, threads, tape, dropout, checkpoint, reusable)
        border = None
        if self.batch_first or not self._stack.takes(x):
            x, border = self._dense(who, x)
        if border is None:
            initial = self._checked_state(who, "state", state, x.shape[1])
        else:
            initial = border.initial(who, "state", state, x.shape[1])
        kept = (None, checkpoint, reusable)
        y, final, records = self._stack.forward(x, initial, tape, dropout, self.rng, threads, *kept)
        if border is not None:
            y, final = border.as_given(y), border.state(final)
        return y, self._state(final), records, border

    def _dense(self, who: str, x: Any) -> tuple[NDArray[Any], Dense | None]:
        """x as (T, B, ...), and its form, None for time first."""
        axes = ("B", "T") if self.batch_first else ("T", "B")
        x = _check.sequence(who, x, axes, self.input_size, dtype=self.dtype)
        single = is_single(x)
        if not single and not self.batch_first:
            return np.ascontiguousarray(x), None
        border = Dense(self._sizes, swapped=not single, single=single)
        return border.time_first(x), border

    def _run_ragged(
        self,
        who: str,
        border: Ragged,
        state: State,
        threads: int,
        tape: bool,
        dropout: float,
        checkpoint: int,
        reusable: bool,
    ) -> tuple[Any, State, list[LayerTape], Ragged]:
        initial, given = border.initial(who, "state", state)
        if border.batch is None:  # no row takes a step
            return border.y(None, []), self._state(border.state(None, given)), [], border
        y, final, records = self._stack.forward(
            border.x, initial, tape, dropout, self.rng, threads, border.batch, checkpoint, reusable
        )
        outputs = self._stack.outputs(records)
        return border.y(y, outputs), self._state(border.state(final, given)), records, border

    # ---------------------------------------------------------------------------------------- gradients

    @overload
    def backward(
        self, tape: Tape, dy: FloatArray | None, dstate: State = None, *, input_gradient: bool = True,
        num_threads: int | None = None,
    ) -> tuple[FloatArray | None, State]: ...

    @overload
    def backward(
        self, tape: Tape, dy: list[FloatArray], dstate: State = None, *, input_gradient: bool = True,
        num_threads: int | None = None,
    ) -> tuple[list[FloatArray] | None, State]: ...

    def backward(
        self,
        tape: Tape,
        dy: Any,
        dstate: State = None,
        *,
        input_gradient: bool = True,
        num_threads: int | None = None,
    ) -> tuple[Any, State]:
        """Backpropagate through time over the whole tape, add to `grads` and use the tape up.

        Parameters
        ----------
        tape : Tape
            Of this layer's `forward`, with these weights.
        dy : as y, or None for zeros
            Gradient of the loss by y. Padding is not read.
        dstate : as the state, or None for zeros
            Gradient of the loss by the final state.
        input_gradient : bool
            Whether dx is wanted; without it the first layer is spared a product.
        num_threads : int, optional
            As in a call.

        Returns
        -------
        dx : as x, or None for integer x or without `input_gradient`
        dstate : gradient of the loss by the initial state

        Raises
        ------
        ValueError, TypeError
            A wrong shape or dtype, a tape of another layer, used up, or older than the weights. Nothing has changed.
        KeyboardInterrupt, or what another signal's handler raises
            In the middle of a long call. `grads` is as before the call; the tape is used up unless it is reusable.
            While dx is brought into another form afterwards, batch first or ragged, the gradients have been added.
        MemoryError
            The same. The tape may be used up, and in short calls of several layers those above may have added their
            gradients.
        """
        who = f"{self._who}.backward"
        threads = runtime.resolve(who, num_threads)
        input_gradient = _check.flag(who, "input_gradient", input_gradient)
        records, border = Tape._open(tape, self, who)
        dy, final, given = self._upstream(who, records, border, dy, dstate)
        with self._lock:
            if records:
                self._stack.prepare_backward(records, input_gradient)
            dx: Any = None
            initial: Any = None
            tape._begin(self, who)
            try:
                if records:
                    dx, initial = self._stack.backward(records, dy, final, input_gradient, self._gradients, threads)
            finally:
                tape._end()
        if isinstance(border, Ragged):
            if input_gradient and not border.holds_indices:
                dx = border.dx(dx)
            return dx, self._state(border.dstate(initial, given))
        if border is not None:
            dx, initial = None if dx is None else border.as_given(dx), border.state(initial)
        return dx, self._state(initial)

    def _upstream(
        self, who: str, records: list[LayerTape], border: Dense | Ragged | None, dy: Any, dstate: State
    ) -> tuple[Any, list[Any] | None, list[Any] | None]:
        """dy and the kinds of dstate as the stack takes them, and those of a ragged batch's rows."""
        if isinstance(border, Ragged):
            dy = None if dy is None else border.dy(who, dy, self._stack.outputs(records) if records else [])
            return dy, *border.final(who, "dstate", dstate)
        T, B = records[0].T, records[0].B
        if dy is not None and (border is not None or not self._stack.takes_gradient(dy, T, B)):
            dy = (border or Dense(self._sizes)).dy(who, dy, T, B)
        if border is None:
            return dy, self._checked_state(who, "dstate", dstate, B), None
        return dy, border.initial(who, "dstate", dstate, B), None

    # ------------------------------------------------------------------------------------------- states

    def _checked_state(self, who: str, name: str, state: State, B: int) -> list[Any] | None:
        """The kinds of a state, each (layers * directions, B, H), None for zeros."""
        if state is None:
            return None
        return self._stack.takes_state(state, B) or self._sizes.checked_state(who, name, state, B)

    def _state(self, parts: list[Any]) -> State:
        """The public state of its arrays: h alone, or (h, c)."""
        return parts[0] if len(parts) == 1 else tuple(parts)

    def stream(self, batch_size: int = 1, *, num_threads: int = 1) -> Stream:
        """Return a `Stream` that runs these layers one time step a call and keeps the state.

        Parameters
        ----------
        batch_size : int
            B, sequences side by side.
        num_threads : int
            At most so many threads a step.
        """
        return Stream(self, batch_size, num_threads)

    # ------------------------------------------------------------------------------------------- export

    def to_onnx(
        self,
        path: str | PathLike[str] | None = None,
        *,
        opset: int = 17,
        states: bool = False,
        time: str | int = "T",
        batch: str | int = "B",
    ) -> Any:
        """Return an `onnx.ModelProto` of these layers, and write it to `path` if there is one.

        Its input is x in the layer's form, in vectors; its outputs are y and the final states h_n, and c_n of an LSTM,
        (layers * directions, B, H) each. Where layers differ in width each has states of its own, h_n_l0, h_n_l1, ...
        There is no dropout in it, as there is none in a call.

        Parameters
        ----------
        path : str or path, optional
        opset : int in 7..25
        states : bool
            Whether the initial states are inputs h0 (and c0), too; they are zeros otherwise.
        time, batch : str or int
            The name of an axis of any length, or its length.

        Raises
        ------
        ImportError
            The package onnx is not installed (`pip install 'fastrnn[onnx]'`).
        ValueError
            ONNX has no such layer: a UGRNN, or one with proj_size.
        """
        from fastrnn.convert.onnx import writing

        names = ("num_layers", "bias", "batch_first", "bidirectional", "proj_size", "merge", "reset_after")
        options = {name: getattr(self, name) for name in (*names, "nonlinearity") if hasattr(self, name)}
        axes = (batch, time) if self.batch_first else (time, batch)
        return writing.one(self.NAME, self.state_dict(), options, path, opset, states, axes)


def _no_place(who: str, dropout: float) -> str:
    return f"{who}: dropout is {dropout}; between layers, so with num_layers=1 there is none"


class RNN(Recurrent):
    """Elman RNN, h' = f(W x + b + R h + b') with f one of tanh, relu, sigmoid (Elman, 1990).

    Parameters are those of `fastrnn.layers.Recurrent`, and

    nonlinearity : {"tanh", "relu", "sigmoid"}
    """

    CELL = CELLS["rnn"]

    nonlinearity = SetOnce(partial(_check.choice, allowed=("tanh", "relu", "sigmoid")))

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        merge: str = "concat",
        dtype: DTypeLike = "float32",
        seed: int | np.random.SeedSequence | None = None,
        init: Initialiser | None = None,
    ) -> None:
        self.nonlinearity = nonlinearity
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            merge=merge,
            dtype=dtype,
            seed=seed,
            init=init,
        )

    @property
    def _cell(self) -> str:
        return f"rnn_{self.nonlinearity}"


class LSTM(Recurrent):
    """LSTM with forget gate, gates in the order i f g o, state (h, c).

    i, f, o = s(.), g = tanh(.) of W x + b + R h + b';  c' = f*c + i*g;  h' = o*tanh(c')
    (Hochreiter and Schmidhuber, 1997; the forget gate is of Gers, Schmidhuber and Cummins, 2000.)

    Parameters are those of `fastrnn.layers.Recurrent`.
    """

    CELL = CELLS["lstm"]


class GRU(Recurrent):
    """GRU, reset applied after the recurrent product unless `reset_after=False`, gates in the order r z n.

    r, z = s(.) of W x + b + R h + b';  h' = (1-z)*n + z*h, with
    n = tanh(W x + b + r*(R h + b')) when `reset_after` (PyTorch, cuDNN), else n = tanh(W x + b + R (r*h) + b')
    (Cho et al., 2014).
    Texts that write h' = (1-z)*h + z*n mean this z negated: `load_state_dict(..., blend="cho")` converts their weights.

    Parameters are those of `fastrnn.layers.Recurrent`, and

    reset_after : bool
    """

    CELL = CELLS["gru"]

    reset_after = SetOnce(_check.flag)

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
        merge: str = "concat",
        dtype: DTypeLike = "float32",
        seed: int | np.random.SeedSequence | None = None,
        init: Initialiser | None = None,
    ) -> None:
        self.reset_after = reset_after
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            merge=merge,
            dtype=dtype,
            seed=seed,
            init=init,
        )

    @property
    def _cell(self) -> str:
        return "gru_reset_after" if self.reset_after else "gru_reset_before"

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, *, blend: str = "torch"
    ) -> Keys:
        """Set the parameters, and return missing and unexpected names, as `Module.load_state_dict` does.

        Parameters
        ----------
        state_dict, strict
            As there.
        blend : {"torch", "cho"}
            "cho" for weights of h' = (1-z)*h + z*n: since s(-a) = 1 - s(a), the rows of z are negated.
        """
        _check.choice(f"{self._who}.load_state_dict", "blend", blend, ("torch", "cho"))
        given, keys = self._checked_state_dict(state_dict, strict)
        if blend == "cho":
            for array in given.values():
                hidden = len(array) // 3
                z = array[hidden : 2 * hidden]
                np.negative(z, out=z)
        self._load(given)
        return keys


class UGRNN(Recurrent):
    """Update-gate RNN, gates in the order g c (Collins, Sohl-Dickstein and Sussillo, 2017).

    g = s(W_g x + R_g h + b_g);  c = tanh(W_c x + R_c h + b_c);  h' = g*h + (1-g)*c

    Parameters are those of `fastrnn.layers.Recurrent`.
    """

    CELL = CELLS["ugrnn"]
