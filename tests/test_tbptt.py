"""Streams and windows against plain statements of them, and the gradients they truncate."""

import numpy as np
import pytest

import fastrnn
from fastrnn import reference
from fastrnn.windows import streams, tbptt


def plain_windows(inputs, targets, batch_size, seq_length):
    """Window k, row b, step t holds pair b * S + k * seq_length + t of the pairs used."""
    count = len(inputs) // (batch_size * seq_length)
    per_stream = count * seq_length
    for k in range(count):
        where = [
            [b * per_stream + k * seq_length + t for b in range(batch_size)]
            for t in range(seq_length)
        ]
        yield inputs[where], targets[where]


def assert_same_windows(actual, expected):
    actual, expected = list(actual), list(expected)
    assert len(actual) == len(expected)
    for (x, y), (expected_x, expected_y) in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(y, expected_y)
        assert x.dtype == expected_x.dtype
        assert y.dtype == expected_y.dtype
        assert x.flags.c_contiguous
        assert y.flags.c_contiguous


@pytest.mark.parametrize(("length", "batch_size"), [(12, 1), (12, 3), (14, 3), (5, 5)])
@pytest.mark.parametrize("features", [(), (4,)])
def test_streams_are_contiguous_pieces_side_by_side(length, batch_size, features):
    sequence = np.arange(length * max(1, *features, 1)).reshape(length, *features)
    laid_out = streams(sequence, batch_size)
    steps = length // batch_size
    assert laid_out.shape == (steps, batch_size, *features)
    assert laid_out.flags.c_contiguous
    for b in range(batch_size):
        np.testing.assert_array_equal(laid_out[:, b], sequence[b * steps : (b + 1) * steps])
    assert not np.shares_memory(laid_out, sequence)


@pytest.mark.parametrize("length", [13, 14, 24, 25, 26, 100])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_language_model_windows_match_plain_statement(length, dtype):
    text = np.random.default_rng(0).integers(0, 60, length).astype(dtype)
    windows = tbptt(text, batch_size=3, seq_length=4)
    assert_same_windows(windows, plain_windows(text[:-1], text[1:], 3, 4))
    assert len(windows) == (length - 1) // 12
    assert windows.dropped == (length - 1) % 12


@pytest.mark.parametrize("length", [12, 23, 24, 50])
def test_windows_with_own_targets_match_plain_statement(length):
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((length, 5)).astype(np.float32)
    targets = rng.standard_normal((length, 2)).astype(np.float32)
    windows = tbptt(inputs, targets, batch_size=4, seq_length=3)
    assert_same_windows(windows, plain_windows(inputs, targets, 4, 3))
    assert windows.dropped == length - 12 * len(windows)


def test_rows_continue_from_window_to_window():
    windows = tbptt(np.arange(101), batch_size=4, seq_length=5)
    xs, targets = zip(*windows, strict=True)
    x = np.concatenate(xs)
    np.testing.assert_array_equal(np.diff(x, axis=0), 1)
    np.testing.assert_array_equal(np.concatenate(targets), x + 1)
    np.testing.assert_array_equal(x[0, 1:], x[-1, :-1] + 1)


def test_windows_do_not_change_with_their_source_and_cannot_be_written():
    text = np.arange(20)
    windows = tbptt(text, batch_size=1, seq_length=4)
    text[:] = 0
    x, target = next(iter(windows))
    np.testing.assert_array_equal(x[:, 0], [0, 1, 2, 3])
    for array in (x, target):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_every_epoch_is_the_same():
    windows = tbptt(np.arange(50), batch_size=2, seq_length=5)
    first = list(windows)
    assert windows.position == 0
    assert_same_windows(windows, first)


@pytest.mark.parametrize("stop", [0, 1, 3, 4])
def test_loop_goes_on_from_the_position(stop):
    windows = tbptt(np.arange(41), batch_size=2, seq_length=5)
    whole = list(windows)
    assert len(whole) == 4

    seen = []
    iterator = iter(windows)
    for _ in range(stop):
        seen.append(next(iterator))
    saved = windows.position
    assert saved == stop

    resumed = tbptt(np.arange(41), batch_size=2, seq_length=5)
    resumed.position = saved
    assert_same_windows(seen + list(resumed), whole)
    assert resumed.position == 0
    assert_same_windows(resumed, whole)
    assert_same_windows(windows, whole)
    assert_same_windows(seen + list(iterator), whole)


def test_position_counts_the_window_in_work_as_done():
    windows = tbptt(np.arange(41), batch_size=2, seq_length=5)
    assert [windows.position for _ in windows] == [1, 2, 3, 4]


# Truncation itself


def plain_truncated_bptt(x, dy, weights, seq_length):
    """One long run of an Elman network whose gradient stops at each border of a window."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    h = [np.zeros((x.shape[1], len(weight_hh)))]
    for t in range(len(x)):
        h.append(np.tanh(x[t] @ weight_ih.T + bias_ih + h[t] @ weight_hh.T + bias_hh))
    grads, dh = 0.0, 0.0
    for t in reversed(range(len(x))):
        dh = 0.0 if (t + 1) % seq_length == 0 else dh
        da = (dh + dy[t]) * (1 - h[t + 1] ** 2)
        grads = grads + flattened([da.T @ x[t], da.T @ h[t], da.sum(0), da.sum(0)])
        dh = da @ weight_hh
    return h[-1], grads


def flattened(arrays):
    return np.concatenate([array.ravel() for array in arrays])


def run_twin(windows, weights):
    """Windows through the NumPy twin: the last state, and the sum of the gradients."""
    state, grads = np.zeros((windows.batch_size, len(weights[1]))), 0.0
    for x, dy in windows:
        _, state, tape = reference.rnn.forward(x, state, weights)
        grads = grads + flattened(reference.rnn.backward(tape, dy, np.zeros_like(state))[2])
    return state, grads


def run_layer(windows, weights):
    """The same with the compiled layer."""
    layer = fastrnn.RNN(weights[0].shape[1], len(weights[1]), seed=0)
    with layer.editing() as params:
        params.flat[:] = flattened(weights)
    state = None
    for x, dy in windows:
        _, state, tape = layer.forward(x.astype(np.float32), state)
        layer.backward(tape, dy.astype(np.float32))
    return state[0], layer.flat_grads


@pytest.mark.parametrize(("run", "tolerance"), [(run_twin, 1e-12), (run_layer, 1e-5)])
@pytest.mark.parametrize("seq_length", [1, 4, 24])
def test_state_is_carried_and_gradients_stop_at_the_border(run, tolerance, seq_length):
    rng = np.random.default_rng(2)
    inputs, dy = rng.standard_normal((72, 3)), rng.standard_normal((72, 5))
    weights = [rng.standard_normal(shape) / 2 for shape in [(5, 3), (5, 5), (5,), (5,)]]
    x, targets = streams(inputs, 3), streams(dy, 3)
    expected_state, expected = plain_truncated_bptt(x, targets, weights, seq_length)
    state, grads = run(tbptt(inputs, dy, batch_size=3, seq_length=seq_length), weights)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(state, expected_state, atol=tolerance)
    np.testing.assert_allclose(grads, expected, atol=tolerance * scale)
    # And the truncation is one: without it the gradients are others.
    _, untruncated = plain_truncated_bptt(x, targets, weights, len(x))
    assert (seq_length == len(x)) == np.allclose(expected, untruncated, atol=1e-3 * scale)


# Errors


@pytest.mark.parametrize("length", [0, 1, 12])
def test_text_shorter_than_a_window(length):
    message = rf"inputs has length {length}; .* batch_size \* seq_length \+ 1 = 13"
    with pytest.raises(ValueError, match=message):
        tbptt(np.zeros(length, np.int64), batch_size=3, seq_length=4)


def test_sequence_with_targets_shorter_than_a_window():
    x = np.zeros((11, 2), np.float32)
    with pytest.raises(ValueError, match=r"inputs has length 11; .* seq_length = 12"):
        tbptt(x, x, batch_size=3, seq_length=4)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "targets has length 99; expected 100", {"targets": np.zeros(99)}),
        (TypeError, "inputs has dtype <U4; expected integers or floats", {"inputs": "text"}),
        (TypeError, "targets has dtype bool", {"targets": np.zeros(100, bool)}),
        (ValueError, r"inputs has shape \(\)", {"inputs": 3}),
        (ValueError, "batch_size is 0; expected an integer >= 1", {"batch_size": 0}),
        (ValueError, "seq_length is -1", {"seq_length": -1}),
        (TypeError, "seq_length is a float; expected an integer", {"seq_length": 2.0}),
        (TypeError, "batch_size is a NoneType", {"batch_size": None}),
        (ValueError, "batch_size is True", {"batch_size": True}),
    ],
)
def test_wrong_arguments(error, message, arguments):
    right = {"inputs": np.zeros(100, np.int64), "batch_size": 2, "seq_length": 3}
    with pytest.raises(error, match=f"tbptt: {message}"):
        tbptt(**{**right, **arguments})


@pytest.mark.parametrize(
    ("error", "message", "sequence", "batch_size"),
    [
        (ValueError, "sequence has length 3; expected at least batch_size=4", np.zeros(3), 4),
        (ValueError, "batch_size is 0", np.zeros(3), 0),
        (TypeError, "sequence has dtype object", [None, None], 1),
        (ValueError, r"sequence has shape \(\)", 1.0, 1),
    ],
)
def test_wrong_arguments_of_streams(error, message, sequence, batch_size):
    with pytest.raises(error, match=f"streams: {message}"):
        streams(sequence, batch_size)


@pytest.mark.parametrize(
    ("error", "position"), [(ValueError, -1), (ValueError, 5), (TypeError, 1.0)]
)
def test_wrong_position(error, position):
    windows = tbptt(np.arange(41), batch_size=2, seq_length=5)
    windows.position = 2
    with pytest.raises(error, match="tbptt: position is"):
        windows.position = position
    assert windows.position == 2
