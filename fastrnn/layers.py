"""The recurrent layers: names, shapes, defaults and the tape. The arithmetic is in `_core/loop.pyx` and `src/`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastrnn import _check, runtime, tape
from fastrnn import init as initial_values
from fastrnn._core.memory import view_of
from fastrnn._core.run import Gradients, Stack
from fastrnn._core.tape import LayerTape
from fastrnn._core.weights import RecurrentWeights
from fastrnn.cells import CELLS, Cell
from fastrnn.module import FloatArray, Initialiser, Keys, Module, SetOnce
from fastrnn.stream import Stream

MOST_LAYERS = 10_000  # a number beyond it is a mistake, whose names alone would fill the memory

State = Any  # an array h (layers, B, H), or for the LSTM a pair (h, c) of them


class Tape(tape.Tape[list[LayerTape]]):
    """A forward run, kept for one backward run. Made by a layer's `forward`, used up by its `backward`."""


class Recurrent(Module):
    """A stack of recurrent layers of one cell; the base of LSTM, GRU, RNN and UGRNN.

    Parameters
    ----------
    input_size : int
        I, features of a time step; for integer inputs the number of indices.
    hidden_size : int
        H, units of every layer.
    num_layers : int
    bias : bool
        Whether there are biases b (with the input) and b' (with the state).
    batch_first : bool
        Whether x and y are (B, T, features) instead of (T, B, features). States are (layers, B, H) either way.
    dropout : float in [0, 1)
        Between layers, in `forward` alone: the share of a layer's outputs that is zeroed; the rest grow by 1/(1-p).
        One layer has no such place: a warning says so.
    seed : int, numpy.random.SeedSequence or None
        Of the initial weights and of dropout. None draws one from the operating system.
    init : callable (name, shape, rng) -> array or None, optional
        Initial value of each parameter; None for the default of `fastrnn.init`.

    Attributes
    ----------
    params, grads : Parameters
        float32 views by PyTorch's names: weight_ih_l0 (G*H, I), weight_hh_l0 (G*H, H), bias_ih_l0, bias_hh_l0 (G*H,),
        then l1, ... The parameters are read-only but in `editing()`.
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
    hidden_size = SetOnce(_check.count)
    num_layers = SetOnce(partial(_check.count, most=MOST_LAYERS))
    bias = SetOnce(_check.flag)
    batch_first: bool
    dropout: float
    rng: np.random.Generator

    _CHECKS: ClassVar = {"batch_first": _check.flag, "dropout": _check.dropout, "rng": _check.random_numbers}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.NAME, cls.GATES, cls.STATES = cls.CELL.name, cls.CELL.gates, cls.CELL.states

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        seed: int | np.random.SeedSequence | None = None,
        init: Initialiser | None = None,
    ) -> None:
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout
        self.bias = bias
        self.batch_first = batch_first
        # Both are PyTorch's, in this place, and come in a later version (README, "What is not there").
        for name, value, none in (
            ("bidirectional", _check.flag(self._who, "bidirectional", bidirectional), False),
            ("proj_size", _check.integer(self._who, "proj_size", proj_size, 0, _check.MOST, "an integer >= 0"), 0),
        ):
            if value:
                raise NotImplementedError(
                    f"{self._who}: {name} is {value!r}; this version does without, expected {none}"
                )
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
        return initial_values.default(self.NAME, name, shape, rng)

    def _compile(self, params: dict[str, FloatArray], grads: dict[str, FloatArray]) -> None:
        self._weights = [(RecurrentWeights(self._cell, self._version, *arrays),) for arrays in self._by_layer(params)]
        self._gradients = [(Gradients(*arrays),) for arrays in self._by_layer(grads)]
        self._stack = Stack(self._weights)

    @property
    def _cell(self) -> str:
        """The name of the cell's row in the kernel table."""
        return self.NAME.lower()

    def _parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        rows = len(self.GATES) * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.num_layers):
            inputs = self.hidden_size if layer else self.input_size
            shapes[f"weight_ih_l{layer}"] = (rows, inputs)
            shapes[f"weight_hh_l{layer}"] = (rows, self.hidden_size)
            if self.bias:
                shapes[f"bias_ih_l{layer}"] = (rows,)
                shapes[f"bias_hh_l{layer}"] = (rows,)
        return shapes

    def _by_layer(self, arrays: dict[str, FloatArray]) -> list[list[Any]]:
        """Per layer weight_ih, weight_hh, bias_ih, bias_hh, None where there is no bias."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [[arrays.get(f"{name}_l{layer}") for name in names] for layer in range(self.num_layers)]

    # ------------------------------------------------------------------------------------------ running

    def __call__(
        self,
        x: NDArray[Any],
        state: State = None,
        lengths: None = None,
        *,
        num_threads: int | None = None,
    ) -> tuple[FloatArray, State]:
        """Run over a batch of sequences and keep nothing for backward. Arguments are never changed.

        Parameters
        ----------
        x : (T, B, I) float32, or (T, B) integers in 0..I-1 that stand for one-hots; batch first if the layer is
        state : h (layers, B, H), for the LSTM a pair (h, c); None for zeros
        lengths : None
            Sequences of different lengths come in a later version.
        num_threads : int, optional
            At most so many threads; the default is `get_num_threads()`. The result is the same bit for bit.

        Returns
        -------
        y : (T, B, H), the last layer's h after each step; batch first if the layer is
        state : as the argument, after the last step

        Raises
        ------
        TypeError, ValueError, IndexError
            A wrong dtype, a wrong shape or no steps at all, an index outside 0..I-1.
        KeyboardInterrupt, or what another signal's handler raises
            In the middle of a long call: signals are looked at many times a second. Everything is as before the call.
        """
        y, state, _ = self._run(self._who, x, state, lengths, num_threads, tape=False)
        return y, state

    def forward(
        self,
        x: NDArray[Any],
        state: State = None,
        lengths: None = None,
        *,
        num_threads: int | None = None,
    ) -> tuple[FloatArray, State, Tape]:
        """Run as a call does, with dropout, and return the tape that `backward` needs.

        The tape refers to x where it need not copy it, and y is a read-only view of it: leave x as it is until
        `backward`.

        Returns
        -------
        y, state : as a call returns them
        tape : Tape
        """
        version = self._version.number
        y, final, records = self._run(
            f"{self._who}.forward", x, state, lengths, num_threads, tape=True
        )
        return view_of(y, False), final, Tape(self, version, records)

    def _run(
        self,
        who: str,
        x: NDArray[Any],
        state: State,
        lengths: None,
        num_threads: int | None,
        tape: bool,
    ) -> tuple[FloatArray, State, list[LayerTape]]:
        if lengths is not None:
            raise NotImplementedError(f"{who}: lengths is given; this version has none, expected None")
        threads = runtime.resolve(who, num_threads)
        if self.batch_first or not self._stack.takes(x):
            x = self._time_major(_check.sequence(who, x, self._axes, self.input_size))
        initial = self._checked_state(who, "state", state, x.shape[1])
        dropout = self.dropout if tape else 0.0
        y, final, records = self._stack.forward(x, initial, tape, dropout, self.rng, threads)
        if self.batch_first:
            y = np.ascontiguousarray(y.swapaxes(0, 1))
        return y, self._state(final), records

    # ---------------------------------------------------------------------------------------- gradients

    def backward(
        self,
        tape: Tape,
        dy: FloatArray | None,
        dstate: State = None,
        *,
        input_gradient: bool = True,
        num_threads: int | None = None,
    ) -> tuple[FloatArray | None, State]:
        """Backpropagate through time over the whole tape, add to `grads` and use the tape up.

        Parameters
        ----------
        tape : Tape
            Of this layer's `forward`, with these weights.
        dy : (T, B, H) float32, or None for zeros
            Gradient of the loss by y; batch first if the layer is.
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
            In the middle of a long call. `grads` is as before the call, the tape is used up.
        MemoryError
            The tape may be used up, and in short calls of several layers those above may have added their gradients.
        """
        who = f"{self._who}.backward"
        threads = runtime.resolve(who, num_threads)
        input_gradient = _check.flag(who, "input_gradient", input_gradient)
        records = Tape._open(tape, self, who)
        T, B = records[0].T, records[0].B
        if dy is not None and (self.batch_first or not self._stack.takes_gradient(dy, T, B)):
            H = self.hidden_size
            axes, sizes = ("(B, T, H)", (B, T, H)) if self.batch_first else ("(T, B, H)", (T, B, H))
            dy = self._time_major(_check.shape(who, "dy", dy, sizes, axes))
        final = self._checked_state(who, "dstate", dstate, B)
        with self._lock:
            self._stack.prepare_backward(records, input_gradient)
            tape._use_up(self, who)
            dx, initial = self._stack.backward(records, dy, final, input_gradient, self._gradients, threads)
        if dx is not None and self.batch_first:
            dx = np.ascontiguousarray(dx.swapaxes(0, 1))
        return dx, self._state(initial)

    # ------------------------------------------------------------------------------------------- states

    @property
    def _axes(self) -> tuple[str, str]:
        return ("B", "T") if self.batch_first else ("T", "B")

    def _time_major(self, x: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(x.swapaxes(0, 1) if self.batch_first else x)

    def _checked_state(self, who: str, name: str, state: State, B: int) -> list[FloatArray] | None:
        """The arrays (layers, B, H) of a state, None for zeros."""
        if state is None:
            return None
        expected = (self.num_layers, B, self.hidden_size)
        return self._stack.takes_state(state, B) or _check.state(who, name, state, self.STATES, expected)

    def _state(self, parts: list[FloatArray]) -> State:
        """The public state of its arrays: h alone, or (h, c)."""
        return parts[0] if len(parts) == 1 else tuple(parts)

    def stream(self, batch_size: int = 1, *, num_threads: int = 1) -> Stream:
        """Return a `Stream` that runs these layers one time step a call and keeps the state."""
        return Stream(self, batch_size, num_threads)


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
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
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
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
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
        blend : {"torch", "cho"}
            "cho" for weights of h' = (1-z)*h + z*n: since s(-a) = 1 - s(a), the rows of z are negated.
        """
        _check.choice(f"{self._who}.load_state_dict", "blend", blend, ("torch", "cho"))
        given, keys = self._checked_state_dict(state_dict, strict)
        if blend == "cho":
            for array in given.values():
                z = array[self.hidden_size : 2 * self.hidden_size]
                np.negative(z, out=z)
        self._load(given)
        return keys


class UGRNN(Recurrent):
    """Update-gate RNN, gates in the order g c (Collins, Sohl-Dickstein and Sussillo, 2017).

    g = s(W_g x + R_g h + b_g);  c = tanh(W_c x + R_c h + b_c);  h' = g*h + (1-g)*c

    Parameters are those of `fastrnn.layers.Recurrent`.
    """

    CELL = CELLS["ugrnn"]
