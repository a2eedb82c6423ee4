"""Bad sizes, options and weights: a layer or a stream is not made, and nothing is loaded."""

import numpy as np
from error_rows import L, Rows, World, assert_fails_cleanly, each_of

import fastrnn
from fastrnn import init

ROWS = Rows()

# ------------------------------------------------------------------------------------------- construction

ROWS.add_sizes("LSTM", "input_size", lambda w, n: fastrnn.LSTM(n, 4))
ROWS.add_sizes("GRU", "hidden_size", lambda w, n: fastrnn.GRU(3, n))
ROWS.add_sizes("UGRNN", "num_layers", lambda w, n: fastrnn.UGRNN(3, 4, n), 10_000)
ROWS.add_sizes("Linear", "in_features", lambda w, n: fastrnn.Linear(n, 4))
ROWS.add_sizes("Linear", "out_features", lambda w, n: fastrnn.Linear(4, n))
ROWS.add_sizes("RNN.stream", "batch_size", lambda w, n: fastrnn.RNN(3, 4, seed=0).stream(n))
ROWS.add_sizes("RNN.stream", "num_threads", lambda w, n: fastrnn.RNN(3, 4, seed=0).stream(num_threads=n))
ROWS.add_sizes("set_num_threads", "n", lambda w, n: fastrnn.set_num_threads(n))

ROWS.add(
    "too many parameters",
    ValueError,
    f"Linear: {(2**31 - 1) ** 2 + 2**31 - 1} parameters; expected what fits in memory",
    lambda w: fastrnn.Linear(2**31 - 1, 2**31 - 1),
)
ROWS.add(
    "init not callable",
    TypeError,
    "GRU: init is a int; expected a callable (name, shape, rng)",
    lambda w: fastrnn.GRU(3, 4, init=3),
)
for value in ("float16", "single precision", np.float16, ">f8", int, None, 64):
    ROWS.add(
        f"dtype {value}",
        ValueError,
        f"init.zeros: dtype is {value!r}; expected 'float32' or 'float64'",
        lambda w, value=value: init.zeros((2,), dtype=value),
    )
for value in (1, 1.5, -0.1, float("nan")):
    ROWS.add(
        f"dropout {value}",
        ValueError,
        f"LSTM: dropout is {value}; expected a number in [0, 1)",
        lambda w, value=value: fastrnn.LSTM(3, 4, dropout=value),
    )
for value in (True, "half", None):
    ROWS.add(
        f"dropout {value}",
        TypeError,
        f"GRU: dropout is a {type(value).__name__}; expected a number in [0, 1)",
        lambda w, value=value: fastrnn.GRU(3, 4, dropout=value),
    )
ROWS.add(
    "nonlinearity",
    ValueError,
    "RNN: nonlinearity is 'gelu'; expected one of tanh, relu, sigmoid",
    lambda w: fastrnn.RNN(3, 4, nonlinearity="gelu"),
)
for who, name, make in (
    ("LSTM", "bias", lambda v: fastrnn.LSTM(3, 4, bias=v)),
    ("UGRNN", "batch_first", lambda v: fastrnn.UGRNN(3, 4, batch_first=v)),
    ("GRU", "reset_after", lambda v: fastrnn.GRU(3, 4, reset_after=v)),
    ("Linear", "bias", lambda v: fastrnn.Linear(3, 4, bias=v)),
):
    for value in ("no", None, 1):
        ROWS.add(
            f"{who} {name} {value}",
            TypeError,
            f"{who}: {name} is {value!r}; expected True or False",
            lambda w, make=make, value=value: make(value),
        )
for who, make in (("RNN", lambda v: fastrnn.RNN(3, 4, seed=v)), ("Linear", lambda v: fastrnn.Linear(3, 4, seed=v))):
    for value, error, got in (
        (-1, ValueError, "-1"),
        (1.5, TypeError, "a float"),
        ("seed", TypeError, "a str"),
        (True, ValueError, "True"),
        ([1, 2.5], TypeError, "a float"),
        (np.ones((1, 1)).view(np.matrix), TypeError, "a ndarray"),
    ):
        ROWS.add(
            f"{who} seed {value}",
            error,
            f"{who}: seed is {got}; expected a non-negative integer, a numpy.random.SeedSequence or None",
            lambda w, make=make, value=value: make(value),
        )
ROWS.add(
    "init of a wrong shape",
    ValueError,
    "LSTM: init('weight_ih_l0', ...) has shape (3,); expected weight_ih_l0 = (16, 3)",
    lambda w: fastrnn.LSTM(3, 4, init=lambda name, shape, rng: np.zeros(3, np.float32)),
)
ROWS.add(
    "init of a wrong dtype",
    TypeError,
    "Linear: init('weight', ...) has dtype float64; expected float32, the dtype of the layer "
    "(init('weight', ...).astype(np.float32))",
    lambda w: fastrnn.Linear(3, 4, init=lambda name, shape, rng: np.zeros(shape)),
)

# ------------------------------------------------------------------------------------------------ loading


def load_rows(who, module, strict_names, view, other):
    """`view` is the name of a parameter to spoil, `other` of one to leave out."""

    def changed(w, **changes):
        given = {**module(w).state_dict(), **changes}
        return {name: value for name, value in given.items() if value is not None}

    shape = module(World()).params[view].shape
    ROWS.add(
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
        ROWS.add(
            f"{who} {name}",
            KeyError,
            f"{who}: missing {missing}, unexpected {unexpected}; expected exactly {strict_names} "
            "(strict=False ignores the difference)",
            lambda w, changes=changes: module(w).load_state_dict(changed(w, **changes)),
        )
    ROWS.add(
        f"{who} names that are no names",
        KeyError,
        f"{who}: missing nothing, unexpected ['more', (), 3]; expected exactly {strict_names} "
        "(strict=False ignores the difference)",
        lambda w: module(w).load_state_dict({**changed(w), 3: 0, "more": 0, (): 0}),
    )
    for wrong in ((), (shape[0],), (*shape, 1), shape[::-1], (0, shape[1]), (shape[0] + 1, shape[1])):
        ROWS.add(
            f"{who} {wrong}",
            ValueError,
            f"{who}: {view} has shape {wrong}; expected {shape}",
            lambda w, wrong=wrong: module(w).load_state_dict(changed(w, **{view: np.zeros(wrong, np.float32)})),
        )
    for bad in (np.nan, np.inf, -np.inf):
        ROWS.add(
            f"{who} {bad}",
            ValueError,
            f"{who}: {view} holds NaN or infinity; expected finite values",
            lambda w, bad=bad: module(w).load_state_dict(changed(w, **{view: np.full(shape, bad, np.float32)})),
        )
    listed = np.zeros(shape).tolist()
    for value in (np.zeros(shape), np.zeros(shape, ">f4"), np.zeros(shape, object), listed):
        dtype = np.asarray(value).dtype
        mend = f"{view}.astype(np.float32)" if value is not listed else f"np.asarray({view}, dtype=np.float32)"
        ROWS.add(
            f"{who} {type(value).__name__} {dtype}",
            TypeError,
            f"{who}: {view} has dtype {dtype}; expected float32, the dtype of the layer ({mend})",
            lambda w, value=value: module(w).load_state_dict(changed(w, **{view: value})),
        )


GRU_NAMES = sorted(f"{kind}_l{i}" for i in range(L) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
load_rows("GRU.load_state_dict", lambda w: w.gru, GRU_NAMES, "weight_hh_l1", "bias_ih_l0")
load_rows("Linear.load_state_dict", lambda w: w.head, ["bias", "weight"], "weight", "bias")
ROWS.add(
    "blend",
    ValueError,
    "GRU.load_state_dict: blend is 'keras'; expected one of torch, cho",
    lambda w: w.gru.load_state_dict(w.gru.state_dict(), blend="keras"),
)


@each_of(ROWS)
def test_message_and_that_nothing_changed(row):
    assert_fails_cleanly(row)
