"""tanh and sigmoid of the kernels: accuracy over all of float32 and float64 on every instruction set, special
values, and what the kernels leave of the floating-point environment, in which subnormals must not slow them down.
"""

import ctypes
import platform
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from runs import as_tuple, every_cell, from_tuple, make_layer

import fastrnn
from fastrnn._core import kernels


@dataclass(frozen=True)
class Type:
    """A type of elements: what is true of its numbers."""

    dtype: type
    bits: type
    wider: type
    stride: int  # of all bit patterns; no bit stands still
    smallest_normal: float
    one_from: tuple  # tanh and sigmoid are 1 from there on
    normal_until: float  # e^-x is normal up to here, and overflows 1.4 later
    bounds: dict  # of errors, in units of the last place

    def from_bits(self, bits):
        return np.asarray(bits, self.bits).view(self.dtype)

    def sweep(self):
        """Every stride-th number that is not NaN, both signs, subnormals and infinities included."""
        count = 2 ** (8 * np.dtype(self.dtype).itemsize) // self.stride
        x = self.from_bits(np.arange(count, dtype=self.bits) * self.bits(self.stride))
        return np.concatenate([x[~np.isnan(x)], self.dtype([np.inf, -np.inf])])


FLOAT32 = Type(
    dtype=np.float32, bits=np.uint32, wider=np.float64, stride=997,
    smallest_normal=float(np.finfo(np.float32).smallest_normal), one_from=(9.02, 17.0), normal_until=87.3,
    bounds={"tanh": 2, "sigmoid": 4},
)  # fmt: skip
FLOAT64 = Type(
    dtype=np.float64, bits=np.uint64, wider=np.longdouble, stride=2**43 + 29,
    smallest_normal=float(np.finfo(np.float64).smallest_normal), one_from=(19.07, 36.8), normal_until=708.3,
    bounds={"tanh": 2.5, "sigmoid": 4},
)  # fmt: skip
TYPES = {"float32": FLOAT32, "float64": FLOAT64}


def tanh(x):
    return kernels.activation("tanh", x)


def sigmoid(x):
    return kernels.activation("sigmoid", x)


def widened(x):
    return x.astype({np.dtype(of.dtype): of.wider for of in TYPES.values()}[x.dtype])


def true_tanh(x):
    return np.tanh(widened(x))


def true_sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-widened(x)))


@pytest.fixture(scope="module", params=TYPES.values(), ids=TYPES)
def of(request):
    if np.finfo(request.param.wider).nmant <= np.finfo(request.param.dtype).nmant:
        pytest.skip("no wider type to compare with")
    return request.param


@pytest.fixture(scope="module")
def sweep(of):
    return of.sweep()


@pytest.fixture(params=kernels.available())
def every_isa(request):
    chosen = kernels.isa()["name"]
    kernels.choose(request.param)
    yield request.param
    kernels.choose(chosen)


def ulps(actual, true):
    """Error in units of the last place that a number of actual's type and the true result's size has."""
    _, exponent = np.frexp(true)
    place = np.ldexp(true.dtype.type(1), exponent - np.finfo(actual.dtype).nmant - 1)
    return np.abs(actual - true) / place


def assert_accurate(function, truth, x, of):
    true = truth(x)
    normal = np.abs(true) >= of.smallest_normal
    x, actual, true = x[normal], function(x)[normal], true[normal]
    error = ulps(actual, true)
    worst = np.argsort(error)[-3:][::-1]
    report = [f"{error[i]:.3f} ulp at {x[i]!r}: {actual[i]!r}, not {true[i]!r}" for i in worst]
    assert error.max() <= of.bounds[function.__name__], "; ".join(report)


@pytest.mark.usefixtures("every_isa")
@pytest.mark.parametrize(("function", "truth"), [(tanh, true_tanh), (sigmoid, true_sigmoid)], ids=["tanh", "sigmoid"])
class TestAccuracy:
    def test_over_all_numbers(self, function, truth, of, sweep):
        assert_accurate(function, truth, sweep, of)

    def test_where_the_values_of_gates_lie(self, function, truth, of):
        rng = np.random.default_rng(0)
        x = np.concatenate([rng.uniform(-r, r, 200_000) for r in (0.1, 1, 10, 100)])
        assert_accurate(function, truth, x.astype(of.dtype), of)

    def test_around_every_change_of_exponent(self, function, truth, of):
        """exp(x) is split at odd multiples of ln(2)/2: x and its 40 neighbours on either side."""
        last = int(of.normal_until / (np.log(2) / 4))
        seams = np.delete(np.arange(-last, last + 1), last) * (np.log(2) / 4)
        bits = seams.astype(of.dtype).view(of.bits)
        around = of.from_bits((bits[:, None] + np.arange(81, dtype=of.bits) - of.bits(40)).ravel())
        assert_accurate(function, truth, around, of)


@pytest.mark.skipif("avx2" not in kernels.available(), reason="no fused multiply-add")
def test_every_isa_with_fused_multiply_add_gives_the_same_bits(sweep):
    chosen, results = kernels.isa()["name"], []
    for isa in kernels.available()[1:]:
        kernels.choose(isa)
        results.append([function(sweep) for function in (tanh, sigmoid)])
    kernels.choose(chosen)
    for result in results:
        np.testing.assert_array_equal(result, results[0])


def test_result_is_bounded(sweep):
    assert np.abs(tanh(sweep)).max() == 1
    assert sigmoid(sweep).min() >= 0
    assert sigmoid(sweep).max() == 1


def test_subnormal_results_of_the_sigmoid_are_tiny(of, sweep):
    """There the absolute error is what counts."""
    x = sweep[sweep < -of.normal_until]
    assert np.abs(sigmoid(x) - true_sigmoid(x)).max() <= of.smallest_normal


def test_subnormal_inputs_are_kept_or_flushed(of, sweep):
    x = sweep[np.abs(sweep) < of.smallest_normal]
    assert len(x) > 1000
    assert np.abs(tanh(x) - widened(x)).max() <= of.smallest_normal
    assert (np.signbit(tanh(x)) == np.signbit(x)).all()
    assert (sigmoid(x) == 0.5).all()


def test_special_values(of):
    largest = np.finfo(of.dtype).max
    x = of.dtype([0, np.inf, -np.inf, largest, -largest])
    np.testing.assert_array_equal(tanh(x), of.dtype([0, 1, -1, 1, -1]))
    np.testing.assert_array_equal(sigmoid(x)[[0, 1, 3]], of.dtype([0.5, 1, 1]))
    assert sigmoid(x)[[2, 4]].max() <= of.smallest_normal
    zeros = tanh(of.dtype([0.0, -0.0]))
    assert list(np.signbit(zeros)) == [False, True]
    assert sigmoid(of.dtype([-0.0])) == 0.5


@pytest.mark.parametrize("function", [tanh, sigmoid])
def test_nan_gives_nan_in_every_lane(function, of):
    """Quiet, signalling, of both signs; and only where it came in."""
    infinity, sign = (int(of.dtype([x]).view(of.bits)[0]) for x in (np.inf, -0.0))
    quiet = infinity + (infinity & -infinity) // 2
    nans = of.from_bits([quiet, sign + quiet, infinity + 1, sign + infinity + 1, sign - 1, sign + sign - 1])
    assert np.isnan(nans).all()
    for nan in nans:
        for size in (1, 3, 16, 21):
            for place in range(size):
                x = np.linspace(-5, 5, size, dtype=of.dtype)
                x[place] = nan
                expected = np.arange(size) == place
                np.testing.assert_array_equal(np.isnan(function(x)), expected)


def test_tanh_is_odd(of, sweep):
    np.testing.assert_array_equal(tanh(-sweep).view(of.bits), (-tanh(sweep)).view(of.bits))


@pytest.mark.parametrize("which", range(5))
def test_monotone_at_the_clamps(which, of):
    """Where results become 1, and where e^-x is no longer normal, is clamped (by then) and overflows."""
    clamps = (*of.one_from, *of.normal_until + np.array([0, 0.7, 1.5]))
    function, clamp = sigmoid if which else tanh, clamps[which]
    bits = of.dtype([clamp]).view(of.bits) + np.arange(14_001, dtype=of.bits) - of.bits(7_000)
    neighbours = of.from_bits(bits)
    coarse = np.linspace(clamp - 0.08, clamp + 20, 2001, dtype=of.dtype)
    for x in (neighbours, coarse):
        assert (np.diff(x) > 0).all()
        assert (np.diff(function(x)) >= 0).all()
        assert (np.diff(function(-x)) <= 0).all()


def test_tanh_is_one_from_where_it_rounds_to_one(of, sweep):
    assert (tanh(sweep[sweep > of.one_from[0]]) == 1).all()
    assert (tanh(sweep[sweep < -of.one_from[0]]) == -1).all()


@pytest.mark.parametrize("function", [tanh, sigmoid])
def test_a_value_does_not_depend_on_its_place(function, of):
    """The last, masked vector computes as the others do."""
    x = np.linspace(-9, 9, 67, dtype=of.dtype)
    alone = np.array([function(x[i : i + 1])[0] for i in range(67)])
    for size in range(68):
        np.testing.assert_array_equal(function(x[:size]), alone[:size])
    np.testing.assert_array_equal(function(x.reshape(67, 1)[::-1]), alone.reshape(67, 1)[::-1])


def test_unknown_activation_raises():
    with pytest.raises(ValueError, match="got name 'exp'; expected 'tanh' or 'sigmoid'"):
        kernels.activation("exp", np.zeros(1, np.float32))
    with pytest.raises(TypeError, match="activation: got elements of type int64; expected float32 or float64"):
        kernels.activation("tanh", np.zeros(1, np.int64))


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
