"""What cannot be set, taken out or written through: attributes, entries of a dict, parameters outside of editing."""

import numpy as np
from error_rows import H, I, L, Rows, V, assert_fails_cleanly, each_of
from runs import floats

import fastrnn
from fastrnn import gradcheck, init
from fastrnn.module import Parameters

ROWS = Rows()
WINDOWS = {"batch_size": 1, "seq_length": 2}


def windows(text=None, targets=None, **sizes):
    return fastrnn.tbptt(np.arange(9) if text is None else text, targets, **{**WINDOWS, **sizes})


# --------------------------------------------------------------------------------------------- attributes

for owner, get, name, current, value in (
    ("LSTM", lambda w: w.lstm, "input_size", I, 7),
    ("LSTM", lambda w: w.lstm, "hidden_size", H, H),
    ("GRU", lambda w: w.gru, "num_layers", L, 1),
    ("GRU", lambda w: w.gru, "bias", True, False),
    ("GRU", lambda w: w.gru, "reset_after", True, False),
    ("RNN", lambda w: w.rnn, "nonlinearity", "tanh", "relu"),
    ("Linear", lambda w: w.head, "in_features", H, 9),
    ("Linear", lambda w: w.head, "out_features", V, 9),
    ("Stream", lambda w: w.stream, "num_threads", 1, 2),
    ("Windows", lambda w: windows(), "batch_size", 1, 3),
    ("Windows", lambda w: windows(), "seq_length", 2, 3),
    ("Windows", lambda w: windows(), "dropped", 0, 3),
):
    message = f"{owner}: {name} is {current!r} and fixed; expected a new {owner} for another"
    ROWS.add(f"{owner} {name} set", AttributeError, message, lambda w, get=get, n=name, v=value: setattr(get(w), n, v))
    ROWS.add(f"{owner} {name} deleted", AttributeError, message, lambda w, get=get, n=name: delattr(get(w), n))
ROWS.add(
    "a layer without its sizes",
    AttributeError,
    "GRU: num_layers is not set yet; expected a value",
    lambda w: fastrnn.GRU.__new__(fastrnn.GRU).num_layers,
)
for name, value, error, expected in (
    ("dropout", 2.0, ValueError, "dropout is 2.0; expected a number in [0, 1)"),
    ("dropout", 1 - 1e-9, ValueError, f"dropout is {1 - 1e-9}, 1 as a float32; expected a number in [0, 1)"),
    ("dropout", "half", TypeError, "dropout is a str; expected a number in [0, 1)"),
    ("dropout", True, TypeError, "dropout is a bool; expected a number in [0, 1)"),
    ("dropout", 10**400, ValueError, "dropout is beyond every float; expected a number in [0, 1)"),
    ("batch_first", "yes", TypeError, "batch_first is 'yes'; expected True or False"),
    ("batch_first", 1, TypeError, "batch_first is 1; expected True or False"),
    ("rng", 3, TypeError, "rng is a int; expected a numpy.random.Generator (np.random.default_rng(0))"),
    ("rng", np.random, TypeError, "rng is a module; expected a numpy.random.Generator (np.random.default_rng(0))"),
    (
        "params",
        {},
        AttributeError,
        "params cannot be replaced; expected `with layer.editing() as params: params.update(...)` or load_state_dict",
    ),
    (
        "grads",
        None,
        AttributeError,
        "grads cannot be replaced; expected layer.grads.update(...), layer.grads[name] = array or zero_grad()",
    ),
    (
        "flat_grads",
        floats(3),
        AttributeError,
        "flat_grads cannot be replaced; expected layer.flat_grads[:] = array or zero_grad()",
    ),
    (
        "weight_ih_l0",
        floats(3),
        AttributeError,
        "weight_ih_l0 is a parameter, not an attribute; expected `with layer.editing() as params: "
        "params['weight_ih_l0'] = array`",
    ),
):
    ROWS.add(f"{name} {value!r:.20}", error, f"LSTM: {expected}", lambda w, n=name, v=value: setattr(w.lstm, n, v))
ROWS.add(
    "bidirectional that is no truth value",
    TypeError,
    "GRU: bidirectional is 'no'; expected True or False",
    lambda w: fastrnn.GRU(3, 4, bidirectional="no"),
)
ROWS.add(
    "proj_size that is no number",
    TypeError,
    "LSTM: proj_size is a str; expected an integer >= 0",
    lambda w: fastrnn.LSTM(3, 4, proj_size="2"),
)
ROWS.add(
    "strict that is no truth value",
    TypeError,
    "GRU.load_state_dict: strict is 0; expected True or False",
    lambda w: w.gru.load_state_dict({}, strict=0),
)
ROWS.add(
    "a stream of a linear layer",
    TypeError,
    "Stream: layer is a Linear; expected an LSTM, a GRU, an RNN or a UGRNN",
    lambda w: fastrnn.Stream(w.head, 2, 1),
)
ROWS.add_sizes("GRU.stream", "batch_size", lambda w, n: fastrnn.Stream(w.gru, n))
ROWS.add_sizes("LSTM.stream", "batch_size", lambda w, n: setattr(w.stream, "batch_size", n))
ROWS.add_sizes("GRU.stream", "num_threads", lambda w, n: fastrnn.Stream(w.gru, 1, n))

# ---------------------------------------------------------------------------------------- entries of a dict


def refused(name):
    return (
        f"Parameters: {name} would take an array from its layer; expected new values instead (params[name] = array, "
        "params.update(...), grads.flat[:] = 0) or a dict that is yours (dict(params))"
    )


for kind, get in (("grads", lambda w: w.head.grads), ("params", lambda w: w.head.params)):
    for name, call in (
        ("pop", lambda d: d.pop("bias")),
        ("pop", lambda d: d.pop("more", None)),
        ("popitem", lambda d: d.popitem()),
        ("clear", lambda d: d.clear()),
        ("__delitem__", lambda d: d.__delitem__("weight")),
    ):
        ROWS.add(f"{kind} {name}", TypeError, refused(name), lambda w, get=get, call=call: call(get(w)))
    for name, call in (
        ("[]", lambda d: d["more"]),
        ("[]=", lambda d: d.__setitem__("more", floats(V))),
        ("setdefault", lambda d: d.setdefault("more", floats(V))),
        ("update", lambda d: d.update(bias=floats(V), more=floats(V))),
        ("|=", lambda d: d.__ior__({"bias": floats(V), "more": floats(V)})),
    ):
        ROWS.add(
            f"{kind} of an unknown name by {name}",
            KeyError,
            "Parameters: there is no 'more'; expected one of weight, bias",
            lambda w, get=get, call=call: call(get(w)),
        )
    for name, call in (
        ("[]=", lambda d, array: d.__setitem__("bias", array)),
        ("update", lambda d, array: d.update({"weight": floats(V, H), "bias": array})),
        ("|=", lambda d, array: d.__ior__([("weight", floats(V, H)), ("bias", array)])),
    ):
        ROWS.add(
            f"{kind} of a wrong shape by {name}",
            ValueError,
            f"Parameters: bias has shape (1, 1); expected the parameter's shape = ({V},)",
            lambda w, get=get, call=call: call(get(w), np.zeros((1, 1), np.float32)),
        )
        ROWS.add(
            f"{kind} of a wrong type by {name}",
            TypeError,
            "Parameters: bias has dtype float64; expected float32, the dtype of the layer "
            "(bias.astype(np.float32))",
            lambda w, get=get, call=call: call(get(w), np.zeros(V)),
        )
    ROWS.add(
        f"{kind} updated by a number",
        TypeError,
        "Parameters: update got (3,) ('int' object is not iterable); expected a mapping of names to arrays",
        lambda w, get=get: get(w).update(3),
    )
    ROWS.add(
        f"{kind}.flat",
        AttributeError,
        "Parameters: flat cannot be replaced; expected new values (params.flat[:] = array)",
        lambda w, get=get: setattr(get(w), "flat", floats(V * H + V)),
    )


ROWS.add(
    "parameters of a wrong shape",
    ValueError,
    f"Parameters: flat has shape (3,); expected (N,) = ({V},)",
    lambda w: Parameters(floats(3), {"bias": (V,)}),
)
ROWS.add(
    "parameters of a negative shape",
    ValueError,
    "Parameters: bias: shape[0] is -1; expected an integer >= 0",
    lambda w: Parameters(floats(3), {"bias": (-1, -3)}),
)
ROWS.add(
    "parameters of no shape",
    TypeError,
    "Parameters: bias: shape is 3; expected a tuple of integers",
    lambda w: Parameters(floats(3), {"bias": 3}),
)

# ------------------------------------------------------------------------------------- outside of editing


def read_only(reason="assignment destination is read-only"):
    return (
        "Parameters: they are read-only outside of editing(); expected the change in a block "
        f"`with layer.editing() as params:` ({reason})"
    )


WRITES = {
    "[]": (lambda a: a.__setitem__(0, 1), None),
    "[...]": (lambda a: a.__setitem__(..., 0), None),
    "a slice's []": (lambda a: a[:1].__setitem__(0, 1), None),
    "+=": (lambda a: a.__iadd__(1), "output array is read-only"),
    "*= of a slice": (lambda a: a[1:].__imul__(2), "output array is read-only"),
    "out=": (lambda a: np.add(a, 1, out=a), "output array is read-only"),
    "out= of another": (lambda a: np.negative(floats(*a.shape), out=a), "output array is read-only"),
    "at": (lambda a: np.add.at(a, 0, 1), "add.at"),
    "copyto": (lambda a: np.copyto(a, 0), None),
    "put": (lambda a: np.put(a, 0, 0), "put: output array is read-only"),
    "clip": (lambda a: np.clip(a, 0, 1, out=a), "output array is read-only"),
    "fill": (lambda a: a.fill(0), None),
    "sort": (lambda a: a.sort(), "sort array is read-only"),
}
for kind, get in (
    ("params", lambda w: w.head.params["weight"]),
    ("flat_params", lambda w: w.head.flat_params),
    ("params.flat", lambda w: w.head.params.flat),
):
    for name, (write, reason) in WRITES.items():
        ROWS.add(
            f"{kind} {name}",
            ValueError,
            read_only() if reason is None else read_only(reason),
            lambda w, get=get, write=write: write(get(w)),
        )
    for name in ("shape", "dtype", "strides", "flat", "real"):
        ROWS.add(
            f"{kind} {name} set",
            ValueError,
            f"Parameters: {name} of an array is fixed; expected `with layer.editing() as params:` for new values, or a "
            "copy for another shape or type (np.array(...))",
            lambda w, get=get, name=name: setattr(get(w), name, getattr(get(w), name)),
        )
for name, write in (
    ("[]=", lambda w: w.head.params.__setitem__("bias", floats(V))),
    ("update", lambda w: w.head.params.update(bias=floats(V))),
    ("|=", lambda w: w.head.params.__ior__({"bias": floats(V)})),
):
    ROWS.add(f"params {name} outside", ValueError, read_only(), write)


def lent_before(w):
    with w.head.editing() as w.lent:
        w.lent_array = w.lent["bias"]
    w.head_tape = w.head.forward(w.rows)[1]


for name, write in (
    ("an entry", lambda w: w.lent["bias"].__setitem__(0, 1)),
    ("an array", lambda w: w.lent_array.__setitem__(0, 1)),
    ("the dict", lambda w: w.lent.update(bias=floats(V))),
    ("the vector", lambda w: w.lent.flat.__setitem__(0, 1)),
):
    ROWS.add(f"after the block by {name}", ValueError, read_only(), write, lent_before)

# ---------------------------------------------------------------------------------------------- optimisers

RULES = (fastrnn.SGD, fastrnn.RMSprop, fastrnn.Adagrad, fastrnn.Adam)
RANGE = "in the range of float32, 1.2e-38 to 3.4e+38"
for rule in RULES:
    who = rule.__name__
    for name in ("lr",) if rule is fastrnn.SGD else ("lr", "eps"):
        expected = f"a finite number {'>= 0' if name == 'lr' else '> 0'}"
        for value, error, got in (
            (np.finfo(float).tiny, ValueError, f"{np.finfo(float).tiny}; expected {expected} {RANGE}"),
            (1e-46, ValueError, f"1e-46; expected {expected} {RANGE}"),
            (1e-39, ValueError, f"1e-39; expected {expected} {RANGE}"),
            (1e39, ValueError, f"1e+39; expected {expected} {RANGE}"),
            (np.inf, ValueError, f"inf; expected {expected}"),
            (-1, ValueError, f"-1.0; expected {expected}"),
            (10**400, ValueError, f"beyond every float; expected {expected}"),
            (np.array([0.1]), TypeError, f"a ndarray; expected {expected}"),
            (np.True_, TypeError, f"a bool; expected {expected}"),
            (np.array(True), TypeError, f"a ndarray; expected {expected}"),
            (1j, TypeError, f"a complex; expected {expected}"),
            (np.complex64(1), TypeError, f"a complex64; expected {expected}"),
        ):
            ROWS.add(
                f"{who} {name} {value}",
                error,
                f"{who}: {name} is {got}",
                lambda w, rule=rule, name=name, value=value: rule(w.head, **{name: value}),
            )
            ROWS.add(
                f"{who} {name} {value} set",
                error,
                f"{who}: {name} is {got}",
                lambda w, rule=rule, name=name, value=value: setattr(rule(w.head), name, value),
            )
            ROWS.add(
                f"{who} {name} {value} loaded",
                error,
                f"{who}.load_state_dict: {name} is {got}",
                lambda w, rule=rule, name=name, value=value: (o := rule(w.head)).load_state_dict(
                    {**o.state_dict(), name: value}
                ),
            )
for change in (
    lambda w: fastrnn.Adam(w.head, lr=3e38),
    lambda w: fastrnn.Adam(w.head, lr=3e38, betas=(0.9, 0.99)),
    lambda w: setattr(fastrnn.Adam(w.head), "lr", 3e38),
):
    ROWS.add(
        "Adam lr that its correction makes infinite",
        ValueError,
        "Adam: lr is 3e+38 and beta1 0.9; expected lr / (1 - beta1) in the range of float32, up to 3.4e+38",
        change,
    )
for value in (0.9, (0.9,), "ab", np.zeros(3), {0.9, 0.99}):
    ROWS.add(
        f"Adam betas {value!r}",
        TypeError,
        f"Adam: betas is {value!r}; expected a pair of numbers in [0, 1)",
        lambda w, value=value: setattr(fastrnn.Adam(w.head), "betas", value),
    )
ROWS.add(
    "SGD momentum set",
    ValueError,
    "SGD: momentum is 1.0; expected a number in [0, 1)",
    lambda w: setattr(fastrnn.SGD(w.head), "momentum", 1.0),
)
ROWS.add(
    "momentum without its buffers",
    KeyError,
    "SGD.load_state_dict: missing ['momentum_buffer.0'], unexpected []; expected ['lr', 'momentum', 'step', "
    "'momentum_buffer.0']",
    lambda w: fastrnn.SGD(w.head).load_state_dict({"lr": 0.1, "momentum": 0.9, "step": 3}),
)
ROWS.add(
    "buffers without momentum",
    KeyError,
    "SGD.load_state_dict: missing [], unexpected ['momentum_buffer.0']; expected ['lr', 'momentum', 'step']",
    lambda w: fastrnn.SGD(w.head, momentum=0.9).load_state_dict(
        {**fastrnn.SGD(w.head, momentum=0.9).state_dict(), "momentum": 0.0}
    ),
)
ROWS.add(
    "a step beyond counting",
    ValueError,
    f"SGD.load_state_dict: step is {2**63 - 1}; expected an integer in 0..{2**53}",
    lambda w: fastrnn.SGD(w.head).load_state_dict({"lr": 0.1, "momentum": 0.0, "step": 2**63 - 1}),
)
ROWS.add(
    "an optimiser's state that is no mapping",
    TypeError,
    "Adam.load_state_dict: state is a list; expected a dict",
    lambda w: fastrnn.Adam(w.head).load_state_dict([]),
)
ROWS.add(
    "an optimiser of nothing",
    ValueError,
    "Adam: modules is empty; expected at least one layer",
    lambda w: fastrnn.Adam([]),
)
ROWS.add(
    "an optimiser of a dict",
    TypeError,
    "SGD: modules has a dict; expected a layer or a list of layers ([lstm, head])",
    lambda w: fastrnn.SGD({"head": w.head}),
)
ROWS.add(
    "an optimiser of one layer twice",
    ValueError,
    "SGD: modules[1] is also modules[0]; expected each layer once",
    lambda w: fastrnn.SGD([w.head, w.head]),
)


def reshape_gradients(w):
    w.other = fastrnn.Linear(H, V, seed=9)
    w.optimizer = fastrnn.SGD([w.head, w.other])
    w.other.flat_grads.shape = (1, -1)


ROWS.add(
    "gradients of another shape",
    RuntimeError,
    f"SGD.step: flat_grads of modules[1] is float32 {(1, V * H + V)}; expected a writable, contiguous float32 "
    f"{(V * H + V,)}",
    lambda w: w.optimizer.step(),
    reshape_gradients,
)

# ------------------------------------------------------------------------------------------------ clipping

CLIPS = (("clip_grad_norm_", "max_norm"), ("clip_grad_value_", "limit"))
for who, name in CLIPS:
    clip = getattr(fastrnn, who)
    for value, error, got in (
        (0, ValueError, "0.0; expected a number > 0"),
        (np.nan, ValueError, "nan; expected a number > 0"),
        (1e-46, ValueError, f"1e-46; expected a number > 0 {RANGE}"),
        ("5", TypeError, "a str; expected a number > 0"),
        (False, TypeError, "a bool; expected a number > 0"),
    ):
        ROWS.add(
            f"{who} {name} {value}",
            error,
            f"{who}: {name} is {got}",
            lambda w, clip=clip, value=value: clip(w.head.grads, value),
        )
    for got, make, second, first in (
        ("a dict of the same arrays", lambda w: [w.head.grads, dict(w.head.grads)], "grads[0]", "grads[1]['weight']"),
        (
            "the vector and its views",
            lambda w: [{"flat": w.head.flat_grads}, dict(w.head.grads)],
            "grads[0]['flat']",
            "grads[1]['weight']",
        ),
        (
            "an array twice",
            lambda w: {"a": w.head.flat_grads, "b": w.head.flat_grads},
            "grads[0]['b']",
            "grads[0]['a']",
        ),
        (
            "overlapping slices",
            lambda w: {"a": w.head.flat_grads[:9], "b": w.head.flat_grads[20:2:-3]},
            "grads[0]['b']",
            "grads[0]['a']",
        ),
    ):
        ROWS.add(
            f"{who} {got}",
            ValueError,
            f"{who}: {second} shares memory with {first}; expected every gradient once",
            lambda w, clip=clip, make=make: clip(make(w), 0.1),
        )
    ROWS.add(
        f"{who} one dict twice",
        ValueError,
        f"{who}: grads[1] comes twice; expected distinct dicts",
        lambda w, clip=clip: clip([w.head.grads, w.head.grads], 0.1),
    )
    ROWS.add(
        f"{who} an array over itself",
        ValueError,
        f"{who}: grads[0]['w'] has several elements in one place; expected every gradient once",
        lambda w, clip=clip: clip({"w": np.lib.stride_tricks.as_strided(w.out, (9,), (0,))}, 0.1),
    )
    ROWS.add(
        f"{who} integers",
        TypeError,
        f"{who}: w is of type int64; expected an array of floats",
        lambda w, clip=clip: clip({"w": np.zeros(3, np.int64)}, 0.1),
    )
    ROWS.add(
        f"{who} parameters",
        ValueError,
        f"{who}: flat is read-only; expected a writable array",
        lambda w, clip=clip: clip(w.head.params, 0.1),
    )
    ROWS.add(
        f"{who} no dicts",
        TypeError,
        f"{who}: grads is a ndarray; expected a layer's grads or a list of such ([lstm.grads, head.grads])",
        lambda w, clip=clip: clip(w.head.flat_grads, 0.1),
    )

# ------------------------------------------------------------------------------------------------- windows


class Unreadable:
    """Like a tensor of another library that NumPy cannot read."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("on another device")


for who, name, call in (
    ("streams", "sequence", lambda items: fastrnn.streams(items, 1)),
    ("tbptt", "inputs", windows),
    ("tbptt", "targets", lambda items: windows(None, items)),
):
    for got, items, error, message in (
        ("scalar", 3, ValueError, "has shape (); expected (N, ...)"),
        ("strings", ["a", "b"], TypeError, "has dtype <U1; expected integers or floats"),
        (
            "unreadable",
            Unreadable(),
            TypeError,
            "is a Unreadable that cannot be read as an array (on another device); expected an array of integers or "
            "floats",
        ),
    ):
        ROWS.add(f"{who} {name} {got}", error, f"{who}: {name} {message}", lambda w, c=call, items=items: c(items))
ROWS.add(
    "streams too short",
    ValueError,
    "streams: sequence has length 3; expected at least batch_size=4",
    lambda w: fastrnn.streams(np.zeros(3), 4),
)
ROWS.add(
    "tbptt too short",
    ValueError,
    "tbptt: inputs has length 2; expected at least batch_size * seq_length + 1 = 3 (batch_size=1, seq_length=2)",
    lambda w: windows(np.arange(2)),
)
ROWS.add(
    "tbptt of different lengths",
    ValueError,
    "tbptt: targets has length 8; expected 9 as inputs",
    lambda w: windows(None, np.arange(8)),
)
for value, error, got in ((-1, ValueError, "-1"), (2.0, TypeError, "a float"), (True, ValueError, "True")):
    ROWS.add(
        f"position {value}",
        error,
        f"tbptt: position is {got}; expected an integer in 0..4",
        lambda w, value=value: setattr(windows(), "position", value),
    )

# ------------------------------------------------------------------------------ initial values, gradients

RNG = np.random.default_rng(0)
for who, call, error, message in (
    ("default", lambda: init.default("lstm", "weight_ih_l0", (4, 4), RNG), ValueError,
     "cell_name is 'lstm'; expected one of LSTM, GRU, RNN, UGRNN"),
    ("default", lambda: init.default([], "weight_ih_l0", (4, 4), RNG), ValueError,
     "cell_name is []; expected one of LSTM, GRU, RNN, UGRNN"),
    ("default", lambda: init.default("RNN", 3, (4, 4), RNG), ValueError,
     "parameter_name is 3; expected weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 or of a higher layer"),
    ("orthogonal", lambda: init.orthogonal((4,), RNG), ValueError,
     "shape is (4,); expected (rows, columns), each at least 1"),
    ("orthogonal", lambda: init.orthogonal((4, 4), RNG, 3), ValueError,
     "shape is (4, 4); expected rows in 3 equal blocks"),
    ("orthogonal", lambda: init.orthogonal((4, 4), RNG, "2"), TypeError,
     "gates is a str; expected an integer >= 1"),
    ("orthogonal", lambda: init.orthogonal((4, 4), 7), TypeError,
     "rng is a int; expected a numpy.random.Generator (np.random.default_rng(0))"),
    ("glorot_uniform", lambda: init.glorot_uniform("44", RNG), TypeError,
     "shape is '44'; expected a tuple of integers"),
    ("uniform", lambda: init.uniform((2.5,), RNG, 1), TypeError, "shape[0] is a float; expected an integer >= 0"),
    ("uniform", lambda: init.uniform((2,), RNG, 1e39), ValueError,
     f"limit is 1e+39; expected a finite number > 0 {RANGE}"),
    ("uniform", lambda: init.uniform((2,), RNG, None), TypeError,
     "limit is a NoneType; expected a finite number > 0"),
    ("zeros", lambda: init.zeros((2**31 - 1,) * 3), ValueError,
     f"{(2**31 - 1) ** 3} parameters; expected what fits in memory"),
    ("zeros", lambda: init.zeros((2,), 7), TypeError,
     "rng is a int; expected a numpy.random.Generator (np.random.default_rng(0))"),
):  # fmt: skip
    ROWS.add(f"{who} {message}", error, f"init.{who}: {message}", lambda w, call=call: call())

for who, call, error, message in (
    ("complex_step", lambda: gradcheck.complex_step(3, [floats(2)]), TypeError,
     "function is a int; expected a callable of the arrays"),
    ("complex_step", lambda: gradcheck.complex_step(np.sum, floats(2)), TypeError,
     "arrays is a ndarray; expected a list of arrays ([array])"),
    ("central_difference", lambda: gradcheck.central_difference(np.sum, [np.zeros(2, complex)]), TypeError,
     "arrays[0] has dtype complex128; expected real numbers"),
    ("central_difference", lambda: gradcheck.central_difference(np.sum, [floats(2)], 0), ValueError,
     "step is 0.0; expected a finite number > 0"),
    ("central_difference", lambda: gradcheck.central_difference(np.sin, [floats(2)]), ValueError,
     "function returned an array of shape (2,); expected a number"),
    ("by_parameters", lambda: gradcheck.by_parameters(3, fastrnn.RNN(1, 1)), TypeError,
     "function is a int; expected a callable without arguments (lambda: np.vdot(layer(x)[0], dy))"),
    ("by_parameters", lambda: gradcheck.by_parameters(len, {}), TypeError,
     "layer is a dict; expected a layer with parameters"),
):  # fmt: skip
    ROWS.add(f"{who} {message}", error, f"gradcheck.{who}: {message}", lambda w, call=call: call())


@each_of(ROWS)
def test_message_and_that_nothing_changed(row):
    assert_fails_cleanly(row)
