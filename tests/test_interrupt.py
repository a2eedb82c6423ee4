"""Ctrl-C in the middle of one long call: it is answered there, and everything is as before the call.

A second thread sends signals, each after the one before has been handled. A handler that has run three times within a
call shows that the call looks between its pieces: whatever comes in a single piece is handled once, after it.
"""

import contextlib
import copy
import signal
import sys
import threading

import numpy as np
import pytest
from fresh import output
from runs import floats, make_layer

import fastrnn

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no pthread_kill")

DEADLINE = 60  # seconds, for what takes milliseconds


class Interrupted(Exception):  # noqa: N818
    """What the handler raises."""


class Interruptions:
    """Signals for the main thread while it is inside a call of compiled code; the nth raises, None of them if 0."""

    def __init__(self, nth=3):
        self.nth, self.handled = nth, 0
        self.turn, self.over = threading.Semaphore(0), threading.Event()

    def __enter__(self):
        self.before = signal.signal(signal.SIGUSR1, self.handle)
        self.sender = threading.Thread(target=self.send, args=(threading.get_ident(),))
        self.sender.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.turn.release()
        self.sender.join()
        signal.signal(signal.SIGUSR1, self.before)

    def send(self, main):
        """The first when the caller has stood at one instruction for a while: it is in the call."""
        place = None
        while not self.over.wait(0.005):
            frame = sys._current_frames()[main]
            last, place = place, (frame.f_code, frame.f_lasti)
            if place == last:
                break
        while not self.over.is_set():
            signal.pthread_kill(main, signal.SIGUSR1)
            self.turn.acquire(timeout=DEADLINE)

    def handle(self, *_):
        self.handled += 1
        if self.handled == self.nth:
            self.over.set()
            raise Interrupted
        self.turn.release()


def assert_interrupted(call):
    with Interruptions() as interruptions, pytest.raises(Interrupted):
        call()
    assert interruptions.handled == 3


def everything(*modules):
    """Copies of all that a call might change."""
    arrays = [array for module in modules for array in (module.flat_params, module.flat_grads)]
    states = [module.rng.bit_generator.state for module in modules if hasattr(module, "rng")]
    return [array.copy() for array in arrays], states


def assert_unchanged(before, *modules):
    arrays, states = everything(*modules)
    for actual, expected in zip(arrays, before[0], strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert states == before[1]


# Seconds of work, were they not ended: few units over many steps, few rows of many units, one step of many rows.
MANY_STEPS, MANY_UNITS, MANY_ROWS = (300_000, 4, 8, 32), (20_000, 1, 64, 512), (1, 100_000, 64, 128)
every_number = pytest.mark.parametrize("num_threads", [1, 2])


@every_number
@pytest.mark.parametrize(
    ("name", "shape", "integers"),
    [("lstm", MANY_STEPS, False), ("gru", MANY_STEPS, True), ("gru", MANY_UNITS, False), ("lstm", MANY_ROWS, False)],
    ids=["many steps", "many indices", "many units", "many rows"],
)
def test_a_long_call_is_interrupted(name, shape, integers, num_threads):
    T, B, inputs, hidden = shape
    layer = make_layer(name, inputs, hidden, layers=4)
    x = np.zeros((T, B), np.int64) if integers else np.zeros((T, B, inputs), np.float32)
    before, expected = everything(layer), layer(x[:2, :3])[0]
    assert_interrupted(lambda: layer(x, num_threads=num_threads))
    assert_unchanged(before, layer)
    np.testing.assert_array_equal(layer(x[:2, :3], num_threads=num_threads)[0], expected)


@pytest.mark.parametrize(("name", "num_threads"), [("lstm", 1), ("gru", 2)])
def test_a_long_forward_run_with_dropout_is_interrupted(name, num_threads):
    """The masks that were drawn are drawn again."""
    layer = make_layer(name, 64, 256, layers=20, dropout=0.5)
    x, short = floats(400, 8, 64), floats(3, 2, 64)
    before, twin = everything(layer), copy.deepcopy(layer)
    assert_interrupted(lambda: layer.forward(x, num_threads=num_threads))
    assert_unchanged(before, layer)
    np.testing.assert_array_equal(layer.forward(short)[0], twin.forward(short)[0])


@every_number
@pytest.mark.parametrize(
    ("name", "shape", "integers"),
    [("lstm", (1000, 1, 64, 512), False), ("gru", (1000, 1, 64, 512), True), ("gru", (2, 10_000, 64, 128), False)],
    ids=["many units", "many indices", "many rows"],
)
def test_a_long_backward_run_is_interrupted(name, shape, integers, num_threads):
    T, B, inputs, hidden = shape
    layer = make_layer(name, inputs, hidden, layers=2)
    x = np.ones((T, B), np.int64) if integers else floats(T, B, inputs)
    y, _, tape = layer.forward(x)
    layer.flat_grads[:] = floats(layer.flat_grads.size)
    before = everything(layer)
    assert_interrupted(lambda: layer.backward(tape, y, num_threads=num_threads))
    assert_unchanged(before, layer)
    with pytest.raises(ValueError, match="the tape is used up"):
        layer.backward(tape, y)
    y, _, tape = layer.forward(x[:2, :3])
    layer.zero_grad()
    layer.backward(tape, y)
    twin = make_layer(name, inputs, hidden, layers=2)
    y, _, tape = twin.forward(x[:2, :3])
    twin.backward(tape, y)
    np.testing.assert_array_equal(layer.flat_grads, twin.flat_grads)


@every_number
def test_a_long_linear_layer_is_interrupted(num_threads):
    head, x = fastrnn.Linear(512, 8192, seed=0), np.ones((20_000, 512), np.float32)
    before = everything(head)
    assert_interrupted(lambda: head(x, num_threads=num_threads))
    assert_unchanged(before, head)


@every_number
def test_a_long_linear_backward_run_is_interrupted(num_threads):
    head, x = fastrnn.Linear(512, 8192, seed=0), np.ones((4_000, 512), np.float32)
    y, tape = head.forward(x)
    head.flat_grads[:] = floats(head.flat_grads.size)
    before = everything(head)
    assert_interrupted(lambda: head.backward(tape, y, num_threads=num_threads))
    assert_unchanged(before, head)
    with pytest.raises(ValueError, match="the tape is used up"):
        head.backward(tape, y)


@every_number
def test_a_long_step_of_a_stream_is_interrupted(num_threads):
    """A batch of many rows, several layers: none of them has moved on."""
    layer = make_layer("lstm", 64, 256, layers=10)
    x = floats(6000, 64)
    stream, twin = (layer.stream(len(x), num_threads=num_threads) for _ in range(2))
    for one in (stream, twin):
        one.step(x)
    assert_interrupted(lambda: stream.step(x))
    for actual, expected in zip(stream.state, twin.state, strict=True):
        np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(stream.step(x), twin.step(x))


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_long_loss_is_interrupted(num_threads):
    logits, targets = np.zeros((10_000, 10_000), np.float32), np.zeros(10_000, np.int64)
    for _ in range(50):  # it takes a tenth of a second, in which the sender may not get its turns
        with Interruptions(2), contextlib.suppress(Interrupted):
            fastrnn.softmax_cross_entropy(logits, targets, num_threads=num_threads)
            continue
        return
    pytest.fail("never interrupted")


def test_handlers_that_return_change_nothing():
    """They run in the middle of a call, which then goes on; they may use the layer itself."""
    layer, x = make_layer("lstm", 64, 512, layers=2), floats(700, 1, 64)
    y, _, tape = layer.forward(x)
    dx, _ = layer.backward(tape, y)
    gradients = layer.flat_grads.copy()
    layer.zero_grad()
    short, expected = x[:3], y[:3].copy()
    seen = []

    class Using(Interruptions):
        def handle(self, *_):
            seen.append(np.array_equal(layer(short)[0], expected))
            super().handle()

    with Using(0) as interruptions:
        again, _, tape = layer.forward(x)
        dx_again, _ = layer.backward(tape, again)
    assert interruptions.handled and all(seen)
    np.testing.assert_array_equal(again, y)
    np.testing.assert_array_equal(dx_again, dx)
    np.testing.assert_array_equal(layer.flat_grads, gradients)


def test_other_threads_go_on():
    """Handlers are the main thread's."""
    layer, x = make_layer("gru", 64, 512), floats(1000, 1, 64)
    expected, results = layer(x)[0], []
    worker = threading.Thread(target=lambda: results.append(layer(x)[0]))
    worker.start()
    with pytest.raises(Interrupted), Interruptions(1):
        layer(np.zeros((10**5, 1, 64), np.float32))
    worker.join()
    np.testing.assert_array_equal(results[0], expected)


def test_ctrl_c_raises_keyboard_interrupt():
    script = """
import _thread, os, signal, threading, numpy as np, fastrnn
layer, x = fastrnn.LSTM(64, 512, seed=0), np.zeros((200_000, 1, 64), np.float32)
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    layer(x, num_threads=2)
except KeyboardInterrupt:
    print("interrupted")
print(layer(x[:3])[0].shape)
"""
    assert output(script) == "interrupted\n(3, 1, 512)"


# ----------------------------------------------------------------------------------------------- same bits


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_before", "rnn", "ugrnn"])
@pytest.mark.parametrize("shape", [(900, 1, 40, 512), (60, 64, 300, 256), (2, 5000, 30, 256)])
def test_a_call_of_many_pieces_gives_the_bits_of_short_calls(name, shape):
    """Of a few steps and of a few rows each."""
    T, B, inputs, hidden = shape
    layer, x = make_layer(name, inputs, hidden), floats(*shape[:3])
    y, final = layer(x)
    for num_threads in (1, 3):
        taped, taped_final, _ = layer.forward(x, num_threads=num_threads)
        np.testing.assert_array_equal(taped, y)
        np.testing.assert_array_equal(np.asarray(taped_final), np.asarray(final))
    rows = slice(B // 2, B // 2 + 7)
    state, steps = None, max(1, T // 5)
    for t in range(0, T, steps):
        part, state = layer(np.ascontiguousarray(x[t : t + steps, rows]), state)
        np.testing.assert_array_equal(part, y[t : t + steps, rows])
