"""The last look before C: an array that lies about its shape makes nobody read or write outside it."""

import numpy as np
import pytest
from runs import floats

import fastrnn
from fastrnn._core import memory, run, tape, weights


def lying(array, shape):
    """The array, which says that it has another shape."""

    class Lying(np.ndarray):
        def __getattribute__(self, name):
            return shape if name == "shape" else super().__getattribute__(name)

    return array.view(Lying)


class World:
    def __init__(self):
        self.rnn, self.head = fastrnn.RNN(4, 3, seed=0), fastrnn.Linear(4, 3, seed=0)
        self.x, self.small = floats(2, 5, 4), np.zeros((1, 1, 1), np.float32)
        self.y, _, self.tape = self.rnn.forward(self.x)
        self.dy, self.head_tape = self.head.forward(self.x)
        self.stream = self.rnn.stream(5)


# name: call of a World
LIES = {
    "x": lambda w: w.rnn(lying(w.small, (2, 5, 4))),
    "state": lambda w: w.rnn(w.x, lying(w.small, (1, 5, 3))),
    "dy": lambda w: w.rnn.backward(w.tape, lying(w.small, (2, 5, 3))),
    "dstate": lambda w: w.rnn.backward(w.tape, w.y.copy(), lying(w.small, (1, 5, 3))),
    "linear x": lambda w: w.head(lying(w.small, (2, 5, 4))),
    "linear dy": lambda w: w.head.backward(w.head_tape, lying(np.zeros((1, 1, 3), np.float32), (2, 5, 3))),
    "logits": lambda w: fastrnn.softmax_cross_entropy(lying(floats(2, 3), (4, 3)), np.zeros(4, np.int64)),
    "targets": lambda w: fastrnn.softmax_cross_entropy(floats(4, 3), lying(np.zeros(2, np.int64), (4,))),
    "class_weights": lambda w: fastrnn.softmax_cross_entropy(
        floats(4, 3), np.zeros(4, np.int64), class_weights=lying(np.ones(2, np.float32), (3,))
    ),
    "outputs": lambda w: fastrnn.squared_error(lying(floats(2, 3), (4, 3)), floats(4, 3)),
    "targets of numbers": lambda w: fastrnn.squared_error(floats(4, 3), lying(floats(2, 3), (4, 3))),
    "outputs of a list": lambda w: fastrnn.squared_error([lying(floats(2, 3), (4, 3))], [floats(4, 3)]),
    "mask": lambda w: fastrnn.squared_error(floats(4, 3), floats(4, 3), mask=lying(np.ones((2, 3), bool), (4, 3))),
    "logits of sequences": lambda w: fastrnn.ctc_loss(lying(floats(2, 3, 4), (5, 3, 4)), [np.ones(1, int)] * 4),
    "labels": lambda w: fastrnn.ctc_loss(floats(5, 3, 4), lying(np.ones((2, 1), int), (3, 1))),
    "x_t": lambda w: w.stream.step(lying(w.small[0], (5, 4))),
    "indices": lambda w: w.stream.step(lying(np.zeros(2, np.int64), (5,))),
    "out": lambda w: w.stream.step(w.x[0], lying(w.small[0], (5, 3))),
}


@pytest.mark.parametrize("name", LIES)
def test_an_array_that_lies_about_its_shape_is_refused(name):
    world = World()
    with pytest.raises((ValueError, TypeError)):
        LIES[name](world)
    assert not world.rnn.flat_grads.any() and not world.head.flat_grads.any() and not world.stream.state.any()


def test_out_may_be_of_a_subclass():
    class Mine(np.ndarray):
        pass

    world = World()
    out = np.zeros((5, 3), np.float32).view(Mine)
    assert world.stream.step(world.x[0], out) is out
    np.testing.assert_array_equal(out, world.rnn(world.x[:1])[0][0])


# ---------------------------------------------------------------------------------------- when there is no memory


def failing_at(nth, monkeypatch, *modules):
    """No memory for the nth array that these modules ask for."""
    left = [nth]

    def empty(*shape_and_dtype):
        left[0] -= 1
        if left[0] == 0:
            raise MemoryError("none left")
        return memory.empty(*shape_and_dtype)

    for module in modules:
        monkeypatch.setattr(module, "empty", empty)
    return left


def test_without_memory_dropout_draws_the_same_masks_again(monkeypatch):
    layer = fastrnn.LSTM(40, 50, 3, dropout=0.5, seed=0)
    expected, state = fastrnn.LSTM(40, 50, 3, dropout=0.5, seed=0), layer.rng.bit_generator.state
    x = floats(20, 4, 40)
    for nth in range(1, 100):
        with monkeypatch.context() as patch:
            left = failing_at(nth, patch, run, tape, weights)
            try:
                layer.forward(x)
                break
            except MemoryError:
                assert layer.rng.bit_generator.state == state
    assert left[0] > 0 and nth > 5
    np.testing.assert_array_equal(layer.forward(x)[0], [expected.forward(x) for _ in range(2)][1][0])


def test_without_memory_for_packing_a_stream_stays_where_it_is(monkeypatch):
    layer, x = fastrnn.LSTM(40, 50, 3, seed=0), floats(4, 40)
    for nth in range(1, 100):
        stream = fastrnn.LSTM(40, 50, 3, seed=0).stream(4)
        with monkeypatch.context() as patch:
            left = failing_at(nth, patch, weights)
            try:
                stream.step(x)
                break
            except MemoryError:
                assert not any(part.any() for part in stream.state)
        np.testing.assert_array_equal(stream.step(x), layer.stream(4).step(x))
    assert left[0] > 0 and nth == 7  # recurrent and input panels of three layers
