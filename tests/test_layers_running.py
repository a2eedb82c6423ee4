"""What a run of a layer or of its stream is besides its arithmetic."""

import numpy as np
import pytest
from runs import CLASSES, every_class, floats, parts
from tolerance import EPS, assert_same_arrays

import fastrnn

# ------------------------------------------------------------------------------------------------- running


@every_class
def test_call_equals_forward_without_dropout(name):
    layer, x = CLASSES[name](3, 5, 2, seed=0), floats(4, 2, 3)
    y, state = layer(x)
    y_of_forward, state_of_forward, _ = layer.forward(x)
    assert_same_arrays([y, *parts(state)], [y_of_forward, *parts(state_of_forward)])
    assert len(parts(state)) == (2 if name == "LSTM" else 1)
    assert all(part.shape == (2, 2, 5) for part in parts(state))
    np.testing.assert_array_equal(parts(state)[0][-1], y[-1])
    assert y.flags.writeable
    assert not y_of_forward.flags.writeable  # the tape looks into it
    assert all(part.flags.writeable for part in (*parts(state), *parts(state_of_forward)))


@every_class
def test_a_call_changes_nothing(name):
    layer = CLASSES[name](3, 5, 2, dropout=0.5, seed=0)
    layer.flat_grads[:] = 1
    before = layer.flat_params.copy(), layer.rng.bit_generator.state
    results = [layer(floats(4, 2, 3))[0] for _ in range(2)]
    assert_same_arrays(results[:1], results[1:])
    assert_same_arrays([layer.flat_params], before[:1])
    assert layer.rng.bit_generator.state == before[1]
    assert (layer.flat_grads == 1).all()


@every_class
def test_batch_first_swaps_the_sequences_and_no_state(name):
    first, last = CLASSES[name](3, 5, 2, batch_first=True, seed=0), CLASSES[name](3, 5, 2, seed=0)
    x, dy = floats(4, 2, 3), floats(4, 2, 5)
    y, state, tape = last.forward(x)
    dx, dstate = last.backward(tape, dy, state)
    swapped, same, tape = first.forward(x.swapaxes(0, 1))
    dx_swapped, dsame = first.backward(tape, dy.swapaxes(0, 1), state)
    assert_same_arrays([swapped.swapaxes(0, 1), *parts(same)], [y, *parts(state)])
    assert_same_arrays([dx_swapped.swapaxes(0, 1), *parts(dsame)], [dx, *parts(dstate)])
    assert_same_arrays([first.flat_grads], [last.flat_grads])
    assert swapped.flags.c_contiguous and dx_swapped.flags.c_contiguous


@every_class
def test_gradients_add_up_over_calls(name):
    layer, x, dy = CLASSES[name](3, 5, seed=0), floats(4, 2, 3), floats(4, 2, 5)
    layer.backward(layer.forward(x)[2], dy)
    once = layer.flat_grads.copy()
    layer.backward(layer.forward(x)[2], dy)
    np.testing.assert_allclose(layer.flat_grads, 2 * once, rtol=4 * EPS, atol=4 * EPS)
    layer.zero_grad()
    layer.backward(layer.forward(x)[2], dy)
    assert_same_arrays([layer.flat_grads], [once])


@every_class
def test_open_tapes_do_not_disturb_each_other(name):
    layer, dy = CLASSES[name](3, 5, 2, seed=0), floats(4, 2, 5)
    inputs = [floats(4, 2, 3, seed=seed) for seed in range(3)]
    expected = [layer.backward(layer.forward(x)[2], dy)[0] for x in inputs]
    tapes = [layer.forward(x)[2] for x in inputs]
    layer(inputs[0])
    assert_same_arrays([layer.backward(tape, dy)[0] for tape in reversed(tapes)], expected[::-1])


def test_input_gradient_is_left_out_where_it_is_not_wanted_or_not_defined():
    layer, ids = fastrnn.LSTM(3, 5, seed=0), np.zeros((4, 2), np.int64)
    assert layer.backward(layer.forward(floats(4, 2, 3))[2], floats(4, 2, 5), input_gradient=False)[0] is None
    assert layer.backward(layer.forward(ids)[2], floats(4, 2, 5))[0] is None


# ------------------------------------------------------------------------------------------------- streams


@every_class
def test_stream_is_made_with_zeros_and_one_row(name):
    layer = CLASSES[name](3, 5, 2, seed=0)
    stream = layer.stream()
    assert isinstance(stream, fastrnn.Stream)
    assert stream.batch_size == 1
    assert all(part.shape == (2, 1, 5) and not part.any() for part in parts(stream.state))
    assert stream.step(floats(1, 3)).shape == (1, 5)
    wide = layer.stream(batch_size=4, num_threads=2)
    assert wide.batch_size == 4
    y = wide.step(floats(4, 3))
    assert y.shape == (4, 5)
    np.testing.assert_array_equal(parts(wide.state)[0][-1], y)
    wide.state = None
    assert not any(part.any() for part in parts(wide.state))


ROWS = [
    1,
    -1,
    [1, 2],
    (1, 2),
    (0,),
    np.array([0, 2]),
    slice(1, None),
    np.array([True, False, True]),
    [],
]


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_reset_of_some_rows(rows):
    stream = fastrnn.LSTM(3, 5, 2, seed=0).stream(3)
    stream.step(floats(3, 3))
    before = stream.state
    expected = np.zeros(3, bool)
    expected[list(rows) if isinstance(rows, tuple) else rows] = True
    stream.reset(rows)
    for part, old in zip(stream.state, before, strict=True):
        assert not part[:, expected].any()
        np.testing.assert_array_equal(part[:, ~expected], old[:, ~expected])
