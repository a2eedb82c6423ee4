"""The core takes weights, inputs and gradients as arguments: what a bridge to another package does, without a layer."""

import numpy as np
import pytest
from runs import floats

import fastrnn
from fastrnn._core.gradients import Gradients
from fastrnn._core.run import Stack
from fastrnn._core.weights import RecurrentWeights, Version

T, B, I, H = 6, 5, 7, 20  # noqa: E741
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Bridge:
    """One LSTM layer over arrays of the caller's, who may change them at any time: packed at every call."""

    def __init__(self, arrays):
        self.arrays, self.version = arrays, Version()
        self.stack = Stack([(RecurrentWeights("lstm", self.version, *arrays),)])

    def forward(self, x):
        self.version.advance()
        return self.stack.forward(x, None, True, 0.0, np.random.default_rng(0), 1, None, 0, True)

    def backward(self, records, dy, into):
        self.stack.prepare_backward(records, True)
        return self.stack.backward(records, dy, None, True, [(Gradients(*into),)], 1)


def layer_of(arrays):
    layer = fastrnn.LSTM(I, H)
    layer.load_state_dict({f"{name}_l0": array for name, array in zip(NAMES, arrays, strict=True)})
    return layer


@pytest.fixture
def bridge():
    shapes = ((4 * H, I), (4 * H, H), (4 * H,), (4 * H,))
    return Bridge([floats(*shape, seed=seed) / 4 for seed, shape in enumerate(shapes)])


def test_weights_are_the_callers_and_changes_in_place_are_seen(bridge):
    x = floats(T, B, I)
    for _ in range(2):
        y, (h, c), _ = bridge.forward(x)
        expected, (expected_h, expected_c) = layer_of(bridge.arrays)(x)
        for actual, wanted in ((y, expected), (h, expected_h), (c, expected_c)):
            np.testing.assert_array_equal(actual, wanted)
        for array in bridge.arrays:
            array *= 0.5


def test_y_is_writable(bridge):
    y, _, _ = bridge.forward(floats(T, B, I))
    assert y.flags.writeable


def test_gradients_go_where_each_call_says_twice_over_one_tape(bridge):
    x, dy = floats(T, B, I), floats(T, B, H, seed=9)
    _, _, records = bridge.forward(x)
    layer = layer_of(bridge.arrays)
    _, _, tape = layer.forward(x)
    expected_dx, _ = layer.backward(tape, dy)
    for _ in range(2):
        into = [np.zeros_like(array) for array in bridge.arrays]
        dx, _ = bridge.backward(records, dy, into)
        np.testing.assert_array_equal(dx, expected_dx)
        for name, gradient in zip(NAMES, into, strict=True):
            np.testing.assert_array_equal(gradient, layer.grads[f"{name}_l0"])
    assert not any(np.shares_memory(gradient, layer.flat_grads) for gradient in into)


def test_gradients_of_other_sizes_are_refused(bridge):
    _, _, records = bridge.forward(floats(T, B, I))
    into = [np.zeros_like(array) for array in bridge.arrays]
    into[0] = into[0][1:]
    with pytest.raises(ValueError, match="the arrays' sizes do not fit each other"):
        bridge.backward(records, floats(T, B, H), into)
