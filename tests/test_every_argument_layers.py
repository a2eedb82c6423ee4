"""Every argument given every odd value: the layers, streams, initial values and gradient checks."""

import math

import numpy as np
from odd_values import (
    ANYTHING,
    REFUSED,
    THREADS,
    B,
    Call,
    H,
    I,
    L,
    T,
    Three,
    V,
    absent,
    assert_refused_or_stands_for,
    count,
    dropout,
    each_argument_of,
    flag,
    function,
    head,
    initialiser,
    lengths,
    names,
    nothing,
    number,
    positive,
    seed,
    threads,
    x,
)
from runs import floats

import fastrnn
from fastrnn import gradcheck, init


def one_step(value):
    """The values that are a step of one sequence of indices, with the batch's axis or without."""
    indices = type(value) is np.ndarray and value.shape in ((1,), (1, 1)) and value.dtype == int
    return ANYTHING if indices and value < I else REFUSED


def flag_or_none(value):
    return None if value is None else flag(value)


def widths(value):
    """Those of a single layer."""
    if isinstance(value, (list, tuple)) or (type(value) is np.ndarray and value.ndim == 1):
        return count(value[0]) if len(value) == 1 else REFUSED
    return count(value)


def checkpoint(value):
    """No number of steps between two kept states changes a bit."""
    return None if value is None or count(value) is not REFUSED else REFUSED


def step_width(value):
    given = number(value)
    return given if given is not REFUSED and 0 < given < math.inf else REFUSED


def one_number(value):
    """The values that are lists of arrays."""
    return ANYTHING if isinstance(value, (list, tuple)) and value in ([], (), [1], (2,), [[]]) else REFUSED


def rows(value):
    if value is None or (isinstance(value, slice) and value == slice(None)):
        return None
    if isinstance(value, (list, tuple, np.ndarray)) and np.size(value) == 0:
        return []
    given = count(value, -B, B - 1)
    if given is not REFUSED and not isinstance(value, Three):
        return given
    if isinstance(value, (list, tuple)) and value == [1]:
        return [1]
    return REFUSED


def shape(value):
    return list(value) if isinstance(value, (list, tuple)) and value in ([], (), [1], (2,)) else REFUSED


def tape_of(layer):
    return layer.forward(x())[-1]


def run(layer):
    """A layer, and what it computes."""
    inputs = layer.input_size if hasattr(layer, "input_size") else layer.in_features
    return [layer.flat_params, layer(floats(T, B, inputs))]


def recurrent(kind, **extra):
    common = {
        "input_size": (I, count),
        "hidden_size": (H, count),
        "num_layers": (L, lambda value: count(value, most=10_000)),
        "bias": (True, flag),
        "batch_first": (False, flag),
        "dropout": (0.0, dropout),
        "bidirectional": (False, flag),
        "merge": ("concat", absent),
        "dtype": ("float32", absent),
        "seed": (0, seed),
        "init": (None, initialiser),
    }
    return Call(kind.__name__, lambda **given: run(kind(**given)), {**common, **extra})


def lstm(**options):
    return fastrnn.LSTM(I, H, L, seed=0, **options)


def backward(**given):
    layer = lstm()
    dx, dstate = layer.backward(**{"tape": tape_of(layer), **given})
    return [dx, *dstate, layer.flat_grads]


def masked(zero_output_for_mask, forward=False):
    layer = lstm()
    mask = np.arange(T * B).reshape(T, B) % 3 > 0
    call = layer.forward if forward else layer
    return [*call(x(), mask=mask, zero_output_for_mask=zero_output_for_mask)[:2]]


def checkpointed(**given):
    layer = lstm()
    y, _, tape = layer.forward(x(), **given)
    return [y, *layer.backward(tape, floats(T, B, H)), layer.flat_grads]


def linear_backward(**given):
    layer = head()
    return [layer.backward(**{"tape": tape_of(layer), **given}), layer.flat_grads]


def stream_step(**given):
    stream = lstm().stream(B)
    return [stream.step(**given), *stream.state]


def stepped_stream(stream):
    return [stream.step(np.zeros(stream.batch_size, int)), *stream.state]


def stream_reset(**given):
    stream = lstm().stream(B)
    stream.step(floats(B, I))
    stream.reset(**given)
    return [*stream.state]


def stream_state(state):
    stream = lstm().stream(B)
    stream.state = state
    return [*stream.state]


def loaded(module, **given):
    keys = module.load_state_dict(**given)
    return [module.flat_params, np.array([*keys.missing_keys, *keys.unexpected_keys])]


def with_attribute(**given):
    layer = lstm()
    for name, value in given.items():
        setattr(layer, name, value)
    return [layer(x())[0], layer.forward(x())[0]]


def thread_count(n):
    try:
        fastrnn.set_num_threads(n)
        return [fastrnn.get_num_threads()]
    finally:
        fastrnn.set_num_threads(None)


def rng():
    return np.random.default_rng(0)


def drawn(function):
    return lambda **given: [function(**{"rng": rng(), **given})]


STEPS = {"state": (None, nothing), "lengths": (None, lengths), "mask": (None, nothing), "reset": (None, nothing)}
ZERO = {"zero_output_for_mask": (None, flag_or_none)}
SIZES = {"batch_size": (1, count), "num_threads": (1, threads)}


CALLS = [
    recurrent(fastrnn.LSTM, proj_size=(0, lambda value: count(value, 0, H - 1))),
    recurrent(fastrnn.UGRNN, proj_size=(0, lambda value: count(value, 0, 0))),
    recurrent(fastrnn.GRU, reset_after=(True, flag)),
    recurrent(fastrnn.RNN, nonlinearity=("relu", names("tanh", "relu", "sigmoid"))),
    Call("GRU", lambda hidden_size: run(fastrnn.GRU(I, hidden_size, seed=0)), {"hidden_size": (H, widths)}),
    Call(
        "UGRNN",
        lambda merge: run(fastrnn.UGRNN(I, H, bidirectional=True, seed=0, merge=merge)),
        {"merge": ("sum", names("concat", "sum", "mul", "ave"))},
    ),
    Call(
        "Linear",
        lambda **given: run(fastrnn.Linear(**given)),
        {"in_features": (I, count), "out_features": (V, count), "bias": (True, flag), "seed": (0, seed),
         "dtype": ("float32", absent), "init": (None, initialiser)},
    ),
    Call(
        "LSTM",
        lambda **given: [(result := lstm()(**given))[0], *result[1]],
        {"x": (x(), one_step), **STEPS, **THREADS},
    ),
    Call(
        "LSTM.forward",
        lambda **given: [(result := lstm().forward(**given))[0], *result[1]],
        {"x": (x(), one_step), **STEPS, **THREADS},
    ),
    Call("LSTM", masked, ZERO),
    Call("LSTM.forward", lambda **given: masked(**given, forward=True), ZERO),
    Call("LSTM.forward", checkpointed, {"checkpoint": (None, checkpoint), "reusable": (False, flag)}),
    Call(
        "LSTM.backward",
        backward,
        {"tape": (ANYTHING, absent), "dy": (floats(T, B, H), nothing), "dstate": (None, nothing),
         "input_gradient": (True, flag), **THREADS},
    ),
    Call("Linear", lambda **given: [head()(**given)], {"x": (x(), absent), **THREADS}),
    Call("Linear.forward", lambda **given: [head().forward(**given)[0]], {"x": (x(), absent), **THREADS}),
    Call(
        "Linear.backward",
        linear_backward,
        {"tape": (ANYTHING, absent), "dy": (floats(T, B, V), absent), **THREADS},
    ),
    Call(
        "GRU.load_state_dict",
        lambda **given: loaded(fastrnn.GRU(I, H, seed=0), **given),
        {"state_dict": (fastrnn.GRU(I, H, seed=1).state_dict(), absent), "strict": (True, flag),
         "blend": ("torch", names("torch", "cho"))},
        {"state_dict": ""},
    ),
    Call(
        "Linear.load_state_dict",
        lambda weight: loaded(head(), state_dict={"weight": weight}, strict=False),
        {"weight": (floats(V, I), absent)},
    ),
    Call("LSTM.stream", lambda **given: stepped_stream(lstm().stream(**given)), SIZES),
    Call("LSTM.stream", lambda **given: stepped_stream(fastrnn.Stream(lstm(), **given)), SIZES),
    Call("Stream", lambda layer: [fastrnn.Stream(layer).state], {"layer": (lstm(), absent)}),
    Call("LSTM.stream.step", stream_step, {"x_t": (floats(B, I), absent), "out": (None, nothing)}),
    Call("LSTM.stream.reset", stream_reset, {"rows": (None, rows)}),
    Call("LSTM.stream.state", stream_state, {"state": (None, nothing)}),
    Call("LSTM", with_attribute, {"dropout": (0.5, dropout)}),
    Call("LSTM", with_attribute, {"batch_first": (False, flag)}),
    Call("LSTM", with_attribute, {"rng": (rng(), absent)}),
    Call("set_num_threads", thread_count, {"n": (2, threads)}),
    Call(
        "init.default",
        drawn(init.default),
        {"cell_name": ("LSTM", absent), "parameter_name": ("weight_ih_l0", absent), "shape": ((8, 3), absent),
         "rng": (rng(), absent), "dtype": ("float32", absent)},
    ),
    Call(
        "init.orthogonal",
        drawn(init.orthogonal),
        {"shape": ((8, 4), absent), "rng": (rng(), absent),
         "gates": (2, lambda value: None if value is None else count(value) if count(value) in (1, 2) else REFUSED),
         "dtype": ("float32", absent)},
        {"gates": "blocks|gates"},
    ),
    Call(
        "init.glorot_uniform",
        drawn(init.glorot_uniform),
        {"shape": ((8, 4), absent), "rng": (rng(), absent),
         "gates": (2, lambda value: count(value) if count(value) in (1, 2) else REFUSED),
         "dtype": ("float32", absent)},
        {"gates": "blocks|gates"},
    ),
    Call(
        "init.uniform",
        drawn(init.uniform),
        {"shape": ((8, 4), shape), "rng": (rng(), absent), "limit": (0.1, positive), "dtype": ("float32", absent)},
    ),
    Call(
        "init.zeros",
        lambda **given: [init.zeros(**given)],
        {"shape": ((8, 4), shape), "rng": (None, nothing), "dtype": ("float32", absent)},
    ),
    Call(
        "gradcheck.complex_step",
        lambda **given: gradcheck.complex_step(**given),
        {"function": (np.prod, function), "arrays": ([floats(2)], one_number)},
    ),
    Call(
        "gradcheck.central_difference",
        lambda **given: gradcheck.central_difference(**given),
        {"function": (np.prod, function), "arrays": ([floats(2)], one_number), "step": (1e-6, step_width)},
    ),
]  # fmt: skip


@each_argument_of(CALLS)
def test_it_is_refused_by_name_or_does_what_it_stands_for(call, name):
    assert_refused_or_stands_for(call, name)
