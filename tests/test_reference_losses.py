"""The twins of the losses: against the complex step, and that of CTC against the sum over every path."""

import math

import numpy as np
import pytest

from fastrnn.gradcheck import complex_step
from fastrnn.reference import ctc
from fastrnn.reference import element_losses as elements
from fastrnn.reference.loss import softmax_cross_entropy, weighted_cross_entropy


def assert_close(actual, expected, tolerance=1e-12):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(np.abs(expected).max(), 1e-3))


def assert_gradient(loss, outputs, *rest, tolerance=1e-12):
    _, gradient = loss(outputs, *rest)
    (expected,) = complex_step(lambda z: loss(z, *rest)[0], [outputs])
    assert_close(gradient, expected, tolerance)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_weighted_cross_entropy(rng):
    logits, targets = 2 * rng.standard_normal((4, 3, 5)), rng.integers(5, size=(4, 3))
    weights, counted = rng.random(5), rng.random((4, 3)) < 0.7
    given = targets, counted, weights, 0.2
    _, gradient, _ = weighted_cross_entropy(logits, *given)
    (expected,) = complex_step(lambda z: weighted_cross_entropy(z, *given)[0], [logits])
    assert_close(gradient, expected)
    assert not gradient[~counted].any()


def test_weighted_cross_entropy_without_weights_is_the_plain_one(rng):
    logits, targets = 2 * rng.standard_normal((4, 3, 5)), rng.integers(5, size=(4, 3))
    loss, gradient, count = weighted_cross_entropy(logits, targets, np.ones((4, 3), bool), np.ones(5), 0.0)
    expected, wanted = softmax_cross_entropy(logits, targets)
    assert count == 12
    assert loss == pytest.approx(expected, rel=1e-14)
    assert_close(gradient, wanted)


@pytest.mark.parametrize("scale", [0.5, 20])
def test_element_losses(rng, scale):
    outputs, targets = scale * rng.standard_normal((4, 3, 6)), rng.standard_normal((4, 3, 6))
    assert_gradient(elements.binary_cross_entropy, outputs, rng.random((4, 3, 6)), 2.5)
    assert_gradient(elements.squared_error, outputs, targets)
    assert_gradient(elements.huber_loss, outputs, targets, 0.7)
    assert_gradient(elements.gaussian_nll, outputs, targets[..., :3])
    counts = rng.integers(0, 40, (4, 3, 3)).astype(float)
    assert_gradient(elements.negative_binomial_nll, outputs, counts, tolerance=1e-9)


def test_log_gamma_is_that_of_the_standard_library_and_digamma_is_its_derivative():
    x = np.concatenate([np.geomspace(1e-3, 1e6, 200), [1.0, 2.0]])
    np.testing.assert_allclose(elements.log_gamma(x), [math.lgamma(one) for one in x], rtol=1e-14, atol=1e-14)
    slope = elements.log_gamma(x + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(elements.digamma(x), slope, rtol=1e-13, atol=1e-14)


def test_probabilities_of_counts_sum_to_one():
    counts = np.arange(4000.0)[:, None]
    outputs = np.broadcast_to([3.0, 0.5], (4000, 2))
    total = sum(math.exp(-elements.negative_binomial_nll(outputs[i], counts[i])[0]) for i in range(4000))
    assert total == pytest.approx(1, rel=1e-12)


# T steps, V symbols, targets, blank
PATHS = [
    (1, 2, [], 0), (3, 3, [], 1), (1, 3, [2], 0), (4, 3, [1, 2], 0), (4, 3, [1, 1], 0), (5, 3, [1, 1, 2], 0),
    (5, 3, [0, 2, 0], 1), (6, 2, [1, 1, 1], 0), (4, 4, [3, 2, 1, 3], 0), (5, 3, [0, 0, 1], 2), (3, 2, [1, 1], 0),
]  # fmt: skip


@pytest.mark.parametrize(("T", "V", "targets", "blank"), PATHS)
def test_ctc_is_the_sum_over_every_path(T, V, targets, blank, rng):
    logits, targets = rng.standard_normal((T, V)), np.array(targets, int)
    loss, gradient = ctc.ctc_loss(logits, targets, blank)
    assert loss == pytest.approx(ctc.every_path(logits, targets, blank), rel=1e-13)
    (expected,) = complex_step(lambda z: ctc.every_path(z, targets, blank), [logits])
    assert_close(gradient, expected)
    (expected,) = complex_step(lambda z: ctc.ctc_loss(z, targets, blank)[0], [logits])
    assert_close(gradient, expected)


@pytest.mark.parametrize(("T", "targets"), [(1, [1, 2]), (2, [1, 1]), (4, [1, 1, 1]), (0, [1])])
def test_ctc_of_too_few_steps_is_infinite_without_a_gradient(T, targets, rng):
    loss, gradient = ctc.ctc_loss(rng.standard_normal((T, 3)), np.array(targets))
    assert loss == math.inf
    assert gradient.shape == (T, 3)
    assert not gradient.any()
    if T:
        assert ctc.every_path(rng.standard_normal((T, 3)), targets) == math.inf
