"""Every argument of every public callable given every odd value: it is refused by name, or does what it stands for.

A value that is accepted must give the result of the plain value that it stands for, say 2 for np.int64(2).
"""

import decimal
import fractions
import inspect
import math
import operator
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from runs import floats

import fastrnn
from fastrnn import decoding, gradcheck, init

T, B, I, H, L, V = 3, 2, 4, 5, 2, 6  # noqa: E741
REFUSED, ANYTHING, LEFT_OUT = object(), object(), object()


class Uncooperative:
    """Whatever is asked of it, it raises."""

    def __index__(self):
        raise RuntimeError("no")

    __float__ = __len__ = __iter__ = __getitem__ = __bool__ = __index__

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no")

    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = None

    def __repr__(self):
        return "Uncooperative()"


class Three:
    def __index__(self):
        return 3


VALUES = [
    None, True, False, np.True_, 0, 1, 2, -1, 2**31, 2**63, 2**64, 10**400, -(10**400), 0.0, 0.5, 1.0, 1.5, 2.0, -0.5,
    math.nan, math.inf, -math.inf, 1e39, 1e-46, 1e-39, 5e-324, 1 - 1e-9, 1e300, "", "2", "yes", "tanh", b"2", [], [1],
    [[]], (), (2,), {}, {1}, {"a": 1}, object(), len, lambda *_: None, type, Ellipsis, NotImplemented, slice(None),
    slice("a"), range(2), iter([1]), np.int8(2), np.int64(2), np.uint64(2), np.uint64(2**64 - 1), np.float16(0.5),
    np.float32(2), np.float64(0.5), np.longdouble(0.5), np.array(2), np.array(2, np.uint8), np.array(0.5),
    np.array([2]), np.array([[2]]), np.array(True), np.array("2"), np.array(None), np.array(2 + 0j), np.complex64(1),
    1j, np.datetime64("2026-01-01"), np.timedelta64(2, "s"), np.ma.masked, np.ma.array(2), np.ma.array(2, mask=True),
    np.zeros(0), np.zeros((0, 0), np.float32), np.zeros((1, 1), np.float32), np.zeros((1, 1, 1), np.float32),
    np.zeros((1, 1), np.int64), np.full((1, 1), 2**62), np.full((1, 1), np.nan, np.float32), np.zeros(3, "f4,i4"),
    np.array([1, "a"], object), np.ones((1, 1)).view(np.matrix), np.zeros(2, "S3"), fractions.Fraction(1, 2),
    fractions.Fraction(2), decimal.Decimal("0.5"), Three(), Uncooperative(), Exception("value"),
    np.random.RandomState(0),
]  # fmt: skip

# -------------------------------------------------------------- what a value stands for, by the kind of argument


def is_masked(value):
    return isinstance(value, np.ma.MaskedArray)


def without_axes(value, kinds):
    return type(value) is np.ndarray and value.ndim == 0 and value.dtype.kind in kinds


def count(value, least=1, most=2**31 - 1):
    if isinstance(value, (bool, np.bool_, np.timedelta64)) or is_masked(value):
        return REFUSED
    if not isinstance(value, (int, np.integer, Three)) and not without_axes(value, "iu"):
        return REFUSED
    return operator.index(value) if least <= operator.index(value) <= most else REFUSED


def threads(value):
    return None if value is None else count(value)


def nothing(value):
    return None if value is None else REFUSED


def absent(value):
    return REFUSED


def absent_or(only):
    """One truth value alone."""
    return lambda value: only if flag(value) is only else REFUSED


def text(value):
    """The values that are two symbols or more."""
    return [0, 1] if isinstance(value, range) else REFUSED


def one_step(value):
    """The values that are a step of one sequence of indices, with the batch's axis or without."""
    indices = type(value) is np.ndarray and value.shape in ((1,), (1, 1)) and value.dtype == int
    return ANYTHING if indices and value < I else REFUSED


def flag(value):
    return bool(value) if isinstance(value, (bool, np.bool_)) else REFUSED


def flag_or_none(value):
    return None if value is None else flag(value)


def lengths(value):
    """The values that are a length for each of two rows."""
    return None if value is None else np.array([0, 1]) if isinstance(value, range) else REFUSED


def widths(value):
    """Those of a single layer."""
    if isinstance(value, (list, tuple)) or (type(value) is np.ndarray and value.ndim == 1):
        return count(value[0]) if len(value) == 1 else REFUSED
    return count(value)


def checkpoint(value):
    """No number of steps between two kept states changes a bit."""
    return None if value is None or count(value) is not REFUSED else REFUSED


def number(value):
    if isinstance(value, (bool, np.bool_, np.timedelta64)) or is_masked(value):
        return REFUSED
    if isinstance(value, (int, float, np.integer, np.floating, fractions.Fraction)) or without_axes(value, "iuf"):
        try:
            return float(value)
        except OverflowError:
            return REFUSED
    return REFUSED


def share(value):
    given = number(value)
    return given if given is not REFUSED and 0 <= given < 1 else REFUSED


def dropout(value):
    given = share(value)
    return given if given is not REFUSED and np.float32(given) < 1 else REFUSED


LEAST, MOST = np.finfo(np.float32).tiny, float(np.finfo(np.float32).max)


def positive(value):
    given = number(value)
    return given if given is not REFUSED and LEAST <= given <= MOST else REFUSED


def rate(value):
    return 0.0 if number(value) == 0 else positive(value)


def limit(value):
    return math.inf if number(value) is not REFUSED and number(value) > MOST else positive(value)


def step_width(value):
    given = number(value)
    return given if given is not REFUSED and 0 < given < math.inf else REFUSED


def one_number(value):
    """The values that are lists of arrays."""
    return ANYTHING if isinstance(value, (list, tuple)) and value in ([], (), [1], (2,), [[]]) else REFUSED


def seed(value):
    if value is None:
        return LEFT_OUT  # never the same
    if isinstance(value, (list, tuple)):
        return REFUSED if any(count(each, 0) is REFUSED for each in value) else [count(each, 0) for each in value]
    return count(value, 0, math.inf)


def initialiser(value):
    """What another callable raises is its own affair."""
    return LEFT_OUT if callable(value) else None if value is None else REFUSED


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


def names(*allowed):
    return lambda value: value if isinstance(value, str) and value in allowed else REFUSED


def gradients(value):
    """An empty dict or list of them has no gradients, and the norm 0."""
    if type(value) in (dict, list, tuple) and len(value) == 0:
        return {}
    return REFUSED


def gradient(value):
    if not isinstance(value, np.ndarray) or is_masked(value) or value.dtype.kind != "f":
        return REFUSED
    return ANYTHING if np.isfinite(value).all() else LEFT_OUT  # FloatingPointError


def function(value):
    """What another callable raises is its own affair."""
    return LEFT_OUT if callable(value) else REFUSED


def shape(value):
    return list(value) if isinstance(value, (list, tuple)) and value in ([], (), [1], (2,)) else REFUSED


# ------------------------------------------------------------------------------------------------- the callables


class Call(NamedTuple):
    who: str  # as messages have it
    function: object  # of the arguments
    arguments: dict  # name: (what it is called with otherwise, what a value stands for)
    aliases: dict = {}  # name: the word for it in messages  # noqa: RUF012


def x():
    return floats(T, B, I)


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


def head():
    return fastrnn.Linear(I, V, seed=0)


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


def kind_of(layer):
    """No odd value is such a layer."""
    return {"recurrent": (fastrnn.GRU(I, H, seed=0), absent), "head": (fastrnn.Linear(H, V, seed=0), absent)}[layer]


def sequence_model(**given):
    model = fastrnn.SequenceModel(**given)
    return [model([x()[:, 0], x()[:2, 1]])]


def encoder_decoder(**given):
    layers = {"encoder": fastrnn.GRU(I, H, seed=0), "decoder": fastrnn.GRU(V, H, seed=1)}
    model = fastrnn.EncoderDecoder(**{**layers, "head": fastrnn.Linear(H, V, seed=2), **given})
    loss = model.measure([x()[:, 0], x()[:2, 1]], [np.array([2, 3]), np.array([4])])
    return [np.array(loss)]


def fitted(**given):
    """A run of two epochs over two sequences."""
    model = fastrnn.SequenceModel(fastrnn.GRU(I, H, seed=0), fastrnn.Linear(H, V, seed=1))
    inputs, targets = [x()[:, 0], x()[:2, 1]], [np.array([2, 3, 1]), np.array([4, 0])]
    given = {"model": model, "inputs": inputs, "targets": targets, "epochs": 2, "batch_size": 1, **given}
    fastrnn.fit(**given)
    return [module.flat_params for module in given["model"].modules.values()]


def loss_function(value):
    """What another callable does is its own affair."""
    return LEFT_OUT if callable(value) else REFUSED


def function_or_none(value):
    return None if value is None else loss_function(value)


def no_callbacks(value):
    return [] if isinstance(value, (list, tuple)) and not value else REFUSED


def path_or_none(value):
    return LEFT_OUT if isinstance(value, str) and value else nothing(value)


def seed_or_none(value):
    return LEFT_OUT if value is None else count(value, 0)


def positive_or_none(value):
    return None if value is None else positive(value)


def items(value):
    """What the model says of two things that are no sequences is its own affair."""
    return LEFT_OUT if isinstance(value, (range, np.ndarray)) and np.shape(value)[:1] == (2,) else REFUSED


def symbol(value):
    """The values that are one of V tokens."""
    given = count(value, 0)
    return given if given is REFUSED or given < V else LEFT_OUT


def index(value, least=0, most=2**31 - 1):
    return None if value is None else count(value, least, most)


def count_or_none(value):
    return None if value is None else count(value)


def embedded(**given):
    layer = fastrnn.Embedding(**given)
    return [layer.flat_params, layer(np.arange(layer.num_embeddings))]


def embedding_backward(**given):
    layer = fastrnn.Embedding(I, H, seed=0)
    layer.backward(**{"tape": layer.forward(np.zeros((T, B), int))[1], **given})
    return [layer.flat_grads]


def dropped(**given):
    return [fastrnn.Dropout(**{"p": 0.5, "seed": 0, **given}).forward(x())[0]]


def dropout_backward(**given):
    layer = fastrnn.Dropout(0.5, seed=0)
    return [layer.backward(**{"tape": layer.forward(x())[1], **given})]


def attended(**given):
    layer = fastrnn.Attention(**given)
    return [layer.flat_params, *layer(floats(T, B, layer.query_size), floats(4, B, layer.key_size))]


def attention():
    return fastrnn.Attention(H, I, "general", seed=0)


def attention_backward(**given):
    layer = attention()
    tape = layer.forward(floats(T, B, H), x())[2]
    return [*layer.backward(**{"tape": tape, **given}), layer.flat_grads]


def decoded(function, **fixed):
    def step(tokens, state):
        return np.array([[1.0, 2.0, 0.5]] * len(tokens)) * (1 + tokens[:, None] % 2), state

    return lambda **given: [np.concatenate([
        np.asarray(one.tokens if isinstance(one, tuple) else one)
        for own in function(**{"step": step, "state": None, "start": 0, "length": 4, **fixed, **given})
        for one in (own if isinstance(own, list) else [own])
    ])]


def one_symbol(value):
    """The values that are the symbol before the first, of one sequence or of several."""
    if is_masked(value) or isinstance(value, (bool, np.bool_)):
        return REFUSED
    try:
        array = np.asarray(value)
    except Exception:
        return REFUSED
    fits = array.dtype.kind in "iu" and array.ndim < 2 and array.size
    return ANYTHING if fits and ((array >= 0) & (array < 2**31)).all() else REFUSED


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


def optimised(rule):
    def optimise(**given):
        layer = head()
        optimizer = rule(**{"modules": layer, **given})
        return stepped(layer, optimizer)

    return optimise


def stepped(layer, optimizer):
    for i in range(2):
        layer.flat_grads[:] = floats(layer.flat_grads.size, seed=i)
        optimizer.step()
    return [layer.flat_params]


def hyperparameters(rule):
    def optimise(**given):
        layer = head()
        optimizer = rule(layer)
        for name, value in given.items():
            setattr(optimizer, name, value)
        return stepped(layer, optimizer)

    return optimise


def resumed(rule, **changes):
    def optimise(**given):
        layer = head()
        optimizer = rule(layer)
        optimizer.load_state_dict({**optimizer.state_dict(), **given})
        return stepped(layer, optimizer)

    return optimise


def clipped(function, name):
    def clip(**given):
        own = head()
        own.flat_grads[:] = floats(own.flat_grads.size)
        result = function(**{"grads": own.grads, **given})
        return [np.array(0.0 if result is None else result), own.flat_grads]

    return clip


def window(**given):
    windows = fastrnn.tbptt(**given)
    return [array for pair in windows for array in pair]


def placed(position):
    windows = fastrnn.tbptt(np.arange(9), batch_size=1, seq_length=2)
    windows.position = position
    return [windows.position, *(array for pair in windows for array in pair)]


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


def is_indices(value, size):
    plain = isinstance(value, np.ndarray) and not is_masked(value)
    return plain and value.dtype.kind in "iu" and ((value >= 0) & (value < size)).all()


def some_floats(value):
    plain = isinstance(value, np.ndarray) and not is_masked(value)
    return ANYTHING if plain and value.dtype in (np.float32, np.float64) else REFUSED


def logits_alone(value):
    """The values that are logits of one symbol, which is the blank; strange numbers end in FloatingPointError."""
    return ANYTHING if some_floats(value) is ANYTHING and value.ndim == 3 and value.size else REFUSED


def empty_state(value):
    """The values without arrays, and those that are a state of one sequence."""
    if value is None or (isinstance(value, (list, tuple)) and value in ([], (), [[]])):
        return ANYTHING
    plain = isinstance(value, np.ndarray) and not is_masked(value)
    return ANYTHING if plain and value.ndim >= 2 and value.shape[1] == 1 else REFUSED


def short(value):
    """Lengths that end soon."""
    given = count(value)
    return given if given is REFUSED or given < 10**6 else LEFT_OUT


def heat(value):
    given = number(value)
    fits = given is not REFUSED and (given == 0 or np.finfo(float).tiny <= given <= np.finfo(float).max)
    return given if fits else REFUSED


def exponent(value):
    given = number(value)
    return given if given is not REFUSED and 0 <= given <= 30 else REFUSED


def mass(value):
    given = number(value)
    return None if value is None else given if given is not REFUSED and 0 < given <= 1 else REFUSED


RATES = {"lr": (0.1, rate)}
ROWS = {
    "SGD": {"momentum": (0.0, share)},
    "RMSprop": {"alpha": (0.9, share), "eps": (1e-8, positive)},
    "Adagrad": {"eps": (1e-8, positive)},
    "Adam": {"betas": ((0.9, 0.99), absent), "eps": (1e-8, positive)},
}
def called(who, **given):
    return [*map(np.asarray, getattr(fastrnn, who)(**given))]


ROWS_OF_LOSSES = {
    "lengths": (None, lengths), "mask": (None, nothing), "batch_first": (False, flag), "reduction": ("mean", absent),
}  # fmt: skip
THREADS = {"num_threads": (None, threads)}
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
        "Embedding",
        embedded,
        {"num_embeddings": (I, lambda value: count(value, most=10**6)), "embedding_dim": (H, count), "seed": (0, seed),
         "padding_index": (None, lambda value: index(value, most=I - 1)), "dtype": ("float32", absent),
         "init": (None, initialiser)},
    ),
    Call(
        "Embedding",
        lambda **given: [fastrnn.Embedding(I, H, seed=0)(**given)],
        {"indices": (np.zeros((T, B), int), lambda value: ANYTHING if is_indices(value, I) else REFUSED), **THREADS},
    ),
    Call(
        "Embedding.forward",
        lambda **given: [fastrnn.Embedding(I, H, seed=0).forward(**given)[0]],
        {"indices": (np.zeros((T, B), int), lambda value: ANYTHING if is_indices(value, I) else REFUSED), **THREADS},
    ),
    Call(
        "Embedding.backward",
        embedding_backward,
        {"tape": (ANYTHING, absent), "dy": (floats(T, B, H), absent), **THREADS},
    ),
    Call("Dropout", dropped, {"p": (0.5, dropout), "seed": (0, seed)}),
    Call("Dropout", lambda **given: [fastrnn.Dropout(0.5)(**given)], {"x": (x(), some_floats), **THREADS}),
    Call(
        "Dropout.forward",
        lambda **given: [fastrnn.Dropout(0.5, seed=0).forward(**given)[0]],
        {"x": (x(), some_floats), **THREADS},
    ),
    Call(
        "Dropout.backward",
        dropout_backward,
        {"tape": (ANYTHING, absent), "dy": (x(), absent), **THREADS},
    ),
    Call(
        "Attention",
        attended,
        {"query_size": (H, count), "key_size": (I, count), "hidden_size": (3, count_or_none),
         "kind": ("additive", names("additive")), "dtype": ("float32", absent), "seed": (0, seed),
         "init": (None, initialiser)},
    ),
    Call(
        "Attention",
        lambda **given: [*attention()(**given)],
        {"queries": (floats(T, B, H), absent), "memory": (x(), absent), "lengths": (None, lengths),
         "keys": (None, nothing), **THREADS},
    ),
    Call(
        "Attention.keys",
        lambda **given: [fastrnn.Attention(H, I, "additive", seed=0).keys(**given)],
        {"memory": (x(), absent), **THREADS},
    ),
    Call(
        "Attention.forward",
        lambda **given: [*attention().forward(**given)[:2]],
        {"queries": (floats(T, B, H), absent), "memory": (x(), absent), "lengths": (None, lengths), **THREADS},
    ),
    Call(
        "Attention.backward",
        attention_backward,
        {"tape": (ANYTHING, absent), "dcontext": (floats(T, B, I), absent), **THREADS},
    ),
    Call(
        "greedy",
        decoded(decoding.greedy),
        {"state": (None, empty_state), "start": (0, one_symbol), "end": (None, index), "length": (3, short)},
    ),
    Call(
        "sample",
        decoded(decoding.sample, seed=0),
        {"state": (None, empty_state), "start": (0, one_symbol), "end": (None, index), "length": (3, short),
         "temperature": (1.0, heat), "top_k": (None, count_or_none), "top_p": (None, mass), "seed": (0, seed)},
    ),
    Call(
        "beam_search",
        decoded(decoding.beam_search, end=2),
        {"state": (None, empty_state), "start": (0, one_symbol), "end": (None, index), "length": (3, short),
         "width": (2, count), "length_penalty": (0.6, exponent)},
    ),
    Call(
        "ctc_greedy",
        lambda **given: decoding.ctc_greedy(**given),
        {"logits": (x(), logits_alone), "lengths": (None, lengths), "blank": (0, lambda value: count(value, 0, I - 1))},
    ),
    Call(
        "ctc_beam_search",
        lambda **given: [one.tokens for own in decoding.ctc_beam_search(**given) for one in own],
        {"logits": (x(), logits_alone), "lengths": (None, lengths), "width": (2, count),
         "blank": (0, lambda value: count(value, 0, I - 1))},
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
    Call(
        "softmax_cross_entropy",
        lambda **given: [*map(np.asarray, fastrnn.softmax_cross_entropy(**given))],
        {"logits": (floats(T, B, V), absent), "targets": (np.arange(T * B).reshape(T, B) % V, absent),
         "ignore_index": (None, lambda value: None if value is None else count(value, -(2**63), 2**63 - 1)),
         "class_weights": (None, nothing), "label_smoothing": (0.0, share), **ROWS_OF_LOSSES, **THREADS},
    ),
    *(
        Call(
            who,
            partial(called, who),
            {name: (floats(T, B, 2 * V), absent), "targets": (np.ones((T, B, columns), np.float32), absent), **own,
             **ROWS_OF_LOSSES, **THREADS},
        )
        for who, name, columns, own in (
            ("binary_cross_entropy", "logits", 2 * V,
             {"positive_weight": (None, lambda value: None if value is None else positive(value))}),
            ("squared_error", "outputs", 2 * V, {}),
            ("huber_loss", "outputs", 2 * V, {"delta": (1.0, positive)}),
            ("gaussian_nll", "outputs", V, {}),
            ("negative_binomial_nll", "outputs", V, {}),
        )
    ),
    Call(
        "ctc_loss",
        lambda **given: [*map(np.asarray, fastrnn.ctc_loss(**given))],
        {"logits": (floats(T, B, V), absent), "targets": (np.full((B, 2), V - 1), absent), "lengths": (None, lengths),
         "target_lengths": (None, lengths), "blank": (0, lambda value: count(value, 0, V - 2)),
         "zero_infinity": (False, flag), "batch_first": (False, absent_or(False)), "reduction": ("mean", absent),
         **THREADS},
        {"logits": "logits|targets", "batch_first": "batch_first|targets"},
    ),
    Call("set_num_threads", thread_count, {"n": (2, threads)}),
    Call(
        "streams",
        lambda **given: [fastrnn.streams(**given)],
        {"sequence": (np.arange(9), text), "batch_size": (2, count)},
    ),
    Call(
        "tbptt",
        window,
        {"inputs": (np.arange(19), absent), "targets": (None, nothing), "batch_size": (2, count),
         "seq_length": (2, count)},
    ),
    Call("tbptt", placed, {"position": (1, lambda value: count(value, 0, 4))}),
    Call(
        "clip_grad_norm_",
        clipped(fastrnn.clip_grad_norm_, "max_norm"),
        {"grads": (head().grads, gradients), "max_norm": (1.0, limit)},
        {"grads": "grads|a is"},
    ),
    Call(
        "clip_grad_value_",
        clipped(fastrnn.clip_grad_value_, "limit"),
        {"grads": (head().grads, gradients), "limit": (0.1, limit)},
        {"grads": "grads|a is"},
    ),
    Call("clip_grad_norm_", lambda w: [fastrnn.clip_grad_norm_({"w": w}, 1.0)], {"w": (floats(3), gradient)}),
    *(
        Call(
            rule,
            optimised(getattr(fastrnn, rule)),
            {"modules": (head(), absent), **RATES, **own},
            {"betas": "beta"},
        )
        for rule, own in ROWS.items()
    ),
    *(
        Call(rule, hyperparameters(getattr(fastrnn, rule)), {name: argument}, {"betas": "beta"})
        for rule, own in ROWS.items()
        for name, argument in {**RATES, **own}.items()
    ),
    *(
        Call(f"{rule}.load_state_dict", resumed(getattr(fastrnn, rule)), {name: argument})
        for rule, own in ROWS.items()
        for name, argument in {**RATES, **own, "step": (0, lambda value: count(value, 0, 2**53))}.items()
        if name not in ("momentum", "betas")
    ),
    Call("Adam", hyperparameters(fastrnn.Adam), {"beta1": (0.9, share), "beta2": (0.9, share)}),
    Call(
        "Adam.load_state_dict",
        lambda **given: resumed(fastrnn.Adam)(**{"exp_avg.0": given["buffer"]}),
        {"buffer": (floats(V * I + V), absent)},
        {"buffer": "exp_avg.0"},
    ),
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
    Call(
        "SequenceModel",
        sequence_model,
        {"recurrent": kind_of("recurrent"), "head": kind_of("head"),
         "loss": (fastrnn.softmax_cross_entropy, loss_function), "embedding": (None, nothing),
         "dropout": (0.0, dropout), "pool": (None, nothing), "seed": (0, seed)},
    ),
    Call(
        "EncoderDecoder",
        encoder_decoder,
        {"encoder": (fastrnn.GRU(I, H, seed=0), absent), "decoder": (fastrnn.GRU(V, H, seed=1), absent),
         "head": (fastrnn.Linear(H, V, seed=2), absent), "start": (0, symbol), "end": (1, symbol),
         "attention": (None, nothing), "combine": (None, nothing), "source_embedding": (None, nothing),
         "target_embedding": (None, nothing), "dropout": (0.0, dropout), "label_smoothing": (0.1, share),
         "seed": (0, seed)},
    ),
    Call(
        "fit",
        fitted,
        {"model": (ANYTHING, absent), "inputs": (ANYTHING, items), "targets": (ANYTHING, items),
         "validation": (None, nothing), "epochs": (2, lambda value: LEFT_OUT if count(value) != 2 else count(value)),
         "batch_size": (1, count), "optimizer": (None, function_or_none), "schedule": (None, function_or_none),
         "clip_norm": (1.0, positive_or_none),
         "accumulate": (1, count), "bucket": (True, flag), "patience": (None, count_or_none), "seed": (0, seed_or_none),
         "callbacks": ((), no_callbacks), "log": (None, path_or_none), "progress": (False, flag),
         "checkpoint": (None, path_or_none), "save_every": (None, nothing),
         "resume": (False, lambda value: False if flag(value) is False else REFUSED),
         "comm": (None, nothing), "ordered": (False, flag), **THREADS},
        {"inputs": "inputs|targets", "targets": "targets|inputs"},
    ),
]  # fmt: skip

ERRORS = (TypeError, ValueError, IndexError, KeyError, NotImplementedError, AttributeError)


def flattened(result):
    """Every number of a result, as bytes."""
    if isinstance(result, (list, tuple)):
        return [number for part in result for number in flattened(part)]
    return [] if result is None else [np.asarray(result).tobytes()]


def freshly(value):
    """An argument that a call may use up or change, made again."""
    return np.random.default_rng(0) if isinstance(value, np.random.Generator) else value


CASES = [(index, name) for index, call in enumerate(CALLS) for name in call.arguments]


def words(error):
    return str(error.args[0]) if error.args else ""


@pytest.mark.filterwarnings("ignore:.*dropout is", "ignore:overflow encountered", "ignore:invalid value encountered")
@pytest.mark.filterwarnings("ignore:divide by zero encountered", "ignore:Casting complex values")
@pytest.mark.parametrize(("index", "name"), CASES, ids=[f"{CALLS[i].who} {name} {i}" for i, name in CASES])
def test_it_is_refused_by_name_or_does_what_it_stands_for(index, name):
    call = CALLS[index]
    meaning = call.arguments[name][1]
    expected_word = call.aliases.get(name, name)

    def result_of(value):
        given = {other: freshly(default) for other, (default, _) in call.arguments.items() if default is not ANYTHING}
        return flattened(call.function(**{**given, name: value}))

    for value in VALUES:
        stands_for = meaning(value)
        label = f"{call.who}({name}={value!r:.40})"
        if stands_for is REFUSED:
            try:
                result_of(value)
            except ERRORS as error:
                message = words(error)
                assert message.startswith(call.who), f"{label}: {message}"
                assert any(word in message for word in expected_word.split("|")), f"{label}: {message}"
                assert "expected" in message, f"{label}: {message}"
                assert "\n" not in message, label
            else:
                pytest.fail(f"{label} was accepted")
        elif stands_for is ANYTHING:
            result_of(value)
        elif stands_for is not LEFT_OUT:
            assert result_of(value) == result_of(stands_for), label


PUBLIC = [getattr(fastrnn, name) for name in fastrnn.__all__] + [getattr(init, name) for name in init.__all__]


def test_no_public_callable_and_no_argument_is_left_out():
    tested = {}
    for call in CALLS:
        tested.setdefault(call.who.rpartition(".")[2], set()).update(call.arguments)
    for thing in PUBLIC:
        if not callable(thing) or not inspect.signature(thing).parameters:
            continue
        missing = set(inspect.signature(thing).parameters) - tested.get(thing.__name__, set())
        if thing is fastrnn.Stream:
            missing -= tested["stream"]
        assert not missing, thing
