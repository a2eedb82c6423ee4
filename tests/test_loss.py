"""Softmax cross-entropy against its twin, at every edge of a vector and of the range of its dtype."""

import math

import numpy as np
import pytest
from numpy_layer import every_dtype
from tolerance import EPS, UNITS, assert_close, assert_same_arrays, bound

import fastrnn
from fastrnn.reference import loss as twin

SIZES = [1, 2, 7, 8, 9, 15, 16, 17, 65, 1000]
every_size = pytest.mark.parametrize("V", SIZES)


def problem(*shape, scale=1.0, seed=0, dtype=np.float32):
    rng = np.random.default_rng([seed, *shape])
    logits = (scale * rng.standard_normal(shape)).astype(dtype)
    return logits, rng.integers(shape[-1], size=shape[:-1])


def assert_matches_twin(logits, targets, **kwargs):
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets, **kwargs)
    expected, gradient = twin.softmax_cross_entropy(logits.astype(np.float64), targets)
    tolerance = bound(logits.shape[-1], dtype=logits.dtype)
    assert type(loss) is float
    assert abs(loss - expected) <= tolerance * max(abs(expected), np.abs(logits).max())
    # Each entry of the gradient is at most 1/N, and rounds with that.
    assert dlogits.dtype == logits.dtype
    assert dlogits.shape == logits.shape
    assert np.abs(dlogits - gradient).max() <= tolerance / targets.size
    return loss, dlogits


@every_size
@pytest.mark.parametrize("lead", [(1,), (5,), (3, 4), (2, 3, 4), ()])
@every_dtype
def test_matches_twin(V, lead, dtype):
    assert_matches_twin(*problem(*lead, V, dtype=dtype))


@every_size
def test_float64_matches_twin_to_the_last_digits(V):
    logits, targets = problem(7, 5, V, dtype=np.float64)
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets)
    expected, gradient = twin.softmax_cross_entropy(logits, targets)
    assert loss == pytest.approx(expected, rel=1e-14)
    assert np.abs(dlogits - gradient).max() <= 1e-14 * np.abs(gradient).max()


@every_size
@every_dtype
def test_matches_twin_where_the_softmax_is_sharp(V, dtype):
    assert_matches_twin(*problem(6, 3, V, scale=30, dtype=dtype))


@every_size
@every_dtype
def test_every_target_is_found(V, dtype):
    """Through whole vectors and through the tail."""
    for target in {0, 1 % V, V // 2, V - 2, V - 1} - {-1}:
        logits = problem(3, V, dtype=dtype)[0]
        _, dlogits = assert_matches_twin(logits, np.full(3, target))
        assert (dlogits[:, target] <= 0).all()
        others = np.delete(dlogits, target, axis=1)
        assert (others >= 0).all()


@every_size
def test_gradient_of_each_row_sums_to_zero(V):
    _, dlogits = fastrnn.softmax_cross_entropy(*problem(4, 5, V, scale=3))
    assert np.abs(dlogits.sum(axis=-1, dtype=np.float64)).max() <= bound(V) / 20


def test_one_class_costs_nothing():
    loss, dlogits = fastrnn.softmax_cross_entropy(np.full((3, 2, 1), 5, np.float32), np.zeros((3, 2), np.int64))
    assert loss == 0
    assert not dlogits.any()


@every_size
@every_dtype
def test_equal_logits_cost_the_logarithm_of_the_classes(V, dtype):
    unit = UNITS[np.dtype(dtype)]
    for value in (0, 80, -1e30):
        loss, dlogits = fastrnn.softmax_cross_entropy(np.full((2, V), value, dtype), np.array([0, V - 1]))
        assert loss == pytest.approx(math.log(V), rel=4 * unit, abs=4 * unit)
        np.testing.assert_allclose(dlogits[0, 1:], 0.5 / V, rtol=8 * unit)


@every_size
@pytest.mark.parametrize("shift", [-1e4, -100.0, 88.0, 200.0, 1e4])
def test_a_shift_of_all_logits_changes_nothing_but_rounding(V, shift):
    """Nothing overflows and nothing vanishes, however far from zero."""
    rng = np.random.default_rng(V)
    logits = (np.round(64 * rng.standard_normal((4, V))) / 64).astype(np.float32)  # exact after the shift
    shifted = logits + np.float32(shift)
    targets = rng.integers(V, size=4)
    np.testing.assert_array_equal(shifted - np.float32(shift), logits)
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets)
    again, dagain = fastrnn.softmax_cross_entropy(shifted, targets)
    assert again == loss
    np.testing.assert_array_equal(dagain, dlogits)


@every_size
@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        *((size, np.float32) for size in (87.0, 88.5, 104.0, 1e3, 1e30, 1.5e38)),
        *((size, np.float64) for size in (88.5, 708.0, 709.5, 745.0, 1e3, 1e30, 1e300)),
    ],
)
def test_extreme_logits(V, size, dtype):
    """Beyond the range of exp: the probability of the rest is zero, the cost of a target there is the distance."""
    unit = UNITS[np.dtype(dtype)]
    logits = np.zeros((V, V), dtype)
    logits[np.arange(V), np.arange(V)] = size
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, np.arange(V))
    assert loss == pytest.approx(0, abs=1e-6)
    assert np.abs(dlogits).max() <= 1e-6
    if V > 1:
        wrong = (np.arange(V) + 1) % V
        loss, dlogits = assert_matches_twin(logits, wrong)
        assert loss == pytest.approx(size, rel=4 * unit)
        assert (dlogits[np.arange(V), wrong] == dtype(-1 / V)).all()
        loss, _ = assert_matches_twin(-logits, np.arange(V))
        assert loss == pytest.approx(size + math.log(V - 1), rel=8 * unit)


@every_dtype
def test_logits_as_far_apart_as_their_dtype_goes_cost_infinity(dtype):
    top = np.finfo(dtype).max
    loss, dlogits = fastrnn.softmax_cross_entropy(np.array([[top, -top]], dtype), np.array([1]))
    assert loss == math.inf
    np.testing.assert_array_equal(dlogits, [[1, -1]])


@every_size
@every_dtype
def test_nan_anywhere_gives_nan(V, dtype):
    """At the target and beside it, in whole vectors and in the tail; in the other rows' gradients it is not seen."""
    for position in {0, 1 % V, V // 2, V - 1}:
        logits, targets = problem(3, V, dtype=dtype)
        logits[1, position] = np.nan
        for target in {0, position, V - 1}:
            targets[1] = target
            loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets)
            assert math.isnan(loss)
            assert np.isnan(dlogits[1]).all()
            assert np.isfinite(dlogits[[0, 2]]).all()


@every_size
@every_dtype
def test_infinite_logits(V, dtype):
    """-inf stands for what cannot be; +inf leaves no probability to speak of."""
    if V == 1:
        pytest.skip("needs two classes")
    for position in {0, V // 2, V - 1}:
        logits, _ = problem(1, V, dtype=dtype)
        other = np.array([(position + 1) % V])
        logits[0, position] = -np.inf
        loss, dlogits = fastrnn.softmax_cross_entropy(logits, other)
        rest = np.delete(logits, position, axis=1)
        expected, gradient = twin.softmax_cross_entropy(rest.astype(np.float64), other - (other > position))
        tolerance = bound(V, dtype=dtype)
        assert loss == pytest.approx(expected, abs=tolerance * 5)
        assert dlogits[0, position] == 0
        assert_close("the rest", np.delete(dlogits, position, axis=1), gradient, tolerance, dtype)
        assert fastrnn.softmax_cross_entropy(logits, np.array([position]))[0] == math.inf
        logits[0, position] = np.inf
        assert math.isnan(fastrnn.softmax_cross_entropy(logits, other)[0])


def test_mean_is_summed_in_float64():
    """A hundred thousand equal losses: a float32 sum would be off in the fourth digit."""
    V, count = 3, 100_000
    logits = np.tile(np.array([0.1, 0.7, -0.3], np.float32), (count, 1))
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, np.zeros(count, np.int64))
    one, done = fastrnn.softmax_cross_entropy(logits[:1], np.zeros(1, np.int64))
    assert loss == pytest.approx(one, rel=1e-12)
    np.testing.assert_allclose(dlogits[-1], done[0] / count, rtol=4 * EPS)
    assert dlogits.shape == (count, V)


@pytest.mark.parametrize("V", [1, 9, 65, 1000])
@every_dtype
def test_bits_do_not_depend_on_threads_or_on_other_rows(V, dtype):
    """2000 rows are worth several threads."""
    logits, targets = problem(50, 40, V, scale=4, dtype=dtype)
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets, num_threads=1)
    for threads in (2, 3, 7):
        again = fastrnn.softmax_cross_entropy(logits, targets, num_threads=threads)
        assert again[0] == loss
        assert_same_arrays([again[1]], [dlogits])
    flat = fastrnn.softmax_cross_entropy(logits.reshape(-1, V), targets.ravel())
    assert flat[0] == loss
    np.testing.assert_array_equal(flat[1].reshape(dlogits.shape), dlogits)
    order = np.random.default_rng(0).permutation(50)
    np.testing.assert_array_equal(fastrnn.softmax_cross_entropy(logits[order], targets[order])[1], dlogits[order])


def test_matches_pytorch():
    torch = pytest.importorskip("torch")
    logits, targets = problem(7, 5, 65, scale=2)
    theirs = torch.from_numpy(logits).requires_grad_()
    expected = torch.nn.functional.cross_entropy(theirs.reshape(-1, 65), torch.from_numpy(targets).reshape(-1))
    expected.backward()
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets)
    assert loss == pytest.approx(expected.item(), rel=bound(65))
    np.testing.assert_allclose(dlogits, theirs.grad.numpy(), atol=bound(65) / 35)
