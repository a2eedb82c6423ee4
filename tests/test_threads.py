"""Threads of ours: callers side by side, OpenMP's pool, and how many."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fresh import output, python
from runs import every_cell, make_step, needs_openmp
from tolerance import assert_same_bits

import fastrnn
from fastrnn import runtime
from fastrnn._core import team
from fastrnn.linear import LinearTape

CALLERS = 8
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="no /proc")


def at_once(function, count=CALLERS):
    """function(0..count-1), all started at the same moment, in threads of their own."""
    barrier = threading.Barrier(count)

    def call(i):
        barrier.wait()
        return function(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


# ------------------------------------------------------------------------------- callers side by side


@pytest.mark.parametrize("integers", [False, True], ids=["vectors", "integers"])
@every_cell
def test_threads_may_share_a_layer(name, integers):
    """The very first call included, when nothing is packed yet; several with threads of their own."""
    steps = [make_step(name, (40, 24, 40, 64), 2, integers, seed) for seed in range(CALLERS)]
    expected = [step.infer(num_threads=1) for step in steps]
    fresh = make_step(name, (40, 24, 40, 64), 2, integers).layer
    for seed, step in enumerate(steps):
        with step.layer.editing() as params:
            params.flat[:] = fresh.flat_params
        expected[seed] = step.infer(num_threads=1)
        step.layer = fresh
    for actual in (
        at_once(lambda i: steps[i].infer(num_threads=1 + i % 3)),
        at_once(lambda i: steps[i].infer(num_threads=1 + i % 3)),
    ):
        for seed in range(CALLERS):
            assert_same_bits(actual[seed], expected[seed], f"caller {seed}")


@every_cell
def test_threads_may_train_a_layer_side_by_side(name):
    """Gradients add up under a lock: equal steps give the same sums in whatever order they come."""
    step = make_step(name, (40, 24, 40, 64), layers=2)
    layer = step.layer
    results = [step.run(zero_grad=False, num_threads=1) for _ in range(CALLERS)]
    expected = {key: results[0][key] for key in ("y", "dx", *layer.STATES)}
    sums = layer.flat_grads.copy()
    layer.zero_grad()

    def train(i):
        y, final, tape = step.forward(num_threads=1 + i % 3)
        dx, _ = layer.backward(tape, step.dy, step.dstate, num_threads=1 + i % 3)
        parts = final if isinstance(final, tuple) else (final,)
        return {"y": y, "dx": dx, **dict(zip(layer.STATES, parts, strict=True))}

    for actual in at_once(train):
        assert_same_bits(actual, expected)
    np.testing.assert_array_equal(layer.flat_grads, sums)


def test_packing_again_leaves_a_call_that_runs_what_it_reads():
    """The weights are marked as changed and packed anew, to the same values, while another thread is in the layer."""
    layer = fastrnn.LSTM(8, 100, seed=0)
    x = np.random.default_rng(0).standard_normal((2000, 1, 8)).astype(np.float32)
    expected, _ = layer(x, num_threads=1)
    done = threading.Event()

    def edit():
        while not done.is_set():
            with layer.editing():
                pass
            layer(x[:1], num_threads=1)
            [np.full(size, 1e6, np.float32) for size in (448,) * 50]  # freed memory would be theirs

    editor = threading.Thread(target=edit)
    editor.start()
    try:
        results = [layer(x, num_threads=1)[0] for _ in range(100)]
    finally:
        done.set()
        editor.join()
    for y in results:
        np.testing.assert_array_equal(y, expected)


def test_a_linear_tape_is_used_once(monkeypatch):
    """Two threads that both find it unused, the second one waiting for the lock."""
    head = fastrnn.Linear(3, 2, seed=0)
    y, tape = head.forward(np.ones((4, 3), np.float32))
    both, first = threading.Barrier(2), threading.local()
    checked = LinearTape._open

    def check(*arguments):
        x = checked(*arguments)
        if not hasattr(first, "look"):
            first.look = True
            both.wait()
        return x

    monkeypatch.setattr(LinearTape, "_open", staticmethod(check))

    def use(_):
        try:
            return head.backward(tape, y)
        except ValueError as error:
            return str(error)

    errors = [result for result in at_once(use, 2) if isinstance(result, str)]
    assert len(errors) == 1 and "used up" in errors[0]
    np.testing.assert_array_equal(head.grads["bias"], y.sum(axis=0))


def test_threads_may_have_streams_of_one_layer():
    step = make_step("gru", (30, CALLERS, 20, 33), layers=2)
    expected = step.infer()["y"]

    def follow(row):
        stream = step.layer.stream()
        stream.state = np.ascontiguousarray(step.state[:, row : row + 1])
        return np.stack([stream.step(x_t[row : row + 1]) for x_t in step.x])

    for row, actual in enumerate(at_once(follow)):
        np.testing.assert_array_equal(actual[:, 0], expected[:, row])


def test_threads_may_share_a_linear_layer_and_the_loss():
    head = fastrnn.Linear(64, 70, seed=0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 24, 64)).astype(np.float32)
    targets = rng.integers(70, size=(80, 24))

    def train(i):
        y, tape = head.forward(x, num_threads=1 + i % 3)
        loss, dlogits = fastrnn.softmax_cross_entropy(y, targets, num_threads=1 + i % 3)
        dx = head.backward(tape, dlogits, num_threads=1 + i % 3)
        return {"y": y, "loss": np.float32([loss]), "dlogits": dlogits, "dx": dx}

    expected, *_ = (train(0) for _ in range(CALLERS))
    sums = head.flat_grads.copy()
    head.zero_grad()
    for actual in at_once(train):
        assert_same_bits(actual, expected)
    np.testing.assert_array_equal(head.flat_grads, sums)


# ----------------------------------------------------------------------------------- OpenMP's threads

COUNTING = """
import os
from runs import make_step

def running():
    return len(os.listdir("/proc/self/task"))

large, small = make_step(NAME, (40, 24, 64, 64)), make_step(NAME, (2, 8, 8, 8))
counts = [running()]
small.run(num_threads=3)
large.run(num_threads=1)
counts.append(running())
"""


@needs_openmp
@needs_proc
@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("rnn", "large.infer(num_threads=3)"),
        ("rnn", "_, _, tape = large.forward(num_threads=1); counts.append(running()); "
                "large.layer.backward(tape, large.dy, num_threads=3)"),
        ("lstm", "large.infer()"),
        ("gru", "stream = large.layer.stream(256, num_threads=3); "
                "import numpy as np; stream.step(np.zeros((256, 64), np.float32))"),
        ("ugrnn", "make_step('ugrnn', (80, 1, 20, 240)).infer(num_threads=3)"),
    ],
    ids=["forward", "backward", "environment", "stream", "one row"],
)  # fmt: skip
def test_threads_really_run_when_the_work_is_worth_them(name, calls):
    """And none is started for one thread, nor for work that is not: the pool keeps what it starts."""
    script = COUNTING.replace("NAME", repr(name)) + calls + "\ncounts.append(running())\nprint(*counts)"
    environment = {"FASTRNN_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": None}
    *before, after = map(int, output(script, **environment).split())
    assert set(before) == {before[0]}
    assert after == before[0] + 2


@needs_openmp
@pytest.mark.parametrize(("threads", "region"), [(2, 2), (2, 4), (3, 3)])
def test_a_region_runs_each_task_once_on_a_thread_that_flushes_subnormals(threads, region):
    assert team.granted(region) == region
    assert team.tasks(threads, region) == [(i, threads, threads, True) for i in range(threads)]
    assert 5e-324 * 1.0 > 0, "the caller's mode is put back"


def test_one_task_needs_no_region():
    assert team.tasks(1, 1) == team.tasks(1, 3) == [(0, 1, 0, True)]
    assert 5e-324 * 1.0 > 0


@needs_openmp
def test_a_team_measures_its_first_threads():
    threads = team.granted(70)
    assert team.tasks(threads, threads) == [(i, threads, min(threads, 64), True) for i in range(threads)]


@needs_openmp
def test_tasks_are_told_how_many_threads_openmp_started():
    script = "from fastrnn._core import team; print(team.tasks(5, 5))"
    assert output(script, OMP_THREAD_LIMIT="3") == str([(i, 3, 5, True) for i in range(3)])


@needs_openmp
@pytest.mark.parametrize("limit", ["1", "2", "3"])
def test_fewer_threads_than_asked_for_do_all_the_work(limit):
    """OpenMP may refuse: nobody waits for a thread that is not there."""
    script = """
from runs import make_step
from tolerance import assert_same_bits

for shape in ((80, 1, 20, 240), (24, 11, 30, 240), (40, 24, 64, 64), (2, 400, 8, 440)):
    step = make_step("gru", shape)
    expected = step.run(num_threads=1)
    for num_threads in (2, 4, 7, 100):
        assert_same_bits(step.run(num_threads=num_threads), expected)
print("done")
"""
    assert output(script, OMP_THREAD_LIMIT=limit) == "done"


# ------------------------------------------------------------------------------------------- how many


@pytest.fixture(autouse=True)
def machine_default(monkeypatch):
    """Start from an unset number, and put it back."""
    for name in ("FASTRNN_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    fastrnn.set_num_threads(None)
    yield
    monkeypatch.undo()
    fastrnn.set_num_threads(None)


def test_number_of_threads_is_set_and_reset():
    machine = fastrnn.get_num_threads()
    assert machine >= 1
    fastrnn.set_num_threads(machine + 5)
    assert fastrnn.get_num_threads() == fastrnn.config()["num_threads"] == machine + 5
    fastrnn.set_num_threads(np.int64(1))
    assert fastrnn.get_num_threads() == 1
    fastrnn.set_num_threads(None)
    assert fastrnn.get_num_threads() == machine


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity")
def test_default_keeps_to_the_cpus_allowed():
    allowed = os.sched_getaffinity(0)
    assert fastrnn.get_num_threads() <= len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        fastrnn.set_num_threads(None)
        assert fastrnn.get_num_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FASTRNN_NUM_THREADS": "3"}, 3),
        ({"FASTRNN_NUM_THREADS": " 3 ", "OMP_NUM_THREADS": "1"}, 3),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "1,4"}, 1),
        ({"FASTRNN_NUM_THREADS": "", "OMP_NUM_THREADS": "1"}, 1),
    ],
)
def test_environment_sets_the_default(monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert fastrnn.get_num_threads() == expected
    fastrnn.set_num_threads(7)
    assert fastrnn.get_num_threads() == 7


def test_large_openmp_limit_does_not_raise_the_default(monkeypatch):
    machine = fastrnn.get_num_threads()
    fastrnn.set_num_threads(None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1000")
    assert fastrnn.get_num_threads() == machine


def test_environment_is_read_by_a_new_process():
    script = "import fastrnn; print(fastrnn.get_num_threads())"
    assert output(script, FASTRNN_NUM_THREADS="5", OMP_NUM_THREADS="1") == "5"


@pytest.mark.parametrize(
    "value",
    ["0", "-1", "1.5", "many", "4,2", "+3", "2 3", "0x4", "\u00b2", "2147483648", "99999999999999999999", "9" * 5000],
)
def test_nonsense_in_our_own_variable_is_named_by_calls_that_need_it(monkeypatch, value):
    monkeypatch.setenv("FASTRNN_NUM_THREADS", value)
    x = np.ones((2, 1, 3), np.float32)
    gru, head = fastrnn.GRU(3, 2), fastrnn.Linear(3, 2)
    for call in (fastrnn.get_num_threads, fastrnn.config, lambda: gru(x), lambda: head(x)):
        with pytest.raises(ValueError, match=r"FASTRNN_NUM_THREADS is '.*'; expected an integer in 1\.\.2147483647"):
            call()
    gru(x, num_threads=1)
    fastrnn.set_num_threads(2)
    gru(x)


def test_nonsense_in_our_own_variable_does_not_stop_the_import():
    script = """
import fastrnn, numpy as np
print(fastrnn.GRU(3, 2)(np.ones((1, 1, 3), np.float32), num_threads=1)[0].shape)
"""
    assert output(script, FASTRNN_NUM_THREADS="x") == "(1, 1, 2)"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("4,2", 4), (" 3 ", 3), ("2", 2), ("+2", 2), ("1,1,1", 1), ("003", 3), ("2147483648", None),
     ("99999999999999999999", None), ("9" * 5000, None), ("0", None), ("-1", None), ("auto", None), ("4.0", None),
     ("4,0", None), ("4,", None), (",4", None), ("4 2", None), ("", None), ("\u00b2", None), ("\u0663", None)],
)  # fmt: skip
def test_openmp_s_variable_is_read_as_openmp_reads_it(monkeypatch, value, expected):
    """It is not ours: what is no number for OpenMP counts as unset."""
    monkeypatch.setattr(runtime, "_cgroup_quota", lambda: None)
    processors = fastrnn.get_num_threads()
    fastrnn.set_num_threads(None)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert runtime._openmp_number() == (2**31 - 1 if value == "2147483648" else expected)
    assert fastrnn.get_num_threads() == (processors if expected is None else min(processors, expected))


@pytest.mark.parametrize("value", ["0", "auto", "4.0", "-1", "4,2", "", "99999999999999999999"])
def test_a_process_with_any_openmp_variable_runs_and_warns_once_at_most(value):
    script = """
import fastrnn, numpy as np
layer, x = fastrnn.LSTM(64, 64), np.ones((200, 64, 64), np.float32)
for _ in range(3):
    layer(x)
print(fastrnn.get_num_threads() >= 1)
"""
    result = python(script, OMP_NUM_THREADS=value, FASTRNN_NUM_THREADS=None)
    assert (result.returncode, result.stdout.strip()) == (0, "True"), result.stderr
    assert len(result.stderr.strip().splitlines()) <= 1


# ------------------------------------------------------------------------------- limits that come and go


LIMITS_FOLLOWED = """
import os, sys
import numpy as np
from threadpoolctl import threadpool_limits
import fastrnn
from fastrnn import runtime
from fastrnn._core import team

runtime._cgroup_quota = lambda: None
lstm, head = fastrnn.LSTM(64, 64, seed=0), fastrnn.Linear(64, 500, seed=0)
x, targets = np.ones((40, 64, 64), np.float32), np.zeros((40, 64), np.int64)
stream = fastrnn.LSTM(64, 64, seed=0).stream(512, num_threads=None)

def threads():
    return len(os.listdir("/proc/self/task"))

def work(**kwargs):
    y, _, tape = lstm.forward(x, **kwargs)
    logits, head_tape = head.forward(y, **kwargs)
    _, dlogits = fastrnn.softmax_cross_entropy(logits, targets, **kwargs)
    lstm.backward(tape, head.backward(head_tape, dlogits, **kwargs), **kwargs)
    stream.step(np.ones((512, 64), np.float32))
    return y

alone = threads()
"""


@needs_openmp
@needs_proc
def test_threadpoolctl_s_limits_are_followed():
    """As a context and for good; a number that the call names wins."""
    script = LIMITS_FOLLOWED + """
fastrnn.set_num_threads(3)
with threadpool_limits(1):
    assert fastrnn.get_num_threads() == fastrnn.config()["num_threads"] == 1
    work()
    assert threads() == alone, "a thread was started"
    lstm(x[:10], num_threads=2)
    assert threads() == alone + 1
assert fastrnn.get_num_threads() == 3
limits = threadpool_limits(1, user_api="openmp")
assert fastrnn.get_num_threads() == 1
limits.restore_original_limits()
threadpool_limits(64, user_api="openmp")
print(fastrnn.get_num_threads())
"""
    assert output(script, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS=None, FASTRNN_NUM_THREADS=None) == "3"


@needs_openmp
@needs_proc
@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: ())(0)) < 2, reason="one core")
def test_an_affinity_that_changes_later_is_followed():
    script = LIMITS_FOLLOWED + """
allowed = sorted(os.sched_getaffinity(0))[:2]
os.sched_setaffinity(0, allowed[:1])
assert fastrnn.get_num_threads() == 1
work()
assert threads() == alone, "a thread was started"
os.sched_setaffinity(0, allowed)
assert fastrnn.get_num_threads() == fastrnn.config()["num_threads"] == 2
lstm(x[:10])
assert threads() == alone + 1
os.sched_setaffinity(0, allowed[:1])
print(fastrnn.get_num_threads())
"""
    assert output(script, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS=None, FASTRNN_NUM_THREADS=None) == "1"


def calls_that_take_num_threads():
    lstm, head = fastrnn.LSTM(4, 3, seed=0), fastrnn.Linear(4, 3, seed=0)
    x, dy = np.ones((2, 5, 4), np.float32), np.ones((2, 5, 3), np.float32)
    tape, head_tape = lstm.forward(x)[2], head.forward(x)[1]
    return {
        "LSTM": lambda n: lstm(x, num_threads=n),
        "LSTM.forward": lambda n: lstm.forward(x, num_threads=n),
        "LSTM.backward": lambda n: lstm.backward(tape, dy, num_threads=n),
        "LSTM.stream": lambda n: lstm.stream(num_threads=n),
        "Linear": lambda n: head(x, num_threads=n),
        "Linear.forward": lambda n: head.forward(x, num_threads=n),
        "Linear.backward": lambda n: head.backward(head_tape, dy, num_threads=n),
        "softmax_cross_entropy": lambda n: fastrnn.softmax_cross_entropy(
            dy, np.zeros((2, 5), int), num_threads=n
        ),
        "set_num_threads": fastrnn.set_num_threads,
    }


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(0, ValueError), (-1, ValueError), (True, ValueError), (1.5, TypeError), ("2", TypeError)],
)
@pytest.mark.parametrize("who", list(calls_that_take_num_threads()))
def test_wrong_numbers_of_threads_raise(who, wrong, error):
    call = calls_that_take_num_threads()[who]
    before = fastrnn.get_num_threads()
    with pytest.raises(error, match=rf"{who}: (num_threads|n) is .*; expected an integer >= 1"):
        call(wrong)
    assert fastrnn.get_num_threads() == before
    call(2)  # a tape is not used up by the wrong call
