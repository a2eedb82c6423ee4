"""No call kills the process: an impossible size or array ends in an exception.

All calls run in a process of its own, under a limit on its memory; by hand, in this folder:
`python -c "import test_robustness_crashes as t; t.run()"`.
"""

import json
from functools import partial

import numpy as np
import pytest
from calls import CALLS, B, H, I, L, T, V, integers
from fresh import linux_only, python
from runs import floats

import fastrnn
from fastrnn.module import Parameters

GIB = 1 << 30


def huge(*shape, dtype=np.float32):
    """An array of any size in one item's memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def lstm(**options):
    return fastrnn.LSTM(I, H, L, seed=0, **options)


def state(*shape):
    return (np.zeros(shape, np.float32),) * 2


def replace_gradient(value):
    layer = fastrnn.LSTM(40, 50, seed=0)
    y, _, tape = layer.forward(floats(20, B, 40))
    layer.grads["weight_ih_l0"] = value
    layer.backward(tape, y)


def liar(truth, claim):
    """An array of a subclass that says it were another one, in every way that Python can ask."""
    names = ("shape", "dtype", "ndim", "size", "strides", "flags", "nbytes", "itemsize", "__array_interface__", "base")
    lies = {name: property(lambda self, name=name: getattr(claim, name)) for name in names}
    methods = ("reshape", "astype", "copy", "ravel", "view", "swapaxes", "max", "min")
    lies |= {name: lambda self, *args, name=name, **options: getattr(claim, name)(*args, **options) for name in methods}
    lies |= {"__len__": lambda self: len(claim), "__getitem__": lambda self, index: claim[index]}
    lies |= {"__array__": lambda self, *args, **options: claim}
    return truth.view(type("Liar", (np.ndarray,), lies))


def one_number(claim):
    return liar(np.ones(1, claim.dtype), claim)


def lying_about_order(claim):
    """Right in everything but that its memory is said to be contiguous, and is not, or writable."""
    wide = np.zeros((*claim.shape[:-1], 2 * claim.shape[-1]), claim.dtype)[..., ::2]
    wide[...] = claim
    return liar(wide, claim)


def called(name, **replaced):
    arrays, function = CALLS[name]
    function(**{**arrays, **replaced})


def unpickled(module, **changes):
    twin = type(module).__new__(type(module))
    twin.__setstate__({**module.__getstate__(), **changes})
    y, *_, tape = twin.forward(np.zeros((2, B, I), np.float32))
    twin.backward(tape, y)


def linear(**entries):
    """A backward of a linear layer whose dict of gradients has been tampered with past its own methods."""
    head = fastrnn.Linear(I, V, seed=0)
    dict.update(head.grads, entries)
    y, tape = head.forward(floats(T, I))
    head.backward(tape, y)


def reshaped():
    layer = fastrnn.LSTM(I, H, seed=0)
    for array in (layer.flat_grads, *layer.grads.values()):
        array.shape = (array.size,)
    with layer.editing() as params:
        params["weight_hh_l0"].shape = (-1,)
    y, _, tape = layer.forward(floats(T, B, I))
    layer.backward(tape, y)


HEAD = fastrnn.Linear(I, V, seed=0)
ONE = np.zeros((1, 1), np.float32)

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
    "issue 18: gradients by |=": (lambda: HEAD.grads.__ior__({"weight": ONE}), ValueError),
    "issue 18: gradients by setdefault": (lambda: HEAD.grads.setdefault("more", ONE), KeyError),
    "issue 18: gradients by pop": (lambda: HEAD.grads.pop("weight"), TypeError),
    "issue 18: other gradients": (lambda: setattr(HEAD, "grads", {"weight": ONE}), AttributeError),
    "gradients past the dict's methods": (lambda: linear(weight=ONE, bias=None), None),
    "gradients and parameters of other shapes": (reshaped, None),
    "a step into an array that says it is contiguous": (
        lambda: lstm().stream(B).step(floats(B, I), lying_about_order(floats(B, H))),
        ValueError,
    ),
    "a step into one number": (lambda: lstm().stream(B).step(floats(B, I), one_number(floats(B, H))), ValueError),
    "clipping one number that says it is many": (
        lambda: fastrnn.clip_grad_norm_({"w": one_number(floats(10**6))}, 1e-3),
        None,
    ),
    "an unpickled layer of more units": (lambda: unpickled(lstm(), hidden_size=10**5), ValueError),
    "an unpickled layer of 2^31 units": (lambda: unpickled(lstm(), hidden_size=2**31 - 1), ValueError),
    "an unpickled layer of -1 units": (lambda: unpickled(lstm(), hidden_size=-1), ValueError),
    "an unpickled layer of more layers": (lambda: unpickled(lstm(), num_layers=9), ValueError),
    "an unpickled layer without biases": (lambda: unpickled(lstm(), bias=False), ValueError),
    "an unpickled layer of no rule": (lambda: unpickled(fastrnn.RNN(I, H), nonlinearity="x"), ValueError),
    "an unpickled layer that drops all": (lambda: unpickled(lstm(), dropout=1.0), ValueError),
    "an unpickled layer of few weights": (lambda: unpickled(lstm(), flat_params=floats(3)), ValueError),
    "an unpickled layer of no weights": (lambda: unpickled(lstm(), flat_params=None), TypeError),
    "an unpickled layer of few gradients": (lambda: unpickled(lstm(), flat_grads=floats(3)), ValueError),
    "an unpickled layer of lying gradients": (
        lambda: unpickled(lstm(), flat_grads=one_number(lstm().flat_grads)),
        ValueError,
    ),
    "an unpickled linear layer of more outputs": (lambda: unpickled(HEAD, out_features=10**5), ValueError),
    "an unpickled stream of 2^31 rows": (
        lambda: (s := lstm().stream(B)).__setstate__({**s.__getstate__(), "batch_size": 2**31}),
        (ValueError, AttributeError),
    ),
    "parameters beyond their vector": (lambda: Parameters(floats(3), {"w": (10**6,)}), ValueError),
    "parameters of a negative size": (lambda: Parameters(floats(6), {"w": (-2, -3)}), ValueError),
    "an unpickled optimiser of few numbers": (
        lambda: fastrnn.Adam(HEAD).__setstate__({**vars(fastrnn.Adam(HEAD)), "_buffers": [{"exp_avg": floats(1)}]}),
        (KeyError, ValueError),
    ),
}
READ_BY_THE_TEST = {("stream", "x"), ("index stream", "ids")}  # row by row
for _name, (_arrays, _) in CALLS.items():
    for _key, _array in _arrays.items():
        # What NumPy itself makes of the array decides, not what the array says.
        DANGEROUS[f"{_name}: one number that says it is {_key}"] = (
            partial(called, _name, **{_key: one_number(_array)}),
            (ValueError, TypeError) if (_name, _key) not in READ_BY_THE_TEST and _name != "edit" else None,
        )
        DANGEROUS[f"{_name}: {_key} that says it is contiguous"] = (
            partial(called, _name, **{_key: lying_about_order(_array)}),
            None,
        )


def run():
    """Print what becomes of each case, a JSON list [name, outcome] a line."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (8 * GIB, 8 * GIB))
    for name, (function, _) in DANGEROUS.items():
        print(json.dumps([name, "died"]), flush=True)
        try:
            function()
            outcome = "nothing"
        except Exception as error:
            outcome = type(error).__mro__[0].__name__
            if isinstance(error, MemoryError):
                outcome = "MemoryError"
        print(json.dumps([name, outcome]), flush=True)


@pytest.fixture(scope="module")
def outcomes():
    """The outcome of each case by its name, and what the process complained of."""
    result = python("import test_robustness_crashes as t; t.run()")
    return dict(json.loads(line) for line in result.stdout.splitlines()), result.stderr


@linux_only
@pytest.mark.parametrize("name", DANGEROUS)
def test_dangerous_call_ends_in_an_exception(outcomes, name):
    results, stderr = outcomes
    expected = DANGEROUS[name][1]
    expected = expected if isinstance(expected, tuple) else (expected,)
    names = [error.__name__ if error else "nothing" for error in expected]
    assert results, stderr
    assert results.get(name, "not reached, an earlier case died") in names, stderr
