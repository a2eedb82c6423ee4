"""The NumPy twins against the complex step: every parameter, input and initial state.

All in float64, tiny shapes, non-zero initial states, random upstream gradients on the outputs
and on the final states. What holds here is what the kernels are then compared with.
"""

import importlib
import inspect
import re

import cases
import numpy as np
import pytest

from fastrnn.gradcheck import central_difference, complex_step
from fastrnn.reference import common, stack
from fastrnn.reference.loss import softmax_cross_entropy

TOLERANCE = 1e-12
CELLS = [
    pytest.param(importlib.import_module(f"fastrnn.reference.{kind.lower()}"), options, id=name)
    for name, kind, options in cases.CELLS
]
every_cell = pytest.mark.parametrize("cell, options", CELLS)
shapes = pytest.mark.parametrize("shape", [(3, 2, 3, 5), (1, 1, 1, 1), (2, 3, 4, 1)])


def assert_close(actual, expected, tolerance=TOLERANCE):
    """Compare relative to the largest entry: a cancelling sum leaves small entries inexact."""
    assert actual.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(scale, 1e-3))


def random_weights(rng, cell, inputs, hidden):
    rows = len(cell.GATES) * hidden
    shapes = ((rows, inputs), (rows, hidden), (rows,), (rows,))
    return tuple(rng.normal(size=shape) * 0.7 for shape in shapes)


class Problem:
    """A stack of layers under a random linear loss, as a scalar function of flat arrays.

    The arrays are, in this order: x, each kind of state (L, B, H), each layer's four weights.
    """

    def __init__(self, cell, options, shape, layers=1, masked=False, seed=0):
        time, batch, inputs, hidden = shape
        rng = np.random.default_rng(seed)
        self.cell, self.options, self.layers = cell, options, layers
        self.x = rng.normal(size=(time, batch, inputs))
        self.states = [rng.normal(size=(layers, batch, hidden)) for _ in cell.STATES]
        self.weights = [
            random_weights(rng, cell, hidden if layer else inputs, hidden)
            for layer in range(layers)
        ]
        self.dy = rng.normal(size=(time, batch, hidden))
        self.dstates = [rng.normal(size=state.shape) for state in self.states]
        keep = rng.random((layers - 1, time, batch, hidden)) < 0.6
        self.masks = keep / 0.6 if masked else None

    def pack(self, states):
        """Make the states what the cell wants: h alone, or a tuple."""
        return states[0] if len(self.cell.STATES) == 1 else tuple(states)

    def unpack(self, states):
        return [states] if len(self.cell.STATES) == 1 else list(states)

    def arrays(self):
        return [self.x, *self.states, *(w for weights in self.weights for w in weights)]

    def forward(self, x, *arrays):
        kinds = len(self.cell.STATES)
        states, flat = arrays[:kinds], arrays[kinds:]
        layers = [tuple(flat[4 * layer : 4 * layer + 4]) for layer in range(self.layers)]
        return stack.forward(
            self.cell, x, self.pack(states), layers, masks=self.masks, **self.options
        )

    def loss(self, *arrays):
        y, states, _ = self.forward(*arrays)
        pairs = zip([self.dy, *self.dstates], [y, *self.unpack(states)], strict=True)
        return sum((upstream * value).sum() for upstream, value in pairs)

    def gradients(self):
        """Analytic gradients, in the order of `arrays`."""
        _, _, tape = self.forward(*self.arrays())
        dx, dstates, dlayers = stack.backward(tape, self.dy, self.pack(self.dstates))
        return [dx, *self.unpack(dstates), *(dw for dweights in dlayers for dw in dweights)]

    def check(self, numerical, tolerance=TOLERANCE):
        expected = numerical(self.loss, self.arrays())
        for actual, wanted in zip(self.gradients(), expected, strict=True):
            assert_close(actual, wanted, tolerance)


@shapes
@every_cell
def test_cell_gradients_match_complex_step(cell, options, shape):
    Problem(cell, options, shape).check(complex_step)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "dropout"])
@every_cell
def test_stack_gradients_match_complex_step(cell, options, masked):
    Problem(cell, options, (3, 2, 3, 4), layers=3, masked=masked).check(complex_step)


@every_cell
def test_gradients_match_central_differences(cell, options):
    """A second witness, which shares nothing with the complex step; relu away from its kink."""
    problem = Problem(cell, options, (3, 2, 3, 5), seed=1)
    if options.get("nonlinearity") == "relu":
        y, _, _ = problem.forward(*problem.arrays())
        assert (y == 0).any() and y[y > 0].min() > 1e-3
    problem.check(central_difference, tolerance=1e-8)


@every_cell
def test_single_cell_equals_stack_of_one(cell, options):
    problem = Problem(cell, options, (3, 2, 3, 5))
    y, states, tape = problem.forward(*problem.arrays())
    state = problem.pack([s[0] for s in problem.states])
    y_cell, state_cell, tape_cell = cell.forward(problem.x, state, problem.weights[0], **options)
    np.testing.assert_array_equal(y_cell, y)
    for one, many in zip(problem.unpack(state_cell), problem.unpack(states), strict=True):
        np.testing.assert_array_equal(one, many[0])
    dstate = problem.pack([d[0] for d in problem.dstates])
    dx, _, dweights = cell.backward(tape_cell, problem.dy, dstate)
    dx_stack, _, dlayers = stack.backward(tape, problem.dy, problem.pack(problem.dstates))
    np.testing.assert_array_equal(dx, dx_stack)
    for one, many in zip(dweights, dlayers[0], strict=True):
        np.testing.assert_array_equal(one, many)


@every_cell
def test_single_steps_equal_one_run(cell, options):
    problem = Problem(cell, options, (4, 3, 3, 5))
    state = problem.pack([s[0] for s in problem.states])
    y, final, _ = cell.forward(problem.x, state, problem.weights[0], **options)
    for x_t, y_t in zip(problem.x, y, strict=True):
        state = cell.step(x_t, state, problem.weights[0], **options)
        np.testing.assert_allclose(problem.unpack(state)[0], y_t, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(problem.unpack(state), problem.unpack(final), rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
@every_cell
def test_integer_inputs_equal_one_hots(cell, options, dtype):
    problem = Problem(cell, options, (5, 3, 4, 6), layers=2)
    index = np.random.default_rng(2).integers(4, size=(5, 3)).astype(dtype)
    results = []
    for x in (index, np.eye(4)[index]):
        y, states, tape = problem.forward(x, *problem.arrays()[1:])
        gradients = stack.backward(tape, problem.dy, problem.pack(problem.dstates))
        results.append((y, states, *gradients))
    (y, states, dx, dstates, dlayers), (y_hot, states_hot, _, dstates_hot, dlayers_hot) = results
    assert dx is None
    np.testing.assert_array_equal(y, y_hot)
    np.testing.assert_array_equal(problem.unpack(states), problem.unpack(states_hot))
    np.testing.assert_array_equal(problem.unpack(dstates), problem.unpack(dstates_hot))
    for dweights, dweights_hot in zip(dlayers, dlayers_hot, strict=True):
        for dw, dw_hot in zip(dweights, dweights_hot, strict=True):
            assert_close(dw, dw_hot, 1e-15)


@every_cell
def test_integer_step_equals_one_hot_step(cell, options):
    problem = Problem(cell, options, (1, 3, 4, 6))
    state = problem.pack([s[0] for s in problem.states])
    index = np.array([2, 0, 2])
    actual = cell.step(index, state, problem.weights[0], **options)
    expected = cell.step(np.eye(4)[index], state, problem.weights[0], **options)
    np.testing.assert_array_equal(problem.unpack(actual), problem.unpack(expected))


@every_cell
def test_arguments_are_not_changed(cell, options):
    problem = Problem(cell, options, (3, 2, 3, 5), layers=2, masked=True)
    arrays = [*problem.arrays(), problem.dy, *problem.dstates, problem.masks]
    copies = [array.copy() for array in arrays]
    problem.gradients()
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@every_cell
def test_float32_stays_float32(cell, options):
    problem = Problem(cell, options, (3, 2, 3, 5))
    arrays = [array.astype(np.float32) for array in problem.arrays()]
    y, states, tape = problem.forward(*arrays)
    dstates = problem.pack([d.astype(np.float32) for d in problem.dstates])
    dx, dstates, dlayers = stack.backward(tape, problem.dy.astype(np.float32), dstates)
    results = [y, *problem.unpack(states), dx, *problem.unpack(dstates), *dlayers[0]]
    assert {result.dtype for result in results} == {np.dtype(np.float32)}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logistic_is_exact_at_the_ends_and_quiet(dtype):
    a = np.array([-1e4, -50, 0, 50, 1e4], dtype=dtype)
    value = common.logistic(a)
    assert value.dtype == dtype
    np.testing.assert_allclose(value, [0, np.exp(-50.0), 0.5, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("axes", [(5,), (3, 2, 5)])
def test_loss_gradient_matches_complex_step(axes):
    rng = np.random.default_rng(3)
    logits = rng.normal(size=axes) * 3
    targets = rng.integers(axes[-1], size=axes[:-1])
    if not targets.shape:
        targets = np.array(targets)
    _, dlogits = softmax_cross_entropy(logits, targets)
    (expected,) = complex_step(lambda z: softmax_cross_entropy(z, targets)[0], [logits])
    assert_close(dlogits, expected)


@pytest.mark.filterwarnings("error")
def test_loss_is_mean_nats_and_survives_large_logits():
    targets = np.array([[1, 0], [3, 2]])
    loss, _ = softmax_cross_entropy(np.zeros((2, 2, 4)), targets)
    assert loss == pytest.approx(np.log(4))
    wrong, right = np.array([2, 1, 0, 3]), np.array([1, 0, 3, 2])
    loss, dlogits = softmax_cross_entropy(1e4 * np.eye(4)[wrong].reshape(2, 2, 4), targets)
    assert loss == pytest.approx(1e4)
    np.testing.assert_allclose(dlogits, (np.eye(4)[wrong] - np.eye(4)[right]).reshape(2, 2, 4) / 4)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "ugrnn", "stack", "loss"])
def test_code_carries_the_labels_of_its_equations(name):
    module = importlib.import_module(f"fastrnn.reference.{name}")
    table = module.__doc__.split("\nEQUATIONS\n")[1].split("\nEND\n")[0]
    assert table.isascii()
    assert "/*" not in table and "*/" not in table  # it stands in a C comment as well
    in_table = re.findall(r"^([FB]\d[ab]?) ", table, re.MULTILINE)
    in_code = re.findall(r"# ([FB]\d[ab]?)\b", inspect.getsource(module))
    assert set(in_table) == set(in_code)
    assert len(in_table) == len(set(in_table))


def test_shape_table_covers_every_size_twice():
    columns = list(zip(*cases.SHAPES, strict=True))
    wanted = (cases.TIMES, cases.BATCHES, cases.SIZES, cases.SIZES)
    for column, values in zip(columns, wanted, strict=True):
        assert set(column) == set(values)
        assert min(column.count(value) for value in values) >= 2
    assert len(set(cases.SHAPES)) == len(cases.SHAPES)
    assert {case[0] for case in cases.BENCHMARK_CASES} <= {name for name, _, _ in cases.CELLS}
