"""The compiled layers under every option and many combinations: the twins' results and gradients, in float64 to 1e-10.

The complex step proves the twins in test_reference_options.py; here central differences prove the compiled code itself.
"""

import copy
import re

import numpy as np
import pytest
from compiled_problems import cast, layer_of
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_forms import FORMS, calm, infer, row_lengths, run, strided, without_bias
from layer_problems import CELLS, WEIGHTS, Problem
from test_reference_options import LENGTHS, MASK, OPTIONS, RESET
from tolerance import BACKWARD, FORWARD, assert_close, bound

import fastrnn
from fastrnn import gradcheck
from fastrnn._core import elementwise
from fastrnn.borders import Ragged, Steps

every_cell = pytest.mark.parametrize("name", CELLS)
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33)  # around the vectors of every instruction set
MERGES = (None, "concat", "sum", "mul", "ave")
P_DROPOUT = 0.25


def problem_of(name, options, widths=(3,)):
    """A problem under one of OPTIONS: without dropout, which has a test of its own; wider than a projection."""
    widths = options.get("widths", widths)
    wider = 2 if name == "lstmp" else 0
    return Problem(name, **{**options, "dropout": False, "widths": tuple(width + wider for width in widths)})


def assert_same(actual, expected, tolerance=1e-10):
    """The names that are in both, relative to the largest entry; in the same dtype."""
    assert actual.keys() <= expected.keys()
    for key, got in actual.items():
        wanted = expected[key]
        if wanted is None:
            assert got is None, key
            continue
        assert got.shape == wanted.shape and got.dtype == np.float64, key
        scale = max(np.abs(wanted).max(), 1e-3)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * scale, err_msg=key)


def assert_near(problem, actual, expected):
    """What float32 may differ by; a rectifier's gradients jump where its argument is 0, so they are left out."""
    terms = 4 * max(problem.widths) + 2 * max(problem.widths) + problem.inputs
    length = len(problem.widths) * problem.time * max(terms, problem.batch)
    for key, got in actual.items():
        if expected[key] is None:
            assert got is None
            continue
        result = key == "y" or not key.startswith("d")
        if result or problem.name != "rnn_relu":
            assert_close(key, got, expected[key], bound(length, FORWARD if result else BACKWARD))


# ------------------------------------------------------------------------------------------- every option


@every_option
@every_cell
def test_every_option_gives_the_twins_results(name, options):
    problem = problem_of(name, options)
    expected = problem.run()
    layer = layer_of(problem)
    for form in FORMS:
        assert_same(run(problem, layer, form), expected)
    results = infer(problem, layer)
    assert_same(results, {key: expected[key] for key in results})


# ------------------------------------------------------------------------------------ random combinations


@st.composite
def problems(draw, name):
    """Any combination of options, in sizes around the vectors."""
    time, batch = draw(st.sampled_from((1, 2, 5, 9))), draw(st.sampled_from((1, 2, 3, 5, 17)))
    widths = tuple(draw(st.lists(st.sampled_from(SIZES[name == "lstmp":]), min_size=1, max_size=3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = st.sampled_from([None, rng.integers(0, time + 1, batch), rng.integers(1, time + 1, batch)])
    flags = st.sampled_from([None, *(rng.random((time, batch)) < share for share in (0.1, 0.5, 0.9))])
    mask = draw(flags)
    return calm(Problem(
        name, draw(st.integers(0, 2**32 - 1)), time, batch, widths,
        projection=draw(st.sampled_from([P for P in SIZES if min(widths) > P] or [1])),
        merge=draw(st.sampled_from(MERGES)),
        integers=draw(st.booleans()),
        lengths=draw(lengths),
        mask=mask,
        zero_output_for_mask=None if mask is None else draw(st.sampled_from([None, False, True])),
        reset=draw(flags),
        inputs=draw(st.sampled_from(SIZES)),
    ))  # fmt: skip


@every_cell
@settings(max_examples=38, derandomize=True, deadline=None, database=None)
@given(st.data(), st.sampled_from(FORMS), st.sampled_from((True, True, True, False)), st.booleans())
def test_random_combinations_give_the_twins_results(name, data, form, bias, narrow):
    """In float64, and half of them in float32, too."""
    problem = data.draw(problems(name))
    if form == "list" and not row_lengths(problem).any():
        form = "array"  # a list holds one step at least
    if not bias:
        without_bias(problem)
    expected = problem.run()
    assert_same(run(problem, layer_of(problem, bias=bias), form, threads=2), expected)
    if narrow:
        assert_near(problem, run(problem, layer_of(problem, "float32", bias=bias), form), expected)


# ------------------------------------------------------------------------------------------------ dropout


def masks_of(problem, layer):
    """What the next forward run multiplies the outputs between layers by, as its generator's copy says."""
    rng, merged = copy.deepcopy(layer.rng), 2 if problem.merge == "concat" else 1
    given = problem.lengths, problem.mask, problem.reset, problem.zero_output_for_mask
    packing = None
    if any(value is not None for value in given):
        x = cast(problem.arrays["x"], layer.dtype)
        packing = Ragged(layer._sizes, layer.batch_first, "test", x, Steps(*given))._packing
    masks = []
    for number in range(len(problem.widths) - 1):
        columns = merged * problem.columns("h", number)
        rows = problem.time * problem.batch if packing is None else packing.batch.rows
        mask = np.empty(rows * columns, layer.dtype)
        elementwise.dropout(np.ones_like(mask), mask, P_DROPOUT, int(rng.integers(2**63)), 1)
        mask = mask.reshape(rows, columns)
        shape = (problem.time, problem.batch, columns)
        masks.append((mask if packing is None else packing.unpack(mask)).reshape(shape))
    return masks


@pytest.mark.parametrize("merge", [None, "concat", "mul"])
@pytest.mark.parametrize("steps", [
    {}, {"lengths": LENGTHS}, {"mask": MASK, "zero_output_for_mask": False, "reset": RESET, "lengths": LENGTHS},
], ids=["whole", "lengths", "all"])  # fmt: skip
@pytest.mark.parametrize("name", ["lstm", "gru", "lstmp"])
def test_dropout_is_between_layers_on_the_merged_outputs(name, steps, merge):
    """A ragged batch draws for the rows that take a step alone."""
    problem = Problem(name, widths=(5, 4, 3), merge=merge, **steps)
    layer = layer_of(problem, dropout=P_DROPOUT, seed=3)
    problem.masks = masks_of(problem, layer)
    assert all((mask == 0).any() for mask in problem.masks)
    expected = problem.run()
    assert_same(run(problem, layer), expected)
    plain = problem.but()
    plain.masks = None
    results = infer(problem, layer)
    assert_same(results, {key: value for key, value in plain.run().items() if key in results})


# -------------------------------------------------------------------------------------- forms of one batch


SINGLE = {
    "whole": {},
    "reset": {"reset": RESET[:, :1]},
    "mask": {"mask": MASK[:, 2:3], "reset": RESET[:, :1], "zero_output_for_mask": False},
    "no step": {"mask": np.zeros_like(MASK[:, :1])},
}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("merge", [None, "concat", "sum"])
@pytest.mark.parametrize("steps", SINGLE.values(), ids=SINGLE)
@pytest.mark.parametrize("name", ["lstmp", "gru"])
def test_a_single_sequence_is_a_batch_of_one_without_its_axis(name, steps, merge, integers, batch_first):
    problem = Problem(name, batch=1, widths=(5, 3), merge=merge, integers=integers, **steps)
    layer = layer_of(problem, batch_first=batch_first)
    initial, dfinal = (parts(problem.as_states(arrays), lambda part: part[:, 0]) for arrays in
                       (problem.arrays, problem.upstream))
    x = problem.arrays["x"][:, 0]
    own = {key: value[:, 0] if isinstance(value, np.ndarray) else value for key, value in steps.items()}
    y, final, tape = layer.forward(x, initial, **own)
    dx, dinitial = layer.backward(tape, problem.upstream["y"][:, 0], dfinal)
    final, dinitial = (parts(state, lambda part: part[:, None]) for state in (final, dinitial))
    results = {"y": y[:, None], "dx": None if integers else dx[:, None]}
    results |= problem.by_name(final) | problem.by_name(dinitial, "d")
    assert_same(results | {f"d{key}": grad for key, grad in layer.grads.items()}, problem.run())
    np.testing.assert_array_equal(layer(x, initial, **own)[0], y)


def test_a_single_sequence_has_no_lengths_and_flags_of_one_axis():
    layer, x = fastrnn.GRU(2, 3, seed=0), np.ones((5, 2), np.float32)
    with pytest.raises(ValueError, match=r"GRU: lengths are given with a single sequence \(T, ...\); expected"):
        layer(x, lengths=[5])
    with pytest.raises(ValueError, match=re.escape("GRU: reset has shape (5, 1); expected (T,) = (5,)")):
        layer(x, reset=np.ones((5, 1), bool))
    tape = layer.forward(x, reset=np.ones(5, bool))[2]
    with pytest.raises(ValueError, match=re.escape("dy has shape (5, 1, 3); expected (T, H) = (5, 3)")):
        layer.backward(tape, np.ones((5, 1, 3), np.float32))
    with pytest.raises(ValueError, match=re.escape("dstate has shape (1, 1, 3); expected (layers, H) = (1, 3)")):
        layer.backward(tape, None, np.ones((1, 1, 3), np.float32))


def parts(state, change):
    """A state with every array changed."""
    if isinstance(state, (list, tuple)):
        return type(state)(parts(one, change) for one in state)
    return change(state)


@pytest.mark.parametrize("steps", [{}, {"lengths": LENGTHS}], ids=["whole", "lengths"])
def test_one_array_may_be_given_as_h_and_c(steps):
    problem = Problem("lstm", merge="concat", **steps)
    layer, rng = layer_of(problem), np.random.default_rng(0)
    for array in (rng.normal(size=(2, 4, 3)), strided(rng.normal(size=(2, 4, 3)))):
        results = []
        for state in ((array, array), (array.copy(), array.copy())):
            y, final, tape = layer.forward(problem.arrays["x"], state, **steps)
            layer.zero_grad()
            dx, dinitial = layer.backward(tape, problem.upstream["y"], state)
            results.append([y, *final, dx, *dinitial, layer.flat_grads.copy()])
        for got, wanted in zip(*results, strict=True):
            np.testing.assert_array_equal(got, wanted)


# ------------------------------------------------------------------------------------- central differences


@every_option
@every_cell
def test_gradients_equal_central_differences_of_the_compiled_code(name, options):
    """By every parameter; by x and the initial state along a random direction."""
    problem = problem_of(name, options, widths=(2,))
    layer = layer_of(problem)
    results = run(problem, layer)

    def loss():
        values = infer(problem, layer)
        return sum(np.vdot(upstream, values[key]) for key, upstream in problem.upstream.items())

    # A rectifier's kinks allow no large step. Elsewhere two steps leave an error of the fourth power.
    steps, weights, tolerance = ((2e-4, 4e-4), (4 / 3, -1 / 3), 2e-10)
    if name == "rnn_relu":
        steps, weights, tolerance = (6e-6,), (1,), 1e-8
    by_step = [gradcheck.by_parameters(loss, layer, step) for step in steps]
    for key in layer.params:
        wanted = sum(weight * one[key] for weight, one in zip(weights, by_step, strict=True))
        np.testing.assert_allclose(results[f"d{key}"], wanted, rtol=0, atol=tolerance * max(1, np.abs(wanted).max()))
    rng = np.random.default_rng(1)
    for key in ["x", *problem.states()]:
        kept, direction, wanted = problem.arrays[key], rng.normal(size=problem.arrays[key].shape), 0
        direction /= np.abs(direction).max()
        for step, weight in zip(steps, weights, strict=True):
            for sign in (1, -1):
                problem.arrays[key] = kept + sign * step * direction
                wanted += weight * sign * loss() / (2 * step)
        problem.arrays[key] = kept
        assert np.vdot(results[f"d{key}"], direction) == pytest.approx(wanted, rel=tolerance, abs=20 * tolerance), key


# ------------------------------------------------------------------------------------------------- dtypes


def refused(who, argument, wrong, dtype):
    mend = f"({argument}.astype(np.{dtype}))"
    message = f"{who}: {argument} has dtype {wrong}; expected {dtype}, the dtype of the layer {mend}"
    return pytest.raises(TypeError, match=f"^{re.escape(message)}")


@pytest.mark.parametrize(("dtype", "wrong"), [("float32", "float64"), ("float64", "float32")])
@pytest.mark.parametrize("form", FORMS)
def test_a_layer_refuses_the_other_dtype_with_the_mend(form, dtype, wrong):
    """x, states and gradients of both; nothing is cast, and nothing has changed."""
    x, state, dy = (np.ones(shape) for shape in ((5, 4, 2), (1, 4, 3), (5, 4, 3)))
    layer = fastrnn.GRU(2, 3, batch_first=form == "batch_first", dtype=dtype, seed=0)
    ways = {"array": np.copy, "strided": strided, "list": lambda array: [*array.swapaxes(0, 1)]}
    lay = ways.get(form, lambda array: array.swapaxes(0, 1))
    steps = {"lengths": LENGTHS} if form == "strided" else {}
    place = "[0]" if form == "list" else ""
    with refused("GRU", f"x{place}", wrong, dtype):
        layer(cast(lay(x), wrong), **steps)
    with refused("GRU", "state", wrong, dtype):
        layer(cast(lay(x), dtype), state.astype(wrong), **steps)
    tape = layer.forward(cast(lay(x), dtype), **steps)[2]
    with refused("GRU.backward", f"dy{place}", wrong, dtype):
        layer.backward(tape, cast(lay(dy), wrong))
    with refused("GRU.backward", "dstate", wrong, dtype):
        layer.backward(tape, cast(lay(dy), dtype), state.astype(wrong))
    assert not layer.flat_grads.any()
    dx, dstate = layer.backward(tape, cast(lay(dy), dtype), state.astype(dtype))  # the tape is not used up
    assert {array.dtype for array in [*dx, dstate]} == {np.dtype(dtype)}


def test_every_weight_of_the_twins_is_a_parameter():
    for name in CELLS:
        problem = Problem(name, widths=(3, 4), merge="sum")
        layer = layer_of(problem)
        assert {key for key in problem.arrays if key.startswith(WEIGHTS)} == set(layer.params)
