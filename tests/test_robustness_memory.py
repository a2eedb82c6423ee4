"""What memory held before and what lies beyond an array reach no result, and no later call changes one."""

import gc
import hashlib
import json
import sys

import numpy as np
import pytest
from calls import CALLS, B, H, I, L, T, every_call, integers, train
from fresh import linux_only, output
from guards import guarded_copy
from runs import floats
from tolerance import assert_same_arrays

import fastrnn
from fastrnn._core import memory

# -------------------------------------------------------------------------------------------- fully written


def users_of_empty():
    """Every module that takes its buffers from `memory.empty`."""
    found = [m for name, m in sys.modules.items() if name.startswith("fastrnn.") and hasattr(m, "empty")]
    assert {"fastrnn._core.memory", "fastrnn._core.loop"} <= {m.__name__ for m in found}
    return found


@every_call
def test_results_do_not_depend_on_what_memory_held_before(name, monkeypatch):
    arrays, function = CALLS[name]
    results = []
    for content in (0.0, np.nan, 1e30):
        with monkeypatch.context() as patch:

            def filled(shape, dtype=np.float32, *, content=content):
                return np.full(shape, content, dtype)

            for user in users_of_empty():
                patch.setattr(user, "empty", filled)
            results.append(function(**arrays))
    for others in results[1:]:
        assert_same_arrays(others, results[0])
    assert_same_arrays(results[0], function(**arrays))


def print_results():
    """A digest of every call's results."""
    digests = {}
    for name, (arrays, function) in CALLS.items():
        results = b"".join(array.tobytes() for array in function(**arrays))
        digests[name] = hashlib.sha256(results).hexdigest()
    print(json.dumps(digests))


@pytest.mark.skipif(sys.platform != "linux", reason="the variable is glibc's")
def test_results_do_not_depend_on_what_malloc_returns():
    """glibc fills new blocks and freed ones with a byte that depends on MALLOC_PERTURB_."""
    script = "import test_robustness_memory as t; t.print_results()"
    results = [json.loads(output(script, MALLOC_PERTURB_=value)) for value in ("0", "1", "128")]
    assert results[0].keys() == CALLS.keys()
    assert results[1] == results[2] == results[0]


@pytest.mark.parametrize("size", [4, 64])
def test_results_stay_when_later_calls_reuse_memory(size):
    """Freed buffers are handed out again, but nothing that anybody still sees."""
    layer, head = fastrnn.LSTM(size, size, 2, seed=0), fastrnn.Linear(size, 70, seed=1)

    def step(seed):
        x = floats(20, 8, size, seed=seed)
        y, state, tape = layer.forward(x)
        inferred, final = layer(x)
        logits, head_tape = head.forward(y)
        _, dlogits = fastrnn.softmax_cross_entropy(logits, integers(70, 20, 8))
        dy = head.backward(head_tape, dlogits)
        dx, dstate = layer.backward(tape, dy)
        return [y[3:5], *state, inferred[::2], *final, logits, dlogits, dy, dx[1:, 1:], *dstate]

    kept = step(0)
    before = [array.copy() for array in kept]
    for seed in range(1, 6):
        step(seed)
        gc.collect()
    assert_same_arrays(kept, before)


def test_arrays_outlive_their_layer():
    layer = fastrnn.GRU(64, 64, seed=0)
    y, tape_y = layer(floats(9, 8, 64))[0], layer.forward(floats(9, 8, 64))[0]
    before = [y.copy(), tape_y.copy()]
    del layer
    gc.collect()
    other = fastrnn.GRU(64, 64, seed=1)
    for _ in range(3):
        other(floats(9, 8, 64))
    assert_same_arrays([y, tape_y], before)


# ------------------------------------------------------------------------------------------- memory over time


def train_holding_results(layer, x, dy, repeats):
    """Training steps that let go of y when the next one is there, as loops do."""
    for _ in range(repeats):
        results = layer.forward(x)
        layer.backward(results[2], dy)


def print_page_faults():
    """Of twenty training steps once they have found their memory."""
    import resource  # Unix only

    layer, x, dy = fastrnn.RNN(64, 256, seed=0), floats(20, 100, 64), floats(20, 100, 256)
    faults = []
    for repeats in (5, 20):
        train_holding_results(layer, x, dy, repeats)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    print(faults[1] - faults[0])


@linux_only
def test_a_training_loop_keeps_its_memory():
    """Each of its arrays is of some 500 pages: one that came back new would fault on all of them, every step."""
    assert int(output("import test_robustness_memory as t; t.print_page_faults()")) < 500


def print_growth():
    """Peak memory after one round of changing shapes and after ten, and what waits for the next call; in bytes."""
    import resource

    layers = [getattr(fastrnn, cell)(64, 256, seed=0) for cell in ("LSTM", "GRU", "RNN")]
    peaks = []
    for rounds in (1, 9):
        for layer in layers * rounds:
            for i in range(12):
                shape = (5 + 7 * i % 60, 1 + 11 * i % 40)
                train_holding_results(layer, floats(*shape, 64), floats(*shape, 256), 2)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    print(json.dumps([*peaks, memory.kept()]))


@linux_only
def test_changing_shapes_do_not_grow():
    first, last, kept = json.loads(output("import test_robustness_memory as t; t.print_growth()"))
    largest = 4 * 66 * 40 * (4 * 256 + 3 * 256 + 64 + 64)  # floats of gates, h, c, y, x, dx of the largest step
    assert last - first < 2 * largest  # ten rounds without reuse would take a hundred times that
    assert kept < 2 * largest


# ---------------------------------------------------------------------------------------------- guard pages


def read_to_the_edge():
    """Every call on arrays flush with a guard page, for the sizes around the vectors and register tiles."""
    for at_end in (True, False):

        def flush(*shape, at_end=at_end):
            return guarded_copy(floats(*shape), at_end)

        for size in (*range(1, 36), 47, 48, 49, 63, 64, 65):
            for time, batch in ((1, 1), (3, 2), (2, 7)):
                for kind in (fastrnn.LSTM, fastrnn.GRU, fastrnn.RNN):
                    layer = kind(size, size + 2, seed=0)
                    both = kind is fastrnn.LSTM
                    part = flush(1, batch, size + 2)
                    train(
                        layer,
                        flush(time, batch, size),
                        (part, part) if both else part,
                        flush(time, batch, size + 2),
                        (part, part) if both else part,
                    )
                head = fastrnn.Linear(size, size + 1, seed=0)
                _, tape = head.forward(flush(time * batch, size))
                head.backward(tape, flush(time * batch, size + 1))
                targets = guarded_copy(np.full((time, batch), size - 1), at_end)
                fastrnn.softmax_cross_entropy(flush(time, batch, size), targets)
                out = flush(batch, size + 2)
                fastrnn.LSTM(size, size + 2, seed=0).stream(batch).step(flush(batch, size), out)


@linux_only
def test_nothing_is_read_or_written_beyond_an_array():
    output("import test_robustness_memory as t; t.read_to_the_edge()")


# ------------------------------------------------------------------------------ floating-point environment


@every_call
def test_the_processors_rounding_mode_is_kept(name):
    """Subnormal numbers are numbers again after every call, in Python's own arithmetic too."""
    tiny = np.full(64, 1e-40, np.float32)
    arrays, function = CALLS[name]
    function(**arrays)
    assert (tiny * np.float32(1)).all() and 5e-324 * 1.0 > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e-40, 3e38])
def test_one_rows_strange_numbers_stay_in_that_row(value):
    """But for the gradients of the weights, which all rows share."""
    layer, x, dy = fastrnn.LSTM(I, H, L, seed=0), floats(T, B, I), floats(T, B, H)
    spoilt = x.copy()
    spoilt[2, 1, 0] = value
    for rows in (0, 2):
        results = []
        for each in (x, spoilt):
            y, (h, c), tape = layer.forward(each)
            dx, (dh, dc) = layer.backward(tape, dy)
            results.append([a[:, rows].copy() for a in (y, h, c, dx, dh, dc)])
        assert_same_arrays(*results)
    y = layer(spoilt)[0]
    assert np.isnan(y[2:, 1]).all() == np.isnan(value)
    assert np.isfinite(y[:2, 1]).all()
