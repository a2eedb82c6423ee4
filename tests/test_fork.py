"""Children forked from a process that has run teams of threads."""

from fresh import needs_fork, output

FORKING = """
import os, signal, sys, time
import numpy as np
import fastrnn
from children import in_child
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
held = [step.layer._lock, head._lock, *(one.lock for layer in step.layer._weights for one in layer)]
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
