"""Initial values: the law of each distribution, and each cell's own defaults."""

import math

import numpy as np
import pytest
from tolerance import EPS

from fastrnn import init

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3, "UGRNN": 2}


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("hidden", [1, 2, 31, 64])
@pytest.mark.parametrize("gates", [1, 3, 4])
def test_orthogonal_makes_every_gates_block_orthogonal(hidden, gates):
    weights = init.orthogonal((gates * hidden, hidden), generator())
    assert weights.dtype == np.float32
    assert weights.flags.c_contiguous
    for block in weights.reshape(gates, hidden, hidden).astype(np.float64):
        np.testing.assert_allclose(block @ block.T, np.eye(hidden), atol=hidden * EPS)


def test_orthogonal_of_an_oblong_shape_has_orthonormal_rows_or_columns():
    tall, wide = init.orthogonal((7, 4), generator()), init.orthogonal((4, 7), generator())
    np.testing.assert_allclose(tall.T @ tall, np.eye(4), atol=8 * EPS)
    np.testing.assert_allclose(wide @ wide.T, np.eye(4), atol=8 * EPS)
    two = init.orthogonal((8, 7), generator(), gates=2)
    np.testing.assert_allclose(two[:4] @ two[:4].T, np.eye(4), atol=8 * EPS)


def test_orthogonal_blocks_differ_and_take_both_signs():
    weights = init.orthogonal((4, 1), generator(3), gates=4)
    assert set(weights.ravel()) == {-1.0, 1.0}
    blocks = init.orthogonal((20, 5), generator()).reshape(4, 5, 5)
    assert not np.array_equal(blocks[0], blocks[1])
    # Without the sign fix the diagonal of an orthogonal matrix from QR is biased.
    diagonals = [np.diagonal(init.orthogonal((4, 4), generator(s))) for s in range(400)]
    assert abs(np.mean(diagonals)) < 5 * 0.5 / math.sqrt(1600)  # 5 standard errors, 1/sqrt(H) each


@pytest.mark.parametrize("gates", [1, 4])
def test_glorot_uniform_has_the_bound_and_variance_of_one_gate(gates):
    inputs, hidden = 60, 90
    weights = init.glorot_uniform((gates * hidden, inputs), generator(), gates)
    limit = math.sqrt(6 / (inputs + hidden))
    assert weights.dtype == np.float32
    assert np.abs(weights).max() <= limit * (1 + EPS)
    assert np.abs(weights).max() > 0.99 * limit
    assert np.var(weights) == pytest.approx(2 / (inputs + hidden), rel=0.05)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("layer", ["l0", "l1", "l12", "l0_reverse"])
def test_defaults_of_the_weights(cell, layer):
    gates, inputs, hidden = GATES[cell], 7, 5
    recurrent = init.default(cell, f"weight_hh_{layer}", (gates * hidden, hidden), generator())
    expected = init.orthogonal((gates * hidden, hidden), generator())
    np.testing.assert_array_equal(recurrent, expected)
    weights = init.default(cell, f"weight_ih_{layer}", (gates * hidden, inputs), generator())
    expected = init.glorot_uniform((gates * hidden, inputs), generator(), gates)
    np.testing.assert_array_equal(weights, expected)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("RNN", [0, 0]),
        ("LSTM", [0, 0, 1, 1, 0, 0, 0, 0]),  # i f g o
        ("GRU", [0, 0, 0, 0, 0, 0]),  # r z n
        ("UGRNN", [1, 1, 0, 0]),  # g c
    ],
)
def test_defaults_of_the_biases(cell, expected):
    rng = generator()
    bias_ih = init.default(cell, "bias_ih_l0", (len(expected),), rng)
    bias_hh = init.default(cell, "bias_hh_l1", (len(expected),), rng)
    assert bias_ih.dtype == bias_hh.dtype == np.float32
    np.testing.assert_array_equal(bias_ih, expected)
    assert not bias_hh.any()
    assert rng.bit_generator.state == generator().bit_generator.state


def test_defaults_follow_from_the_generator_alone():
    shape = (4 * 6, 6)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        first = init.default("LSTM", name, shape, generator(5))
        np.testing.assert_array_equal(init.default("LSTM", name, shape, generator(5)), first)
        assert not np.array_equal(init.default("LSTM", name, shape, generator(6)), first)
        rng = generator(5)
        init.default("LSTM", name, shape, rng)
        assert not np.array_equal(init.default("LSTM", name, shape, rng), first)


def test_uniform_and_zeros():
    values = init.uniform((1000,), generator(), 0.25)
    assert values.dtype == np.float32
    assert 0.24 < np.abs(values).max() <= 0.25
    assert not init.zeros((2, 3)).any()
    assert init.zeros((2, 3), generator()).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: init.default("lstm", "bias_ih_l0", (4,), rng),
         r"cell_name is 'lstm'; expected one of LSTM, GRU, RNN, UGRNN"),
        (lambda rng: init.default("LSTM", "weight", (4, 1), rng), "parameter_name is 'weight'"),
        (lambda rng: init.default("LSTM", "bias_ih_l0", (6,), rng),
         r"shape is \(6,\); expected rows in 4 equal blocks"),
        (lambda rng: init.orthogonal((3,), rng), r"shape is \(3,\); expected \(rows, columns\)"),
        (lambda rng: init.orthogonal((0, 3), rng), "each at least 1"),
        (lambda rng: init.orthogonal((3, 3), rng, gates=2), "2 equal blocks"),
        (lambda rng: init.glorot_uniform((3, 0), rng), "each at least 1"),
        (lambda rng: init.glorot_uniform((3, 3), rng, gates=0), "gates is 0; expected an integer >= 1"),
        (lambda rng: init.uniform((3,), rng, -1.0), "limit is -1.0; expected a finite number > 0"),
    ],
)  # fmt: skip
def test_wrong_values(call, message):
    with pytest.raises(ValueError, match=message):
        call(generator())


def test_generator_is_needed():
    with pytest.raises(TypeError, match="rng is a int; expected a numpy"):
        init.default("GRU", "weight_hh_l0", (6, 2), 1)
    with pytest.raises(TypeError, match="rng is a RandomState"):
        init.uniform((2,), np.random.RandomState(0), 1.0)
