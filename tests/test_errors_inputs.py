"""Bad inputs, indices and states, and bad rows of a stream to reset."""

import numpy as np
from error_rows import B, H, I, L, Rows, T, V, assert_fails_cleanly, each_of, with_index
from runs import floats

import fastrnn

ROWS = Rows()

# -------------------------------------------------------------------------------------------------- input

LISTS = ", or integers (T, B)", ", or a list of arrays, one a sequence"
ROWS.add_dtypes("LSTM", "x", floats(T, B, I), lambda w, x: w.lstm(x), *LISTS)
ROWS.add_dtypes("LSTM.forward", "x", floats(T, B, I), lambda w, x: w.lstm.forward(x), *LISTS)
ROWS.add_dtypes(
    "Linear", "x", floats(T, B, H), lambda w, x: w.head(x), listed=", of a list of arrays np.concatenate(x)"
)
ROWS.add_dtypes("LSTM.stream.step", "x_t", floats(B, I), lambda w, x: w.stream.step(x), ", or integers (B,)")
ROWS.add_outputs("LSTM.stream.step", "out", (B, H), lambda w, out: w.stream.step(w.x[0], out))
for who, name, array, call in (
    ("LSTM", "x", floats(T, B, I), lambda w, x: w.lstm(x)),
    ("LSTM.forward", "x", with_index(0, int), lambda w, x: w.lstm.forward(x)),
    ("Linear", "x", floats(T, B, H), lambda w, x: w.head(x)),
    ("Linear.forward", "x", floats(T, B, H), lambda w, x: w.head.forward(x)),
    ("LSTM.stream.step", "x_t", floats(B, I), lambda w, x: w.stream.step(x)),
    ("LSTM.stream.step", "out", floats(B, H), lambda w, out: w.stream.step(w.x[0], out)),
    ("LSTM.stream.reset", "rows", np.zeros(B, bool), lambda w, rows: w.stream.reset(rows)),
    ("GRU", "state", floats(L, B, H), lambda w, h: w.gru(w.x, h)),
    ("LSTM", "state[1] (c)", floats(L, B, H), lambda w, c: w.lstm(w.x, (w.h, c))),
    ("LSTM.stream.state", "state[0] (h)", floats(L, B, H), lambda w, h: set_state(w.stream, (h, w.c))),
    ("LSTM.backward", "dy", floats(T, B, H), lambda w, dy: w.lstm.backward(w.tape, dy)),
    ("LSTM.backward", "dstate[0] (h)", floats(L, B, H), lambda w, h: w.lstm.backward(w.tape, w.dy, (h, w.c))),
    ("Linear.backward", "dy", floats(T, B, V), lambda w, dy: w.head.backward(w.head_tape, dy)),
    ("softmax_cross_entropy", "logits", floats(T, B, V), lambda w, z: fastrnn.softmax_cross_entropy(z, w.targets)),
    ("softmax_cross_entropy", "targets", with_index(0, int), lambda w, t: fastrnn.softmax_cross_entropy(w.logits, t)),
    ("Linear.load_state_dict", "bias", floats(V), lambda w, b: w.head.load_state_dict({"bias": b}, False)),
    ("Parameters", "bias", floats(V), lambda w, b: w.head.grads.update(bias=b)),
    ("streams", "sequence", floats(9), lambda w, text: fastrnn.streams(text, 2)),
    ("tbptt", "inputs", floats(9), lambda w, text: fastrnn.tbptt(text, batch_size=1, seq_length=2)),
    ("tbptt", "targets", floats(9), lambda w, t: fastrnn.tbptt(floats(9), t, batch_size=1, seq_length=2)),
    ("clip_grad_norm_", "w", floats(9), lambda w, g: fastrnn.clip_grad_norm_({"w": g}, 1.0)),
    ("clip_grad_value_", "w", floats(9), lambda w, g: fastrnn.clip_grad_value_({"w": g}, 1.0)),
    ("SGD", "lr", np.float32(1), lambda w, lr: fastrnn.SGD(w.head, lr)),
    ("Linear", "in_features", np.int64(3), lambda w, n: fastrnn.Linear(n, 2)),
):
    ROWS.add_masked(who, name, array, call)

wrong_sizes = [(T, B, I + 1), (T, B, I - 1), (T, B, 0), (T, I, B)]
wrong_ranks = [(), (I,), (T, I + 1), (T, 0), (1, T, B, I), (1, 1, T, B, I)]
single = f"or (T, input_size={I}) of a single sequence"
for shapes, form in ((wrong_sizes, ""), (wrong_ranks, f", {single}")):
    ROWS.add_shapes("LSTM", "x", shapes, f"(T, B, input_size={I}){form}", lambda w, x: w.lstm(x))
    ROWS.add_shapes("GRU.forward", "x", shapes, f"(T, B, input_size={I}){form}", lambda w, x: w.gru.forward(x))
ROWS.add_shapes("RNN", "x", [(B, T, I + 1)], f"(B, T, input_size={I})", lambda w, x: w.rnn(x))
ROWS.add_shapes("RNN", "x", [(T, I + 1)], f"(B, T, input_size={I}), {single}", lambda w, x: w.rnn(x))
ROWS.add_shapes("Linear", "x", [(), (H + 1,), (T, B, 0), (H, T)], f"(..., in_features={H})", lambda w, x: w.head(x))
ROWS.add_shapes(
    "LSTM.stream.step",
    "x_t",
    [(), (I,), (1, B, I), (B + 1, I), (B, I + 1), (0, I), (B, 0), (I, B)],
    f"(B, input_size) = {(B, I)}",
    lambda w, x: w.stream.step(x),
)
ROWS.add_shapes(
    "LSTM.stream.step",
    "out",
    [(), (H,), (B, H, 1), (B, H - 1), (B + 1, H), (0, H)],
    f"(B, H) = {(B, H)}",
    lambda w, out: w.stream.step(w.x[0], out),
)
for shape, letter in (((0, B, I), "T"), ((T, 0, I), "B"), ((0, 0, I), "T")):
    ROWS.add(
        f"LSTM x {shape}",
        ValueError,
        f"LSTM: x has shape {shape}; expected {letter} >= 1, nothing runs on an empty batch or no time steps",
        lambda w, shape=shape: w.lstm(np.zeros(shape, np.float32)),
    )
    ROWS.add(
        f"GRU indices {shape[:2]}",
        ValueError,
        f"GRU: x has shape {shape[:2]}; expected {letter} >= 1, nothing runs on an empty batch or no time steps",
        lambda w, shape=shape: w.gru(np.zeros(shape[:2], np.int64)),
    )
for kind, array in (("vectors", np.zeros((0, I), np.float32)), ("indices", np.zeros(0, np.int64))):
    ROWS.add(
        f"LSTM a single sequence of no {kind}",
        ValueError,
        f"LSTM: x has shape {array.shape}; expected T >= 1, nothing runs on an empty batch or no time steps",
        lambda w, array=array: w.lstm(array),
    )
ROWS.add(
    "RNN batch_first B",
    ValueError,
    f"RNN: x has shape {(0, T, I)}; expected B >= 1, nothing runs on an empty batch or no time steps",
    lambda w: w.rnn(np.zeros((0, T, I), np.float32)),
)
for shape in ((), (T, B, 1), (T, B, I)):
    ROWS.add(
        f"LSTM indices {shape}",
        ValueError,
        f"LSTM: x holds integers and has shape {shape}; expected (T, B) or (T,) indices below input_size={I}, "
        "or vectors as float32 (x.astype(np.float32))",
        lambda w, shape=shape: w.lstm(np.zeros(shape, np.int64)),
    )
ROWS.add(
    "stream indices of a wrong rank",
    ValueError,
    f"LSTM.stream.step: x_t holds integers and has shape {(1, B)}; expected (B) indices below input_size={I}, "
    "or vectors as float32 (x_t.astype(np.float32))",
    lambda w: w.stream.step(np.zeros((1, B), np.int64)),
)
ROWS.add(
    "stream indices of a wrong length",
    ValueError,
    f"LSTM.stream.step: x_t has shape {(B + 1,)}; expected (B,) = {(B,)}",
    lambda w: w.stream.step(np.zeros(B + 1, np.int64)),
)
ROWS.add(
    "stream output that cannot be written",
    ValueError,
    f"LSTM.stream.step: out is not writable and C-contiguous; expected both (out = np.empty({(B, H)}, np.float32))",
    lambda w: w.stream.step(w.x[0], np.broadcast_to(np.float32(0), (B, H))),
)
ROWS.add(
    "stream output of another order",
    ValueError,
    f"LSTM.stream.step: out is not writable and C-contiguous; expected both (out = np.empty({(B, H)}, np.float32))",
    lambda w: w.stream.step(w.x[0], np.zeros((H, B), np.float32).T),
)
ROWS.add(
    "reset by a mask of another batch",
    ValueError,
    f"LSTM.stream.reset: rows is a mask of shape (1,); expected (B,) = ({B},)",
    lambda w: w.stream.reset([True]),
)
ROWS.add(
    "reset by zeros and ones",
    ValueError,
    f"LSTM.stream.reset: rows is [1, 0], {B} integers 0 or 1 for a batch of {B}, which may be a mask or row numbers; "
    f"expected the mask (np.asarray(rows, dtype=bool)), or for row numbers np.isin(np.arange({B}), rows)",
    lambda w: w.stream.reset([1, 0]),
)
for rows, error in ((slice(0.5), TypeError), (slice(None, None, 0), ValueError)):
    ROWS.add(
        f"reset by {rows}",
        error,
        f"LSTM.stream.reset: rows is {rows!r}; expected an integer, several, a slice or a mask (B,)",
        lambda w, rows=rows: w.stream.reset(rows),
    )
ROWS.add(
    "reset by floats",
    TypeError,
    "LSTM.stream.reset: rows is [0.5]; expected an integer, several, a slice or a mask (B,)",
    lambda w: w.stream.reset([0.5]),
)
ROWS.add(
    "reset beyond the batch",
    IndexError,
    f"LSTM.stream.reset: rows is {B}; expected integers in {-B}..{B - 1}",
    lambda w: w.stream.reset(B),
)
for value, dtype in ((-1, np.int8), (I, np.uint8), (-(2**63), np.int64), (2**63 - 1, np.int64), (2**64 - 1, np.uint64)):
    message = f"holds index {value}; expected indices in 0..{I - 1} (input_size={I})"
    for who, call in (
        ("LSTM", lambda w, x: w.lstm(x)),
        ("GRU.forward", lambda w, x: w.gru.forward(x)),
        ("RNN", lambda w, x: w.rnn(x)),
        ("LSTM.stream.step", lambda w, x: w.stream.step(x[-1])),
    ):
        name = "x_t" if "stream" in who else "x"
        ROWS.add(
            f"{who} index {value}",
            IndexError,
            f"{who}: {name} {message}",
            lambda w, call=call, value=value, dtype=dtype: call(w, with_index(value, dtype)),
        )

# -------------------------------------------------------------------------------------------------- state

EACH = f"each (layers, B, H) = {(L, B, H)}"


def set_state(running, state):
    running.state = state


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
        ROWS.add(
            f"LSTM{who} {name} {got}",
            TypeError,
            f"LSTM{who}: {name} is a {got}; expected the pair (h, c), {EACH}",
            lambda w, make=make: lstm(w, make(w)),
        )
    for got, make in (("tuple of 2", lambda w: (w.h, w.c)), ("list of 1", lambda w: [w.h])):
        ROWS.add(
            f"GRU{who} {name} {got}",
            TypeError,
            f"GRU{who}: {name} is a {got}; expected the array h (layers, B, H) = {(L, B, H)} alone",
            lambda w, make=make: gru(w, make(w)),
        )
    wrong = [(), (H,), (B, H), (1, B, H), (L, B + 1, H), (L, B, H - 1), (L, B, H, 1), (1, L, B, H, 1), (L, 0, H)]
    expected = f"(layers, B, H) = {(L, B, H)}"
    of_any_batch = [(L, B + 1, H)] if who == ".stream.state" else []  # which that takes
    ROWS.add_shapes(f"GRU{who}", name, [shape for shape in wrong if shape not in of_any_batch], expected, gru)
    ROWS.add_shapes(f"LSTM{who}", f"{name}[0] (h)", wrong, expected, lambda w, h: lstm(w, (h, w.c)))
    ROWS.add_shapes(f"LSTM{who}", f"{name}[1] (c)", wrong, expected, lambda w, c: lstm(w, [w.h, c]))
    ROWS.add(
        f"GRU{who} {name} float64",
        TypeError,
        f"GRU{who}: {name} has dtype float64; expected float32, the dtype of the layer "
        f"({name}.astype(np.float32))",
        lambda w: gru(w, w.h.astype(np.float64)),
    )
    ROWS.add(
        f"LSTM{who} {name} c a list",
        TypeError,
        f"LSTM{who}: {name}[1] (c) is a list; expected a float32 numpy array "
        f"(np.asarray({name}[1], dtype=np.float32))",
        lambda w: lstm(w, (w.h, w.c.tolist())),
    )


def gru_backward(w, dstate):
    tape = w.gru.forward(w.x)[2]
    return w.gru.backward(tape, w.dy, dstate)


state_rows("", "state", lambda w, state: w.lstm(w.x, state), lambda w, state: w.gru(w.x, state))
state_rows(".forward", "state", lambda w, state: w.lstm.forward(w.x, state), lambda w, state: w.gru.forward(w.x, state))
state_rows(".backward", "dstate", lambda w, state: w.lstm.backward(w.tape, w.dy, state), gru_backward)
state_rows(
    ".stream.state",
    "state",
    lambda w, state: set_state(w.stream, state),
    lambda w, state: set_state(w.gru.stream(B), state),
)

# ------------------------------------------------------------------------------------------------- streams

ROWS.add(
    "a stream of two directions",
    ValueError,
    "GRU.stream: the layer is bidirectional, and its reverse direction starts at the end of the sequence, which a "
    "stream does not know; expected bidirectional=False, or calls of the layer on whole sequences",
    lambda w: fastrnn.GRU(I, H, bidirectional=True, seed=0).stream(),
)
for name in ("mask", "reset"):
    ROWS.add(
        f"stream {name} of a wrong dtype",
        TypeError,
        f"LSTM.stream.step: {name} has dtype int64; expected booleans ({name} != 0)",
        lambda w, name=name: w.stream.step(w.x[0], **{name: np.ones(B, np.int64)}),
    )
    ROWS.add(
        f"stream {name} of a wrong shape",
        ValueError,
        f"LSTM.stream.step: {name} has shape {(B + 1,)}; expected (B,) = {(B,)}",
        lambda w, name=name: w.stream.step(w.x[0], **{name: np.ones(B + 1, bool)}),
    )
ROWS.add(
    "a chunk of another batch",
    ValueError,
    f"LSTM.stream.run: x is a batch of {B + 1}; expected batch_size={B} (stream.batch_size = {B + 1} changes that)",
    lambda w: w.stream.run(np.zeros((T, B + 1, I), np.float32)),
)
for rows, error, expected in (
    ([], ValueError, "rows is [], no row at all; expected one or more"),
    ([[0]], TypeError, "rows is [[0]]; expected integers, a slice or a mask (B,)"),
    ([0.5], TypeError, "rows is [0.5]; expected integers, a slice or a mask (B,)"),
    ([0, B], IndexError, f"rows is [0, {B}]; expected integers in {-B}..{B - 1}"),
    ([True], ValueError, f"rows has shape (1,); expected a mask (B,) = {(B,)}"),
):
    message = f"LSTM.stream.select: {expected}"
    ROWS.add(f"stream.select {rows}", error, message, lambda w, rows=rows: w.stream.select(rows))


@each_of(ROWS)
def test_message_and_that_nothing_changed(row):
    assert_fails_cleanly(row)
