"""The NumPy twins under every option of a layer: two directions, projection, widths, lengths, masks, resets.

Proved by the complex step, by the cell run by hand over one piece of one row at a time, and by laws.
"""

import copy
import importlib
import inspect
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_problems import CELLS, WEIGHTS, B, I, Problem, T, by_hand

from fastrnn.gradcheck import COMPLEX_STEP, complex_step
from fastrnn.reference import bidirectional, lstm, lstmp, sequence, stack

every_cell = pytest.mark.parametrize("name", CELLS)
LENGTHS = np.array([3, 0, 5, 1])
MASK = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]], dtype=bool)
RESET = np.array([[1, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)
EVERYTHING = {
    "widths": (2, 1),
    "merge": "concat",
    "dropout": True,
    "lengths": LENGTHS,
    "mask": MASK,
    "zero_output_for_mask": False,
    "reset": RESET,
}
OPTIONS = {
    "plain": {},
    **{merge: {"merge": merge} for merge in bidirectional.MERGES},
    "widths": {"widths": (3, 1, 2)},
    "widths_concat": {"widths": (2, 3), "merge": "concat", "dropout": True},
    "lengths": {"lengths": LENGTHS},
    "lengths_sum": {"lengths": LENGTHS, "merge": "sum"},
    "mask": {"mask": MASK},
    "mask_mul": {"mask": MASK, "merge": "mul"},
    "mask_repeat_mul": {"mask": MASK, "merge": "mul", "zero_output_for_mask": False},
    "zero_output": {"mask": MASK, "zero_output_for_mask": True},
    "reset": {"reset": RESET},
    "reset_ave": {"reset": RESET, "merge": "ave"},
    "everything": EVERYTHING,
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def assert_same(actual, expected, tolerance=1e-12):
    """Equal by name, relative to the largest entry; bit for bit if the tolerance is 0."""
    assert actual.keys() == expected.keys()
    for name, wanted in expected.items():
        if wanted is None:
            assert actual[name] is None
            continue
        assert actual[name].shape == wanted.shape, name
        scale = max(np.abs(wanted).max(), 1e-3)
        np.testing.assert_allclose(actual[name], wanted, rtol=0, atol=tolerance * scale, err_msg=name)


def bools(time=T, batch=B):
    rows = st.lists(st.booleans(), min_size=batch, max_size=batch)
    return st.lists(rows, min_size=time, max_size=time).map(np.array)


@st.composite
def problems(draw, names=tuple(CELLS), **fixed):
    """Any cell under any combination of options."""
    time, batch = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    lengths = st.lists(st.integers(0, time), min_size=batch, max_size=batch).map(np.array)
    choices = {
        "name": st.sampled_from(names),
        "seed": st.integers(0, 2**32 - 1),
        "widths": st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple),
        "projection": st.integers(1, 3),
        "merge": st.sampled_from([None, *bidirectional.MERGES]),
        "dropout": st.booleans(),
        "integers": st.booleans(),
        "lengths": st.none() | lengths,
        "mask": st.none() | bools(time, batch),
        "zero_output_for_mask": st.none() | st.booleans(),
        "reset": st.none() | bools(time, batch),
    }
    drawn = {option: draw(choice) for option, choice in choices.items() if option not in fixed}
    return Problem(time=time, batch=batch, **drawn, **fixed)


def always(examples):
    """The same examples on every run, however long each takes."""
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None)


# The complex step


@every_option
@every_cell
def test_gradients_match_complex_step(name, options):
    """Every entry of every gradient."""
    problem = Problem(name, **{"widths": (2,), **options})
    names = problem.differentiable()

    def loss(*arrays):
        return problem.loss(dict(zip(names, arrays, strict=True)))

    wanted = complex_step(loss, [problem.arrays[key] for key in names])
    results = problem.run()
    assert_same({key: results[f"d{key}"] for key in names}, dict(zip(names, wanted, strict=True)))


@always(150)
@given(problems())
def test_random_combinations_match_complex_step(problem):
    """Every array along a random direction."""
    results = problem.run()
    rng = np.random.default_rng(problem.seed)
    for name in problem.differentiable():
        direction = rng.normal(size=problem.arrays[name].shape)
        moved = {**problem.arrays, name: problem.arrays[name] + 1j * COMPLEX_STEP * direction}
        arrays = {key: array if key == "x" and problem.integers else array + 0j for key, array in moved.items()}
        terms = results[f"d{name}"] * direction
        wanted = problem.loss(arrays).imag / COMPLEX_STEP
        assert terms.sum() == pytest.approx(wanted, rel=0, abs=1e-12 * max(np.abs(terms).sum(), 1e-3)), name


# The cell by hand


@every_option
@every_cell
def test_results_match_pieces_by_hand(name, options):
    problem = Problem(name, seed=1, **options)
    assert_same(problem.run(), by_hand(problem))


@always(150)
@given(problems())
def test_random_combinations_match_pieces_by_hand(problem):
    assert_same(problem.run(), by_hand(problem))


# What is not taken


@always(100)
@given(problems())
def test_what_is_not_taken_is_not_read(problem):
    """NaN in x, dropout's masks and dy, where no step is taken, changes no bit; nor does any index."""
    expected = problem.run()
    left_out = ~problem.taken()
    unread = left_out if problem.zeros() else ~problem.inside()
    poisoned = problem.but()
    poisoned.arrays = {**problem.arrays, "x": problem.arrays["x"].copy()}
    poisoned.upstream = {**problem.upstream, "y": problem.upstream["y"].copy()}
    poisoned.arrays["x"][left_out] = 10**6 if problem.integers else np.nan
    poisoned.upstream["y"][unread] = np.nan
    if problem.masks is not None:
        poisoned.masks = [np.where(left_out[..., None], np.nan, mask) for mask in problem.masks]
    actual = poisoned.run()
    assert_same(actual, expected, tolerance=0)
    np.testing.assert_array_equal(actual["y"][unread], 0)
    if not problem.integers:
        np.testing.assert_array_equal(actual["dx"][left_out], 0)


@every_cell
def test_initial_state_of_a_row_that_starts_anew_is_not_read(name):
    problem = Problem(name, reset=np.ones((T, B), dtype=bool))
    expected = problem.run()
    for state in problem.states():
        problem.arrays[state] = np.full_like(problem.arrays[state], np.nan)
        np.testing.assert_array_equal(expected[f"d{state}"], 0)
    assert_same(problem.run(), expected, tolerance=0)


@pytest.mark.parametrize("merge", [None, "concat"])
@every_cell
def test_rows_without_steps_keep_their_state(name, merge):
    problem = Problem(name, merge=merge, lengths=np.zeros(B, dtype=int), reset=RESET)
    results = problem.run()
    for state in problem.states():
        np.testing.assert_array_equal(results[state], problem.arrays[state])
        np.testing.assert_array_equal(results[f"d{state}"], problem.upstream[state])
    rest = {key: array for key, array in results.items() if key.startswith(("y", "dx", "dweight", "dbias"))}
    assert_same(rest, {key: np.zeros_like(array) for key, array in rest.items()}, tolerance=0)


# Lengths


@always(100)
@given(problems(lengths=None), st.data())
def test_rows_do_not_depend_on_their_order_or_on_each_other(problem, data):
    """All rows at once, in another order, and one by one, each cut to its own length."""
    ends = data.draw(st.lists(st.integers(0, problem.time), min_size=problem.batch, max_size=problem.batch))
    problem = problem.but(lengths=np.array(ends))
    results = problem.run()
    order = data.draw(st.permutations(range(problem.batch)))
    shuffled = problem.rows(order).run()
    alone = [problem.rows([b]).run() for b in range(problem.batch)]
    for key, together in results.items():
        if together is None:
            continue
        if key[1:].startswith(WEIGHTS):
            assert_same({key: sum(one[key] for one in alone)}, {key: together})
            assert_same({key: shuffled[key]}, {key: together})
        else:
            axis = 1 if key in ("y", "dx") else 0
            assert_same({key: np.concatenate([one[key] for one in alone], axis)}, {key: together})
            assert_same({key: shuffled[key]}, {key: together.take(order, axis)})


@every_cell
def test_a_list_of_rows_equals_rows_one_by_one(name):
    """The list is padded, run and cut again; a row alone runs without any option."""
    problem = Problem(name, widths=(3, 2), merge="concat")
    lengths = [3, 1, 5, 2]
    rows = [problem.arrays["x"][:length, b] for b, length in enumerate(lengths)]
    x, ends = sequence.pad(rows)
    assert x.shape == (5, B, I)
    np.testing.assert_array_equal(ends, lengths)
    for again, row in zip(sequence.unpad(x, ends), rows, strict=True):
        np.testing.assert_array_equal(again, row)
    together = problem.but(lengths=ends)
    together.arrays = {**problem.arrays, "x": x}
    results = together.run()
    for b, y in enumerate(sequence.unpad(results["y"], ends)):
        alone = problem.rows([b])
        alone.time = lengths[b]
        alone.arrays["x"] = rows[b][:, None]
        alone.upstream["y"] = alone.upstream["y"][: lengths[b]]
        expected = alone.run()
        assert_same({"y": y[:, None]}, {"y": expected["y"]})
        assert_same({"dx": results["dx"][: lengths[b], b : b + 1]}, {"dx": expected["dx"]})
        for state in problem.states():
            assert_same({"s": results[state][b : b + 1]}, {"s": expected[state]})
            assert_same({"s": results[f"d{state}"][b : b + 1]}, {"s": expected[f"d{state}"]})


# Masks


@always(100)
@given(problems(lengths=None, mask=None, reset=None), st.data())
def test_a_mask_that_is_a_prefix_equals_lengths(problem, data):
    """Bit for bit: with zeros all of it, else all but what is repeated."""
    ends = data.draw(st.lists(st.integers(0, problem.time), min_size=problem.batch, max_size=problem.batch))
    by_lengths = problem.but(lengths=np.array(ends))
    mask = by_lengths.inside()
    zeros = problem.but(mask=mask, zero_output_for_mask=True)
    assert_same(zeros.run(), by_lengths.run(), tolerance=0)
    by_mask = problem.but(mask=mask, zero_output_for_mask=False)
    by_mask.upstream = {**problem.upstream, "y": np.where(mask[..., None], problem.upstream["y"], 0)}
    actual, expected = by_mask.run(), by_lengths.run()
    actual["y"] = np.where(mask[..., None], actual["y"], 0)
    assert_same(actual, expected, tolerance=0)


def test_a_masked_step_repeats_the_output_before_it_in_its_direction():
    """Row 0, of steps - 1 2 - -: forward 0 y1 y2 y2 y2, reverse y1 y1 y2 0 0; with zeros 0 y1 y2 0 0 both."""
    problem = Problem("gru", merge="concat", mask=MASK, zero_output_for_mask=False)
    H = problem.widths[0]
    y = problem.run()["y"][:, 0]
    zeros = problem.but(zero_output_for_mask=None).run()["y"][:, 0]
    forward, reverse = y[:, :H], y[:, H:]
    nothing = np.zeros(H)
    np.testing.assert_array_equal(forward, [nothing, forward[1], forward[2], forward[2], forward[2]])
    np.testing.assert_array_equal(reverse, [reverse[1], reverse[1], reverse[2], nothing, nothing])
    assert np.all(forward[1] != forward[2]) and np.all(reverse[1] != reverse[2])
    np.testing.assert_array_equal(zeros, np.where(MASK[:, :1], y, 0))


def test_a_masked_reset_still_cuts():
    """Nothing is repeated across it, and a row that takes no step after it ends in zeros."""
    mask, reset = np.ones((T, 1), dtype=bool), np.zeros((T, 1), dtype=bool)
    mask[2:], reset[3] = False, True
    problem = Problem("lstm", batch=1, mask=mask, reset=reset)
    results = problem.run()
    np.testing.assert_array_equal(results["y"][2], results["y"][1])
    np.testing.assert_array_equal(results["y"][3:], 0)
    for state in problem.states():
        np.testing.assert_array_equal(results[state], 0)
    assert np.all(results["dx"][1] != 0)
    problem.upstream = {key: array if key == "y" else array + 1 for key, array in problem.upstream.items()}
    problem.upstream["y"] = problem.upstream["y"] + np.arange(T)[:, None, None] // 3
    assert_same(problem.run(), results, tolerance=0)


# Resets


@pytest.mark.parametrize("merge", [None, "concat", "mul"])
@every_cell
def test_a_reset_equals_two_runs(name, merge):
    """Cut before step 2: the second piece starts from zero forward, the first one in reverse."""
    cut = 2
    reset = np.zeros((T, B), dtype=bool)
    reset[cut] = True
    whole = Problem(name, merge=merge, reset=reset)
    results = whole.run()
    reverse = [state for state in whole.states() if state.endswith("_reverse")]
    forward = [state for state in whole.states() if state not in reverse]
    runs = []
    for steps, starts_here in ((slice(0, cut), forward), (slice(cut, T), reverse)):
        piece = whole.but(reset=None)
        piece.time = len(range(T)[steps])
        piece.arrays = {**whole.arrays, "x": whole.arrays["x"][steps]}
        piece.upstream = {"y": whole.upstream["y"][steps]}
        for state in whole.states():
            piece.arrays[state] = whole.arrays[state] * (state in starts_here)
            piece.upstream[state] = whole.upstream[state] * (state not in starts_here)
        runs.append(piece.run())
    first, second = runs
    for key in ("y", "dx"):
        assert_same({key: results[key]}, {key: np.concatenate([first[key], second[key]])})
    for state in whole.states():
        starts, ends = (first, second) if state in forward else (second, first)
        assert_same({state: results[state]}, {state: ends[state]})
        assert_same({state: results[f"d{state}"]}, {state: starts[f"d{state}"]})
    for weight in whole.weights():
        assert_same({weight: results[f"d{weight}"]}, {weight: first[f"d{weight}"] + second[f"d{weight}"]})


@every_cell
def test_a_reset_before_step_0_touches_the_forward_direction_alone(name):
    reset = np.zeros((T, B), dtype=bool)
    reset[0] = True
    problem = Problem(name, merge="concat", reset=reset)
    cleared = problem.but(reset=np.zeros((T, B), dtype=bool))
    cleared.arrays = dict(problem.arrays)
    forward = [state for state in problem.states() if not state.endswith("_reverse")]
    for state in forward:
        cleared.arrays[state] = np.zeros_like(problem.arrays[state])
    actual, expected = problem.run(), cleared.run()
    for state in forward:
        assert np.all(expected[f"d{state}"] != 0)
        np.testing.assert_array_equal(actual[f"d{state}"], 0)
        del actual[f"d{state}"], expected[f"d{state}"]
    assert_same(actual, expected, tolerance=0)


@always(50)
@given(problems(), st.data())
def test_resets_behind_the_end_do_nothing(problem, data):
    reset = data.draw(bools(problem.time, problem.batch))
    inside = problem.inside()
    assert_same(problem.but(reset=reset).run(), problem.but(reset=reset & inside).run(), tolerance=0)


# Nothing but the form


@pytest.mark.parametrize("merge", [None, "ave"])
@every_cell
def test_options_that_say_nothing_change_nothing(name, merge):
    problem = Problem(name, widths=(3, 2), merge=merge, dropout=True)
    expected = problem.run()
    full = {"lengths": np.full(B, T), "mask": np.ones((T, B), dtype=bool), "reset": np.zeros((T, B), dtype=bool)}
    for option, value in full.items():
        assert_same(problem.but(**{option: value}).run(), expected)


@pytest.mark.parametrize("options", [{}, {"merge": "concat"}, {"merge": "sum", "lengths": LENGTHS}])
@every_cell
def test_states_in_lists_equal_states_in_one_array(name, options):
    problem = Problem(name, widths=(3, 3), **options)
    assert_same(problem.run(listed=True), problem.run(), tolerance=0)


@pytest.mark.parametrize("merge", [None, "concat"])
@pytest.mark.parametrize("name", ["gru", "lstmp"])
def test_states_come_back_in_the_form_they_went_in(name, merge):
    """Each kind for itself: with one projection and unequal widths h is an array and c is a list."""
    problem = Problem(name, widths=(3, 2), merge=merge)
    D = 1 if merge is None else 2
    given = problem.as_states(problem.arrays)
    layers = problem.as_layers(problem.arrays)
    _, final, tape = stack.forward(problem.cell, problem.arrays["x"], given, layers, merge=merge)
    _, initial, _ = stack.backward(tape, problem.upstream["y"], problem.as_states(problem.upstream))
    for states in (final, initial):
        listed = states if name == "gru" else states[1]
        assert isinstance(listed, list)
        assert [array.shape for array in listed] == [(D, B, 3), (D, B, 2)]
        if name == "lstmp":
            assert isinstance(states, tuple)
            assert states[0].shape == (2 * D, B, 2)


@every_option
@every_cell
def test_arguments_are_not_changed(name, options):
    problem = Problem(name, **options)
    state, upstream = problem.as_states(problem.arrays), problem.as_states(problem.upstream)
    layers, dy = problem.as_layers(problem.arrays), problem.upstream["y"]
    given = [problem.arrays["x"], state, upstream, layers, dy, problem.masks, list(problem.steps().values())]
    before = copy.deepcopy(given)
    _, _, tape = stack.forward(
        problem.cell,
        problem.arrays["x"],
        state,
        layers,
        problem.masks,
        merge=problem.merge,
        **problem.steps(),
        **problem.options,
    )
    stack.backward(tape, dy, upstream)
    assert pickle.dumps(given) == pickle.dumps(before)


@every_option
@every_cell
def test_float32_stays_float32(name, options):
    problem = Problem(name, **options)
    for arrays in (problem.arrays, problem.upstream):
        arrays |= {key: array.astype(np.float32) for key, array in arrays.items()}
    if problem.masks is not None:
        problem.masks = [mask.astype(np.float32) for mask in problem.masks]
    assert {array.dtype for array in problem.run().values()} == {np.dtype(np.float32)}


# The projection


def test_a_projection_by_the_identity_is_the_lstm():
    problem = Problem("lstmp", projection=3)
    problem.arrays["weight_hr_l0"] = np.eye(3)
    plain = Problem("lstm")
    plain.arrays = {key: array for key, array in problem.arrays.items() if key != "weight_hr_l0"}
    plain.upstream = problem.upstream
    actual = problem.run()
    assert np.all(actual.pop("dweight_hr_l0") != 0)
    assert_same(actual, plain.run())


def test_projected_single_steps_equal_one_run():
    problem = Problem("lstmp")
    (weights,) = problem.as_layers(problem.arrays)
    state = (problem.arrays["h_l0"], problem.arrays["c_l0"])
    y, final, _ = lstmp.forward(problem.arrays["x"], state, weights)
    for x_t, y_t in zip(problem.arrays["x"], y, strict=True):
        state = lstmp.step(x_t, state, weights)
        np.testing.assert_allclose(state[0], y_t, rtol=1e-14, atol=1e-15)
    for stepped, run in zip(state, final, strict=True):
        np.testing.assert_allclose(stepped, run, rtol=1e-14)
    assert lstmp.GATES == lstm.GATES and lstmp.STATES == lstm.STATES


# The text


@pytest.mark.parametrize("name", ["lstmp", "sequence", "bidirectional"])
def test_code_carries_the_labels_of_its_equations(name):
    module = importlib.import_module(f"fastrnn.reference.{name}")
    table = module.__doc__.split("\nEQUATIONS\n")[1].split("\nEND\n")[0]
    assert table.isascii()
    in_table = re.findall(r"^([FB]\d) ", table, re.MULTILINE)
    comments = re.findall(r"# ([FB]\d(?:, [FB]\d)*)$", inspect.getsource(module), re.MULTILINE)
    assert set(in_table) == set(", ".join(comments).split(", "))
    assert len(in_table) == len(set(in_table))
