"""Threads that the system refuses: calls go on with those that can be had, and the process lives."""

import pytest
from fresh import linux_only, output
from runs import needs_openmp

pytestmark = [linux_only, needs_openmp]

# Every parallel region of the package, with the same bits as on one thread.
WORK = """
import os, resource, signal, sys, threading
import numpy as np
import fastrnn
from fastrnn._core import probe, team
from runs import make_step
from tolerance import assert_same_bits

STEPS = [make_step("lstm", (40, 64, 48, 64), layers=2), make_step("gru", (20, 1, 64, 300))]
HEAD, TARGETS = fastrnn.Linear(64, 500, seed=0), np.arange(40 * 64).reshape(40, 64) % 500
STREAM_X = np.ones((256, 64), np.float32)

def work(threads):
    results = [step.run(num_threads=threads) for step in STEPS] + [step.infer(num_threads=threads) for step in STEPS]
    HEAD.zero_grad()
    y, tape = HEAD.forward(results[0]["y"], num_threads=threads)
    loss, dy = fastrnn.softmax_cross_entropy(y, TARGETS, num_threads=threads)
    dx = HEAD.backward(tape, dy, num_threads=threads)
    dropping = fastrnn.LSTM(64, 64, 2, dropout=0.5, seed=0)
    dropped, _, tape = dropping.forward(results[0]["y"], num_threads=threads)
    stream = STEPS[0].layer.stream(256, num_threads=threads)
    results.append({"y": y, "loss": np.float32([loss]), "dy": dy, "dx": dx, "dhead": HEAD.flat_grads.copy(),
                    "dropped": dropped, "step": stream.step(np.ones((256, 48), np.float32))})
    probe.multiply_add(1000, threads)
    probe.read(10, np.zeros((threads, 8192), np.float32))
    probe.barriers(3, threads)
    return results

def threads_now():
    return len(os.listdir("/proc/self/task"))

def check(threads):
    for actual, expected in zip(work(threads), EXPECTED, strict=True):
        assert_same_bits(actual, expected)

EXPECTED = work(1)
check(1)
"""

# Root may have as many as it likes, so become somebody who has no other process, not even of a test beside this one.
LIMIT_PROCESSES = """
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(54321)
    os.setuid(100_000 + os.getpid())
def leave(count):
    resource.setrlimit(resource.RLIMIT_NPROC, (threads_now() + count, resource.getrlimit(resource.RLIMIT_NPROC)[1]))
"""

# Stacks of 1 GiB by OMP_STACKSIZE: what else the work wants does not matter beside them.
LIMIT_MEMORY = """
def leave(count):
    size = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + int((count + 0.6) * 2**30), resource.RLIM_INFINITY))
"""

LIMITS = {"processes": (LIMIT_PROCESSES, {}), "memory": (LIMIT_MEMORY, {"OMP_STACKSIZE": "1G"})}
every_limit = pytest.mark.parametrize("limit", LIMITS)


def run(limit, script):
    setup, environment = LIMITS[limit]
    single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": None, "OMP_STACKSIZE": None}
    return output(WORK + setup + script, **{**single, **environment})


@every_limit
@pytest.mark.parametrize("granted", [0, 1, 3])
def test_teams_are_as_large_as_the_system_grants(limit, granted):
    script = f"""
leave({granted})
for threads in (2, 4, 8, 600, 3):
    check(threads)
    assert team.granted(threads) <= {granted} + 1
print(team.granted(8))
"""
    assert run(limit, script) == str(granted + 1)


@every_limit
def test_a_limit_that_comes_after_a_smaller_team(limit):
    """What is running goes on; only what is missing is asked for."""
    script = """
check(3)
assert team.granted(3) == 3
leave(1)
check(8)
print(team.granted(8), team.granted(3))
for threads in (2, 8, 3, 8):  # those that a smaller team leaves over may still be ending
    check(threads)
    assert team.granted(8) <= 4
"""
    assert run(limit, script) == "4 3"


def test_a_limit_that_is_lifted_is_noticed_after_a_while():
    script = """
leave(1)
check(4)
resource.setrlimit(resource.RLIMIT_NPROC, (resource.getrlimit(resource.RLIMIT_NPROC)[1],) * 2)
before = [team.granted(4) for _ in range(10)]
after = [team.granted(4) for _ in range(1000)][-1]
check(4)
print(set(before), after)
"""
    assert run("processes", script) == "{2} 4"


def test_threads_with_teams_of_their_own_reach_the_limit_together():
    """Each asks for more than all of them can have."""
    script = """
leave(8 + 5)
start, errors = threading.Barrier(8), []

def call(i):
    start.wait()
    try:
        for threads in (2, 3, 5, 8):
            y = STEPS[0].layer(STEPS[0].x, STEPS[0].state, num_threads=threads)[0]
            np.testing.assert_array_equal(y, EXPECTED[2]["y"])
    except BaseException as error:
        errors.append(error)

for _ in range(5):
    callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
print(errors)
"""
    assert run("processes", script) == "[]"


def test_a_team_that_does_not_grow_starts_no_threads():
    """Nor does a probe leave any behind."""
    script = """
team.granted(3)
before = threads_now()
names = set(os.listdir("/proc/self/task"))
for _ in range(100):
    team.granted(3)
    team.granted(1)
assert set(os.listdir("/proc/self/task")) == names
print(before - len([t for t in threading.enumerate()]))
"""
    assert run("processes", script) == "2"


def test_no_handler_runs_on_a_thread_that_is_tried():
    """Signals that come meanwhile are the caller's, after all: the mask is put back."""
    script = """
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
seen, mask = [], signal.pthread_sigmask(signal.SIG_BLOCK, [])
stop = threading.Event()

def send():
    while not stop.is_set():
        os.kill(os.getpid(), signal.SIGUSR1)

sender = threading.Thread(target=send)
sender.start()
for threads in (3, 4, 5, 6, 7, 8) * 5:
    team.granted(threads)
stop.set()
sender.join()
print(bool(seen), signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask)
"""
    assert run("processes", script) == "True True"


@pytest.mark.parametrize("limit", ["1", "2", "3"])
def test_openmp_s_own_limit_is_kept_to(limit):
    script = "check(5)\nprint(team.granted(5))"
    environment = {"OMP_THREAD_LIMIT": limit, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": None}
    assert output(WORK + script, **environment) == limit


def test_openmp_s_dynamic_teams():
    assert output(WORK + "check(5)\ncheck(3)\ncheck(6)\nprint('done')", OMP_DYNAMIC="true") == "done"


@pytest.mark.parametrize("size", ["512", " 2 M ", "64K", "1", "0", "many", "99999999999999999999G", ""])
def test_openmp_s_stack_size_may_be_anything(size):
    assert output(WORK + "check(4)\nprint('done')", OMP_STACKSIZE=size).endswith("done")
