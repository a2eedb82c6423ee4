"""300 random runs of all that computes, and a checksum of the results of each.

`python tests/bits.py` writes bits.json, which test_bits.py compares with. The bits are the same on every processor with
fused multiply-add and for any number of threads. Only public names are used, so that the code behind them may change.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

import fastrnn

FILE = Path(__file__).with_suffix(".json")
RUNS = 300

CELLS = {
    "lstm": (fastrnn.LSTM, {}),
    "gru": (fastrnn.GRU, {}),
    "gru_before": (fastrnn.GRU, {"reset_after": False}),
    "ugrnn": (fastrnn.UGRNN, {}),
    "rnn_tanh": (fastrnn.RNN, {}),
    "rnn_relu": (fastrnn.RNN, {"nonlinearity": "relu"}),
    "rnn_sigmoid": (fastrnn.RNN, {"nonlinearity": "sigmoid"}),
}
SIZES = (1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 100)
# T, B, I, H that are worth several threads: rows are split, units are, both, and several blocks of time.
LARGE = ((40, 24, 40, 100), (80, 1, 20, 240), (30, 11, 30, 300), (6, 70, 33, 130), (700, 9, 5, 64), (12, 40, 300, 272))
OPTIMISERS = (fastrnn.SGD, fastrnn.RMSprop, fastrnn.Adagrad, fastrnn.Adam)


def names():
    return [f"run {number}" for number in range(RUNS)]


def checksum(number, num_threads):
    """Of every array that a run gives."""
    digest = hashlib.sha256()
    for array in results(number, num_threads):
        assert array.dtype == np.float32
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def results(number, num_threads):
    source = np.random.RandomState(number)  # whose numbers stay the same from one NumPy to the next

    def floats(*shape):
        return source.uniform(-1, 1, shape).astype(np.float32)

    def choose(options):
        return options[source.randint(len(options))]

    def init(_, shape, __):
        return floats(*shape) * np.float32((2 / shape[-1]) ** 0.5)

    kind, options = CELLS[choose(list(CELLS))]
    large = number % 6 == 0
    small = (source.randint(1, 12), source.randint(1, 20), choose(SIZES), choose(SIZES))
    time, batch, inputs, hidden = choose(LARGE) if large else small
    layers = 1 if large else source.randint(1, 4)
    dropout = 0.3 if layers > 1 and number % 2 else 0.0
    options = {**options, "bias": number % 5 > 0, "dropout": dropout, "batch_first": number % 7 == 0}
    layer = kind(inputs, hidden, layers, seed=number, init=init, **options)
    head = fastrnn.Linear(hidden, 5, init=init)
    lead = (batch, time) if layer.batch_first else (time, batch)
    x = source.randint(inputs, size=lead) if number % 4 == 1 else floats(*lead, inputs)

    def state():
        parts = tuple(floats(layers, batch, hidden) for _ in layer.STATES)
        return parts if len(parts) > 1 else parts[0]

    initial, dfinal = (state(), state()) if number % 3 else (None, None)
    threads = {"num_threads": num_threads}
    y, final = layer(x, initial, **threads)
    yield y
    yield from arrays(final)
    y, final, tape = layer.forward(x, initial, **threads)
    yield from (y, *arrays(final))
    logits, head_tape = head.forward(y, **threads)
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, source.randint(5, size=lead), **threads)
    yield from (logits, dlogits, np.float32([loss]))
    dy = head.backward(head_tape, dlogits, **threads)
    dx, dinitial = layer.backward(tape, dy + floats(*dy.shape), dfinal, **threads)
    yield from (dy, *([] if dx is None else [dx]), *arrays(dinitial), layer.flat_grads, head.flat_grads)
    fastrnn.clip_grad_norm_([layer.grads, head.grads], 0.5)
    optimiser = choose(OPTIMISERS)([layer, head], 0.01)
    for _ in range(2):
        optimiser.step()
    yield from (layer.flat_params, head.flat_params)
    if not layer.batch_first:
        stream = layer.stream(batch, **threads)
        if initial is not None:
            stream.state = initial
        for x_t in x[:3]:
            yield stream.step(x_t)
        yield from arrays(stream.state)


def arrays(state):
    return state if isinstance(state, tuple) else (state,)


if __name__ == "__main__":
    sums = {name: checksum(number, 1) for number, name in enumerate(names())}
    FILE.write_text(json.dumps(sums, indent=0) + "\n")
