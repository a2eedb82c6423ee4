"""What `fastrnn.inspect` says of a run: every gate, every step's gradient, where the finite numbers end."""

import contextlib
import copy
import math

import numpy as np
import pytest
from compiled_problems import cast, layer_of
from layer_forms import FORMS, given, steps
from layer_problems import CELLS, Problem
from runs import as_tuple, from_tuple
from tolerance import BACKWARD, FORWARD, assert_close, assert_same_bits, bound

import fastrnn
from fastrnn import inspect
from fastrnn.gradcheck import complex_step

TIME, BATCH = 5, 4
LENGTHS = np.array([3, 0, 5, 1])
MASK = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]], dtype=bool)
RESET = np.array([[1, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)
OPTIONS = {
    "plain": {"widths": (3, 2)},
    "multiplied": {"widths": (2, 3), "merge": "mul"},
    "lengths": {"widths": (2, 3), "lengths": LENGTHS},
    "lengths both ways": {"widths": (2, 3), "lengths": LENGTHS, "merge": "ave"},
    "indices": {"integers": True},
    "everything": {
        "widths": (2, 3),
        "merge": "concat",
        "lengths": LENGTHS,
        "mask": MASK,
        "zero_output_for_mask": False,
        "reset": RESET,
    },
}
every_cell = pytest.mark.parametrize("name", CELLS)
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


# -------------------------------------------------------------------------------------------- a twin that is looked at


class Watched:
    """A cell of `fastrnn.reference` that adds a nudge to every h that it makes, and writes down its gates and states.

    The twins call it once for each layer, direction and step, with the rows that take the step.
    """

    def __init__(self, problem, nudges=None):
        self.cell, self.problem, self.nudges = problem.cell, problem, nudges
        self.STATES, self.GATES = problem.cell.STATES, problem.cell.GATES
        self.calls, self.seen = 0, {}

    def forward(self, x, state, weights, **options):
        walk, k = divmod(self.calls, self.problem.time)
        self.calls += 1
        t = self.problem.time - 1 - k if self.problem.runs()[walk][1] else k
        rows = np.flatnonzero(self.problem.taken()[t])
        y, after, tape = self.cell.forward(x, state, weights, **options)
        h, *c = as_tuple(after)
        for row, b in enumerate(rows):
            gates = {gate: values[row] for gate, values in gates_of(self.problem.name, tape, y).items()}
            self.seen[walk, t, b] = gates | dict(zip(self.STATES, (h[row], *(one[row] for one in c)), strict=True))
        if self.nudges is not None:
            y, h = y + self.nudges[walk][t, rows], h + self.nudges[walk][t, rows]
        return y, from_tuple([h, *c]), tape


def gates_of(name, tape, y):
    """Each gate (rows, H) of the one step that a cell's tape is of."""
    if name == "lstmp":
        tape = tape[-1][0][1]
        name = "lstm"
    if name.startswith("rnn"):
        return {"h": y[0]}
    saved = tape[3][0] if name.startswith("gru") or name == "ugrnn" else tape[-1][0]
    names = {"l": "ifgom", "g": "rzqn", "u": "gc"}[name[0]]
    return dict(zip(names, saved, strict=True))


def problem_of(name, seed=3, **options):
    problem = Problem(name, seed, TIME, BATCH, projection=1, **options)
    return problem if problem.lengths is not None else problem.but(lengths=np.full(BATCH, TIME))


def watch(problem, nudges=None):
    """The loss, and the watched cell."""
    other = copy.copy(problem)
    other.cell = Watched(problem, nudges)
    if nudges is not None:
        other.arrays = problem.arrays | {state: problem.arrays[state] + 0j for state in problem.states()}
    results, _ = other.forward()
    return sum((upstream * results[key]).sum() for key, upstream in problem.upstream.items()), other.cell


def run(problem, layer, form="array", **forward):
    """A tape, and the gradients that backward takes."""
    layer.batch_first = form == "batch_first"
    state = cast(problem.as_states(problem.arrays), layer.dtype)
    x = given(problem, form, cast(problem.arrays["x"], layer.dtype))
    _, _, tape = layer.forward(x, state, **steps(problem, form), **forward)
    dy = given(problem, form, cast(problem.upstream["y"], layer.dtype))
    return tape, dy, cast(problem.as_states(problem.upstream), layer.dtype)


def without_lengths(problem):
    """The same problem in one array, where all rows have all steps."""
    return problem.but(lengths=None) if problem.mask is None and (problem.lengths == TIME).all() else problem


# --------------------------------------------------------------------------------------------------- gates and states


@every_dtype
@every_option
@every_cell
def test_activations_are_the_twins_gates_and_states(name, options, dtype):
    problem = problem_of(name, **options)
    tape, _, _ = run(without_lengths(problem), layer_of(problem, dtype))
    _, cell = watch(problem)
    found = inspect.activations(tape)
    assert [(one.layer, "_reverse" * one.reverse) for one in found] == problem.runs()
    for walk, one in enumerate(found):
        arrays = one.gates | {"h": one.h} | ({} if one.c is None else {"c": one.c})
        np.testing.assert_array_equal(one.taken, problem.taken())
        for key, array in arrays.items():
            wanted = np.zeros(array.shape)
            for t, b in np.argwhere(one.taken):
                wanted[t, b] = cell.seen[walk, t, b][key]
            assert_close(key, array, wanted, 8 * bound(8, FORWARD, dtype), dtype)


def test_saturation_is_the_share_of_steps_that_are_taken():
    lstm = fastrnn.LSTM(1, 2, seed=0)
    with lstm.editing() as params:
        params.flat[:] = 0
        params["bias_ih_l0"][:] = [-5, 0, 5, 5, -5, 0, 5, -5]  # i f g o of two units
        params["weight_ih_l0"][0] = 10  # x = 1 opens the first i
    x = np.zeros((4, 2, 1), np.float32)
    x[0, 0] = 1
    x[3, 1] = np.nan  # padding
    _, _, tape = lstm.forward(x, lengths=np.array([4, 1]))
    found = {one.gate: one for one in inspect.saturation(tape)}
    shares = {gate: (one.closed.tolist(), one.open.tolist()) for gate, one in found.items()}
    assert shares == {
        "i": ([0.8, 0], [0.2, 0]),
        "f": ([0, 0], [1, 1]),
        "g": ([1, 0], [0, 0]),
        "o": ([0, 1], [1, 0]),
    }
    assert str(found["i"]) == "layer 0, gate i: closed 40.0%, open 10.0%"


@pytest.mark.parametrize("nonlinearity, closed, opened", [("relu", [1, 0], [0, 0]), ("tanh", [1, 0], [0, 1]),
                                                          ("sigmoid", [1, 0], [0, 1])])  # fmt: skip
def test_a_relu_saturates_at_zero_and_the_others_at_both_ends(nonlinearity, closed, opened):
    rnn = fastrnn.RNN(1, 2, nonlinearity=nonlinearity, seed=0)
    with rnn.editing() as params:
        params.flat[:] = 0
        params["bias_ih_l0"][:] = [-9, 9]
    (one,) = inspect.saturation(rnn.forward(np.zeros((3, 1, 1), np.float32))[2])
    assert one.closed.tolist() == closed and one.open.tolist() == opened


# ----------------------------------------------------------------------------------------------------------- gradients


@every_option
@every_cell
def test_the_gradient_of_every_h_is_the_complex_steps(name, options):
    problem = problem_of(name, **options)
    tape, dy, dstate = run(without_lengths(problem), layer_of(problem))
    found = inspect.hidden_gradients(tape, dy, dstate)
    shapes = [(TIME, BATCH, problem.columns("h", layer)) for layer, _ in problem.runs()]
    wanted = complex_step(lambda *nudges: watch(problem, nudges)[0], [np.zeros(shape) for shape in shapes])
    for walk, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert_close(str(walk), one, other, 16 * bound(32, BACKWARD, "float64"), "float64")
    squares = [np.square(one).sum(axis=(1, 2)) for one in found]
    np.testing.assert_allclose(inspect.gradient_norms(tape, dy, dstate), np.sqrt(squares), rtol=1e-12)


@every_cell
def test_the_gradient_of_an_h_is_dy_and_that_of_the_state_which_the_rest_begins_with(name):
    """By the layer alone, whose public gradients have proofs of their own."""
    problem = problem_of(name)
    layer = layer_of(problem)
    x, dy = problem.arrays["x"], problem.upstream["y"]
    state = problem.as_states(problem.arrays)
    (whole,) = inspect.hidden_gradients(layer.forward(x, state)[2], dy)
    for t in range(1, TIME):
        _, middle = layer(x[:t], state)
        _, dmiddle = layer.backward(layer.forward(x[t:], middle)[2], dy[t:])
        np.testing.assert_allclose(whole[t - 1], dy[t - 1] + as_tuple(dmiddle)[0][0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind, cell", [("LSTM", "LSTMCell"), ("GRU", "GRUCell"), ("RNN", "RNNCell")])
def test_norms_are_those_of_gradients_that_torch_retains(kind, cell):
    torch = pytest.importorskip("torch")
    layer = getattr(fastrnn, kind)(3, 4, 2, dtype="float64", seed=5)
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(9, 2, 3)), rng.normal(size=(9, 2, 4))
    cells = [getattr(torch.nn, cell)(inputs, 4, dtype=torch.float64) for inputs in (3, 4)]
    for i, one in enumerate(cells):
        names = {name: torch.from_numpy(layer.state_dict()[f"{name}_l{i}"]) for name in one.state_dict()}
        one.load_state_dict(names)
    states, kept = [None, None], [[], []]
    for x_t in torch.from_numpy(x):
        for i, one in enumerate(cells):
            states[i] = one(x_t, states[i])
            x_t = states[i][0] if kind == "LSTM" else states[i]
            x_t.retain_grad()
            kept[i].append(x_t)
    sum((h * torch.from_numpy(one)).sum() for h, one in zip(kept[1], dy, strict=True)).backward()
    wanted = [[float(h.grad.norm()) for h in own] for own in kept]
    found = inspect.gradient_norms(layer.forward(x)[2], dy)
    assert found.shape == (2, 9)
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


@pytest.mark.parametrize("forward", [{}, {"reusable": True}, {"checkpoint": 2}], ids=str)
@every_option
def test_looking_changes_no_bit_of_backward(options, forward):
    problem = without_lengths(problem_of("gru", **options))
    layer = layer_of(problem, "float32")
    results = []
    for looks in (False, True):
        tape, dy, dstate = run(problem, layer, **forward)
        if looks:
            first, second = (inspect.hidden_gradients(tape, dy, dstate) for _ in range(2))
            assert not layer.flat_grads.any()
            for one, other in zip(first, second, strict=True):
                np.testing.assert_array_equal(one, other)
            if "checkpoint" not in forward:
                assert inspect.activations(tape) and inspect.saturation(tape)
        dx, dinitial = layer.backward(tape, dy, dstate)
        results.append({"dx": dx, "grads": layer.flat_grads.copy()} | problem.by_name(dinitial, "d"))
        layer.zero_grad()
    assert_same_bits(*results)


@pytest.mark.parametrize("options", [{"checkpoint": 2}, {"num_threads": 2}], ids=str)
@every_cell
def test_checkpoints_and_threads_change_no_bit_of_the_gradients(name, options):
    problem = problem_of(name, widths=(40, 17), merge="concat", inputs=9)
    layer = layer_of(problem, "float32")
    plain = inspect.hidden_gradients(*run(problem, layer), num_threads=1)
    other = inspect.hidden_gradients(*run(problem, layer, **options), num_threads=options.get("num_threads", 1))
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("form", FORMS[1:])
@every_cell
def test_every_form_of_a_batch_gives_the_same_arrays_time_first(name, form):
    problem = problem_of(name, **OPTIONS["everything"])
    layer = layer_of(problem, "float32")
    results = []
    for one in ("array", form):
        tape, dy, dstate = run(problem, layer, one)
        gates = [array for own in inspect.activations(tape) for array in (*own.gates.values(), own.h, own.taken)]
        results.append([*gates, *inspect.hidden_gradients(tape, dy, dstate)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_single_sequence_is_a_batch_of_one_row():
    lstm = fastrnn.LSTM(3, 4, seed=0)
    y, _, tape = lstm.forward(np.ones((6, 3), np.float32))
    (one,) = inspect.activations(tape)
    assert one.h.shape == (6, 1, 4)
    np.testing.assert_array_equal(one.h[:, 0], y)
    assert inspect.gradient_norms(tape, np.ones_like(y)).shape == (1, 6)


def test_dropout_between_layers_is_that_of_the_run():
    """What was dropped of a lower h has no way to y but through later steps: at the last step, none."""
    rnn = fastrnn.RNN(3, 8, 2, dropout=0.5, seed=1, dtype="float64")
    y, _, tape = rnn.forward(np.ones((3, 2, 3)))
    dy = np.zeros_like(y)
    dy[-1] = 1
    below, _ = inspect.hidden_gradients(tape, dy)
    assert 0 < (below[-1] == 0).sum() < below[-1].size
    assert (below[0] != 0).all()


def test_gradients_of_a_scaled_orthogonal_matrix_shrink_by_its_factor():
    rnn = fastrnn.RNN(1, 8, seed=0, dtype="float64")
    for factor in (0.5, 1.0, 1.5):
        with rnn.editing() as params:
            params["weight_ih_l0"][:] = 0  # h stays 0, where tanh has the slope 1
            params["weight_hh_l0"][:] *= factor / np.linalg.norm(params["weight_hh_l0"], 2)
        y, _, tape = rnn.forward(np.ones((20, 1, 1)))
        dy = np.zeros_like(y)
        dy[-1, 0, 3] = 2.0
        norms = inspect.gradient_norms(tape, dy)[0]
        np.testing.assert_allclose(norms, 2.0 * factor ** np.arange(19, -1, -1.0), rtol=1e-9)


# ------------------------------------------------------------------------------------------------ what is not finite


def fields(found):
    return found.what, found.layer, found.reverse, found.step, found.row, found.index, found.count


def with_bad(array, index, value=np.nan):
    array = array.copy()
    array[index] = value
    return array


def numbers(*shape, dtype="float32"):
    return np.random.default_rng(1).normal(size=shape).astype(dtype)


def lstm_of(**options):
    return fastrnn.LSTM(3, 4, 2, seed=2, **options)


def test_a_finite_run_has_no_first_nan():
    lstm = lstm_of(bidirectional=True)
    y, _, tape = lstm.forward(numbers(6, 3, 3))
    assert inspect.first_nan(tape) is None
    assert inspect.first_nan(tape, np.ones_like(y)) is None
    assert inspect.non_finite(lstm) == []


def test_the_first_nan_is_the_inputs_though_all_that_follows_is_nan():
    lstm = lstm_of()
    y, _, tape = lstm.forward(with_bad(numbers(6, 3, 3), (2, 1, 2)))
    assert np.isnan(y[2:, 1]).all()
    found = inspect.first_nan(tape)
    assert fields(found) == ("input", 0, False, 2, 1, (2,), 1)
    assert str(found) == "layer 0, step 2, row 1: input is nan at 2"


@pytest.mark.parametrize("kind", [0, 1])
def test_the_first_nan_is_the_initial_states(kind):
    lstm = lstm_of()
    state = [numbers(2, 3, 4), numbers(2, 3, 4)]
    state[kind][1, 2, 3] = np.inf
    found = inspect.first_nan(lstm.forward(numbers(6, 3, 3), tuple(state))[2])
    assert fields(found) == (f"initial {'hc'[kind]}", 1, False, 0, 2, (3,), 1)
    assert found.value == math.inf


def test_the_reverse_direction_begins_at_a_rows_own_end():
    lstm = lstm_of(bidirectional=True)
    state = (numbers(4, 3, 4), numbers(4, 3, 4))
    state[0][1, 2, 0] = np.nan  # layer 0 reverse
    x = with_bad(numbers(6, 3, 3), (5, 2))  # padding, which is not read
    found = inspect.first_nan(lstm.forward(x, state, lengths=np.array([6, 2, 4]))[2])
    assert fields(found) == ("initial h", 0, True, 3, 2, (0,), 1)


def test_the_first_nan_is_the_gates_that_multiplies_zero_and_infinity():
    """R h of a GRU's unit 1 overflows, which its tanh bears until a reset gate is 0."""
    gru = fastrnn.GRU(1, 4, seed=2)
    with gru.editing() as params:
        params.flat[:] = 0
        params["bias_ih_l0"][:] = 9
        params["weight_hh_l0"][2 * 4 + 1] = 3e38
        params["weight_ih_l0"][1] = -1000
    x = np.zeros((6, 3, 1), np.float32)
    x[4, 2] = 1
    found = inspect.first_nan(gru.forward(x, np.ones((1, 3, 4), np.float32))[2])
    assert fields(found) == ("gate n", 0, False, 4, 2, (1,), 1)
    assert str(found) == "layer 0, step 4, row 2: gate n is nan at 1"


def test_an_exploding_relu_is_found_where_it_left_the_floats():
    rnn = fastrnn.RNN(1, 1, nonlinearity="relu", seed=0)
    with rnn.editing() as params:
        params.flat[:] = 0
        params["weight_hh_l0"][:], params["weight_ih_l0"][:] = 1e10, 1
    found = inspect.first_nan(rnn.forward(np.ones((8, 1, 1), np.float32))[2])
    assert fields(found) == ("gate h", 0, False, 4, 0, (0,), 1)
    assert found.value == math.inf


def test_a_parameter_that_is_not_finite_comes_first():
    lstm = lstm_of()
    with lstm.editing() as params:
        params["weight_hh_l1"][2:4, 1] = np.nan
    found = inspect.first_nan(lstm.forward(with_bad(numbers(6, 3, 3), 0))[2])
    assert fields(found) == ("weight_hh_l1", None, False, None, None, (2, 1), 2)
    assert str(found) == "weight_hh_l1 is nan at (2, 1), and 1 more there"
    lstm.grads["bias_ih_l0"][5] = -np.inf
    parameter, gradient = inspect.non_finite(lstm)
    assert str(parameter) == str(found)
    assert str(gradient) == "gradient of bias_ih_l0 is -inf at 5"


@pytest.mark.parametrize("form", FORMS)
def test_dy_is_named_and_its_padding_is_not_read(form):
    problem = problem_of("lstm", **OPTIONS["lengths both ways"])
    layer = layer_of(problem)
    tape, _, _ = run(problem, layer, form)
    dy = given(problem, form, with_bad(with_bad(problem.upstream["y"], (1, 2, 0)), (3, 0)))
    found = inspect.first_nan(tape, dy)
    assert fields(found)[:5] == ("dy", 1, True, 1, 2)


def test_a_gradient_that_explodes_is_found_in_the_order_of_backward():
    rnn = fastrnn.RNN(1, 1, 2, seed=0)
    with rnn.editing() as params:
        params.flat[:] = 0
        params["weight_hh_l0"][:], params["weight_ih_l1"][:] = 1e10, 1
    y, _, tape = rnn.forward(np.zeros((8, 2, 1), np.float32))
    dy = np.zeros_like(y)
    dy[6, 1] = 1
    found = inspect.first_nan(tape, dy)
    assert fields(found) == ("gradient of h", 0, False, 2, 1, (0,), 1)


# ------------------------------------------------------------------------------------------------------------ clipping


def test_clipping_counts_the_steps_that_clip_grad_norm_scaled():
    linear, meter = fastrnn.Linear(1, 1, seed=0), inspect.Clipping()
    assert meter.share == 0 and str(meter) == "0 of 0 steps clipped (0.0%)"
    scaled = []
    for norm in (0.5, 1.0, 1.0000001, 2.0, 3.0, 0.0):
        linear.flat_grads[:] = [norm, 0]
        before = linear.flat_grads.copy()
        meter.add(fastrnn.clip_grad_norm_(linear.grads, 1.0), 1.0)
        scaled.append((linear.flat_grads != before).any())
    assert meter.clipped == sum(scaled) and meter.steps == 6
    assert meter.share == sum(scaled) / 6
    assert str(meter) == f"{meter.clipped} of 6 steps clipped ({meter.share:.1%}), largest norm 3"
    meter.add(1e9, math.inf)
    assert meter.clipped == sum(scaled)


# ------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("norm, limit, said", [
    (math.nan, 1.0, "Clipping.add: norm is nan; expected a finite number of at least 0"),
    (-1, 1.0, "Clipping.add: norm is -1.0; expected a finite number of at least 0"),
    (1.0, 0, "Clipping.add: limit is 0.0; expected a number > 0"),
])  # fmt: skip
def test_clipping_refuses_what_is_no_norm(norm, limit, said):
    meter = inspect.Clipping()
    with pytest.raises(ValueError, match=f"^{said}$"):
        meter.add(norm, limit)
    assert meter.steps == 0


LOOKS = {
    "activations": inspect.activations,
    "saturation": inspect.saturation,
    "hidden_gradients": lambda tape: inspect.hidden_gradients(tape, None),
    "gradient_norms": lambda tape: inspect.gradient_norms(tape, None),
    "first_nan": inspect.first_nan,
}


@pytest.mark.parametrize("name", LOOKS)
def test_tapes_that_cannot_be_read_are_refused(name):
    look, lstm, head = LOOKS[name], lstm_of(), fastrnn.Linear(3, 4, seed=0)
    _, tape = head.forward(numbers(6, 3, 3))
    with pytest.raises(TypeError, match=rf"^inspect\.{name}: tape is a LinearTape; expected what a recurrent layer's"):
        look(tape)
    x = numbers(6, 3, 3)
    _, _, tape = lstm.forward(x)
    lstm.backward(tape, None)
    with pytest.raises(ValueError, match=rf"^inspect\.{name}: the tape is used up; expected a new one"):
        look(tape)
    _, _, tape = lstm.forward(x)
    with lstm.editing():
        pass
    with pytest.raises(ValueError, match=rf"^inspect\.{name}: the weights changed after this tape"):
        look(tape)
    _, _, tape = lstm.forward(x, lengths=np.zeros(3, int))
    with pytest.raises(ValueError, match=rf"^inspect\.{name}: no row of the tape takes a step; expected one step"):
        look(tape)
    _, _, tape = lstm.forward(x, checkpoint=2)
    refused = pytest.raises(ValueError, match=rf"^inspect\.{name}: the tape keeps no gates but computes them again")
    with contextlib.nullcontext() if "gradient" in name else refused:
        look(tape)


def test_wrong_arguments_are_named():
    lstm = lstm_of()
    y, _, tape = lstm.forward(numbers(6, 3, 3))
    with pytest.raises(ValueError, match=r"^inspect\.saturation: low is 0\.9 and high is 0\.1; expected 0 < low < hi"):
        inspect.saturation(tape, 0.9, 0.1)
    with pytest.raises(TypeError, match=r"^inspect\.saturation: low is a str; expected 0 < low < high < 1"):
        inspect.saturation(tape, "0.1")
    with pytest.raises(ValueError, match=r"^inspect\.gradient_norms: dy has shape \(5, 3, 4\); expected \(T, B, H\)"):
        inspect.gradient_norms(tape, y[1:])
    with pytest.raises(TypeError, match=r"^inspect\.hidden_gradients: dy has dtype float64"):
        inspect.hidden_gradients(tape, y.astype("float64"))
    with pytest.raises(TypeError, match=r"^inspect\.first_nan: dstate is a list of 3"):
        inspect.first_nan(tape, y, [y, y, y])
    with pytest.raises(TypeError, match=r"^inspect\.non_finite: module is a dict; expected a layer with parameters$"):
        inspect.non_finite({})
