"""Threads of ours and of others: callers side by side, OpenMP's pool, fork, and how many."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fresh import output
from runs import every_cell, make_step
from tolerance import assert_same_bits

import fastrnn
from fastrnn import _team

CALLERS = 8
needs_openmp = pytest.mark.skipif(not fastrnn.config()["openmp"], reason="built without OpenMP")
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="no /proc")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


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
    both, lock = threading.Barrier(2), head._lock
    checked = head._tape_input

    def check(tape):
        x = checked(tape)
        if not lock.locked():
            both.wait()
        return x

    monkeypatch.setattr(head, "_tape_input", check)

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


# ------------------------------------------------------------------------------------------- shares


@pytest.fixture
def team():
    """This caller's team without anything learnt of it: equal threads take a quarter of all leads away each time."""
    for _ in range(200):
        _team.observe([1] * 64, [1] * 64)
    return _team


def test_threads_get_shares_by_what_they_did_lately(team):
    assert team.shares(32, 2) == [0, 16, 32]
    assert team.shares(9, 4) == [0, 2, 4, 6, 9]
    team.observe([16, 16], [1000, 2000])  # speeds 4/3 and 2/3 of their mean: a quarter of that is believed
    assert team.shares(1200, 2) == [0, 650, 1200]
    for _ in range(100):
        team.observe([20, 12], [1000, 1200])
    assert team.shares(32, 2) == [0, 21, 32]
    assert team.shares(7, 2) == [0, 3, 7], "few things are cut evenly"


def test_no_share_is_less_than_a_third_of_another_nor_empty(team):
    for n in range(8, 400):
        for _ in range(10):
            team.observe([1000, 1], [1, 1000])
        assert team.shares(n, 2)[1] <= 0.75 * n + 0.5 < n
        many = team.shares(4 * n, n)
        assert many == sorted(set(many)), "some are empty"


def test_what_was_learnt_fades(team):
    team.observe([16, 16], [1000, 2000])
    for _ in range(500):
        team.shares(1200, 2)
    assert team.shares(1200, 2) == [0, 600, 1200]


def test_a_team_that_came_without_a_thread_teaches_nothing(team):
    team.observe([16, 0], [1000, 0])
    assert team.shares(1200, 2) == [0, 600, 1200]
    assert team.shares(1000, 100) == list(range(0, 1001, 10)), "as many as are not watched"


def test_callers_learn_of_their_own_teams(team):
    team.observe([16, 16], [1000, 2000])
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(team.shares, 1200, 2).result() == [0, 600, 1200]


@every_cell
def test_shares_change_no_bit(name, team):
    """Of rows, of units and, with four threads, of both."""
    for shape in ((40, 24, 40, 100), (80, 1, 20, 240), (30, 11, 30, 300)):
        step = make_step(name, shape)
        expected = step.run(num_threads=1), step.infer(num_threads=1)
        for seed in range(3):
            speeds = np.random.default_rng(seed).uniform(0.5, 1.5, 5).tolist()
            for num_threads in (2, 3, 4, 5):
                for _ in range(20):
                    team.observe(speeds, [1] * 5)
                actual = step.run(num_threads=num_threads), step.infer(num_threads=num_threads)
                assert_same_bits(actual[0], expected[0])
                assert_same_bits(actual[1], expected[1])


@needs_openmp
@pytest.mark.parametrize("shape", [(40, 24, 40, 100), (80, 1, 20, 240)], ids=["rows", "units"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_time_loops_teach(shape, backward, team):
    """Told that one thread is three times as fast as the other, a dozen calls find out: waiting for it is no work."""
    step = make_step("lstm", shape)

    def taught():
        for _ in range(20):
            team.observe([1000, 1], [1, 1000])
        for _ in range(12):
            if backward:
                _, _, tape = step.forward(num_threads=1)
                step.layer.backward(tape, step.dy, num_threads=2)
            else:
                step.infer(num_threads=2)
        return team.shares(1000, 2)[1] < 670

    for _ in range(60):  # cores may really differ as much, or belong to another process, but not for a minute
        if taught() and taught() and taught():
            return
        time.sleep(1)
    pytest.fail(f"still {team.shares(1000, 2)}")


# -------------------------------------------------------------------------------- other processes

CROWDED = """
import os, subprocess, sys, time
import numpy as np
import fastrnn
from fastrnn import _team

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
lstm, x = fastrnn.LSTM(128, 128, seed=0), np.ones((50, 32, 128), np.float32)
y = lstm(x)[0]

def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        assert (lstm(x, num_threads=2)[0] == y).all()
    return condition()

others = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(2)]
crowded = wait_until(lambda: _team.room() == 1)
for other in others:
    other.kill()
    other.wait()
print(crowded, wait_until(lambda: _team.room() is None))
"""


@needs_openmp
@needs_proc
@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: ())(0)) < 2, reason="one core")
def test_teams_leave_busy_processes_their_cores_until_they_end():
    """Sharing a core, one thread is away for milliseconds at a time, and the others wait for it."""
    assert output(CROWDED) == "True True"


# ----------------------------------------------------------------------------------------------- fork

FORKING = """
import os, signal, sys, time
import numpy as np
import fastrnn
from runs import make_step
from tolerance import assert_same_bits

step = make_step("lstm", (20, 24, 64, 64), layers=2)
head = fastrnn.Linear(64, 70, seed=0)
stream = step.layer.stream(24, num_threads=3)
large = fastrnn.LSTM(128, 128).stream(64, num_threads=3)
targets = np.zeros((20, 24), np.int64)

def train():
    results = step.run(num_threads=3)
    y, tape = head.forward(results["y"], num_threads=3)
    _, results["dlogits"] = fastrnn.softmax_cross_entropy(y, targets, num_threads=3)
    results["dhead"] = head.backward(tape, results["dlogits"], num_threads=3)
    return results

def in_child(function):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "still running after 20 s"
"""


@needs_fork
def test_a_forked_child_computes_the_same():
    """GNU OpenMP's pool does not survive a fork, so the child, and its children, run serially."""
    script = """
expected = train()

def child():
    assert fastrnn.get_num_threads() == 1
    fastrnn.set_num_threads(3)
    assert_same_bits(train(), expected)
    assert in_child(lambda: assert_same_bits(train(), expected)) == 0

print(in_child(child))
assert_same_bits(train(), expected)
"""
    assert output(FORKING + script) == "0"


@needs_fork
def test_a_stream_made_before_a_fork_runs_in_the_child():
    script = """
x = np.ones((64, 128), np.float32)
large.step(x)
print(in_child(lambda: large.step(x)))
"""
    assert output(FORKING + script) == "0"


@needs_fork
def test_forks_beside_a_thread_that_computes():
    """A lock that another thread holds at the moment of the fork is never released in the child."""
    script = """
import threading
expected = train()
stop = threading.Event()
other = make_step("gru", (4, 24, 64, 64))

def work():
    while not stop.is_set():
        other.run(num_threads=1)

threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
results = {in_child(lambda: assert_same_bits(train(), expected)) for _ in range(6)}
stop.set()
for thread in threads:
    thread.join()
print(*results)
"""
    assert output(FORKING + script) == "0"


@needs_fork
def test_locks_held_at_the_fork_are_open_in_the_child():
    script = """
import threading
expected = train()
held = [step.layer._lock, head._lock, *(panels.lock for panels in step.layer._panels)]
ready, done = threading.Event(), threading.Event()

def hold():
    for lock in held:
        lock.acquire()
    ready.set()
    done.wait()
    for lock in held:
        lock.release()

holder = threading.Thread(target=hold)
holder.start()
ready.wait()
print(in_child(lambda: assert_same_bits(train(), expected)))
done.set()
holder.join()
"""
    assert output(FORKING + script) == "0"


@needs_fork
def test_multiprocessing_with_fork():
    script = """
import multiprocessing

def outputs(_):
    return train()["y"]

expected = train()
with multiprocessing.get_context("fork").Pool(2) as pool:
    for y in pool.map_async(outputs, range(4)).get(timeout=20):
        np.testing.assert_array_equal(y, expected["y"])
print("done")
"""
    assert output(FORKING + script) == "done"


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


@pytest.mark.parametrize("name", ["FASTRNN_NUM_THREADS", "OMP_NUM_THREADS"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_nonsense_in_the_environment_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name} is '{value}'; expected an integer >= 1"):
        fastrnn.get_num_threads()


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
