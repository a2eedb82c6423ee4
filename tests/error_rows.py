"""Rows of bad arguments for the test_errors files, and the world that each of them is given to."""

import copy
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from runs import floats

import fastrnn

T, B, I, H, L, V, P = 5, 2, 3, 4, 2, 7, 3  # noqa: E741


class World:
    """One of everything, each part in use: gradients that are not zero, open tapes, a running stream."""

    def __init__(self):
        self.lstm = fastrnn.LSTM(I, H, L, dropout=0.5, seed=1)
        self.gru = fastrnn.GRU(I, H, L, seed=2)
        self.rnn = fastrnn.RNN(I, H, batch_first=True, seed=3)
        self.head = fastrnn.Linear(H, V, seed=4)
        self.both = fastrnn.LSTM(I, [H, H + 1], bidirectional=True, proj_size=P, dropout=0.5, seed=5)
        self.modules = (self.lstm, self.gru, self.rnn, self.head, self.both)
        for module in self.modules:
            module.flat_grads[:] = floats(module.flat_grads.size)
        self.x, self.ids = floats(T, B, I), np.arange(T * B).reshape(T, B) % I
        self.h, self.c, self.dy = floats(L, B, H), floats(L, B, H), floats(T, B, H)
        self.rows, self.drows = floats(T, B, H), floats(T, B, V)
        self.logits, self.targets = floats(T, B, V), np.arange(T * B).reshape(T, B) % V
        self.tape = self.lstm.forward(self.x, (self.h, self.c))[2]
        self.head_tape = self.head.forward(self.rows)[1]
        self.lengths = np.array([T - 2, T])
        self.mask, self.reset = np.ones((T, B), bool), np.zeros((T, B), bool)
        self.mask[1, 0], self.reset[2, 1] = False, True
        self.both_h = floats(2 * L, B, P)
        self.both_c = [floats(2, B, H), floats(2, B, H + 1)]
        self.both_dy = floats(T, B, 2 * P)
        self.both_tape = self.forward_both()[2]
        self.stream = self.lstm.stream(B)
        self.stream.step(self.x[0])
        self.out = np.full((B, H), 7, np.float32)

    def forward_both(self, **changes):
        """Both directions with everything that a call takes."""
        given = {"x": self.x, "state": (self.both_h, self.both_c), "lengths": self.lengths, "mask": self.mask}
        return self.both.forward(**{**given, "reset": self.reset, "checkpoint": 2, **changes})

    def everything(self):
        """Copies of all that a failing call might have changed."""
        arrays = [value for value in vars(self).values() if isinstance(value, np.ndarray)]
        arrays += [part for module in self.modules for part in (module.flat_params, module.flat_grads)]
        arrays += [*self.stream.state]
        arrays += self.both_c
        states = [module.rng.bit_generator.state for module in self.modules if module is not self.head]
        return copy.deepcopy((arrays, states, fastrnn.get_num_threads()))

    def results(self):
        """What the open tapes and the stream give: they must outlive an error."""
        dx, dstate = self.lstm.backward(self.tape, self.dy, (self.h, self.c))
        step = self.stream.step(self.x[1])
        dx_both, (dh, dc) = self.both.backward(self.both_tape, self.both_dy)
        dhead = self.head.backward(self.head_tape, self.drows)
        return [dx, *dstate, dx_both, dh, *dc, dhead, step, *self.everything()[0]]


class Row(NamedTuple):
    """A call of a World, the error that it ends in, and what is done to that World before."""

    name: str
    error: type[Exception]
    message: str
    call: Callable
    prepare: Callable | None = None


class Rows(list):
    """One row per message."""

    def add(self, *row):
        self.append(Row(*row))

    def add_sizes(self, who, name, call, most=2**31 - 1):
        for kind, value, error, got, expected in (
            ("zero", 0, ValueError, "0", ">= 1"),
            ("negative", -1, ValueError, "-1", ">= 1"),
            ("bool", True, ValueError, "True", ">= 1"),
            ("float", 4.0, TypeError, "a float", ">= 1"),
            ("str", "4", TypeError, "a str", ">= 1"),
            ("huge", 2**31, ValueError, f"{2**31}", f"in 1..{most}"),
            ("beyond 64 bits", 10**30, ValueError, f"{10**30}", f"in 1..{most}"),
        ):
            self.add(
                f"{who} {name} {kind}",
                error,
                f"{who}: {name} is {got}; expected an integer {expected}",
                lambda w, value=value: call(w, value),
            )

    def add_dtypes(self, who, name, array, call, otherwise="", listed=""):
        """Nothing is cast or converted; `otherwise` ends the message where integers do, too, `listed` a list's."""
        wrong = [array.astype(t) for t in (np.float64, np.float16, ">f4", object, bool, complex, "S4")]
        for other in wrong:
            part = ".real" if other.dtype.kind == "c" else ""
            self.add(
                f"{who} {name} {other.dtype.str}",
                TypeError,
                f"{who}: {name} has dtype {other.dtype}; expected float32, the dtype of the layer "
                f"({name}{part}.astype(np.float32)){otherwise}",
                lambda w, other=other: call(w, other),
            )
        for other in (array.tolist(), tuple(array.tolist()), 3.0, None, memoryview(array)):
            if other is None and who == "LSTM.backward":
                continue  # None has a meaning there
            self.add(
                f"{who} {name} {type(other).__name__}",
                TypeError,
                f"{who}: {name} is a {type(other).__name__}; expected a float32 numpy array "
                f"(np.asarray({name}, dtype=np.float32)){otherwise}{listed if isinstance(other, list) else ''}",
                lambda w, other=other: call(w, other),
            )

    def add_outputs(self, who, name, shape, call):
        """An array to be filled is not copied: what is advised is a new one."""
        mend = f"({name} = np.empty({shape}, np.float32))"
        for dtype in (np.float64, np.float16, ">f4", object, bool, complex, "S4"):
            self.add(
                f"{who} {name} {np.dtype(dtype).str}",
                TypeError,
                f"{who}: {name} has dtype {np.dtype(dtype)}; expected float32 {mend}",
                lambda w, dtype=dtype: call(w, np.zeros(shape, dtype)),
            )
        for other in (np.zeros(shape).tolist(), (), 3.0, memoryview(np.zeros(shape))):
            self.add(
                f"{who} {name} {type(other).__name__}",
                TypeError,
                f"{who}: {name} is a {type(other).__name__}; expected a float32 numpy array {mend}",
                lambda w, other=other: call(w, other),
            )

    def add_masked(self, who, name, array, call):
        """Masks are not dropped."""
        self.add(
            f"{who} {name} masked",
            TypeError,
            f"{who}: {name} is a masked array, whose mask would be lost; expected a plain one "
            f"({name.split(' (')[0]}.filled(0)), with a number of your choice in the place of what is masked",
            lambda w: call(w, np.ma.masked_array(array, mask=False)),
        )

    def add_shapes(self, who, name, shapes, expected, call):
        for shape in shapes:
            self.add(
                f"{who} {name} {shape}",
                ValueError,
                f"{who}: {name} has shape {shape}; expected {expected}",
                lambda w, shape=shape: call(w, np.zeros(shape, np.float32)),
            )


def each_of(rows):
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def with_index(value, dtype, shape=(T, B)):
    array = np.zeros(shape, dtype)
    array.flat[-1] = value
    return array


def prepared(prepare):
    world = World()
    if prepare is not None:
        prepare(world)
    return world


@functools.cache
def untouched_results(prepare):
    return prepared(prepare).results()


def message_of(error):
    return error.args[0] if isinstance(error, KeyError) else str(error)


def assert_fails_cleanly(row):
    """It says what the row says, and leaves everything as it was."""
    world = prepared(row.prepare)
    before = world.everything()
    with pytest.raises(row.error) as caught:
        row.call(world)
    assert type(caught.value) is row.error
    assert message_of(caught.value) == row.message
    np.testing.assert_equal(world.everything(), before)
    np.testing.assert_equal(world.results(), untouched_results(row.prepare))
