"""No call kills the process: an impossible size or array ends in an exception.

All calls run in a process of its own, under a limit on its memory; by hand, in this folder:
`python -c "import test_robustness_crashes as t; t.run()"`.
"""

import json

import numpy as np
import pytest
from calls import B, H, I, L, T, V, integers
from fresh import linux_only, python
from runs import floats

import fastrnn

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
}


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
