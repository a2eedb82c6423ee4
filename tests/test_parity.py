"""Every compiled cell against its float64 twin: outputs, final states and every gradient.

Initial states are not zero and upstream gradients come in on every output. The same step with more
threads, or without a tape, must give the same bits; test_threads.py shows that threads really run.
"""

import cases
import numpy as np
import pytest
from numpy_layer import every_dtype
from runs import CELLS, every_cell, make_step, parts
from tolerance import BACKWARD, FORWARD, assert_close, assert_same_bits, bound

from fastrnn._core import kernels

# (T, B, I, H), layers.
WIDE = ((4, 4400, 3, 64), 1)
# Beyond one group of units, one block of K (256 or 512), of rows (128), of time steps, of gradients; and
# one row whose units are worth several threads.
LARGE = [
    ((9, 13, 40, 70), 1),
    ((9, 13, 40, 70), 2),
    ((3, 50, 33, 96), 1),
    ((5, 20, 65, 100), 2),
    ((4, 6, 20, 200), 1),
    ((2, 9, 33, 300), 2),
    ((40, 24, 64, 64), 1),
    ((7, 5, 16, 16), 3),
    ((5, 7, 17, 40), 3),
    ((80, 1, 20, 240), 1),
    WIDE,
]
SHAPES = [(shape, layers) for shape in cases.SHAPES for layers in (1, 2)] + LARGE


def named(shape, layers, dtype, marks=()):
    return pytest.param(shape, layers, dtype, id=f"{'x'.join(map(str, shape))}-{layers}-{dtype}", marks=marks)


SINGLE = [named(*case, "float32") for case in SHAPES]
DOUBLE = [named(*case, "float64", () if i % 9 == 0 else pytest.mark.slow) for i, case in enumerate(SHAPES)]
every_shape = pytest.mark.parametrize(("shape", "layers", "dtype"), [*SINGLE, *DOUBLE])
FEW_SHAPES = [((7, 5, 15, 17), 1), ((5, 9, 20, 33), 2)]
few_shapes = pytest.mark.parametrize(
    ("shape", "layers", "dtype"), [*(named(*case, "float32") for case in FEW_SHAPES), named(*FEW_SHAPES[1], "float64")]
)


def assert_matches_twin(step, actual):
    expected = step.twin()
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        if value is None:
            assert actual[key] is None, key
            continue
        factor = FORWARD if key in ("y", "h", "c") else BACKWARD
        dtype = step.layer.dtype
        assert_close(key, actual[key], value, bound(step.length(), factor, dtype), dtype)


@pytest.mark.parametrize("hidden", [8, 16, 17, 28, 65])
@every_cell
def test_an_infinite_input_spoils_what_it_spoils_in_the_twin(name, hidden):
    """Nothing else: 0 times infinity stands in the padding of the gates, which products run over."""
    step = make_step(name, (4, 3, 5, hidden))
    step.x[2, 1, 3] = np.inf
    actual = step.run()
    with np.errstate(invalid="ignore", over="ignore"):
        expected = step.twin()
    for key, value in expected.items():
        np.testing.assert_array_equal(np.isfinite(actual[key]), np.isfinite(value), key)


@every_shape
@every_cell
def test_step_matches_twin_for_any_number_of_threads(name, shape, layers, dtype):
    step = make_step(name, shape, layers, dtype=dtype)
    actual = step.run(num_threads=1)
    assert_matches_twin(step, actual)
    outputs = {key: actual[key] for key in ("y", *step.layer.STATES)}
    assert_same_bits(step.infer(num_threads=1), outputs, "without a tape")
    for num_threads in (2, 3):
        assert_same_bits(step.run(num_threads=num_threads), actual, f"{num_threads} threads")
        assert_same_bits(step.infer(num_threads=num_threads), outputs, f"{num_threads} threads")


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("integers", [False, True], ids=["vectors", "integers"])
@every_cell
def test_rows_and_units_in_a_grid_of_threads_give_the_same_bits(name, integers, dtype):
    """4 threads are two parts of the rows, each of two parts of the units; of 6 and 7 some may be left over."""
    step = make_step(name, (24, 11, 30, 240), integers=integers, dtype=dtype)
    expected = step.run(num_threads=1)
    for num_threads in (4, 6, 7):
        assert_same_bits(step.run(num_threads=num_threads), expected, f"{num_threads} threads")


@pytest.mark.parametrize(
    ("shape", "layers", "dtype"),
    [*(named(*case, "float32") for case in (*FEW_SHAPES, WIDE)), *(named(*case, "float64") for case in FEW_SHAPES)],
)
@every_cell
def test_integer_inputs_match_twin(name, shape, layers, dtype):
    step = make_step(name, shape, layers, integers=True, dtype=dtype)
    actual = step.run(num_threads=1)
    assert actual["dx"] is None
    assert_matches_twin(step, actual)
    for num_threads in (2, 3):
        assert_same_bits(step.run(num_threads=num_threads), actual, f"{num_threads} threads")


@every_dtype
@every_cell
def test_integer_inputs_give_the_bits_of_one_hots(name, dtype):
    step = make_step(name, (20, 24, 65, 48), integers=True, dtype=dtype)
    of_integers = step.infer()
    step.x = np.eye(65, dtype=dtype)[step.x]
    assert_same_bits(step.infer(), of_integers)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int32", "uint64"])
def test_any_integer_type_is_an_index(dtype):
    step = make_step("lstm", (4, 3, 10, 8), integers=True)
    expected = step.run()
    step.x = step.x.astype(dtype)
    assert_same_bits(step.run(), expected)


@every_cell
def test_one_layer_takes_integers_and_vectors_in_turn(name):
    """Each kind of input has packed weights of its own."""
    integers = make_step(name, (4, 5, 20, 18), layers=2, integers=True)
    vectors = make_step(name, (4, 5, 20, 18), layers=2)
    vectors.layer = integers.layer
    if name == "rnn_relu":  # this x was not chosen for these weights: stay away from dx's kinks
        vectors.x = np.eye(20, dtype=np.float32)[integers.x]
        vectors.state = integers.state
    for _ in range(2):
        assert_matches_twin(integers, integers.run())
        assert_matches_twin(vectors, vectors.run())


@few_shapes
@every_cell
def test_no_bias_matches_twin(name, shape, layers, dtype):
    step = make_step(name, shape, layers, bias=False, dtype=dtype)
    assert not any("bias" in key for key in step.layer.params)
    assert_matches_twin(step, step.run())


@pytest.mark.parametrize("integers", [False, True], ids=["vectors", "integers"])
@few_shapes
@every_cell
def test_batch_first_matches_twin(name, shape, layers, dtype, integers):
    step = make_step(name, shape, layers, integers, batch_first=True, dtype=dtype)
    actual = step.run()
    assert actual["y"].shape == (shape[1], shape[0], shape[3])
    assert_matches_twin(step, actual)


@pytest.mark.parametrize("absent", [("dy",), ("dstate",), ("state",), ("dy", "state")])
@few_shapes
@every_cell
def test_absent_arrays_are_zeros(name, shape, layers, dtype, absent):
    step = make_step(name, shape, layers, dtype=dtype)
    present = {key: getattr(step, key) for key in absent}
    for key in absent:
        setattr(step, key, None)
    if name != "rnn_relu" or "state" not in absent:
        assert_matches_twin(step, step.run())
    implicit = step.run()
    for key, value in present.items():
        zeros = tuple(np.zeros_like(part) for part in parts(value))
        setattr(step, key, zeros if isinstance(value, tuple) else zeros[0])
    assert_same_bits(step.run(), implicit)


@every_cell
def test_input_gradient_may_be_left_out(name):
    step = make_step(name, (7, 5, 15, 17), layers=2)
    expected = step.run()
    step.layer.zero_grad()
    _, _, tape = step.forward()
    dx, _ = step.layer.backward(tape, step.dy, step.dstate, input_gradient=False)
    assert dx is None
    gradients = {f"d{key}": view for key, view in step.layer.grads.items()}
    assert_same_bits(gradients, {key: expected[key] for key in gradients})


@pytest.mark.parametrize("integers", [False, True], ids=["vectors", "integers"])
@few_shapes
@every_cell
def test_gradients_add_up(name, shape, layers, dtype, integers):
    step = make_step(name, shape, layers, integers, dtype=dtype)
    once = step.run()
    expected = step.twin()
    twice = step.run(zero_grad=False)
    for key in ("dx", *(f"d{state}" for state in step.layer.STATES)):
        assert_same_bits({key: twice[key]}, {key: once[key]})
    for key in step.layer.grads:
        double = 2 * expected[f"d{key}"]
        assert_close(key, twice[f"d{key}"], double, bound(2 * step.length(), BACKWARD, dtype), dtype)


@pytest.mark.parametrize("batch_first", [False, True])
@every_cell
def test_arguments_are_not_changed(name, batch_first):
    step = make_step(name, (5, 9, 20, 33), layers=2, batch_first=batch_first)
    arrays = [step.x, step.dy, *parts(step.state), *parts(step.dstate)]
    for array in arrays:
        array.flags.writeable = False
    copies = [array.copy() for array in arrays]
    weights = step.layer.flat_params.copy()
    step.run()
    step.infer()
    for array, copy in zip([*arrays, step.layer.flat_params], [*copies, weights], strict=True):
        np.testing.assert_array_equal(array, copy)


def misaligned(array):
    buffer = np.empty(array.nbytes + 1, np.uint8)
    copy = buffer[1:].view(np.float32).reshape(array.shape)
    copy[...] = array
    return copy


LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": lambda array: np.repeat(array, 2, axis=2)[:, :, ::2],
    "reversed": lambda array: array[::-1].copy()[::-1],
    "misaligned": misaligned,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@every_cell
def test_layout_of_the_arguments_does_not_matter(name, layout):
    step = make_step(name, (5, 9, 20, 33), layers=2)
    expected = step.run()
    step.x, step.dy = layout(step.x), layout(step.dy)
    for key in ("state", "dstate"):
        given = tuple(layout(part) for part in parts(getattr(step, key)))
        setattr(step, key, given if len(given) > 1 else given[0])
    assert_same_bits(step.run(), expected)


@every_dtype
@every_cell
def test_changed_weights_are_used_at_once(name, dtype):
    step = make_step(name, (4, 5, 20, 18), layers=2, seed=3, dtype=dtype)
    other = make_step(name, (4, 5, 20, 18), layers=2, seed=4, dtype=dtype)
    step.run()
    step.layer.load_state_dict(other.layer.state_dict())
    fresh = step.run(), step.infer()
    step.layer = other.layer
    for actual, expected in zip(fresh, (step.run(), step.infer()), strict=True):
        assert_same_bits(actual, expected)


def test_every_cell_of_the_table_is_compared():
    compiled = {make_step(name, (1, 1, 1, 1)).layer._cell for name in CELLS}
    assert compiled == set(kernels.cells())
