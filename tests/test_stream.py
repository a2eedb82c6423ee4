"""One summation order: rows, chunks of time and single steps give the bits of one whole run."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from compiled_problems import KINDS
from runs import by_name, every_cell, make_step
from test_interrupt import assert_interrupted
from tolerance import assert_same_bits

import fastrnn

every_input = pytest.mark.parametrize("integers", [False, True], ids=["vectors", "integers"])


def part_of_state(state, rows):
    """The state of some rows of the batch, h alone or (h, c)."""
    if isinstance(state, tuple):
        return tuple(np.ascontiguousarray(part[:, rows]) for part in state)
    return np.ascontiguousarray(state[:, rows])


def cut_width(state):
    return tuple(part[..., 1:] for part in state) if isinstance(state, tuple) else state[..., 1:]


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
            stream.state = cut_width(step.state)
        assert_same_bits(by_name(step.layer, stream.state), by_name(step.layer, step.state))
    for batch in (0, -1, True):
        with pytest.raises(ValueError, match="batch_size"):
            lstm.layer.stream(batch)
    with pytest.raises(TypeError, match="batch_size"):
        lstm.layer.stream(1.0)


# ------------------------------------------------------------------- rows that sit steps out or start again

ROWS, STEPS, INPUTS = 7, 12, 5
FORMS = [("vectors", "float32"), ("integers", "float32"), ("vectors", "float64"), ("integers", "float64")]
every_kind = pytest.mark.parametrize("kind", [*KINDS, "widths"])
every_form = pytest.mark.parametrize("form", FORMS, ids="-".join)


def layer_of(kind, dtype="float32", **options):
    """Two layers of every cell, an LSTM with projections, an LSTM whose layers differ in width."""
    if kind == "widths":
        return fastrnn.LSTM(INPUTS, [9, 4], dtype=dtype, seed=3, **options)
    make, own = KINDS[kind]
    projection = {"proj_size": 3} if kind == "lstmp" else {}
    return make(INPUTS, 9, 2, dtype=dtype, seed=3, **own, **projection, **options)


def arrays_of(state):
    """All arrays of a state."""
    return [one for part in state for one in arrays_of(part)] if isinstance(state, (list, tuple)) else [state]


def assert_same(actual, expected):
    for one, other in zip(arrays_of(actual), arrays_of(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one.view(np.uint8), other.view(np.uint8))


class Case:
    """A layer, x, its initial state, a mask and resets; the stream that begins with that state."""

    def __init__(self, kind="lstm", form=FORMS[0], seed=0, num_threads=1, **options):
        self.random = np.random.default_rng(seed)
        self.layer = layer_of(kind, form[1], **options)
        if form[0] == "integers":
            self.x = self.random.integers(0, INPUTS, (STEPS, ROWS))
        else:
            self.x = self.random.standard_normal((STEPS, ROWS, INPUTS)).astype(form[1])
        self.mask = self.random.random((STEPS, ROWS)) < 0.6
        self.mask[:3, 0], self.mask[5], self.mask[:, 6] = False, False, False
        self.reset = self.random.random((STEPS, ROWS)) < 0.2
        self.lengths = self.random.integers(0, STEPS + 1, ROWS)
        self.stream = self.layer.stream(ROWS, num_threads=num_threads)
        self.state = self.random_state()
        self.stream.state = self.state

    def random_state(self):
        def like(part):
            if isinstance(part, (list, tuple)):
                return type(part)(like(one) for one in part)
            return self.random.standard_normal(part.shape).astype(part.dtype)

        return like(self.stream.state)

    def steps(self, begin=0, end=STEPS, **chosen):
        return [
            self.stream.step(self.x[t], **{name: flags[t] for name, flags in chosen.items()}) for t in range(begin, end)
        ]


CHOSEN = [("mask",), ("reset",), ("mask", "reset")]
every_choice = pytest.mark.parametrize("names", CHOSEN, ids="-".join)


@every_choice
@every_form
@every_kind
def test_steps_with_masks_and_resets_equal_one_call(kind, form, names):
    case = Case(kind, form)
    chosen = {name: getattr(case, name) for name in names}
    y, final = case.layer(case.x, case.state, **chosen)
    assert_same(np.stack(case.steps(**chosen)), y)
    assert_same(case.stream.state, final)


@pytest.mark.parametrize("form", FORMS[:2], ids="-".join)
@every_kind
def test_chunks_and_steps_in_turn_equal_one_call(kind, form):
    for seed in range(4):
        case = Case(kind, form, seed, num_threads=1 + seed % 2)
        chosen = {"mask": case.mask, "reset": case.reset}
        y, final = case.layer(case.x, case.state, **chosen)
        ends = [*np.unique(case.random.integers(1, STEPS, 4)), STEPS]
        outputs, begin = [], 0
        for number, end in enumerate(ends):
            if number % 2:
                outputs += case.steps(begin, end, **chosen)
            else:
                cut = {name: flags[begin:end] for name, flags in chosen.items()}
                outputs += list(case.stream.run(case.x[begin:end], **cut))
            begin = end
        assert_same(np.stack(outputs), y)
        assert_same(case.stream.state, final)


@every_form
def test_chunks_without_choice_equal_one_call_and_then_masks_show_them(form):
    case = Case("lstmp", form)
    y, final = case.layer(case.x, case.state)
    assert_same(np.concatenate([case.stream.run(case.x[:5]), case.stream.run(case.x[5:])]), y)
    assert_same(case.stream.state, final)
    nobody = np.zeros(ROWS, bool)
    assert_same(case.stream.step(case.x[0], mask=nobody), y[-1])
    assert_same(case.stream.run(case.x[:1], mask=nobody[None])[0], y[-1])
    assert_same(case.stream.state, final)


@pytest.mark.parametrize("first", [False, True], ids=["time first", "batch first"])
def test_chunks_take_lengths_as_the_layer_does(first):
    case = Case(batch_first=first)

    def given(array):
        return array.swapaxes(0, 1) if first else array

    for zero in (None, True):
        options = {"lengths": case.lengths, "mask": given(case.mask), "reset": given(case.reset)}
        case.stream.state = case.state
        y, final = case.layer(given(case.x), case.state, **options, zero_output_for_mask=zero)
        assert_same(case.stream.run(given(case.x), **options, zero_output_for_mask=zero), y)
        assert_same(case.stream.state, final)


def test_a_chunk_of_lengths_and_lists_goes_on_from_the_one_before():
    """Rows of several chunks, each as long as it is: as one list of all."""
    case = Case("gru")
    cuts = np.sort(case.random.integers(0, STEPS + 1, (2, ROWS)), axis=0)
    cuts = np.concatenate([np.zeros((1, ROWS), int), cuts, np.full((1, ROWS), STEPS)])
    masked = {"mask": case.mask, "reset": case.reset}

    def rows(array, begin, end):
        return [array[begin[b] : end[b], b] for b in range(ROWS)]

    y, final = case.layer(case.x, case.state, **masked)
    parts = []
    for begin, end in itertools.pairwise(cuts):
        parts.append(case.stream.run(rows(case.x, begin, end), **{n: rows(f, begin, end) for n, f in masked.items()}))
    for b in range(ROWS):
        assert_same(np.concatenate([part[b] for part in parts]), np.ascontiguousarray(y[:, b]))
    assert_same(case.stream.state, final)


def test_a_stream_of_one_row_runs_a_single_sequence():
    for kind in ("lstm", "widths", "gru"):
        layer = layer_of(kind)
        x = np.random.default_rng(0).standard_normal((STEPS, INPUTS)).astype(np.float32)
        stream = layer.stream()
        assert_same(np.concatenate([stream.run(x[:4]), stream.run(x[4:])]), layer(x)[0])
        assert_same([part.reshape(-1) for part in arrays_of(stream.state)],
                    [part.reshape(-1) for part in arrays_of(layer(x)[1])])


def test_rows_that_sit_a_step_out_are_not_read():
    for form, anything in ((FORMS[0], np.nan), (FORMS[1], 99)):
        case = Case("gru", form)
        expected = case.layer(case.x, case.state, mask=case.mask)[0]
        case.x = case.x.copy()
        case.x[~case.mask] = anything
        assert_same(np.stack(case.steps(mask=case.mask)), expected)
        case.stream.state = case.state
        assert_same(case.stream.run(case.x, mask=case.mask), expected)


def test_an_output_array_may_be_the_input_and_flags_any_array():
    case = Case()
    layer = fastrnn.GRU(INPUTS, INPUTS, seed=1)
    stream = layer.stream(ROWS)
    expected = layer(case.x, mask=case.mask, reset=case.reset)[0]
    for t in range(STEPS):
        out = case.x[t].copy()
        flags = {"mask": case.mask[t].tolist(), "reset": np.repeat(case.reset[t], 2)[::2]}
        assert stream.step(out, out, **flags) is out
        assert_same(out, expected[t])


@pytest.mark.parametrize("num_threads", [1, 2])
@every_cell
def test_long_steps_of_many_rows_take_masks_and_resets(name, num_threads):
    step = make_step(name, (5, 48, 64, 128), layers=2)
    mask, reset = (np.random.default_rng(seed).random((5, 48)) < 0.5 for seed in (0, 1))
    y, final = step.layer(step.x, step.state, mask=mask, reset=reset)
    stream = step.layer.stream(48, num_threads=num_threads)
    stream.state = step.state
    outputs = [stream.step(x_t, mask=m, reset=r) for x_t, m, r in zip(step.x, mask, reset, strict=True)]
    assert_same(np.stack(outputs), y)
    assert_same(stream.state, final)


def test_a_long_step_of_some_rows_is_interrupted():
    layer = fastrnn.LSTM(64, 256, 10, seed=0)
    x, mask, reset = np.ones((6000, 64), np.float32), np.arange(6000) % 3 > 0, np.arange(6000) % 5 == 0
    stream, twin = layer.stream(len(x)), layer.stream(len(x))
    for one in (stream, twin):
        one.step(x, mask=mask)
    assert_interrupted(lambda: stream.step(x, mask=~mask, reset=reset))
    assert_same(stream.state, twin.state)
    assert_same(stream.step(x, mask=~mask, reset=reset), twin.step(x, mask=~mask, reset=reset))


def test_setting_the_state_is_a_beginning():
    """Who has taken no step since then has no output to repeat."""
    case, nobody = Case(), np.zeros(ROWS, bool)
    for begin in (lambda s: setattr(s, "state", s.state), lambda s: s.reset(), lambda s: setattr(s, "state", None)):
        assert case.stream.step(case.x[0]).any()
        assert case.stream.step(case.x[0], mask=nobody).all()
        begin(case.stream)
        assert not case.stream.step(case.x[0], mask=nobody).any()
    case.stream.step(case.x[0])
    case.stream.reset([1, 3])
    y = case.stream.step(case.x[0], mask=nobody)
    assert not y[[1, 3]].any()
    assert y[[0, 2, 4, 5, 6]].all()


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
@pytest.mark.parametrize("kind", ["lstm", "widths", "lstmp"])
def test_a_copy_repeats_the_same_outputs(kind, how):
    case, nobody = Case(kind), np.zeros(ROWS, bool)
    case.steps(0, 4, mask=case.mask)
    twin = how(case.stream)
    assert_same(twin.step(case.x[0], mask=nobody), case.stream.step(case.x[0], mask=nobody))
    assert_same(twin.step(case.x[0]), case.stream.step(case.x[0]))
    assert_same(twin.state, case.stream.state)


# --------------------------------------------------------------------------------- another number of rows


def rows_of(state, rows):
    if isinstance(state, (list, tuple)):
        return type(state)(rows_of(part, rows) for part in state)
    return np.ascontiguousarray(state[:, rows])


@every_kind
def test_rows_that_are_selected_go_on(kind):
    for rows in ([4, 0, 0, -1], 2, slice(1, None, 2), np.arange(ROWS) % 3 == 0, [1, 0, 1, 1, 0, 0, 1]):
        case = Case(kind)
        step = case.stream.step
        case.steps(0, 4, mask=case.mask)
        expected = rows_of(case.stream.state, [rows] if isinstance(rows, int) else rows)
        last = case.stream.step(case.x[0], mask=np.zeros(ROWS, bool))[[rows] if isinstance(rows, int) else rows]
        case.stream.select(rows)
        assert_same(case.stream.state, expected)
        B = case.stream.batch_size
        assert_same(case.stream.step(case.x[0, :B], mask=np.zeros(B, bool)), np.ascontiguousarray(last))
        x = np.ascontiguousarray(case.x[:, :B])
        y, final = case.layer(x, expected)
        assert_same(np.stack([step(x_t) for x_t in x]), y)  # a bound method goes on with the same stream
        assert_same(case.stream.state, final)


@every_kind
def test_the_batch_size_may_change(kind):
    case = Case(kind)
    case.steps(0, 4)
    for B in (4, 6, 6, 1, 7):
        before = case.stream.state
        kept = min(B, case.stream.batch_size)
        case.stream.batch_size = B
        assert case.stream.batch_size == B
        assert_same(rows_of(case.stream.state, slice(kept)), rows_of(before, slice(kept)))
        assert not any(part[:, kept:].any() for part in arrays_of(case.stream.state))
        assert not case.stream.step(case.x[0, :B], mask=np.zeros(B, bool))[kept:].any()
        x = np.ascontiguousarray(case.x[:, :B])
        y, final = case.layer(x, case.stream.state)
        assert_same(np.stack([case.stream.step(x_t) for x_t in x]), y)
        assert_same(case.stream.state, final)


@every_kind
def test_a_state_of_another_batch_changes_its_size(kind):
    case = Case(kind)
    case.steps(0, 2)
    for rows in (slice(3), [0, 0, 1, 2, 3, 4, 5, 6, 6]):
        state = rows_of(case.state, rows)
        case.stream.state = state
        assert case.stream.batch_size == arrays_of(state)[0].shape[1]
        assert_same(case.stream.state, state)
        x = np.ascontiguousarray(case.x[:, rows])
        assert_same(case.stream.run(x), case.layer(x, state)[0])


def test_a_stream_of_a_bidirectional_layer_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="reverse direction starts at the end of the sequence"):
        fastrnn.GRU(3, 4, bidirectional=True, seed=0).stream()


LSTM = "LSTM.stream"
REFUSED = [
    (lambda c: c.stream.step(c.x[0], mask=np.ones(ROWS)), TypeError, rf"{LSTM}.step: mask has dtype float64; expected"),
    (lambda c: c.stream.step(c.x[0], reset=np.ones(3, bool)), ValueError, rf"{LSTM}.step: reset has shape \(3,\)"),
    (lambda c: c.stream.step(c.x[0, :2], mask=c.mask[0]), ValueError, rf"{LSTM}.step: x_t has shape"),
    (lambda c: c.stream.step(c.x[0], c.x[0], reset=c.mask[0]), ValueError, rf"{LSTM}.step: out has shape"),
    (lambda c: c.stream.step(np.full(ROWS, 9), mask=c.mask[1]), IndexError, rf"{LSTM}.step: x_t holds index 9"),
    (lambda c: c.stream.run(c.x[:, :2]), ValueError, rf"{LSTM}.run: x is a batch of 2; expected batch_size=7"),
    (lambda c: c.stream.run([c.x[:, 0]]), ValueError, rf"{LSTM}.run: x is a batch of 1; expected batch_size=7"),
    (lambda c: c.stream.run(c.x[:, 0]), ValueError, rf"{LSTM}.run: x is a batch of 1; expected batch_size=7"),
    (lambda c: c.stream.run(c.x[:0]), ValueError, rf"{LSTM}.run: x has shape"),
    (lambda c: c.stream.run(c.x, mask=c.mask[1:]), ValueError, rf"{LSTM}.run: mask has shape"),
    (lambda c: c.stream.run(c.x, zero_output_for_mask=True), ValueError, rf"{LSTM}.run: zero_output_for_mask"),
    (lambda c: c.stream.run(c.x.tolist()), TypeError, rf"{LSTM}.run: x is a list"),
    (lambda c: c.stream.select([]), ValueError, rf"{LSTM}.select: rows is \[\], no row at all; expected one or more"),
    (lambda c: c.stream.select([7]), IndexError, rf"{LSTM}.select: rows is \[7\]; expected integers in -7..6"),
    (lambda c: c.stream.select([0.5]), TypeError, rf"{LSTM}.select: rows is \[0.5\]; expected integers, a slice or"),
    (lambda c: c.stream.select([True]), ValueError, rf"{LSTM}.select: rows has shape \(1,\); expected a mask"),
    (lambda c: setattr(c.stream, "batch_size", 0), ValueError, rf"{LSTM}: batch_size is 0; expected an integer >= 1"),
    (lambda c: setattr(c.stream, "state", rows_of(c.state, slice(0))), ValueError, rf"{LSTM}.state: state"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused_leaves_the_stream_as_it_was(call, error, message):
    case, twin = Case(), Case()
    for one in (case, twin):
        one.steps(0, 3, mask=one.mask)
    with pytest.raises(error, match=message):
        call(case)
    assert_same(case.stream.state, twin.stream.state)
    nobody = np.zeros(ROWS, bool)
    assert_same(case.stream.step(case.x[0], mask=nobody), twin.stream.step(twin.x[0], mask=nobody))
    assert_same(case.steps(3), twin.steps(3))
