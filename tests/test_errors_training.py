"""Bad gradients, tapes, targets and numbers of threads."""

import copy
import pickle

import numpy as np
from error_rows import B, H, I, L, Rows, T, V, assert_fails_cleanly, each_of, with_index
from runs import floats

import fastrnn

ROWS = Rows()

# ----------------------------------------------------------------------------------- gradients and tapes

ROWS.add_dtypes("LSTM.backward", "dy", floats(T, B, H), lambda w, dy: w.lstm.backward(w.tape, dy))
ROWS.add_dtypes("Linear.backward", "dy", floats(T, B, V), lambda w, dy: w.head.backward(w.head_tape, dy))
ROWS.add_shapes(
    "LSTM.backward",
    "dy",
    [(), (B, H), (T + 1, B, H), (T, B + 1, H), (T, B, H - 1), (0, B, H), (T, B, H, 1), (B, T, H)],
    f"(T, B, H) = {(T, B, H)}",
    lambda w, dy: w.lstm.backward(w.tape, dy),
)
ROWS.add_shapes(
    "RNN.backward",
    "dy",
    [(T, B, H)],
    f"(B, T, H) = {(B, T, H)}",
    lambda w, dy: w.rnn.backward(w.rnn.forward(w.ids.T.copy())[2], dy),
)
ROWS.add_shapes(
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
        ROWS.add(
            f"{who} tape {got!r}",
            TypeError,
            f"{who}.backward: tape is a {type(got).__name__}; expected what forward returned",
            lambda w, backward=backward, got=got: backward(w, got),
        )
ROWS.add(
    "LSTM given a linear layer's tape",
    TypeError,
    "LSTM.backward: tape is a LinearTape; expected what forward returned",
    lambda w: w.lstm.backward(w.head_tape, w.dy),
)
ROWS.add(
    "GRU given an LSTM's tape",
    ValueError,
    "GRU.backward: the tape is another LSTM's; expected one that this layer's forward returned",
    lambda w: w.gru.backward(w.tape, w.dy),
)
ROWS.add(
    "a twin's tape",
    ValueError,
    "LSTM.backward: the tape is another LSTM's; expected one that this layer's forward returned",
    lambda w: fastrnn.LSTM(I, H, L, seed=1).backward(w.tape, w.dy),
)
ROWS.add(
    "another linear layer's tape",
    ValueError,
    "Linear.backward: the tape is another Linear's; expected one that this layer's forward returned",
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


def reusable(w):
    w.tape = w.lstm.forward(w.x, reusable=True)[2]


def in_a_handler(w):
    """What a signal's handler does in the middle of a backward run over a reusable tape."""
    w.tape._begin(w.lstm, "LSTM.backward")
    try:
        w.lstm.backward(w.tape, w.dy)
    finally:
        w.tape._end()


ROWS.add(
    "a reusable tape in its own run",
    ValueError,
    "LSTM.backward: a backward run over this tape has not ended; expected one run at a time",
    in_a_handler,
    reusable,
)
ROWS.add(
    "a tape twice",
    ValueError,
    "LSTM.backward: the tape is used up; expected a new one, run forward again",
    lambda w: w.lstm.backward(w.old_tape, w.dy),
    used_up,
)
ROWS.add(
    "a copy of a tape",
    TypeError,
    "Tape: a tape can be neither copied nor pickled, its buffers are for one backward of one layer; expected another "
    "forward instead",
    lambda w: copy.deepcopy(w.tape),
)
for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
    ROWS.add(
        f"a linear layer's tape by {duplicate.__name__}",
        TypeError,
        "LinearTape: a tape can be neither copied nor pickled, its buffers are for one backward of one layer; expected "
        "another forward instead",
        lambda w, duplicate=duplicate: duplicate(w.head_tape),
    )
for value in ("no", None, 1, 0):
    ROWS.add(
        f"input_gradient {value}",
        TypeError,
        f"LSTM.backward: input_gradient is {value!r}; expected True or False",
        lambda w, value=value: w.lstm.backward(w.tape, w.dy, input_gradient=value),
    )
ROWS.add(
    "a linear layer's tape twice",
    ValueError,
    "Linear.backward: the tape is used up; expected a new one, run forward again",
    lambda w: w.head.backward(w.old_head_tape, w.drows),
    used_up,
)
for change in (outdated, reloaded, optimised):
    ROWS.add(
        f"a tape older than the weights, {change.__name__}",
        ValueError,
        "LSTM.backward: the weights changed after this tape was made; expected backward before the change, "
        "run forward again",
        lambda w: w.lstm.backward(w.old_tape, w.dy),
        change,
    )
ROWS.add(
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


of_logits = Rows()
of_logits.add_dtypes(
    "softmax_cross_entropy",
    "logits",
    floats(T, B, V),
    lambda w, z: fastrnn.softmax_cross_entropy(z, w.targets),
)
for row in of_logits:  # of either dtype
    if "<f8" not in row.name:
        ROWS.append(row._replace(message=row.message.replace("float32, the dtype of the layer", "float32 or float64")))
for shape in ((), (0,), (0, B, V), (T, 0, V), (T, B, 0)):
    ROWS.add(
        f"logits {shape}",
        ValueError,
        f"softmax_cross_entropy: logits has shape {shape}; expected (..., V), not empty",
        lambda w, shape=shape: loss(w, np.zeros(shape, np.float32), np.zeros(shape[:-1], np.int64)),
    )
for shape in ((), (T,), (B, T), (T, B, V), (T, B, 1), (T + 1, B), (0, B), (T * B,)):
    mend = f" (targets.reshape({(T, B)}))" if np.prod(shape) == T * B else ""
    ROWS.add(
        f"targets {shape}",
        ValueError,
        f"softmax_cross_entropy: targets have shape {shape}; expected {(T, B)}, one for each row of logits{mend}",
        lambda w, shape=shape: loss(w, targets=np.zeros(shape, np.int64)),
    )
for dtype in (np.float32, bool, object, complex):
    ROWS.add(
        f"targets {dtype}",
        TypeError,
        f"softmax_cross_entropy: targets are {np.dtype(dtype)}; expected an integer array "
        f"(targets{'.real' if dtype is complex else ''}.astype(np.int64))",
        lambda w, dtype=dtype: loss(w, targets=w.targets.astype(dtype)),
    )
for targets in ([[0]], 3, np.int64(3)):
    ROWS.add(
        f"targets {type(targets).__name__}",
        TypeError,
        f"softmax_cross_entropy: targets are {type(targets).__name__}; expected an integer array "
        "(np.asarray(targets, dtype=np.int64))",
        lambda w, targets=targets: loss(w, targets=targets),
    )
for value, dtype in ((-1, np.int32), (V, np.uint8), (2**40, np.int64), (2**64 - 1, np.uint64)):
    ROWS.add(
        f"target {value}",
        IndexError,
        f"softmax_cross_entropy: targets holds index {value}; expected indices in 0..{V - 1} (V={V})",
        lambda w, value=value, dtype=dtype: loss(w, targets=with_index(value, dtype)),
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
    ROWS.add_sizes(who, "num_threads", call)


@each_of(ROWS)
def test_message_and_that_nothing_changed(row):
    assert_fails_cleanly(row)
