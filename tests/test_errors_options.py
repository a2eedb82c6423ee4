"""Bad options of layers; bad lengths, lists, masks and resets, and bad gradients of what they return."""

import numpy as np
from error_rows import B, H, I, L, P, Rows, T, assert_fails_cleanly, each_of, with_index
from runs import floats

import fastrnn

ROWS = Rows()

# ------------------------------------------------------------------------------------------- construction

ROWS.add_sizes("LSTM", "hidden_size[1]", lambda w, n: fastrnn.LSTM(I, [4, n]))
for widths in ([], (), np.zeros(0, int)):
    ROWS.add(
        f"no widths, {type(widths).__name__}",
        ValueError,
        "GRU: hidden_size is empty; expected an integer, or one for each layer",
        lambda w, widths=widths: fastrnn.GRU(I, widths),
    )
for n in (3, "2", None, 2.5):
    ROWS.add(
        f"num_layers {n!r} beside two widths",
        ValueError,
        f"RNN: num_layers is {n!r} and hidden_size has 2 widths; expected num_layers=2, or hidden_size alone",
        lambda w, n=n: fastrnn.RNN(I, [4, 5], n),
    )
for value in ("no", None, 1):
    ROWS.add(
        f"bidirectional {value}",
        TypeError,
        f"GRU: bidirectional is {value!r}; expected True or False",
        lambda w, value=value: fastrnn.GRU(I, H, bidirectional=value),
    )
for value in ("average", None, 2, ["sum"]):
    ROWS.add(
        f"merge {value}",
        ValueError,
        f"UGRNN: merge is {value!r}; expected one of concat, sum, mul, ave",
        lambda w, value=value: fastrnn.UGRNN(I, H, bidirectional=True, merge=value),
    )
ROWS.add(
    "merge with one direction",
    ValueError,
    "LSTM: merge is 'sum' with one direction; expected bidirectional=True, or no merge",
    lambda w: fastrnn.LSTM(I, H, merge="sum"),
)
for value, error, got in ((-1, ValueError, "-1"), (True, ValueError, "True"), (1.0, TypeError, "a float")):
    ROWS.add(
        f"proj_size {value}",
        error,
        f"LSTM: proj_size is {got}; expected an integer >= 0",
        lambda w, value=value: fastrnn.LSTM(I, H, proj_size=value),
    )
for value in (H, H + 1):
    ROWS.add(
        f"proj_size {value}, too large",
        ValueError,
        f"LSTM: proj_size is {value}; expected less than hidden_size={H}",
        lambda w, value=value: fastrnn.LSTM(I, [H + 2, H], proj_size=value),
    )
ROWS.add(
    "proj_size of a cell without",
    ValueError,
    "UGRNN: proj_size is 2; only an LSTM has projections, expected 0",
    lambda w: fastrnn.UGRNN(I, H, proj_size=2),
)
for value in ("float16", np.int32, None):
    ROWS.add(
        f"dtype {value}",
        ValueError,
        f"LSTM: dtype is {value!r}; expected 'float32' or 'float64'",
        lambda w, value=value: fastrnn.LSTM(I, H, dtype=value),
    )

# ----------------------------------------------------------------------------- lengths, masks and resets

for who, call in (
    ("LSTM", lambda w, **given: w.both(w.x, **given)),
    ("LSTM.forward", lambda w, **given: w.forward_both(**given)),
):
    for shape in ((), (B + 1,), (B, 1), (0,)):
        ROWS.add(
            f"{who} lengths {shape}",
            ValueError,
            f"{who}: lengths have shape {shape}; expected (B,) = {(B,)}",
            lambda w, call=call, shape=shape: call(w, lengths=np.ones(shape, int)),
        )
    for value in (-1, T + 1, 10**12):
        ROWS.add(
            f"{who} lengths of {value}",
            ValueError,
            f"{who}: lengths hold {value}; expected 0..T={T}",
            lambda w, call=call, value=value: call(w, lengths=np.array([T, value])),
        )
    for lengths in (np.ones(B), np.ones(B, bool)):
        ROWS.add(
            f"{who} lengths of {lengths.dtype}",
            TypeError,
            f"{who}: lengths are {lengths.dtype}; expected an integer array (lengths.astype(np.int64))",
            lambda w, call=call, lengths=lengths: call(w, lengths=lengths),
        )
    for name in ("mask", "reset"):
        for shape in ((), (B,), (T, 1), (B, T), (T, B, 1)):
            ROWS.add(
                f"{who} {name} {shape}",
                ValueError,
                f"{who}: {name} has shape {shape}; expected (T, B) = {(T, B)}",
                lambda w, call=call, name=name, shape=shape: call(w, **{name: np.ones(shape, bool)}),
            )
        for dtype in (int, np.float32, object):
            ROWS.add(
                f"{who} {name} {np.dtype(dtype)}",
                TypeError,
                f"{who}: {name} has dtype {np.dtype(dtype)}; expected booleans ({name} != 0)",
                lambda w, call=call, name=name, dtype=dtype: call(w, **{name: np.ones((T, B), dtype)}),
            )
        ROWS.add_masked(
            who, name, np.ones((T, B), bool), lambda w, value, call=call, name=name: call(w, **{name: value})
        )
    ROWS.add(
        f"{who} lengths masked",
        TypeError,
        f"{who}: lengths is a masked array, whose mask would be lost; expected a plain one (lengths.filled(0)), with "
        "a number of your choice in the place of what is masked",
        lambda w, call=call: call(w, lengths=np.ma.masked_array([1, 2], mask=False)),
    )
    for value in ("yes", 1, np.ones((T, B), bool)):
        shown = " ".join(repr(value).split())
        ROWS.add(
            f"{who} zero_output_for_mask {type(value).__name__}",
            TypeError,
            f"{who}: zero_output_for_mask is {shown if len(shown) <= 100 else shown[:97] + '...'}; "
            "expected True or False",
            lambda w, call=call, value=value: call(w, mask=w.mask, zero_output_for_mask=value),
        )
    ROWS.add(
        f"{who} zero_output_for_mask without a mask",
        ValueError,
        f"{who}: zero_output_for_mask is given without a mask; expected both or neither",
        lambda w, call=call: call(w, mask=None, zero_output_for_mask=False),
    )
ROWS.add(
    "a mask of a batch first layer",
    ValueError,
    f"RNN: mask has shape {(T, B)}; expected (B, T) = {(B, T)}",
    lambda w: w.rnn(w.x.swapaxes(0, 1), mask=w.mask),
)
ROWS.add(
    "a mask that cannot be read",
    TypeError,
    "LSTM: mask has dtype object; expected booleans (mask != 0)",
    lambda w: w.both(w.x, mask=object()),
)
for value, error, got in (
    (0, ValueError, "is 0; expected an integer >= 1"),
    (-1, ValueError, "is -1; expected an integer >= 1"),
    (True, ValueError, "is True; expected an integer >= 1"),
    (2.0, TypeError, "is a float; expected an integer >= 1"),
    ("all", ValueError, "is 'all'; expected one of auto"),
):
    ROWS.add(
        f"checkpoint {value}",
        error,
        f"LSTM.forward: checkpoint {got}",
        lambda w, value=value: w.both.forward(w.x, checkpoint=value),
    )

# Where rows end early x has the batch's axis, and indices behind their ends may be anything.
with_lengths = {"lengths": np.array([T, 1])}
ROWS.add_shapes(
    "LSTM",
    "x",
    [(), (I,), (T, B, I + 1)],
    f"(T, B, input_size={I})",
    lambda w, x: w.both(x, **with_lengths),
)
for x in (np.zeros((T, I), np.float32), np.zeros(T, int)):
    ROWS.add(
        f"lengths and a single sequence of {x.dtype}",
        ValueError,
        "LSTM: lengths are given with a single sequence (T, ...); expected lengths=None",
        lambda w, x=x: w.both(x, **with_lengths),
    )
for name in ("mask", "reset"):
    ROWS.add_shapes(
        "LSTM",
        "x",
        [(T, I + 1)],
        f"(T, B, input_size={I}), or (T, input_size={I}) of a single sequence",
        lambda w, x, name=name: w.both(x, **{name: np.zeros(T, bool)}),
    )
    ROWS.add(
        f"a single sequence with {name} of a batch",
        ValueError,
        f"LSTM: {name} has shape {(T, 1)}; expected (T,) = {(T,)}",
        lambda w, name=name: w.both(w.x[:, 0], **{name: np.ones((T, 1), bool)}),
    )
ROWS.add(
    "lengths and indices of a wrong rank",
    ValueError,
    f"LSTM: x holds integers and has shape {(T, B, 1)}; expected (T, B) indices below input_size={I}, "
    "or vectors as float32 (x.astype(np.float32))",
    lambda w: w.both(np.zeros((T, B, 1), int), **with_lengths),
)
ROWS.add(
    "lengths and no batch",
    ValueError,
    f"LSTM: x has shape {(T, 0)}; expected B >= 1, nothing runs on an empty batch or no time steps",
    lambda w: w.both(np.zeros((T, 0), int), lengths=np.zeros(0, int)),
)
ROWS.add(
    "lengths and an index that is read",
    IndexError,
    f"LSTM: x holds index {I}; expected indices in 0..{I - 1} (input_size={I})",
    lambda w: w.both(with_index(I, int), lengths=np.array([1, T])),
)

# ------------------------------------------------------------------------------------------------- lists

SEQUENCES = [floats(2, I), floats(4, I)]
for name, error, message, x in (
    ("an empty list", ValueError, "x is an empty list; expected one array (T_i, input_size) or more", []),
    ("no steps", ValueError, "x holds no steps; expected one array with T_i >= 1 or more", [SEQUENCES[0][:0]] * 2),
    (
        "other vectors",
        ValueError,
        f"x[1] has shape {(4, I + 1)}; expected (T_i, input_size={I})",
        [SEQUENCES[0], floats(4, I + 1)],
    ),
    (
        "batches",
        ValueError,
        f"x[0] has shape {(2, 1, I)}; expected (T_i, input_size={I})",
        [floats(2, 1, I), SEQUENCES[1]],
    ),
    (
        "batches of indices",
        ValueError,
        f"x[0] holds integers and has shape {(2, 1)}; expected (T_i,)",
        [np.zeros((2, 1), int)],
    ),
    (
        "integers and floats",
        TypeError,
        "x[0] holds integers and x[1] float32; expected all arrays of one kind",
        [np.zeros(2, int), SEQUENCES[1]],
    ),
    (
        "an index",
        IndexError,
        f"x holds index {I}; expected indices in 0..{I - 1} (input_size={I})",
        [np.zeros(2, int), np.array([I])],
    ),
    (
        "a list among arrays",
        TypeError,
        "x[1] is a list; expected a float32 numpy array (np.asarray(x[1], dtype=np.float32)), or a list of integers "
        "(T_i,)",
        [SEQUENCES[0], [[0.0] * I]],
    ),
):
    ROWS.add(f"a list: {name}", error, f"LSTM: {message}", lambda w, x=x: w.both(x))
ROWS.add(
    "a list with lengths",
    ValueError,
    "LSTM: lengths are given with a list, whose arrays have lengths; expected lengths=None",
    lambda w: w.both(SEQUENCES, lengths=np.array([2, 4])),
)
EACH = "expected 2, one array (T_i,) for each of x's"
for name in ("mask", "reset"):
    for value, error, message in (
        (np.ones((4, 2), bool), TypeError, f"{name} is a ndarray; {EACH.replace('2', 'a list of 2', 1)}"),
        ([np.ones(2, bool)], ValueError, f"{name} has 1 items; {EACH}"),
        ([np.ones(2, bool)] * 2, ValueError, f"{name}[1] has shape (2,); expected (T_i,) = (4,)"),
        ([np.ones(2, int)] * 2, TypeError, f"{name}[0] has dtype int64; expected booleans ({name}[0] != 0)"),
    ):
        ROWS.add(
            f"a list with {name}: {message}",
            error,
            f"LSTM.forward: {message}",
            lambda w, name=name, value=value: w.both.forward(SEQUENCES, **{name: value}),
        )

# ------------------------------------------------------------------------------------------------ states

H_SHAPE, C_SHAPES = (2 * L, B, P), [(2, B, H), (2, B, H + 1)]
PAIR = f"expected the pair (h, c), (2 * layers, B, P) = {H_SHAPE} and (directions, B, H) = {C_SHAPES}"
for who, name, call in (
    ("LSTM.forward", "state", lambda w, state: w.forward_both(state=state)),
    ("LSTM", "state", lambda w, state: w.both(w.x, state)),
    ("LSTM.backward", "dstate", lambda w, state: w.both.backward(w.both_tape, w.both_dy, state)),
):
    for got, make in (("ndarray", lambda w: w.both_h), ("tuple of 3", lambda w: (w.both_h, *w.both_c))):
        ROWS.add(
            f"{who} {name} a {got}",
            TypeError,
            f"{who}: {name} is a {got}; {PAIR}",
            lambda w, call=call, make=make: call(w, make(w)),
        )
    wrong = [(), (2, B, P), (L, B, P), (2 * L, B, H), (2 * L, P)]
    ROWS.add_shapes(
        who,
        f"{name}[0] (h)",
        wrong,
        f"(2 * layers, B, P) = {H_SHAPE}",
        lambda w, h, call=call: call(w, (h, w.both_c)),
    )
    ROWS.add_shapes(
        who,
        f"{name}[1][1] (c)",
        [(), (B, H + 1), (2, B, H), (2, B + 1, H + 1)],
        f"(directions, B, H) = {C_SHAPES[1]}",
        lambda w, c, call=call: call(w, (w.both_h, [w.both_c[0], c])),
    )
    each = "one array for each layer"
    ROWS.add(
        f"{who} {name} c an array",
        TypeError,
        f"{who}: {name}[1] (c) is a ndarray; expected a list of {L}, {each}",
        lambda w, call=call: call(w, (w.both_h, w.both_c[0])),
    )
    ROWS.add(
        f"{who} {name} c of too few layers",
        ValueError,
        f"{who}: {name}[1] (c) has 1 items; expected {L}, {each}",
        lambda w, call=call: call(w, (w.both_h, w.both_c[:1])),
    )
    ROWS.add(
        f"{who} {name} c of a list",
        TypeError,
        f"{who}: {name}[1][0] (c) is a list; expected a float32 numpy array "
        f"(np.asarray({name}[1][0], dtype=np.float32))",
        lambda w, call=call: call(w, (w.both_h, [w.both_c[0].tolist(), w.both_c[1]])),
    )
ROWS.add_shapes(
    "GRU", "state", [(L, 1, H), (1, H), (L,)], f"(layers, H) = {(L, H)}", lambda w, h: w.gru(w.x[:, 0].copy(), h)
)

# --------------------------------------------------------------------------------------------- gradients

ROWS.add_shapes(
    "LSTM.backward",
    "dy",
    [(), (T, B, P), (B, T, 2 * P), (T - 1, B, 2 * P), (T * B, 2 * P)],
    f"(T, B, 2 * P) = {(T, B, 2 * P)}",
    lambda w, dy: w.both.backward(w.both_tape, dy),
)
ROWS.add_shapes(
    "GRU.backward",
    "dy",
    [(), (T, 1, H), (H,), (T, H - 1)],
    f"(T, H) = {(T, H)}",
    lambda w, dy: w.gru.backward(w.gru.forward(w.x[:, 0].copy())[2], dy),
)


def listed(w, dy):
    return w.gru.backward(w.gru.forward(SEQUENCES)[2], dy)


ROWS.add_shapes(
    "GRU.backward", "dy[1]", [(), (2, H), (4, I)], f"(T_i, H) = {(4, H)}", lambda w, dy: listed(w, [floats(2, H), dy])
)
ROWS.add(
    "an array as the gradient of lists",
    TypeError,
    "GRU.backward: dy is a ndarray; expected a list of 2, one array for each of x's",
    lambda w: listed(w, floats(4, 2, H)),
)
ROWS.add(
    "a gradient of too many lists",
    ValueError,
    "GRU.backward: dy has 3 items; expected 2, one array for each of x's",
    lambda w: listed(w, [floats(2, H)] * 3),
)


@each_of(ROWS)
def test_message_and_that_nothing_changed(row):
    assert_fails_cleanly(row)
