"""No array that is handed over crashes the process, is changed, is read outside its bounds or comes back half written.

What might kill the process runs in another one, under a limit on its memory; by hand, in this folder:
`python -c "import test_robustness as t; t.run(t.DANGEROUS)"`.
"""

import ctypes
import gc
import hashlib
import json
import mmap
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import fastrnn

# Sequences are beyond the size from which on buffers are kept for the next call.
T, B, I, H, L, V = 19, 7, 33, 33, 2, 11  # noqa: E741
GIB = 1 << 30


def floats(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def integers(below, *shape, dtype=np.int64):
    return np.random.default_rng(shape).integers(below, size=shape).astype(dtype)


# ------------------------------------------------------------------------- every call that takes arrays
#
# name: (arrays, function of them that returns a list of arrays). Layers are made anew, so that a result depends on
# nothing but the arguments.


def lstm_call(x, h, c):
    y, state = fastrnn.LSTM(I, H, L, seed=1)(x, (h, c))
    return [y, *state]


def train(layer, x, state, dy, dstate):
    y, final, tape = layer.forward(x, state)
    dx, dinitial = layer.backward(tape, dy, dstate)
    states = [part for each in (final, dinitial) for part in (each if isinstance(each, tuple) else (each,))]
    return [y, *states, layer.flat_grads, *([] if dx is None else [dx])]


def lstm_train(x, h, c, dy, dh, dc):
    return train(fastrnn.LSTM(I, H, L, dropout=0.3, seed=2), x, (h, c), dy, (dh, dc))


def gru_train(x, h, dy, dh):
    layer = fastrnn.GRU(I, H, L, batch_first=True, reset_after=False, seed=3)
    return train(layer, x, h, dy, dh)


def index_train(ids, h, dy, dh):
    return train(fastrnn.UGRNN(I, H, L, seed=4), ids, h, dy, dh)


def linear_train(x, dy):
    head = fastrnn.Linear(I, V, seed=5)
    y, tape = head.forward(x)
    return [y, head(x), head.backward(tape, dy), head.flat_grads]


def stream_run(x, h, c):
    stream = fastrnn.LSTM(I, H, L, seed=6).stream(B)
    stream.state = (h, c)
    return [*(stream.step(x_t) for x_t in x), *stream.state]


def index_stream_run(ids):
    stream = fastrnn.RNN(I, H, seed=6).stream(B)
    return [*(stream.step(x_t) for x_t in ids), stream.state]


def loss(logits, targets):
    value, dlogits = fastrnn.softmax_cross_entropy(logits, targets)
    return [np.array(value), dlogits]


def load(weight, bias):
    head = fastrnn.Linear(I, V, seed=7)
    head.load_state_dict({"weight": weight, "bias": bias})
    return [head.flat_params, head(np.eye(I, dtype=np.float32))]


def edit(weight, bias):
    head = fastrnn.Linear(I, V, seed=7)
    with head.editing() as params:
        params["weight"][...], params["bias"][...] = weight, bias
    return [head.flat_params, head(np.eye(I, dtype=np.float32))]


def initial(weight, bias):
    given = {"weight": weight, "bias": bias}
    return [fastrnn.Linear(I, V, init=lambda name, shape, rng: given[name]).flat_params]


STATE = {"h": floats(L, B, H), "c": floats(L, B, H, seed=1)}
DSTATE = {"dh": floats(L, B, H, seed=2), "dc": floats(L, B, H, seed=3)}
WEIGHTS = {"weight": floats(V, I), "bias": floats(V)}
CALLS = {
    "lstm call": ({"x": floats(T, B, I), **STATE}, lstm_call),
    "lstm train": ({"x": floats(T, B, I), **STATE, "dy": floats(T, B, H), **DSTATE}, lstm_train),
    "gru train": (
        {"x": floats(B, T, I), "h": STATE["h"], "dy": floats(B, T, H), "dh": DSTATE["dh"]},
        gru_train,
    ),
    "index train": (
        {"ids": integers(I, T, B), "h": STATE["h"], "dy": floats(T, B, H), "dh": DSTATE["dh"]},
        index_train,
    ),
    "linear train": ({"x": floats(T, B, I), "dy": floats(T, B, V)}, linear_train),
    "stream": ({"x": floats(T, B, I), **STATE}, stream_run),
    "index stream": ({"ids": integers(I, T, B, dtype=np.int32)}, index_stream_run),
    "loss": ({"logits": floats(T, B, V), "targets": integers(V, T, B)}, loss),
    "load": (WEIGHTS, load),
    "edit": (WEIGHTS, edit),
    "initial": (WEIGHTS, initial),
}
every_call = pytest.mark.parametrize("name", CALLS)


def assert_same_bits(actual, expected):
    assert len(actual) == len(expected)
    for got, want in zip(actual, expected, strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_array_equal(got.view(f"u{got.itemsize}"), want.view(f"u{want.itemsize}"))


# ----------------------------------------------------------------------------------- layouts of arguments


def margins(array):
    """In the middle of a larger block that holds what must not be read: NaN, or indices far out of bounds."""
    poison = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max // 2
    block = np.full(array.size + 200, poison, array.dtype)
    inner = block[100:-100].reshape(array.shape)
    inner[...] = array
    return inner


def misaligned(array, offset):
    block = np.zeros(array.nbytes + 64, np.uint8)
    inner = block[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)
    inner[...] = array
    return inner


def strided(array):
    block = np.full([3 * n for n in array.shape], 99, array.dtype)
    inner = block[tuple(slice(1, None, 3) for _ in array.shape)]
    inner[...] = array
    return inner


def reversed_axes(array):
    everywhere = tuple(slice(None, None, -1) for _ in array.shape)
    return array[everywhere].copy()[everywhere]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def memmap(array):
    with tempfile.TemporaryFile() as file:
        array.tofile(file)
        file.flush()
        return np.memmap(file, array.dtype, "r", shape=array.shape)


class Subclass(np.ndarray):
    """An array that would be noticed if its own arithmetic were used."""

    def __array_ufunc__(self, *args, **kwargs):
        raise AssertionError("a subclass's arithmetic was used")

    def __array_function__(self, *args, **kwargs):
        raise AssertionError("a subclass's functions were used")


LAYOUTS = {
    "margins": margins,
    "off by 1 byte": lambda array: misaligned(array, 1),
    "off by 4 bytes": lambda array: misaligned(array, 4),
    "off by 63 bytes": lambda array: misaligned(array, 63),
    "Fortran": np.asfortranarray,
    "strided": strided,
    "negative strides": reversed_axes,
    "swapped axes": lambda array: array.swapaxes(0, -1).copy().swapaxes(0, -1),
    "read-only": read_only,
    "memmap": memmap,
    "matrix of axes of length 1": lambda array: array[None, :, None].copy()[0, :, 0],
    "a field of records": lambda array: np.rec.fromarrays([array, array])["f0"],
}


@every_call
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_arguments_does_not_matter_and_they_are_not_changed(name, layout):
    arrays, function = CALLS[name]
    given = {key: LAYOUTS[layout](array) for key, array in arrays.items()}
    flags = {key: (array.strides, array.flags.writeable) for key, array in given.items()}
    assert_same_bits(function(**given), function(**arrays))
    for key, array in arrays.items():
        np.testing.assert_array_equal(given[key], array, err_msg=key)
        assert (given[key].strides, given[key].flags.writeable) == flags[key]


@every_call
def test_zero_strides_are_read_as_the_array_they_stand_for(name):
    arrays, function = CALLS[name]
    given = {key: np.broadcast_to(array[:1], array.shape) for key, array in arrays.items()}
    assert_same_bits(function(**given), function(**{key: array.copy() for key, array in given.items()}))


@every_call
def test_subclasses_are_read_as_plain_arrays(name):
    arrays, function = CALLS[name]
    results = function(**{key: array.view(Subclass) for key, array in arrays.items()})
    assert_same_bits(results, function(**arrays))
    assert all(type(result) is np.ndarray for result in results)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, ">i2", np.uint32, ">i8", np.int64, np.uint64])
def test_every_integer_type_is_an_index(dtype):
    for name, key in (("index train", "ids"), ("index stream", "ids"), ("loss", "targets")):
        arrays, function = CALLS[name]
        assert_same_bits(function(**{**arrays, key: arrays[key].astype(dtype)}), function(**arrays))


# ------------------------------------------------------------------------------------------------ aliasing


def test_one_array_may_stand_for_several_arguments():
    same, state = floats(T, B, H), floats(L, B, H)
    for function, given in (
        (lstm_train, {"x": same, "h": state, "c": state, "dy": same, "dh": state, "dc": state}),
        (gru_train, {"x": (x := floats(B, T, H)), "h": state, "dy": x, "dh": state}),
        (lstm_call, {"x": same, "h": state, "c": state}),
        (stream_run, {"x": same, "h": state, "c": state}),
    ):
        before = {key: array.copy() for key, array in given.items()}
        assert_same_bits(function(**given), function(**before))
        for key, array in given.items():
            np.testing.assert_array_equal(array, before[key])


def test_results_may_be_the_next_arguments():
    layer = fastrnn.LSTM(H, H, L, seed=0)
    y, state = layer(floats(T, B, H))
    copies = [part.copy() for part in (y, *state)]
    assert_same_bits([layer(y, state)[0]], [layer(copies[0], (copies[1], copies[2]))[0]])
    assert_same_bits([y, *state], copies)

    y, state, tape = layer.forward(floats(T, B, H))
    expected = fastrnn.LSTM(H, H, L, seed=0)
    other_tape = expected.forward(floats(T, B, H))[2]
    second, _, second_tape = layer.forward(y, state)
    assert_same_bits(layer.backward(tape, y, state)[1], expected.backward(other_tape, y.copy(), state)[1])
    assert_same_bits([layer.backward(second_tape, second)[0]], [twice(floats(T, B, H))])


def twice(x):
    layer = fastrnn.LSTM(H, H, L, seed=0)
    y, state = layer(x)
    y, _, tape = layer.forward(y.copy(), state)
    return layer.backward(tape, y.copy())[0]


def test_a_step_may_write_over_its_own_input():
    separate, together = (fastrnn.GRU(H, H, L, seed=0).stream(B) for _ in range(2))
    x = floats(B, H)
    for _ in range(3):
        y = separate.step(x.copy())
        assert together.step(x, x) is x
        assert_same_bits([x], [y])


def test_a_layers_own_parameters_may_be_exchanged():
    layer = fastrnn.RNN(H, H, seed=0)
    before = layer.state_dict()
    swapped = {"weight_ih_l0": "weight_hh_l0", "weight_hh_l0": "weight_ih_l0"}
    layer.load_state_dict({name: layer.params[swapped.get(name, name)] for name in layer.params})
    for name, array in layer.params.items():
        np.testing.assert_array_equal(array, before[swapped.get(name, name)])


def test_indices_may_be_overwritten_between_forward_and_backward():
    """They address memory: a batch that is filled again must not move what backward adds to."""
    given, kept = (fastrnn.LSTM(I, H, seed=0) for _ in range(2))
    ids, dy = integers(I, T, B), floats(T, B, H)
    tape, expected = given.forward(ids)[2], kept.forward(ids.copy())[2]
    ids[...] = 2**40
    given.backward(tape, dy)
    kept.backward(expected, dy)
    assert_same_bits([given.flat_grads], [kept.flat_grads])


# -------------------------------------------------------------------------------------------- fully written


def users_of_empty():
    """Every module that takes its buffers from `_memory.empty`."""
    found = [m for name, m in sys.modules.items() if name.startswith("fastrnn.") and hasattr(m, "empty")]
    assert {"fastrnn._memory", "fastrnn._driver"} <= {m.__name__ for m in found}
    return found


@every_call
def test_results_do_not_depend_on_what_memory_held_before(name, monkeypatch):
    arrays, function = CALLS[name]
    results = []
    for content in (0.0, np.nan, 1e30):
        with monkeypatch.context() as patch:

            def filled(shape, content=content):
                return np.full(shape, content, np.float32)

            for user in users_of_empty():
                patch.setattr(user, "empty", filled)
            results.append(function(**arrays))
    for others in results[1:]:
        assert_same_bits(others, results[0])
    assert_same_bits(results[0], function(**arrays))


def print_results():
    """A digest of every call's results."""
    for name, (arrays, function) in CALLS.items():
        digest = hashlib.sha256(b"".join(array.tobytes() for array in function(**arrays))).hexdigest()
        print(json.dumps([name, digest]))


@pytest.mark.skipif(sys.platform != "linux", reason="the variable is glibc's")
def test_results_do_not_depend_on_what_malloc_returns():
    """glibc fills new blocks and freed ones with a byte that depends on MALLOC_PERTURB_."""
    results = [elsewhere("t.print_results()", MALLOC_PERTURB_=value)[0] for value in ("0", "1", "128")]
    assert results[0].keys() == CALLS.keys()
    assert results[1] == results[2] == results[0]


@pytest.mark.parametrize("size", [4, 64])
def test_results_stay_when_later_calls_reuse_memory(size):
    """Freed buffers are handed out again, but nothing that anybody still sees."""
    layer, head = fastrnn.LSTM(size, size, 2, seed=0), fastrnn.Linear(size, 70, seed=1)

    def step(seed):
        x = floats(20, 8, size, seed=seed)
        y, state, tape = layer.forward(x)
        inferred, final = layer(x)
        logits, head_tape = head.forward(y)
        _, dlogits = fastrnn.softmax_cross_entropy(logits, integers(70, 20, 8))
        dy = head.backward(head_tape, dlogits)
        dx, dstate = layer.backward(tape, dy)
        return [y[3:5], *state, inferred[::2], *final, logits, dlogits, dy, dx[1:, 1:], *dstate]

    kept = step(0)
    before = [array.copy() for array in kept]
    for seed in range(1, 6):
        step(seed)
        gc.collect()
    assert_same_bits(kept, before)


def test_arrays_outlive_their_layer():
    layer = fastrnn.GRU(64, 64, seed=0)
    y, tape_y = layer(floats(9, 8, 64))[0], layer.forward(floats(9, 8, 64))[0]
    before = [y.copy(), tape_y.copy()]
    del layer
    gc.collect()
    other = fastrnn.GRU(64, 64, seed=1)
    for _ in range(3):
        other(floats(9, 8, 64))
    assert_same_bits([y, tape_y], before)


# ------------------------------------------------------------------------------------------------- no items


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (0, 0), (2, 0, 3)])
def test_linear_of_nothing_is_nothing(shape):
    head = fastrnn.Linear(I, V, seed=0)
    x = np.zeros((*shape, I), np.float32)
    y, tape = head.forward(x)
    assert y.shape == head(x).shape == (*shape, V)
    assert head.backward(tape, y).shape == (*shape, I)
    assert not head.flat_grads.any()


@pytest.mark.parametrize("name", [name for name in CALLS if name != "edit"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_arrays_without_items_raise(name, axis):
    """Any argument but the rows of a linear layer."""
    arrays, function = CALLS[name]
    for key, array in arrays.items():
        if axis >= array.ndim or (name, key) == ("linear train", "x"):
            continue
        if name in ("stream", "index stream") and key in ("x", "ids") and axis == 0:
            continue  # no step is taken
        empty = np.zeros([0 if i == axis else n for i, n in enumerate(array.shape)], array.dtype)
        with pytest.raises(ValueError, match="expected"):
            function(**{**arrays, key: empty})


# ------------------------------------------------------------------------------ what might kill the process


def huge(*shape, dtype=np.float32):
    """An array of any size in one item's memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def lstm(**options):
    return fastrnn.LSTM(I, H, L, seed=0, **options)


def state(*shape):
    return (np.zeros(shape, np.float32),) * 2


# name: (function, the exceptions it may end with, None for none)
DANGEROUS = {
    # sizes
    "parameters of 29 TiB": (lambda: fastrnn.LSTM(10**6, 10**6), MemoryError),
    "parameters beyond 2^64 bytes": (lambda: fastrnn.GRU(2**31 - 1, 2**31 - 1), ValueError),
    "a linear layer of 4 PiB": (lambda: fastrnn.Linear(2**25, 2**25), MemoryError),
    "a linear layer of 2^62 bytes": (lambda: fastrnn.Linear(2**30, 2**30), (MemoryError, ValueError)),
    "sizes beyond 64 bits": (lambda: fastrnn.RNN(2**70, 2**70), ValueError),
    "input_size of 2^31 and hidden_size 1": (lambda: fastrnn.RNN(2**31 - 1, 1), MemoryError),
    "a stream of 2^58 rows": (lambda: lstm().stream(2**58), ValueError),
    "a stream of 2^62 rows": (lambda: lstm().stream(2**62), ValueError),
    "a stream of 2^31 - 1 rows": (lambda: lstm().stream(2**31 - 1), MemoryError),
    "a million threads": (lambda: lstm()(floats(T, B, I), num_threads=10**6), None),
    "a million threads with work for thousands": (
        lambda: fastrnn.softmax_cross_entropy(huge(500_000, 100), huge(500_000, dtype=np.int64), num_threads=10**6),
        None,
    ),
    # huge arrays
    "x of 24 TiB": (lambda: lstm()(huge(2**20, 2**20, I)), MemoryError),
    "x of 2^62 items": (lambda: fastrnn.RNN(1, 1, seed=0)(huge(2**31, 2**30, 1)), (MemoryError, ValueError)),
    "x of 24 TiB, batch first": (lambda: lstm(batch_first=True).forward(huge(2**20, 2**20, I)), MemoryError),
    "long x": (lambda: lstm()(huge(2**40, 1, I)), MemoryError),
    "wide x": (lambda: lstm()(huge(1, 2**40, I)), MemoryError),
    "huge x of a wrong shape": (lambda: lstm()(huge(2**20, 2**20, I + 1)), ValueError),
    "huge x of a wrong rank": (lambda: lstm()(huge(*[2] * 60)), ValueError),
    "indices of 1 TiB": (lambda: lstm()(huge(2**20, 2**20, dtype=np.int8)), MemoryError),
    "indices of 2^62 items": (lambda: lstm()(huge(2**31, 2**31, dtype=np.uint8)), (MemoryError, ValueError)),
    "huge indices, batch first": (lambda: lstm(batch_first=True)(huge(2**20, 2**20, dtype=np.int8)), MemoryError),
    "huge state": (lambda: lstm()(floats(T, B, I), (huge(L, 2**40, H),) * 2), ValueError),
    "huge dy": (lambda: (m := lstm()).backward(m.forward(floats(T, B, I))[2], huge(2**20, 2**20, H)), ValueError),
    "huge step": (lambda: lstm().stream().step(huge(2**50, I)), ValueError),
    "huge logits": (
        lambda: fastrnn.softmax_cross_entropy(huge(2**20, 2**20, V), huge(2**20, 2**20, dtype=np.int64)),
        MemoryError,
    ),
    "huge alphabet": (lambda: fastrnn.softmax_cross_entropy(huge(1, 2**50), integers(2, 1)), MemoryError),
    "huge targets": (
        lambda: fastrnn.softmax_cross_entropy(floats(1, V), huge(2**50, dtype=np.int64)),
        ValueError,
    ),
    "linear of 24 TiB": (lambda: fastrnn.Linear(I, V)(huge(2**40, I)), MemoryError),
    "linear of 2^62 items": (lambda: fastrnn.Linear(1, V)(huge(2**31, 2**31, 1)), (MemoryError, ValueError)),
    "huge weights": (
        lambda: fastrnn.Linear(I, V).load_state_dict({"weight": huge(2**31, 2**30), "bias": huge(V)}),
        ValueError,
    ),
    "initial weights of a huge shape": (
        lambda: fastrnn.Linear(I, V, init=lambda name, shape, rng: huge(2**31, 2**30)),
        ValueError,
    ),
    # what crashed others, by the report of it
    "pytorch 193823: one tensor where (h, c) is due": (
        lambda: lstm()(floats(T, B, I), np.zeros((L, B, H), np.float32)),
        TypeError,
    ),
    "pytorch 173946: initial state of a wrong shape": (
        lambda: lstm().forward(floats(T, B, I), state(1, 1, 1)),
        ValueError,
    ),
    "pytorch 173946: initial state of another batch": (lambda: lstm()(floats(T, B, I), state(L, 1, H)), ValueError),
    "pytorch 106769: state of rank 5": (lambda: lstm()(floats(T, B, I), state(1, 1, L, B, H)), ValueError),
    "pytorch 106769: step with an input of rank 5": (
        lambda: lstm().stream(B).step(np.zeros((1, 1, 1, B, I), np.float32)),
        ValueError,
    ),
    "pytorch 193794: target beyond the classes": (
        lambda: fastrnn.softmax_cross_entropy(floats(T, B, V), np.full((T, B), V)),
        IndexError,
    ),
    "pytorch 193794: target far beyond the classes": (
        lambda: fastrnn.softmax_cross_entropy(floats(T, B, V), np.full((T, B), 2**45)),
        IndexError,
    ),
    "tensorflow CVE-2022-21728: negative index": (lambda: lstm()(np.full((T, B), -(2**45))), IndexError),
    "pytorch 108223: no layers": (lambda: fastrnn.LSTM(I, H, 0), ValueError),
    "pytorch 108223: fewer than no layers": (lambda: fastrnn.LSTM(I, H, -3), ValueError),
    "onnxruntime 29595: weights of another hidden size": (
        lambda: lstm().load_state_dict(fastrnn.LSTM(I, H + 1, L).state_dict()),
        ValueError,
    ),
    "onnxruntime 29595: weights of fewer layers": (
        lambda: lstm().load_state_dict(fastrnn.LSTM(I, H, 1).state_dict()),
        KeyError,
    ),
    "tensorflow CVE-2020-26270: no time steps": (lambda: lstm()(np.zeros((0, B, I), np.float32)), ValueError),
    "tensorflow CVE-2022-29200: ranks": (lambda: lstm().stream(B).step(np.zeros((), np.float32)), ValueError),
    "tensorflow CVE-2021-29613: empty loss": (
        lambda: fastrnn.softmax_cross_entropy(np.zeros((0, V), np.float32), np.zeros(0, np.int64)),
        ValueError,
    ),
    "webnn 949: dy longer than the run": (
        lambda: (m := lstm()).backward(m.forward(floats(T, B, I))[2], floats(2 * T, B, H)),
        ValueError,
    ),
    "webnn 949: out too short": (lambda: lstm().stream(B).step(floats(B, I), np.zeros((1, H), np.float32)), ValueError),
    # what the layer lends out
    "a gradient of a wrong shape": (
        lambda: replace_gradient(np.zeros((1, 1), np.float32)),
        ValueError,
    ),
    "a gradient that is no array": (lambda: replace_gradient(None), TypeError),
}

def replace_gradient(value):
    layer = fastrnn.LSTM(40, 50, seed=0)
    y, _, tape = layer.forward(floats(20, B, 40))
    layer.grads["weight_ih_l0"] = value
    layer.backward(tape, y)


def run(cases):
    """Print what becomes of each case, a JSON list [name, outcome] a line."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (8 * GIB, 8 * GIB))
    for name, (function, _) in cases.items():
        print(json.dumps([name, "died"]), flush=True)
        try:
            function()
            outcome = "nothing"
        except Exception as error:
            outcome = type(error).__mro__[0].__name__
            if isinstance(error, MemoryError):
                outcome = "MemoryError"
        print(json.dumps([name, outcome]), flush=True)


def elsewhere(code, **environment):
    """Run code in a new process; return the lines [name, outcome] that it prints, as a dict, and its complaints."""
    code = f"import test_robustness as t; {code}"
    folders = [str(Path(__file__).parent), str(Path(fastrnn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders), **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    return dict(json.loads(line) for line in done.stdout.splitlines()), done.stderr


def assert_ends_as_expected(outcomes, cases, name):
    results, stderr = outcomes
    expected = cases[name][1]
    expected = expected if isinstance(expected, tuple) else (expected,)
    names = [error.__name__ if error else "nothing" for error in expected]
    assert results, stderr
    assert results.get(name, "not reached, an earlier case died") in names, stderr


@pytest.fixture(scope="module")
def outcomes():
    return elsewhere("t.run(t.DANGEROUS)")


linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")


@linux_only
@pytest.mark.parametrize("name", DANGEROUS)
def test_dangerous_call_ends_in_an_exception(outcomes, name):
    assert_ends_as_expected(outcomes, DANGEROUS, name)


# ---------------------------------------------------------------------------------------------- guard pages


def guarded(array, at_end):
    """A copy that touches a page which may not be read: reading one byte too far ends the process."""
    page = mmap.PAGESIZE
    size = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, size + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for guard in (start, start + page + size):
        assert protect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
    offset = page + (size - array.nbytes if at_end else 0)
    copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    assert copy.flags.c_contiguous and copy.flags.aligned
    return copy


def read_to_the_edge():
    """Every call on arrays flush with a guard page, for the sizes around the vectors and register tiles."""
    for at_end in (True, False):

        def flush(*shape, at_end=at_end):
            return guarded(floats(*shape), at_end)

        for size in (*range(1, 36), 47, 48, 49, 63, 64, 65):
            for time, batch in ((1, 1), (3, 2), (2, 7)):
                for kind in (fastrnn.LSTM, fastrnn.GRU, fastrnn.RNN):
                    layer = kind(size, size + 2, seed=0)
                    both = kind is fastrnn.LSTM
                    part = flush(1, batch, size + 2)
                    train(
                        layer,
                        flush(time, batch, size),
                        (part, part) if both else part,
                        flush(time, batch, size + 2),
                        (part, part) if both else part,
                    )
                head = fastrnn.Linear(size, size + 1, seed=0)
                _, tape = head.forward(flush(time * batch, size))
                head.backward(tape, flush(time * batch, size + 1))
                targets = guarded(np.full((time, batch), size - 1), at_end)
                fastrnn.softmax_cross_entropy(flush(time, batch, size), targets)
                out = flush(batch, size + 2)
                fastrnn.LSTM(size, size + 2, seed=0).stream(batch).step(flush(batch, size), out)


@linux_only
def test_nothing_is_read_or_written_beyond_an_array():
    process = multiprocessing.get_context("spawn").Process(target=read_to_the_edge)
    process.start()
    process.join(100)
    alive = process.is_alive()
    process.kill()
    assert not alive
    assert process.exitcode == 0


# ------------------------------------------------------------------------------ floating-point environment


@every_call
def test_the_processors_rounding_mode_is_kept(name):
    """Subnormal numbers are numbers again after every call, in Python's own arithmetic too."""
    tiny = np.full(64, 1e-40, np.float32)
    arrays, function = CALLS[name]
    function(**arrays)
    assert (tiny * np.float32(1)).all() and 5e-324 * 1.0 > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e-40, 3e38])
def test_one_rows_strange_numbers_stay_in_that_row(value):
    """But for the gradients of the weights, which all rows share."""
    layer, x, dy = fastrnn.LSTM(I, H, L, seed=0), floats(T, B, I), floats(T, B, H)
    spoilt = x.copy()
    spoilt[2, 1, 0] = value
    for rows in (0, 2):
        results = []
        for each in (x, spoilt):
            y, (h, c), tape = layer.forward(each)
            dx, (dh, dc) = layer.backward(tape, dy)
            results.append([a[:, rows].copy() for a in (y, h, c, dx, dh, dc)])
        assert_same_bits(*results)
    y = layer(spoilt)[0]
    assert np.isnan(y[2:, 1]).all() == np.isnan(value)
    assert np.isfinite(y[:2, 1]).all()
