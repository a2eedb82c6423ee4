"""One summation order: rows, chunks of time and single steps give the bits of one whole run."""

import numpy as np
import pytest
from runs import by_name, every_cell, make_step
from tolerance import assert_same_bits

every_input = pytest.mark.parametrize("integers", [False, True], ids=["vectors", "integers"])


def part_of_state(state, rows):
    """The state of some rows of the batch, h alone or (h, c)."""
    if isinstance(state, tuple):
        return tuple(np.ascontiguousarray(part[:, rows]) for part in state)
    return np.ascontiguousarray(state[:, rows])


def stepped(stream, x):
    return np.stack([stream.step(x_t) for x_t in x])


# ------------------------------------------------------------------------------- rows and time


@every_input
@pytest.mark.parametrize("shape", [(6, 13, 20, 33), (20, 13, 40, 70)])
@every_cell
def test_rows_do_not_depend_on_their_batch_mates(name, shape, integers):
    step = make_step(name, shape, layers=2, integers=integers)
    whole, run = step.infer(), step.run()
    x, state, dy, dstate = step.x, step.state, step.dy, step.dstate
    per_row = ("y", "dx", *step.layer.STATES, *(f"d{part}" for part in step.layer.STATES))
    for row in [slice(b, b + 1) for b in range(13)] + [slice(2, 5), slice(3, 12)]:
        step.x = np.ascontiguousarray(x[:, row])
        step.dy = np.ascontiguousarray(dy[:, row])
        step.state, step.dstate = part_of_state(state, row), part_of_state(dstate, row)
        alone, infer = step.run(), step.infer()
        expected = {key: run[key] if run[key] is None else run[key][:, row] for key in per_row}
        assert_same_bits({key: alone[key] for key in per_row}, expected, f"rows {row}")
        assert_same_bits(infer, {key: whole[key][:, row] for key in infer}, f"rows {row}")


@every_input
@pytest.mark.parametrize("shape", [(20, 5, 8, 17), (20, 24, 64, 64)])
@every_cell
def test_chunks_of_time_equal_one_run(name, shape, integers):
    step = make_step(name, shape, layers=2, integers=integers)
    whole = step.infer()
    for ends in ((1, 20), (7, 8, 20), (13, 20)):
        for taped in (False, True):
            outputs, state, start = [], step.state, 0
            for end in ends:
                run = step.layer.forward if taped else step.layer
                y, state = run(step.x[start:end], state)[:2]
                outputs.append(y)
                start = end
            chunked = {"y": np.concatenate(outputs), **by_name(step.layer, state)}
            assert_same_bits(chunked, whole, f"chunks ending at {ends}")


# -------------------------------------------------------------------------------------- stream


@every_input
@pytest.mark.parametrize("shape", [(7, 1, 3, 5), (9, 4, 20, 33), (5, 13, 40, 70), (3, 48, 64, 128)])
@pytest.mark.parametrize("layers", [1, 2])
@every_cell
def test_steps_equal_one_run(name, layers, shape, integers):
    step = make_step(name, shape, layers, integers)
    expected = step.infer()
    for num_threads in (1, 2):
        stream = step.layer.stream(shape[1], num_threads=num_threads)
        stream.state = step.state
        outputs = stepped(stream, step.x)
        assert outputs.dtype == np.float32
        assert_same_bits({"y": outputs, **by_name(step.layer, stream.state)}, expected)


@every_cell
def test_stream_starts_from_zeros_and_returns_new_arrays(name):
    step = make_step(name, (4, 3, 8, 17), layers=2)
    step.state = None
    stream = step.layer.stream(batch_size=3)
    outputs = [stream.step(x_t) for x_t in step.x]
    assert_same_bits({"y": np.stack(outputs)}, {"y": step.infer()["y"]})
    assert not any(np.shares_memory(outputs[0], other) for other in outputs[1:])


@every_cell
def test_batch_size_is_one_by_default(name):
    step = make_step(name, (4, 1, 8, 17))
    step.state = None
    stream = step.layer.stream()
    assert stream.batch_size == 1
    assert_same_bits({"y": stepped(stream, step.x)}, {"y": step.infer()["y"]})


@every_cell
def test_state_can_be_read_and_set(name):
    step = make_step(name, (6, 3, 8, 17), layers=2)
    stream = step.layer.stream(3)
    stream.state = step.state
    stepped(stream, step.x[:2])
    kept = stream.state
    copy = by_name(step.layer, part_of_state(kept, slice(None)))
    first = stepped(stream, step.x[2:])
    assert_same_bits(by_name(step.layer, kept), copy, "a state that was read does not move on")
    stream.state = kept
    assert_same_bits({"y": stepped(stream, step.x[2:])}, {"y": first})
    stream.state = None
    for part in by_name(step.layer, stream.state).values():
        assert part.shape == (2, 3, 17)
        assert not part.any()


@every_cell
def test_reset_of_all_rows_and_of_some(name):
    step = make_step(name, (6, 5, 8, 17), layers=2)
    stream = step.layer.stream(5)
    selections = [[1], [0, 3], slice(2, 4), np.array([True, False, False, True, True]), 4]
    for rows in selections:
        stream.state = step.state
        stepped(stream, step.x[:3])
        expected = by_name(step.layer, stream.state)
        for part in expected.values():
            part[:, rows] = 0
        stream.reset(rows)
        assert_same_bits(by_name(step.layer, stream.state), expected)
    stream.reset()
    assert not any(part.any() for part in by_name(step.layer, stream.state).values())
    with pytest.raises(IndexError):
        stream.reset([5])


@every_input
@every_cell
def test_output_array_is_filled_and_returned(name, integers):
    step = make_step(name, (4, 5, 8, 17), layers=2, integers=integers)
    stream = step.layer.stream(5)
    stream.state = step.state
    expected = stepped(stream, step.x)
    stream.state = step.state
    out = np.full((5, 17), np.nan, np.float32)
    for x_t, y_t in zip(step.x, expected, strict=True):
        assert stream.step(x_t, out) is out
        np.testing.assert_array_equal(out, y_t)


@every_input
@every_cell
def test_stream_follows_changes_of_the_weights(name, integers):
    step = make_step(name, (4, 5, 8, 17), layers=2, integers=integers)
    stream = step.layer.stream(5)
    stepped(stream, step.x)
    other = make_step(name, (4, 5, 8, 17), layers=2, integers=integers, seed=9)
    with step.layer.editing() as params:
        params.flat[:] = other.layer.flat_params
    stream.state = step.state
    assert_same_bits({"y": stepped(stream, step.x)}, {"y": step.infer()["y"]})


@every_cell
def test_a_stream_takes_vectors_and_integers_in_turn(name):
    step = make_step(name, (6, 5, 20, 17), integers=True)
    expected = step.infer()["y"]
    stream = step.layer.stream(5)
    stream.state = step.state
    vectors = np.eye(20, dtype=np.float32)[step.x]
    outputs = [stream.step(vectors[t] if t % 2 else step.x[t]) for t in range(6)]
    assert_same_bits({"y": np.stack(outputs)}, {"y": expected})


def test_streams_of_one_layer_are_independent():
    step = make_step("lstm", (6, 5, 8, 17), layers=2)
    expected = step.infer()["y"]
    streams = [step.layer.stream(1) for _ in range(5)]
    for row, stream in enumerate(streams):
        stream.state = part_of_state(step.state, slice(row, row + 1))
    outputs = [
        np.concatenate([stream.step(x_t[row : row + 1]) for row, stream in enumerate(streams)])
        for x_t in step.x
    ]
    assert_same_bits({"y": np.stack(outputs)}, {"y": expected})


@pytest.mark.parametrize(
    "change",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
        lambda x: x.view(type("Subclass", (np.ndarray,), {})),
    ],
    ids=["fortran", "strided", "reversed", "misaligned", "subclass"],
)
def test_any_layout_of_a_step_is_read_right(change):
    step = make_step("gru", (3, 5, 8, 17))
    expected = step.infer()["y"]
    stream = step.layer.stream(5)
    stream.state = step.state
    np.testing.assert_array_equal(stepped(stream, [change(x_t) for x_t in step.x]), expected)


@pytest.mark.parametrize(
    ("x_t", "error", "words"),
    [
        (np.zeros((5, 7), np.float32), ValueError, r"LSTM.stream.step: x_t has shape \(5, 7\)"),
        (np.zeros((4, 8), np.float32), ValueError, r"x_t has shape \(4, 8\); expected"),
        (np.zeros((1, 5, 8), np.float32), ValueError, r"x_t has shape \(1, 5, 8\); expected"),
        (np.zeros((5, 8)), TypeError, "float64; expected float32"),
        (np.zeros((5, 8), ">f4"), TypeError, "dtype >f4; expected float32"),
        ([[0.0] * 8] * 5, TypeError, "list; expected a float32 numpy array"),
        (np.zeros((5, 8), object), TypeError, "object; expected float32"),
        (np.zeros(4, int), ValueError, r"x_t has shape \(4,\); expected \(B,\) = \(5,\)"),
        (np.zeros((5, 8), int), ValueError, "holds integers"),
        (np.full(5, 8), IndexError, "index 8; expected indices in 0..7"),
        (np.full(5, -1), IndexError, "index -1"),
    ],
)
def test_wrong_steps_raise_and_change_nothing(x_t, error, words):
    step = make_step("lstm", (3, 5, 8, 17))
    stream = step.layer.stream(5)
    stream.state = step.state
    with pytest.raises(error, match=words):
        stream.step(x_t)
    assert_same_bits(by_name(step.layer, stream.state), by_name(step.layer, step.state))


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.zeros((5, 16), np.float32), ValueError),
        (np.zeros((5, 17)), TypeError),
        (np.zeros((17, 5), np.float32).T, ValueError),
        (np.broadcast_to(np.float32(0), (5, 17)), ValueError),
        ([], TypeError),
    ],
)
def test_wrong_output_arrays_raise_and_change_nothing(out, error):
    step = make_step("lstm", (3, 5, 8, 17))
    stream = step.layer.stream(5)
    stream.state = step.state
    with pytest.raises(error, match=r"LSTM\.stream\.step: out"):
        stream.step(step.x[0], out)
    assert_same_bits(by_name(step.layer, stream.state), by_name(step.layer, step.state))


def test_state_of_the_wrong_kind_raises_and_changes_nothing():
    lstm, gru = make_step("lstm", (3, 5, 8, 17)), make_step("gru", (3, 5, 8, 17))
    for step, wrong in ((lstm, gru), (gru, lstm)):
        stream = step.layer.stream(5)
        stream.state = step.state
        with pytest.raises(TypeError, match="state"):
            stream.state = wrong.state
        with pytest.raises(ValueError, match="shape"):
            stream.state = part_of_state(step.state, slice(0, 4))
        assert_same_bits(by_name(step.layer, stream.state), by_name(step.layer, step.state))
    for batch in (0, -1, True):
        with pytest.raises(ValueError, match="batch_size"):
            lstm.layer.stream(batch)
    with pytest.raises(TypeError, match="batch_size"):
        lstm.layer.stream(1.0)
