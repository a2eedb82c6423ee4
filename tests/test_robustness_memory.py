"""What memory held before and what lies beyond an array reach no result, and no later call changes one."""

import gc
import hashlib
import json
import sys
from pathlib import Path

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
    assert {"fastrnn._core.memory", "fastrnn._core.tape"} <= {m.__name__ for m in found}
    return found


@every_call
def test_results_do_not_depend_on_what_memory_held_before(name, monkeypatch):
    arrays, function = CALLS[name]
    results = []
    for content in (0.0, np.nan, 1e30):
        with monkeypatch.context() as patch:

            def filled(shape, dtype=np.float32, content=content):
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


# ---------------------------------------------------------------------------------------------- the pool

MIB = 2**20
NO_LIMIT = 2**50  # bytes


def step(scale):
    """The arrays of a training step: a tape, what only forward needs, what only backward needs. None is touched.

    17 * scale floats are handed out, 16 of them live at once.
    """
    tape = [memory.empty((size * scale,)) for size in (8, 2, 2, 1)]
    del tape[3]
    gradients = [memory.empty((size * scale,)) for size in (1, 3)]
    return tape, gradients


def live_and_waiting():
    now = memory.statistics()
    return now["live"] + now["waiting"]


def in_fresh_process(function):
    """What a function of this module prints in a process whose pool is empty."""
    return json.loads(output(f"import test_robustness_memory as t; t.{function}"))


def print_allocations(scale):
    """Blocks allocated until the end of each of fifty steps, whose results are held until the next one is there."""
    memory.set_most_waiting(NO_LIMIT)
    allocations = []
    for _ in range(50):
        results = step(scale)
        allocations.append(memory.statistics()["allocations"])
    del results
    print(json.dumps(allocations))


@linux_only
@pytest.mark.parametrize("mebibytes", [1, 2000])
def test_a_steady_loop_allocates_nothing_after_its_second_step(mebibytes):
    """Whatever its size: the arrays of the larger one are never touched, so that they take no memory."""
    allocations = in_fresh_process(f"print_allocations({mebibytes * MIB // 4 // 16})")
    assert len(set(allocations[1:])) == 1


def print_training_allocations(cell):
    layer, x, dy = getattr(fastrnn, cell)(64, 256, 2, seed=0), floats(20, 60, 64), floats(20, 60, 256)
    memory.set_most_waiting(NO_LIMIT)
    allocations = []
    for _ in range(20):
        results = layer.forward(x, num_threads=1)  # the size of a buffer may depend on the number of threads
        layer.backward(results[2], dy, num_threads=1)
        allocations.append(memory.statistics()["allocations"])
    print(json.dumps(allocations))


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_a_training_loop_allocates_nothing_after_its_second_step(cell):
    allocations = in_fresh_process(f"print_training_allocations({cell!r})")
    assert len(set(allocations[1:])) == 1


def print_shrinking():
    """The pool after ten large steps, and after each of a thousand steps of a fiftieth of their size; in bytes."""
    memory.set_most_waiting(NO_LIMIT)
    for _ in range(10):
        step(50 * MIB)
    sizes = [live_and_waiting()]
    for _ in range(1000):
        step(MIB)
        sizes.append(live_and_waiting())
    print(json.dumps(sizes))


@linux_only
def test_a_working_set_that_shrinks_gives_memory_back():
    """Within two periods, each of eight times the large peak."""
    large, *sizes = in_fresh_process("print_shrinking()")
    assert large >= 50 * 16 * 4 * MIB
    assert max(sizes) <= 1.25 * 50 * 16 * 4 * MIB
    assert sizes[2 * 8 * 50] <= 1.25 * 16 * 4 * MIB


def print_growth_of_the_pool():
    """The most that the pool had over the peak of what was live, for shapes that grow and for random ones."""
    memory.set_most_waiting(NO_LIMIT)
    rng = np.random.default_rng(0)
    ratios = []
    for scale in [int(1.02**i * 10000) for i in range(400)] + rng.integers(10000, 10**7, 400).tolist():
        step(scale)
        ratios.append(live_and_waiting() / memory.statistics()["peak"])
    print(json.dumps(max(ratios)))


@linux_only
def test_changing_shapes_are_not_hoarded():
    assert in_fresh_process("print_growth_of_the_pool()") <= 1.25


@pytest.fixture
def most_waiting():
    yield memory.set_most_waiting
    memory.set_most_waiting(None)


def test_waiting_blocks_keep_to_their_limit(most_waiting):
    most_waiting(3 * MIB)
    for _ in range(20):
        step(MIB // 8)
        assert memory.kept() <= 3 * MIB
    most_waiting(0)
    assert memory.kept() == 0


def test_release_gives_everything_back_but_what_is_used():
    used = memory.empty((MIB,))
    used[:] = 7
    step(MIB // 8)
    assert memory.kept() > 0
    memory.release()
    assert memory.kept() == 0
    assert (used == 7).all()
    assert memory.statistics()["live"] >= used.nbytes


def print_last_resorts():
    """What becomes of requests when the address space ends: with waiting blocks, with garbage, with neither."""
    import resource

    memory.set_most_waiting(NO_LIMIT)
    gc.disable()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 1000 * MIB, resource.RLIM_INFINITY))
    memory.empty((150 * MIB,))
    results = [memory.kept() >= 600 * MIB]
    cycle = [memory.empty((190 * MIB,))]
    cycle.append(cycle)
    del cycle
    other = memory.empty((160 * MIB,))
    results.append(other.nbytes)
    try:
        memory.empty((170, MIB))
    except MemoryError as error:
        results.append(str(error))
    print(json.dumps(results))


@linux_only
def test_memory_is_looked_for_before_an_error():
    waited, found, error = in_fresh_process("print_last_resorts()")
    assert waited
    assert found == 640 * MIB
    assert error == f"fastrnn: no memory for an array of shape (170, {MIB}), {680 * MIB} bytes"


def control_groups(folder, lines, limits):
    (folder / "cgroup").write_text("\n".join(lines) + "\n")
    for path, limit in limits.items():
        file = folder / "root" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit}\n")
    return memory.usable_memory(folder / "cgroup", folder / "root")


@pytest.mark.parametrize(
    ("lines", "limits", "expected"),
    [
        (["0::/a/b"], {"a/b/memory.max": 5000, "a/memory.max": 7000}, 5000),
        (["0::/a/b"], {"a/b/memory.max": "max", "a/memory.max": 7000}, 7000),
        (["0::/"], {"memory.max": 6000}, 6000),
        (["0::/not/to/be/seen"], {"memory.max": 6000}, 6000),
        (["3:cpu,memory:/a", "0::/"], {"memory/a/memory.limit_in_bytes": 4000}, 4000),
        (["3:cpu:/a", "0::/"], {"memory/a/memory.limit_in_bytes": 4000}, None),
        (["0::/a"], {"a/memory.max": "max"}, None),
        (["0::/a"], {"a/memory.max": 2**62}, None),
        (["nonsense"], {"memory.max": 6000}, None),
        ([], {}, None),
    ],
)
def test_control_groups_limit_the_usable_memory(tmp_path, lines, limits, expected):
    machine = memory.usable_memory(tmp_path / "missing", tmp_path)
    assert machine > 2**20
    assert control_groups(tmp_path, lines, limits) == (expected or machine)


@pytest.mark.parametrize("shape", [(3, 5), (300, 500), (0, 4), ()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, "float64", np.dtype(np.float64)])
def test_arrays_have_the_type_asked_for_and_start_on_a_cache_line(shape, dtype):
    for _ in range(5):
        array = memory.empty(shape, dtype)
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.ctypes.data % 64 == 0 and array.flags.c_contiguous and array.flags.writeable
        array[...] = 1
        for writeable in (False, True):
            view = memory.view_of(array, writeable)
            assert (view.shape, view.dtype, view.flags.writeable) == (shape, array.dtype, writeable)
    assert memory.empty(shape).dtype == np.float32


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="empty: dtype is int64; expected float32 or float64"):
        memory.empty((3,), np.int64)


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
