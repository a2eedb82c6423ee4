"""Batches whose rows differ: every form gives the same bits, rows know nothing of each other, padding is never read."""

import numpy as np
import pytest
from compiled_problems import cast, layer_of
from layer_forms import FORMS, calm, given, infer, row_lengths, run
from layer_problems import CELLS, WEIGHTS, Problem
from tolerance import assert_same_arrays

every_cell = pytest.mark.parametrize("name", CELLS)
every_merge = pytest.mark.parametrize("merge", [None, "concat", "mul"])
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
TIME, BATCH, WIDTHS = 11, 7, (19, 17)
LENGTHS = np.array([4, 11, 0, 1, 11, 7, 5])


def ragged(name, merge=None, seed=4, **options):
    settings = {"time": TIME, "batch": BATCH, "widths": WIDTHS, "projection": 9, "inputs": 13, "lengths": LENGTHS}
    return calm(Problem(name, seed, merge=merge, **{**settings, **options}))


def flags(share, seed, shape=(TIME, BATCH)):
    return np.random.default_rng(seed).random(shape) < share


EVERYTHING = {"mask": flags(0.7, 1), "reset": flags(0.2, 2)}
STEPS = {
    "lengths": {},
    "resets": {"reset": EVERYTHING["reset"]},
    "repeats": {**EVERYTHING, "zero_output_for_mask": False},
    "zeros": {**EVERYTHING, "zero_output_for_mask": True},
}
every_steps = pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)


def per_row(results):
    """What each row has for itself, which is all but the gradients of weights."""
    return {key: value for key, value in results.items() if not key[1:].startswith(WEIGHTS)}


def assert_same_bits(actual, expected):
    assert actual.keys() == expected.keys()
    for key, wanted in expected.items():
        if wanted is None:
            assert actual[key] is None, key
        else:
            assert_same_arrays([np.ascontiguousarray(actual[key])], [np.ascontiguousarray(wanted)])


def taken(results, rows):
    """These rows of the results."""
    return {key: value if value is None else value.take(rows, 1 if key in ("y", "dx") else 0)
            for key, value in results.items()}  # fmt: skip


# --------------------------------------------------------------------------------------------- the same bits


@every_dtype
@every_steps
@every_merge
@every_cell
def test_every_form_and_order_and_row_gives_the_same_bits(name, merge, steps, dtype):
    """In three forms more, the rows in another order, and one by one: outputs, states and their gradients."""
    problem = ragged(name, merge, **steps)
    layer = layer_of(problem, dtype)
    whole = run(problem, layer)
    for form in FORMS[1:]:
        assert_same_bits(run(problem, layer, form), whole)
    whole = per_row(whole)
    order = np.random.default_rng(0).permutation(BATCH)
    assert_same_bits(per_row(run(problem.rows(order), layer)), taken(whole, order))
    for b in range(BATCH):
        assert_same_bits(per_row(run(problem.rows([b]), layer)), taken(whole, [b]))
    results = infer(problem, layer)
    assert_same_bits(results, {key: whole[key] for key in results})


@every_merge
@every_cell
def test_a_row_alone_without_any_option_gives_the_bits_that_it_has_among_others(name, merge):
    problem = ragged(name, merge)
    layer = layer_of(problem, "float32")
    whole = run(problem, layer)
    for b, length in enumerate(LENGTHS):
        if not length:
            continue
        alone = problem.rows([b])
        alone.lengths, alone.time = None, length
        alone.arrays["x"], alone.upstream["y"] = alone.arrays["x"][:length], alone.upstream["y"][:length]
        own = taken(per_row(whole), [b])
        own |= {key: own[key][:length] for key in ("y", "dx")}
        assert_same_bits(per_row(run(alone, layer)), own)


@every_merge
@every_cell
def test_lengths_of_all_steps_are_the_bits_of_none(name, merge):
    """And so are a mask that is True everywhere and resets nowhere."""
    problem = ragged(name, merge, lengths=None)
    layer = layer_of(problem, "float32")
    expected = run(problem, layer)
    says_nothing = {
        "lengths": np.full(BATCH, TIME), "mask": np.ones((TIME, BATCH), bool), "reset": np.zeros((TIME, BATCH), bool),
    }  # fmt: skip
    for option, value in says_nothing.items():
        other = problem.but(**{option: value})
        assert_same_bits(per_row(run(other, layer)), per_row(expected))


@every_cell
def test_whole_and_chunks_and_stream_give_the_same_bits(name):
    problem = ragged(name, lengths=None, widths=(17, 17))
    layer = layer_of(problem, "float32")
    x, start = (cast(value, "float32") for value in (problem.arrays["x"], problem.as_states(problem.arrays)))
    whole, final = layer(x, start)
    for ends in ((3, TIME), (1, 2, 9, TIME)):
        state, outputs, begin = start, [], 0
        for end in ends:
            y, state = layer(x[begin:end], state)
            outputs.append(y)
            begin = end
        assert_same_bits({"y": np.concatenate(outputs)} | problem.by_name(state), {"y": whole} | problem.by_name(final))
    stream = layer.stream(BATCH)
    stream.state = start
    outputs = np.stack([stream.step(x_t) for x_t in x])
    assert_same_bits({"y": outputs} | problem.by_name(stream.state), {"y": whole} | problem.by_name(final))


@pytest.mark.parametrize("merge", [None, "concat"])
@every_cell
def test_a_row_of_nan_stays_by_itself(name, merge):
    """In x, dy and both states; the others' bits do not change."""
    problem = ragged(name, merge, lengths=np.full(BATCH, TIME), reset=EVERYTHING["reset"])
    layer, others = layer_of(problem, "float32"), np.delete(np.arange(BATCH), 2)
    expected = taken(per_row(run(problem, layer)), others)
    for arrays in (problem.arrays, problem.upstream):
        for key in [key for key in ("x", "y", *problem.states()) if key in arrays]:
            arrays[key][(slice(None), 2) if key in ("x", "y") else 2] = np.nan
    results = per_row(run(problem, layer))
    assert np.isnan(results["y"][:, 2]).any()
    assert_same_bits(taken(results, others), expected)


@every_steps
@every_merge
@pytest.mark.parametrize("name", ["lstmp", "gru"])
def test_none_is_zeros_bit_for_bit(name, merge, steps):
    """Of the state and both gradients; without `input_gradient` all but dx is the same."""
    problem = ragged(name, merge, **steps)
    layer = layer_of(problem, "float32")
    for arrays in (problem.arrays, problem.upstream):
        arrays |= {state: np.zeros_like(arrays[state]) for state in problem.states()}
    assert_same_bits(run(problem, layer, state=False, upstream=False), run(problem, layer))
    x, steps = cast(problem.arrays["x"], "float32"), {**steps, "lengths": LENGTHS}
    dstate = cast(problem.as_states(problem.arrays | ragged(name, merge, 5).upstream), "float32")
    results = []
    for dy, wanted in ((None, True), (None, False), (np.zeros_like(layer(x, **steps)[0]), True)):
        layer.zero_grad()
        dx, dinitial = layer.backward(layer.forward(x, **steps)[2], dy, dstate, input_gradient=wanted)
        results.append({"dx": dx, "dflat": layer.flat_grads.copy()} | problem.by_name(dinitial, "d"))
    assert results[1].pop("dx") is None
    assert_same_bits(results[0], results[2])
    assert_same_bits(results[1], {key: value for key, value in results[0].items() if key != "dx"})


@every_steps
def test_gradients_are_in_the_form_of_the_forward_run(steps):
    """Also where `batch_first` has been set in between."""
    problem = ragged("gru", "concat", **steps)
    layer = layer_of(problem, "float32")
    expected = run(problem, layer)
    x, dy = (cast(array, "float32") for array in (problem.arrays["x"], problem.upstream["y"]))
    start, dfinal = (cast(problem.as_states(arrays), "float32") for arrays in (problem.arrays, problem.upstream))
    tape = layer.forward(x, start, LENGTHS, **steps)[2]
    layer.batch_first = True
    dx, _ = layer.backward(tape, dy, dfinal)
    assert_same_arrays([dx], [expected["dx"]])


# ---------------------------------------------------------------------------------------------- padding


def poisoned(problem):
    """The problem with anything where nothing may be read."""
    other, left_out = problem.but(), ~problem.taken()
    unread = left_out if problem.mask is None or problem.zeros() else ~problem.inside()
    other.arrays, other.upstream = dict(problem.arrays), dict(problem.upstream)
    other.arrays["x"] = problem.arrays["x"].copy()
    other.arrays["x"][left_out] = -(10**9) if problem.integers else np.nan
    other.upstream["y"] = np.where(unread[..., None], np.nan, problem.upstream["y"])
    for option in ("mask", "reset"):
        value = getattr(problem, option)
        if value is not None:
            setattr(other, option, value | ~problem.inside())
    return other, left_out, unread


@pytest.mark.parametrize("integers", [False, True], ids=["vectors", "integers"])
@every_steps
@every_merge
@every_cell
def test_padding_may_hold_anything(name, merge, steps, integers):
    """NaN in x and dy, indices out of range, mask and resets: no bit changes, and what comes out is 0 there."""
    problem = ragged(name, merge, integers=integers, **steps)
    layer = layer_of(problem, "float32")
    expected = run(problem, layer)
    other, left_out, unread = poisoned(problem)
    for form in ("array", "batch_first", "strided"):
        actual = run(other, layer, form)
        assert_same_bits(actual, expected)
        assert not actual["y"][unread].any()
        assert integers or not actual["dx"][left_out].any()
    results = infer(other, layer)
    assert_same_bits(results, {key: expected[key] for key in results})


def test_an_index_out_of_range_where_a_step_is_taken_is_refused():
    problem = ragged("gru", integers=True, mask=EVERYTHING["mask"])
    layer = layer_of(problem)
    t, b = np.argwhere(problem.taken())[-1]
    problem.arrays["x"][t, b] = 13
    for form in FORMS:
        layer.batch_first = form == "batch_first"
        mask = given(problem, form, problem.mask)
        ends = None if form == "list" else LENGTHS
        with pytest.raises(IndexError, match="13"):
            layer(given(problem, form, problem.arrays["x"]), None, ends, mask)


# ------------------------------------------------------------------------------------------------- edges


EDGES = {
    "no row takes a step": {"lengths": np.zeros(BATCH, int)},
    "one row takes a step": {"lengths": np.eye(BATCH, dtype=int)[3]},
    "one step": {"time": 1, "lengths": np.array([1, 0, 1, 1, 0, 0, 1])},
    "one row": {"batch": 1, "lengths": np.array([6])},
    "one row of no step": {"batch": 1, "lengths": np.array([0])},
    "a mask that is False everywhere": {"lengths": None, "mask": np.zeros((TIME, BATCH), bool)},
    "a reset at step 0": {"lengths": None, "reset": np.arange(TIME)[:, None] == np.zeros(BATCH)},
    "a reset at the last step": {"lengths": None, "reset": np.arange(TIME)[:, None] == np.full(BATCH, TIME - 1)},
    "a reset at each row's own last step": {"reset": np.arange(TIME)[:, None] == LENGTHS - 1},
    "a reset at each row's own end": {"reset": np.arange(TIME)[:, None] == LENGTHS},
    "a reset at every step": {"lengths": None, "reset": np.ones((TIME, BATCH), bool)},
    "a reset at every step of rows that end": {"reset": np.ones((TIME, BATCH), bool)},
    "resets at masked steps alone": {"mask": flags(0.5, 1), "reset": ~flags(0.5, 1)},
    "a masked last step": {"lengths": None, "mask": (np.arange(TIME) < TIME - 1)[:, None] & np.ones(BATCH, bool)},
    "a masked reset at both ends": {
        "lengths": None,
        "mask": np.isin(np.arange(TIME), (0, TIME - 1), invert=True)[:, None] & np.ones(BATCH, bool),
        "reset": np.isin(np.arange(TIME), (0, TIME - 1))[:, None] & np.ones(BATCH, bool),
    },
}  # fmt: skip


@pytest.mark.parametrize("zeros", [False, True], ids=["repeats", "zeros"])
@pytest.mark.parametrize("edge", EDGES.values(), ids=EDGES)
@every_merge
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru_before", "lstmp"])
def test_edges_give_the_twins_results(name, merge, edge, zeros):
    problem = ragged(name, merge, **{**edge, "zero_output_for_mask": zeros if "mask" in edge else None})
    expected, layer = problem.run(), layer_of(problem)
    for form in FORMS:
        if form == "list" and not row_lengths(problem).any():
            continue  # refused: a list holds one step at least
        for key, got in run(problem, layer, form).items():
            atol = 1e-10 * max(np.abs(expected[key]).max(), 1e-3)
            np.testing.assert_allclose(got, expected[key], rtol=0, atol=atol, err_msg=key)


@every_cell
def test_rows_without_a_step_hand_their_state_through(name):
    """The states' bits, there and back, and zeros of everything else."""
    problem = ragged(name, "concat", lengths=np.zeros(BATCH, int))
    layer = layer_of(problem, "float32")
    results = run(problem, layer)
    for state in problem.states():
        assert_same_arrays([results[state]], [cast(problem.arrays[state], "float32")])
        assert_same_arrays([results[f"d{state}"]], [cast(problem.upstream[state], "float32")])
    assert not any(value.any() for key, value in results.items() if key[1:].startswith(WEIGHTS) or key in ("y", "dx"))
