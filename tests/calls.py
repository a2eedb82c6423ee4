"""Every call that takes arrays, for the test_robustness files.

CALLS has name: (arrays, function of them that returns a list of arrays). Layers are made anew, so that a result
depends on nothing but the arguments.
"""

import numpy as np
import pytest
from runs import floats, parts

import fastrnn

# Sequences are beyond the size from which on buffers are kept for the next call.
T, B, I, H, L, V, P = 19, 7, 33, 33, 2, 11, 20  # noqa: E741


def integers(below, *shape, dtype=np.int64):
    return np.random.default_rng(shape).integers(below, size=shape).astype(dtype)


def lstm_call(x, h, c):
    y, state = fastrnn.LSTM(I, H, L, seed=1)(x, (h, c))
    return [y, *state]


def train(layer, x, state, dy, dstate):
    y, final, tape = layer.forward(x, state)
    dx, dinitial = layer.backward(tape, dy, dstate)
    return [y, *parts(final), *parts(dinitial), layer.flat_grads, *([] if dx is None else [dx])]


def lstm_train(x, h, c, dy, dh, dc):
    return train(fastrnn.LSTM(I, H, L, dropout=0.3, seed=2), x, (h, c), dy, (dh, dc))


def gru_train(x, h, dy, dh):
    layer = fastrnn.GRU(I, H, L, batch_first=True, reset_after=False, seed=3)
    return train(layer, x, h, dy, dh)


def index_train(ids, h, dy, dh):
    return train(fastrnn.UGRNN(I, H, L, seed=4), ids, h, dy, dh)


def both_train(x, lengths, mask, reset, h, c, dy, dh, dc):
    layer = fastrnn.LSTM(I, H, L, bidirectional=True, proj_size=P, batch_first=True, seed=8)
    y, final, tape = layer.forward(x, (h, c), lengths, mask, reset, checkpoint=4)
    dx, dinitial = layer.backward(tape, dy, (dh, dc))
    return [y, *final, *dinitial, layer.flat_grads, dx]


def single_train(x, h, dy, dh):
    return train(fastrnn.GRU(I, H, L, seed=9), x, h, dy, dh)


def list_train(long, short, mask, h, dy):
    layer = fastrnn.UGRNN(I, [H], bidirectional=True, merge="mul", seed=10)
    y, final, tape = layer.forward([long, short], h, mask=[np.ones(len(long), bool), mask])
    dx, dinitial = layer.backward(tape, [np.ones_like(y[0]), dy])
    return [*y, final, *dx, dinitial, layer.flat_grads]


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
    return [head.flat_params.copy(), head(np.eye(I, dtype=np.float32))]


def edit(weight, bias):
    head = fastrnn.Linear(I, V, seed=7)
    with head.editing() as params:
        params["weight"][...], params["bias"][...] = weight, bias
    return [head.flat_params.copy(), head(np.eye(I, dtype=np.float32))]


def initial(weight, bias):
    given = {"weight": weight, "bias": bias}
    return [fastrnn.Linear(I, V, init=lambda name, shape, rng: given[name]).flat_params.copy()]


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
    "both train": (
        {
            **{"x": floats(B, T, I), "lengths": integers(T + 1, B), "mask": integers(4, B, T) > 0},
            **{"reset": integers(7, B, T) == 0, "h": floats(2 * L, B, P), "c": floats(2 * L, B, H)},
            **{"dy": floats(B, T, 2 * P), "dh": floats(2 * L, B, P, seed=1), "dc": floats(2 * L, B, H, seed=1)},
        },
        both_train,
    ),
    "single train": (
        {"x": floats(T, I), "h": floats(L, H), "dy": floats(T, H), "dh": floats(L, H, seed=1)},
        single_train,
    ),
    "list train": (
        {
            **{"long": floats(T, I), "short": floats(T // 2, I), "mask": integers(3, T // 2) > 0},
            **{"h": floats(2, 2, H), "dy": floats(T // 2, H)},
        },
        list_train,
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
