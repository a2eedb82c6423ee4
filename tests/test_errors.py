"""Bad arguments: one row per message, and after each of them everything is as it was before.

A message says who: what got; expected what.
"""

import ast
import copy
import functools
import inspect
import re
import traceback
from pathlib import Path

import numpy as np
import pytest

import fastrnn
from fastrnn import _check, _threads, layers, linear, losses, stream

T, B, I, H, L, V = 5, 2, 3, 4, 2, 7  # noqa: E741


def floats(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


class World:
    """One of everything, each part in use: gradients that are not zero, open tapes, a running stream."""

    def __init__(self):
        self.lstm = fastrnn.LSTM(I, H, L, dropout=0.5, seed=1)
        self.gru = fastrnn.GRU(I, H, L, seed=2)
        self.rnn = fastrnn.RNN(I, H, batch_first=True, seed=3)
        self.head = fastrnn.Linear(H, V, seed=4)
        self.modules = (self.lstm, self.gru, self.rnn, self.head)
        for module in self.modules:
            module.flat_grads[:] = floats(module.flat_grads.size)
        self.x, self.ids = floats(T, B, I), np.arange(T * B).reshape(T, B) % I
        self.h, self.c, self.dy = floats(L, B, H), floats(L, B, H), floats(T, B, H)
        self.rows, self.drows = floats(T, B, H), floats(T, B, V)
        self.logits, self.targets = floats(T, B, V), np.arange(T * B).reshape(T, B) % V
        self.tape = self.lstm.forward(self.x, (self.h, self.c))[2]
        self.head_tape = self.head.forward(self.rows)[1]
        self.stream = self.lstm.stream(B)
        self.stream.step(self.x[0])
        self.out = np.full((B, H), 7, np.float32)

    def everything(self):
        """Copies of all that a failing call might have changed."""
        arrays = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        arrays += [part for module in self.modules for part in (module.flat_params, module.flat_grads)]
        arrays += [*self.stream.state]
        states = [module.rng.bit_generator.state for module in self.modules[:3]]
        return copy.deepcopy((arrays, states, fastrnn.get_num_threads()))

    def results(self):
        """What the open tapes and the stream give: they must outlive an error."""
        dx, dstate = self.lstm.backward(self.tape, self.dy, (self.h, self.c))
        step = self.stream.step(self.x[1])
        return [dx, *dstate, self.head.backward(self.head_tape, self.drows), step, *self.everything()[0]]


ROWS = []


def row(name, error, message, call, prepare=None):
    ROWS.append(pytest.param(error, message, call, prepare, id=name))


# ------------------------------------------------------------------------------------------- construction


def size_rows(build, who, name, most=2**31 - 1):
    row(f"{who} {name} zero", ValueError, f"{who}: {name} is 0; expected an integer >= 1", lambda w: build(0))
    row(f"{who} {name} negative", ValueError, f"{who}: {name} is -1; expected an integer >= 1", lambda w: build(-1))
    row(f"{who} {name} bool", ValueError, f"{who}: {name} is True; expected an integer >= 1", lambda w: build(True))
    row(f"{who} {name} float", TypeError, f"{who}: {name} is a float; expected an integer >= 1", lambda w: build(4.0))
    row(f"{who} {name} str", TypeError, f"{who}: {name} is a str; expected an integer >= 1", lambda w: build("4"))
    row(
        f"{who} {name} huge",
        ValueError,
        f"{who}: {name} is {2**31}; expected an integer in 1..{most}",
        lambda w: build(2**31),
    )


size_rows(lambda n: fastrnn.LSTM(n, 4), "LSTM", "input_size")
size_rows(lambda n: fastrnn.GRU(3, n), "GRU", "hidden_size")
size_rows(lambda n: fastrnn.UGRNN(3, 4, n), "UGRNN", "num_layers", 10_000)
size_rows(lambda n: fastrnn.Linear(n, 4), "Linear", "in_features")
size_rows(lambda n: fastrnn.Linear(4, n), "Linear", "out_features")
size_rows(lambda n: fastrnn.RNN(3, 4, seed=0).stream(n), "RNN.stream", "batch_size")
size_rows(lambda n: fastrnn.RNN(3, 4, seed=0).stream(num_threads=n), "RNN.stream", "num_threads")
size_rows(fastrnn.set_num_threads, "set_num_threads", "n")

row(
    "too many parameters",
    ValueError,
    f"Linear: {(2**31 - 1) ** 2 + 2**31 - 1} parameters; expected what fits in memory",
    lambda w: fastrnn.Linear(2**31 - 1, 2**31 - 1),
)
row(
    "init not callable",
    TypeError,
    "GRU: init is a int; expected a callable (name, shape, rng)",
    lambda w: fastrnn.GRU(3, 4, init=3),
)
row(
    "reset by a mask of another batch",
    ValueError,
    f"LSTM.stream.reset: rows is a mask of shape (1,); expected (B,) = ({B},)",
    lambda w: w.stream.reset([True]),
)
row(
    "reset by floats",
    TypeError,
    "LSTM.stream.reset: rows is [0.5]; expected an integer, several, a slice or a mask (B,)",
    lambda w: w.stream.reset([0.5]),
)
row(
    "reset beyond the batch",
    IndexError,
    f"LSTM.stream.reset: rows is {B}; expected integers in {-B}..{B - 1}",
    lambda w: w.stream.reset(B),
)
for value in (1, 1.5, -0.1, float("nan")):
    row(
        f"dropout {value}",
        ValueError,
        f"LSTM: dropout is {value}; expected a number in [0, 1)",
        lambda w, value=value: fastrnn.LSTM(3, 4, dropout=value),
    )
for value in (True, "half", None):
    row(
        f"dropout {value}",
        TypeError,
        f"GRU: dropout is a {type(value).__name__}; expected a number in [0, 1)",
        lambda w, value=value: fastrnn.GRU(3, 4, dropout=value),
    )
row(
    "nonlinearity",
    ValueError,
    "RNN: nonlinearity is 'gelu'; expected one of tanh, relu, sigmoid",
    lambda w: fastrnn.RNN(3, 4, nonlinearity="gelu"),
)
row(
    "bidirectional",
    NotImplementedError,
    "GRU: bidirectional=True, proj_size=0; this version has neither, expected False and 0",
    lambda w: fastrnn.GRU(3, 4, bidirectional=True),
)
row(
    "proj_size",
    NotImplementedError,
    "LSTM: bidirectional=False, proj_size=2; this version has neither, expected False and 0",
    lambda w: fastrnn.LSTM(3, 4, proj_size=2),
)
row(
    "init of a wrong shape",
    ValueError,
    "LSTM: init('weight_ih_l0', ...) has shape (3,); expected weight_ih_l0 = (16, 3)",
    lambda w: fastrnn.LSTM(3, 4, init=lambda name, shape, rng: np.zeros(3, np.float32)),
)
row(
    "init of a wrong dtype",
    TypeError,
    "Linear: init('weight', ...) has dtype float64; expected float32, the type fastrnn computes in "
    "(init('weight', ...).astype(np.float32))",
    lambda w: fastrnn.Linear(3, 4, init=lambda name, shape, rng: np.zeros(shape)),
)

# -------------------------------------------------------------------------------------------------- input


def dtype_rows(who, name, array, call):
    """Nothing is cast and nothing is converted."""
    wrong = [array.astype(t) for t in (np.float64, np.float16, ">f4", object, bool, complex, "S4")]
    for other in wrong:
        row(
            f"{who} {name} {other.dtype.str}",
            TypeError,
            f"{who}: {name} has dtype {other.dtype}; expected float32, the type fastrnn computes in "
            f"({name}.astype(np.float32))",
            lambda w, other=other: call(w, other),
        )
    for other in (array.tolist(), tuple(array.tolist()), 3.0, None, memoryview(array)):
        if other is None and (name == "out" or who == "LSTM.backward"):
            continue  # None has a meaning there
        row(
            f"{who} {name} {type(other).__name__}",
            TypeError,
            f"{who}: {name} is a {type(other).__name__}; expected a float32 numpy array "
            f"(np.asarray({name}, dtype=np.float32))",
            lambda w, other=other: call(w, other),
        )


def shape_rows(who, name, shapes, expected, call):
    for shape in shapes:
        row(
            f"{who} {name} {shape}",
            ValueError,
            f"{who}: {name} has shape {shape}; expected {expected}",
            lambda w, shape=shape: call(w, np.zeros(shape, np.float32)),
        )


dtype_rows("LSTM", "x", floats(T, B, I), lambda w, x: w.lstm(x))
dtype_rows("LSTM.forward", "x", floats(T, B, I), lambda w, x: w.lstm.forward(x))
dtype_rows("Linear", "x", floats(T, B, H), lambda w, x: w.head(x))
dtype_rows("LSTM.stream.step", "x_t", floats(B, I), lambda w, x: w.stream.step(x))
dtype_rows("LSTM.stream.step", "out", floats(B, H), lambda w, out: w.stream.step(w.x[0], out))

wrong_ranks = [(), (I,), (B, I), (1, T, B, I), (1, 1, T, B, I), (T, B, I + 1), (T, B, I - 1), (T, B, 0), (T, I, B)]
shape_rows("LSTM", "x", wrong_ranks, f"(T, B, input_size={I})", lambda w, x: w.lstm(x))
shape_rows("GRU.forward", "x", wrong_ranks, f"(T, B, input_size={I})", lambda w, x: w.gru.forward(x))
shape_rows("RNN", "x", [(B, I), (B, T, I + 1)], f"(B, T, input_size={I})", lambda w, x: w.rnn(x))
shape_rows("Linear", "x", [(), (H + 1,), (T, B, 0), (H, T)], f"(..., in_features={H})", lambda w, x: w.head(x))
shape_rows(
    "LSTM.stream.step",
    "x_t",
    [(), (I,), (1, B, I), (B + 1, I), (B, I + 1), (0, I), (B, 0), (I, B)],
    f"(B, input_size) = {(B, I)}",
    lambda w, x: w.stream.step(x),
)
shape_rows(
    "LSTM.stream.step",
    "out",
    [(), (H,), (B, H, 1), (B, H - 1), (B + 1, H), (0, H)],
    f"(B, H) = {(B, H)}",
    lambda w, out: w.stream.step(w.x[0], out),
)
for shape, letter in (((0, B, I), "T"), ((T, 0, I), "B"), ((0, 0, I), "T")):
    row(
        f"LSTM x {shape}",
        ValueError,
        f"LSTM: x has shape {shape}; expected {letter} >= 1, nothing runs on an empty batch or no time steps",
        lambda w, shape=shape: w.lstm(np.zeros(shape, np.float32)),
    )
    row(
        f"GRU indices {shape[:2]}",
        ValueError,
        f"GRU: x has shape {shape[:2]}; expected {letter} >= 1, nothing runs on an empty batch or no time steps",
        lambda w, shape=shape: w.gru(np.zeros(shape[:2], np.int64)),
    )
row(
    "RNN batch_first B",
    ValueError,
    f"RNN: x has shape {(0, T, I)}; expected B >= 1, nothing runs on an empty batch or no time steps",
    lambda w: w.rnn(np.zeros((0, T, I), np.float32)),
)
for shape in ((), (T,), (T, B, 1), (T, B, I)):
    row(
        f"LSTM indices {shape}",
        ValueError,
        f"LSTM: x holds integers and has shape {shape}; expected (T, B) indices below input_size={I}, "
        "or vectors as float32",
        lambda w, shape=shape: w.lstm(np.zeros(shape, np.int64)),
    )
row(
    "stream indices of a wrong rank",
    ValueError,
    f"LSTM.stream.step: x_t holds integers and has shape {(1, B)}; expected (B) indices below input_size={I}, "
    "or vectors as float32",
    lambda w: w.stream.step(np.zeros((1, B), np.int64)),
)
row(
    "stream indices of a wrong length",
    ValueError,
    f"LSTM.stream.step: x_t has shape {(B + 1,)}; expected (B,) = {(B,)}",
    lambda w: w.stream.step(np.zeros(B + 1, np.int64)),
)
row(
    "stream output that cannot be written",
    ValueError,
    "LSTM.stream.step: out is not writable and C-contiguous; expected both",
    lambda w: w.stream.step(w.x[0], np.broadcast_to(np.float32(0), (B, H))),
)
row(
    "stream output of another order",
    ValueError,
    "LSTM.stream.step: out is not writable and C-contiguous; expected both",
    lambda w: w.stream.step(w.x[0], np.zeros((H, B), np.float32).T),
)


def with_index(value, dtype, shape=(T, B)):
    array = np.zeros(shape, dtype)
    array.flat[-1] = value
    return array


for value, dtype in ((-1, np.int8), (I, np.uint8), (-(2**63), np.int64), (2**63 - 1, np.int64), (2**64 - 1, np.uint64)):
    message = f"holds index {value}; expected indices in 0..{I - 1} (input_size={I})"
    for who, call in (
        ("LSTM", lambda w, x: w.lstm(x)),
        ("GRU.forward", lambda w, x: w.gru.forward(x)),
        ("RNN", lambda w, x: w.rnn(x)),
        ("LSTM.stream.step", lambda w, x: w.stream.step(x[-1])),
    ):
        name = "x_t" if "stream" in who else "x"
        row(
            f"{who} index {value}",
            IndexError,
            f"{who}: {name} {message}",
            lambda w, call=call, value=value, dtype=dtype: call(w, with_index(value, dtype)),
        )
row(
    "lengths",
    NotImplementedError,
    "LSTM: lengths is given; this version has none, expected None",
    lambda w: w.lstm(w.x, None, np.array([5, 4])),
)

# -------------------------------------------------------------------------------------------------- state

EACH = f"each (layers, B, H) = {(L, B, H)}"


def state_rows(who, name, lstm, gru):
    """`lstm(w, state)` and `gru(w, state)` hand a state to either kind of layer."""
    for got, make in (
        ("ndarray", lambda w: w.h),
        ("ndarray", lambda w: np.stack([w.h, w.c])),
        ("tuple of 1", lambda w: (w.h,)),
        ("tuple of 3", lambda w: (w.h, w.c, w.c)),
        ("list of 0", lambda w: []),
        ("int", lambda w: 0),
    ):
        row(
            f"LSTM{who} {name} {got}",
            TypeError,
            f"LSTM{who}: {name} is a {got}; expected the pair (h, c), {EACH}",
            lambda w, make=make: lstm(w, make(w)),
        )
    for got, make in (("tuple of 2", lambda w: (w.h, w.c)), ("list of 1", lambda w: [w.h])):
        row(
            f"GRU{who} {name} {got}",
            TypeError,
            f"GRU{who}: {name} is a {got}; expected the array h (layers, B, H) = {(L, B, H)} alone",
            lambda w, make=make: gru(w, make(w)),
        )
    wrong = [(), (H,), (B, H), (1, B, H), (L, B + 1, H), (L, B, H - 1), (L, B, H, 1), (1, L, B, H, 1), (L, 0, H)]
    expected = f"(layers, B, H) = {(L, B, H)}"
    shape_rows(f"GRU{who}", name, wrong, expected, gru)
    shape_rows(f"LSTM{who}", f"{name}[0] (h)", wrong, expected, lambda w, h: lstm(w, (h, w.c)))
    shape_rows(f"LSTM{who}", f"{name}[1] (c)", wrong, expected, lambda w, c: lstm(w, [w.h, c]))
    row(
        f"GRU{who} {name} float64",
        TypeError,
        f"GRU{who}: {name} has dtype float64; expected float32, the type fastrnn computes in "
        f"({name}.astype(np.float32))",
        lambda w: gru(w, w.h.astype(np.float64)),
    )
    row(
        f"LSTM{who} {name} c a list",
        TypeError,
        f"LSTM{who}: {name}[1] (c) is a list; expected a float32 numpy array "
        f"(np.asarray({name}[1] (c), dtype=np.float32))",
        lambda w: lstm(w, (w.h, w.c.tolist())),
    )


def gru_backward(w, dstate):
    tape = w.gru.forward(w.x)[2]
    return w.gru.backward(tape, w.dy, dstate)


def set_state(running, state):
    running.state = state


state_rows("", "state", lambda w, state: w.lstm(w.x, state), lambda w, state: w.gru(w.x, state))
state_rows(
    ".forward", "state", lambda w, state: w.lstm.forward(w.x, state), lambda w, state: w.gru.forward(w.x, state)
)
state_rows(".backward", "dstate", lambda w, state: w.lstm.backward(w.tape, w.dy, state), gru_backward)
state_rows(
    ".stream.state",
    "state",
    lambda w, state: set_state(w.stream, state),
    lambda w, state: set_state(w.gru.stream(B), state),
)

# ----------------------------------------------------------------------------------- gradients and tapes

dtype_rows("LSTM.backward", "dy", floats(T, B, H), lambda w, dy: w.lstm.backward(w.tape, dy))
dtype_rows("Linear.backward", "dy", floats(T, B, V), lambda w, dy: w.head.backward(w.head_tape, dy))
shape_rows(
    "LSTM.backward",
    "dy",
    [(), (B, H), (T + 1, B, H), (T, B + 1, H), (T, B, H - 1), (0, B, H), (T, B, H, 1), (B, T, H)],
    f"(T, B, H) = {(T, B, H)}",
    lambda w, dy: w.lstm.backward(w.tape, dy),
)
shape_rows(
    "RNN.backward",
    "dy",
    [(T, B, H)],
    f"(B, T, H) = {(B, T, H)}",
    lambda w, dy: w.rnn.backward(w.rnn.forward(w.ids.T.copy())[2], dy),
)
shape_rows(
    "Linear.backward",
    "dy",
    [(), (V,), (T, B), (T, B, V + 1), (B, T, V), (T * B, V)],
    f"(..., out_features) = {(T, B, V)}",
    lambda w, dy: w.head.backward(w.head_tape, dy),
)
for who, backward in (
    ("LSTM", lambda w, tape: w.lstm.backward(tape, w.dy)),
    ("Linear", lambda w, tape: w.head.backward(tape, w.drows)),
):
    for got in (None, (), "tape"):
        row(
            f"{who} tape {got!r}",
            TypeError,
            f"{who}.backward: tape is a {type(got).__name__}; expected what forward returned",
            lambda w, backward=backward, got=got: backward(w, got),
        )
row(
    "LSTM given a linear layer's tape",
    TypeError,
    "LSTM.backward: tape is a LinearTape; expected what forward returned",
    lambda w: w.lstm.backward(w.head_tape, w.dy),
)
row(
    "GRU given an LSTM's tape",
    ValueError,
    "GRU.backward: the tape is another LSTM's; expected one that this layer's forward returned",
    lambda w: w.gru.backward(w.tape, w.dy),
)
row(
    "a twin's tape",
    ValueError,
    "LSTM.backward: the tape is another LSTM's; expected one that this layer's forward returned",
    lambda w: fastrnn.LSTM(I, H, L, seed=1).backward(w.tape, w.dy),
)
row(
    "another linear layer's tape",
    ValueError,
    "Linear.backward: the tape is another layer's; expected this layer's",
    lambda w: fastrnn.Linear(H, V, seed=4).backward(w.head_tape, w.drows),
)


def used_up(w):
    w.old_tape = w.lstm.forward(w.x)[2]
    w.lstm.backward(w.old_tape, w.dy)
    w.old_head_tape = w.head.forward(w.rows)[1]
    w.head.backward(w.old_head_tape, w.drows)


def outdated(w):
    """Tapes older than the weights, and fresh ones in the place of those of the world."""
    w.old_tape, w.old_head_tape = w.tape, w.head_tape
    for module in (w.lstm, w.head):
        with module.editing():
            pass
    w.tape, w.head_tape = w.lstm.forward(w.x)[2], w.head.forward(w.rows)[1]


def reloaded(w):
    w.old_tape = w.tape
    w.lstm.load_state_dict(w.lstm.state_dict())
    w.tape = w.lstm.forward(w.x)[2]


def optimised(w):
    w.old_tape = w.tape
    fastrnn.SGD(w.lstm, 0.1).step()
    w.tape = w.lstm.forward(w.x)[2]


row(
    "a tape twice",
    ValueError,
    "LSTM.backward: the tape is used up; expected a new one, run forward again",
    lambda w: w.lstm.backward(w.old_tape, w.dy),
    used_up,
)
row(
    "a linear layer's tape twice",
    ValueError,
    "Linear.backward: the tape is used up; expected a new one, run forward again",
    lambda w: w.head.backward(w.old_head_tape, w.drows),
    used_up,
)
for change in (outdated, reloaded, optimised):
    row(
        f"a tape older than the weights, {change.__name__}",
        ValueError,
        "LSTM.backward: the weights changed after this tape was made; expected backward before the change, "
        "run forward again",
        lambda w: w.lstm.backward(w.old_tape, w.dy),
        change,
    )
row(
    "a linear layer's tape older than the weights",
    ValueError,
    "Linear.backward: the weights changed after this tape was made; expected backward before the change, "
    "run forward again",
    lambda w: w.head.backward(w.old_head_tape, w.drows),
    outdated,
)

# --------------------------------------------------------------------------------------------------- loss


def loss(w, logits=None, targets=None, **kwargs):
    return fastrnn.softmax_cross_entropy(
        w.logits if logits is None else logits, w.targets if targets is None else targets, **kwargs
    )


dtype_rows(
    "softmax_cross_entropy",
    "logits",
    floats(T, B, V),
    lambda w, z: fastrnn.softmax_cross_entropy(z, w.targets),
)
for shape in ((), (0,), (0, B, V), (T, 0, V), (T, B, 0)):
    row(
        f"logits {shape}",
        ValueError,
        f"softmax_cross_entropy: logits has shape {shape}; expected (..., V), not empty",
        lambda w, shape=shape: loss(w, np.zeros(shape, np.float32), np.zeros(shape[:-1], np.int64)),
    )
for shape in ((), (T,), (B, T), (T, B, V), (T, B, 1), (T + 1, B), (0, B), (T * B,)):
    row(
        f"targets {shape}",
        ValueError,
        f"softmax_cross_entropy: targets have shape {shape}; expected {(T, B)}, one for each row of logits",
        lambda w, shape=shape: loss(w, targets=np.zeros(shape, np.int64)),
    )
for dtype in (np.float32, bool, object, complex):
    row(
        f"targets {dtype}",
        TypeError,
        f"softmax_cross_entropy: targets are {np.dtype(dtype)}; expected an integer array",
        lambda w, dtype=dtype: loss(w, targets=w.targets.astype(dtype)),
    )
for targets in ([[0]], 3, np.int64(3)):
    row(
        f"targets {type(targets).__name__}",
        TypeError,
        f"softmax_cross_entropy: targets are {type(targets).__name__}; expected an integer array",
        lambda w, targets=targets: loss(w, targets=targets),
    )
for value, dtype in ((-1, np.int32), (V, np.uint8), (2**40, np.int64), (2**64 - 1, np.uint64)):
    row(
        f"target {value}",
        IndexError,
        f"softmax_cross_entropy: targets holds index {value}; expected indices in 0..{V - 1} (V={V})",
        lambda w, value=value, dtype=dtype: loss(w, targets=with_index(value, dtype)),
    )

# ------------------------------------------------------------------------------------------------ loading


def load_rows(who, module, strict_names, view, other):
    """`view` is the name of a parameter to spoil, `other` of one to leave out."""

    def changed(w, **changes):
        given = {**module(w).state_dict(), **changes}
        return {name: value for name, value in given.items() if value is not None}

    shape = module(World()).params[view].shape
    row(
        f"{who} no mapping",
        TypeError,
        f"{who}: got a list; expected a mapping of names to arrays",
        lambda w: module(w).load_state_dict([]),
    )
    for name, missing, unexpected, changes in (
        ("missing", [other], "nothing", {other: None}),
        ("unexpected", "nothing", ["more"], {"more": np.zeros(1, np.float32)}),
        ("renamed", [other], ["more"], {other: None, "more": np.zeros(1, np.float32)}),
    ):
        row(
            f"{who} {name}",
            KeyError,
            f"{who}: missing {missing}, unexpected {unexpected}; expected exactly {strict_names} "
            "(strict=False ignores the difference)",
            lambda w, changes=changes: module(w).load_state_dict(changed(w, **changes)),
        )
    row(
        f"{who} names that are no names",
        KeyError,
        f"{who}: missing nothing, unexpected ['more', (), 3]; expected exactly {strict_names} "
        "(strict=False ignores the difference)",
        lambda w: module(w).load_state_dict({**changed(w), 3: 0, "more": 0, (): 0}),
    )
    for wrong in ((), (shape[0],), (*shape, 1), shape[::-1], (0, shape[1]), (shape[0] + 1, shape[1])):
        row(
            f"{who} {wrong}",
            ValueError,
            f"{who}: {view} has shape {wrong}; expected {shape}",
            lambda w, wrong=wrong: module(w).load_state_dict(changed(w, **{view: np.zeros(wrong, np.float32)})),
        )
    for bad in (np.nan, np.inf, -np.inf):
        row(
            f"{who} {bad}",
            ValueError,
            f"{who}: {view} holds NaN or infinity; expected finite values",
            lambda w, bad=bad: module(w).load_state_dict(changed(w, **{view: np.full(shape, bad, np.float32)})),
        )
    for value in (np.zeros(shape), np.zeros(shape, ">f4"), np.zeros(shape, object), np.zeros(shape).tolist()):
        dtype = np.asarray(value).dtype
        row(
            f"{who} {type(value).__name__} {dtype}",
            TypeError,
            f"{who}: {view} has dtype {dtype}; expected float32, the type fastrnn computes in "
            f"({view}.astype(np.float32))",
            lambda w, value=value: module(w).load_state_dict(changed(w, **{view: value})),
        )


GRU_NAMES = sorted(f"{kind}_l{i}" for i in range(L) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
load_rows("GRU.load_state_dict", lambda w: w.gru, GRU_NAMES, "weight_hh_l1", "bias_ih_l0")
load_rows("Linear.load_state_dict", lambda w: w.head, ["bias", "weight"], "weight", "bias")
row(
    "blend",
    ValueError,
    "GRU.load_state_dict: blend is 'keras'; expected one of torch, cho",
    lambda w: w.gru.load_state_dict(w.gru.state_dict(), blend="keras"),
)

# ------------------------------------------------------------------------------------------------ threads

for who, call in (
    ("LSTM", lambda w, n: w.lstm(w.x, num_threads=n)),
    ("LSTM.forward", lambda w, n: w.lstm.forward(w.x, num_threads=n)),
    ("LSTM.backward", lambda w, n: w.lstm.backward(w.tape, w.dy, num_threads=n)),
    ("Linear", lambda w, n: w.head(w.rows, num_threads=n)),
    ("Linear.forward", lambda w, n: w.head.forward(w.rows, num_threads=n)),
    ("Linear.backward", lambda w, n: w.head.backward(w.head_tape, w.drows, num_threads=n)),
    ("softmax_cross_entropy", lambda w, n: loss(w, num_threads=n)),
):
    for n in (0, -1, True):
        row(
            f"{who} num_threads {n}",
            ValueError,
            f"{who}: num_threads is {n}; expected an integer >= 1",
            lambda w, call=call, n=n: call(w, n),
        )
    row(
        f"{who} num_threads float",
        TypeError,
        f"{who}: num_threads is a float; expected an integer >= 1",
        lambda w, call=call: call(w, 2.0),
    )
    row(
        f"{who} num_threads huge",
        ValueError,
        f"{who}: num_threads is {10**30}; expected an integer in 1..{2**31 - 1}",
        lambda w, call=call: call(w, 10**30),
    )


# -------------------------------------------------------------------------------------------------- tests


def message_of(error):
    return error.args[0] if isinstance(error, KeyError) else str(error)


def prepared(prepare):
    world = World()
    if prepare is not None:
        prepare(world)
    return world


@functools.cache
def untouched_results(prepare):
    return prepared(prepare).results()


@pytest.mark.parametrize("error, message, call, prepare", ROWS)
def test_message_and_that_nothing_changed(error, message, call, prepare):
    world = prepared(prepare)
    before = world.everything()
    with pytest.raises(error) as caught:
        call(world)
    assert type(caught.value) is error
    assert message_of(caught.value) == message
    np.testing.assert_equal(world.everything(), before)
    np.testing.assert_equal(world.results(), untouched_results(prepare))


@pytest.mark.parametrize("value", ["0", "-2", "two", "1.5", "0x2"])
@pytest.mark.parametrize("name", ["FASTRNN_NUM_THREADS", "OMP_NUM_THREADS"])
def test_environment_that_names_no_number(monkeypatch, name, value):
    monkeypatch.delenv("FASTRNN_NUM_THREADS", raising=False)
    monkeypatch.setattr(_threads, "_default", None)
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"^{name} is '{value}'; expected an integer >= 1"):
        fastrnn.get_num_threads()
    monkeypatch.delenv(name)
    assert fastrnn.get_num_threads() >= 1


def test_messages_say_who_what_got_and_what_was_expected():
    for name, message in ((each.id, each.values[1]) for each in ROWS):
        assert re.match(r"[\w.]+: .+; .*expected", message), name
        assert "\n" not in message


def raises_of(module):
    """(file, first line, last line) of every raise statement."""
    path = Path(inspect.getsourcefile(module))
    tree = ast.parse(path.read_text())
    return {(path.name, n.lineno, n.end_lineno) for n in ast.walk(tree) if isinstance(n, ast.Raise)}


def test_every_raise_has_a_row():
    statements = set().union(*(raises_of(m) for m in (_check, layers, linear, losses, stream)))
    seen = set()
    for error, _, call, prepare in (each.values for each in ROWS):
        world = prepared(prepare)
        try:
            call(world)
        except error as caught:
            seen.update((Path(f.filename).name, f.lineno) for f in traceback.extract_tb(caught.__traceback__))
    missed = [(file, a) for file, a, b in statements if not any(f == file and a <= n <= b for f, n in seen)]
    assert not missed
