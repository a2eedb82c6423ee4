"""tanh and sigmoid of the kernels: accuracy over all of float32, special values, and what the
kernels leave of the floating-point environment, in which subnormals must not slow them down.
"""

import ctypes
import platform
import sys

import numpy as np
import pytest
from runs import as_tuple, every_cell, from_tuple, make_layer

import fastrnn
from fastrnn._core import kernels

SMALLEST_NORMAL = float(np.finfo(np.float32).smallest_normal)
STRIDE = 997  # of all bit patterns: 4.3 million numbers; prime, so that no bit stands still


def tanh(x):
    return kernels.activation("tanh", x)


def sigmoid(x):
    return kernels.activation("sigmoid", x)


def true_tanh(x):
    return np.tanh(x.astype(np.float64))


def true_sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x.astype(np.float64)))


def from_bits(bits):
    return np.asarray(bits, np.uint32).view(np.float32)


@pytest.fixture(scope="module")
def sweep():
    """Every STRIDE-th float32 that is not NaN, both signs, subnormals and infinities included."""
    x = from_bits(np.arange(0, 2**32, STRIDE, dtype=np.uint32))
    return np.concatenate([x[~np.isnan(x)], np.float32([np.inf, -np.inf])])


def ulps(actual, true):
    """Error in units of the last place that a float32 of the true result's size has."""
    _, exponent = np.frexp(true)
    return np.abs(actual.astype(np.float64) - true) / np.ldexp(1.0, exponent - 24)


def assert_accurate(function, truth, x, bound):
    true = truth(x)
    normal = np.abs(true) >= SMALLEST_NORMAL
    x, actual, true = x[normal], function(x)[normal], true[normal]
    error = ulps(actual, true)
    worst = np.argsort(error)[-3:][::-1]
    report = [f"{error[i]:.3f} ulp at {x[i]!r}: {actual[i]!r}, not {true[i]!r}" for i in worst]
    assert error.max() <= bound, "; ".join(report)


@pytest.mark.parametrize(
    ("function", "truth", "bound"),
    [(tanh, true_tanh, 2), (sigmoid, true_sigmoid, 4)],
    ids=["tanh", "sigmoid"],
)
class TestAccuracy:
    def test_over_all_floats(self, function, truth, bound, sweep):
        assert_accurate(function, truth, sweep, bound)

    def test_where_the_values_of_gates_lie(self, function, truth, bound):
        rng = np.random.default_rng(0)
        x = np.concatenate([rng.uniform(-r, r, 200_000) for r in (0.1, 1, 10, 100)])
        assert_accurate(function, truth, x.astype(np.float32), bound)

    def test_around_every_change_of_exponent(self, function, truth, bound):
        """exp(x) is split at odd multiples of ln(2)/2: x and its 40 neighbours on either side."""
        seams = np.arange(-255, 256) * (np.log(2) / 4)
        bits = seams.astype(np.float32).view(np.uint32).astype(np.int64)
        around = from_bits((bits[:, None] + np.arange(-40, 41)).ravel() & 0xFFFFFFFF)
        assert_accurate(function, truth, around[np.isfinite(around)], bound)


def test_result_is_bounded(sweep):
    assert np.abs(tanh(sweep)).max() == 1
    assert sigmoid(sweep).min() >= 0
    assert sigmoid(sweep).max() == 1


def test_subnormal_results_of_the_sigmoid_are_tiny(sweep):
    """Below -87.3 the true result is subnormal: the absolute error is what counts."""
    x = sweep[sweep < -87.3]
    assert np.abs(sigmoid(x) - true_sigmoid(x)).max() <= SMALLEST_NORMAL


def test_subnormal_inputs_are_kept_or_flushed(sweep):
    x = sweep[np.abs(sweep) < SMALLEST_NORMAL]
    assert len(x) > 1000
    assert np.abs(tanh(x) - x.astype(np.float64)).max() <= SMALLEST_NORMAL
    assert (np.signbit(tanh(x)) == np.signbit(x)).all()
    assert (sigmoid(x) == 0.5).all()


def test_special_values():
    x = np.float32([0, np.inf, -np.inf, 3.4e38, -3.4e38])
    np.testing.assert_array_equal(tanh(x), np.float32([0, 1, -1, 1, -1]))
    np.testing.assert_array_equal(sigmoid(x)[[0, 1, 3]], np.float32([0.5, 1, 1]))
    assert sigmoid(x)[[2, 4]].max() <= SMALLEST_NORMAL
    zeros = tanh(np.float32([0.0, -0.0]))
    assert list(np.signbit(zeros)) == [False, True]
    assert sigmoid(np.float32([-0.0])) == 0.5


@pytest.mark.parametrize("function", [tanh, sigmoid])
def test_nan_gives_nan_in_every_lane(function):
    """Quiet, signalling, of both signs; and only where it came in."""
    nans = from_bits([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF])
    for nan in nans:
        for size in (1, 3, 16, 21):
            for place in range(size):
                x = np.linspace(-5, 5, size, dtype=np.float32)
                x[place] = nan
                expected = np.arange(size) == place
                np.testing.assert_array_equal(np.isnan(function(x)), expected)


def test_tanh_is_odd(sweep):
    np.testing.assert_array_equal(tanh(-sweep).view(np.uint32), (-tanh(sweep)).view(np.uint32))


@pytest.mark.parametrize(
    ("function", "clamp"),
    [(tanh, 9.1), (sigmoid, 17.0), (sigmoid, 87.3), (sigmoid, 88.0), (sigmoid, 88.8)],
)
def test_monotone_at_the_clamps(function, clamp):
    """Arguments are clamped at 9.1 and 88; float32's sigmoid is 1 from 17 on, its e^x ends at 88.7."""
    bits = np.float32(clamp).view(np.uint32).astype(np.int64) + np.arange(-7_000, 7_001)
    neighbours = from_bits(bits)
    coarse = np.linspace(clamp - 0.08, clamp + 20, 2001, dtype=np.float32)
    for x in (neighbours, coarse):
        assert (np.diff(x) > 0).all()
        assert (np.diff(function(x)) >= 0).all()
        assert (np.diff(function(-x)) <= 0).all()


def test_tanh_is_one_from_where_it_rounds_to_one(sweep):
    assert (tanh(sweep[sweep > 9.02]) == 1).all()
    assert (tanh(sweep[sweep < -9.02]) == -1).all()


@pytest.mark.parametrize("function", [tanh, sigmoid])
def test_a_value_does_not_depend_on_its_place(function):
    """The last, masked vector computes as the others do."""
    x = np.linspace(-9, 9, 67, dtype=np.float32)
    alone = np.array([function(x[i : i + 1])[0] for i in range(67)])
    for size in range(68):
        np.testing.assert_array_equal(function(x[:size]), alone[:size])
    np.testing.assert_array_equal(function(x.reshape(67, 1)[::-1]), alone.reshape(67, 1)[::-1])


def test_unknown_activation_raises():
    with pytest.raises(ValueError, match="got name 'exp'; expected 'tanh' or 'sigmoid'"):
        kernels.activation("exp", np.zeros(1, np.float32))


# -------------------------------------------------------------------- the floating-point environment


def mxcsr():
    """Control bits of this thread's SSE unit (masks, rounding, flushing), None if out of reach."""
    if platform.machine() != "x86_64" or not sys.platform.startswith("linux"):
        return None
    environment = (ctypes.c_uint32 * 16)()  # glibc's fenv_t: 28 bytes of x87, then MXCSR
    ctypes.CDLL("libm.so.6").fegetenv(environment)
    return environment[7] & 0xFFC0


def subnormals_work():
    tiny = np.full(100, 1e-40, np.float32)
    return bool((tiny * np.float32(1) == tiny).all() and (tiny + tiny > tiny).all())


def public_calls():
    lstm = fastrnn.LSTM(4, 20, 2, dropout=0.5, seed=0)
    gru = fastrnn.GRU(4, 20, seed=0)
    head = fastrnn.Linear(20, 5, seed=0)
    x, dy = np.ones((9, 40, 4), np.float32), np.ones((9, 40, 20), np.float32)
    logits, targets = np.ones((9, 40, 5), np.float32), np.zeros((9, 40), int)
    stream = gru.stream(40)
    tape, used = lstm.forward(x)[2], lstm.forward(x)[2]
    lstm.backward(used, dy)
    nothing = np.zeros((0, 40, 4), np.float32)
    poisoned = fastrnn.Linear(3, 3)
    poisoned.grads.flat[:] = np.nan

    def raising(error, function):
        def call():
            with pytest.raises(error):
                function()

        return call

    calls = {
        "call": lambda: lstm(x),
        "call on integers": lambda: lstm(np.ones((9, 40), int)),
        "call on threads": lambda: fastrnn.LSTM(64, 64)(np.ones((20, 48, 64), np.float32)),
        "forward": lambda: lstm.forward(x),
        "backward": lambda: lstm.backward(tape, dy),
        "stream": lambda: [stream.step(x[0]), stream.state, stream.reset()],
        "Linear": lambda: head(dy),
        "Linear.backward": lambda: head.backward(head.forward(dy)[1], logits),
        "loss": lambda: fastrnn.softmax_cross_entropy(logits, targets),
        "activation": lambda: tanh(x),
        "set_num_threads": lambda: fastrnn.set_num_threads(None),
        "config": fastrnn.config,
        "load": lambda: lstm.load_state_dict(lstm.state_dict()),
        "clip norm": lambda: fastrnn.clip_grad_norm_(lstm.grads, 1e-3),
        "clip value": lambda: fastrnn.clip_grad_value_(lstm.grads, 1e-3),
        "wrong shape": raising(ValueError, lambda: lstm(x[:, :, :3])),
        "wrong dtype": raising(TypeError, lambda: lstm(x.astype(np.float64))),
        "wrong index": raising(IndexError, lambda: lstm(np.full((2, 3), 4))),
        "nothing": raising(ValueError, lambda: lstm(nothing)),
        "wrong dy": raising(ValueError, lambda: lstm.backward(lstm.forward(x)[2], dy[1:])),
        "used tape": raising(ValueError, lambda: lstm.backward(used, dy)),
        "wrong step": raising(ValueError, lambda: stream.step(x)),
        "wrong target": raising(
            IndexError, lambda: fastrnn.softmax_cross_entropy(logits, targets + 5)
        ),
        "not finite": raising(
            FloatingPointError, lambda: fastrnn.clip_grad_norm_(poisoned.grads, 1)
        ),
    }
    optimisers = {
        "SGD": lambda: fastrnn.SGD(gru, 0.1, momentum=0.9),
        "RMSprop": lambda: fastrnn.RMSprop(gru, 0.1),
        "Adagrad": lambda: fastrnn.Adagrad(gru, 0.1),
        "Adam": lambda: fastrnn.Adam(gru, 0.1),
    }
    return calls | {name: lambda make=make: make().step() for name, make in optimisers.items()}


@pytest.mark.parametrize("name", list(public_calls()))
def test_floating_point_environment_is_put_back(name):
    call = public_calls()[name]
    before = mxcsr()
    assert subnormals_work()
    call()
    assert subnormals_work()
    assert mxcsr() == before


def subnormals(*arrays):
    """How many elements are neither zero nor normal."""
    return sum(int(((array != 0) & (np.abs(array) < np.finfo(np.float32).tiny)).sum()) for array in arrays)


def train(layer, x, state, dy, dstate):
    """Every result of a step, as one list."""
    layer.zero_grad()
    y, final, tape = layer.forward(x, state, num_threads=1)
    dx, initial = layer.backward(tape, dy, dstate, num_threads=1)
    return [y, *as_tuple(final), dx, *as_tuple(initial), *layer.grads.values()]


@every_cell
def test_subnormal_operands_count_as_zero(name):
    """A processor may take a hundred times as long over them (benchmarks/test_subnormals.py)."""
    layer = make_layer(name, 64, 64)
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((20, 16, 64)).astype(np.float32) for _ in range(2))
    h = rng.standard_normal((1, 16, 64)).astype(np.float32)
    weights = layer.flat_params.copy()

    def results(scale):
        tiny = np.float32(scale)
        state = from_tuple((h * tiny,) * len(layer.STATES))
        with layer.editing() as params:
            params.flat[:] = weights * tiny
        return train(layer, x * tiny, state, dy * tiny, state)

    assert subnormals(weights * np.float32(1e-39)) > 0
    for tiny, zero in zip(results(1e-39), results(0), strict=True):
        np.testing.assert_array_equal(tiny, zero)


def test_decaying_states_end_at_zero():
    """A state that halves each step would be subnormal from the 126th step on."""
    rnn = fastrnn.RNN(8, 64, nonlinearity="relu", bias=False)
    with rnn.editing() as params:
        params["weight_hh_l0"][...] = np.eye(64) / 2
    x, h = np.zeros((150, 16, 8), np.float32), np.ones((1, 16, 64), np.float32)
    y, *others = train(rnn, x, h, np.zeros((150, 16, 64), np.float32), h)
    assert y[125].min() == np.finfo(np.float32).tiny
    assert not y[126:].any()
    assert subnormals(y, *others) == 0
