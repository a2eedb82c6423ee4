"""A layer has one dtype: every array of it has that, and one of another is refused with the mend."""

import copy
import pickle
import re

import numpy as np
import pytest
from numpy_layer import Dense, every_dtype, normal, other
from runs import every_cell, from_tuple, make_step, parts
from tolerance import assert_close, assert_same_arrays

import fastrnn
from fastrnn import gradcheck, init
from fastrnn._core import memory
from fastrnn.module import Parameters
from fastrnn.reference.loss import softmax_cross_entropy as twin_of_loss


def arrays_of(layer):
    with layer.editing() as params:
        lent = [*params.values(), params.flat]
    shown = [*layer.params.values(), *layer.grads.values(), layer.flat_params, layer.flat_grads]
    compiled = [array for named in layer._arrays for array in named.values()]
    return [*lent, *shown, *compiled, *layer.state_dict().values()]


@pytest.mark.parametrize("given", ["float64", np.float64, np.dtype("float64"), "f8", "d", float])
def test_a_dtype_may_be_given_as_numpy_takes_it(given):
    layer = Dense(3, 4, dtype=given)
    assert isinstance(layer.dtype, np.dtype)
    assert layer.dtype == np.float64


def test_float32_is_the_default():
    class Silent(Dense):
        def __init__(self):
            self.sizes = 3, 4
            self._create(self._default, None, np.random.default_rng(0))

    for layer in (Dense(3, 4), Silent(), fastrnn.LSTM(3, 4), fastrnn.Linear(3, 4)):
        assert layer.dtype == layer.flat_params.dtype == np.float32
        with pytest.raises(AttributeError, match=r"dtype is dtype\('float32'\) and fixed; expected a new"):
            layer.dtype = "float64"


@every_dtype
def test_every_array_of_a_layer_has_its_dtype(dtype):
    layer = Dense(3, 4, dtype=dtype, seed=0)
    assert {array.dtype for array in arrays_of(layer)} == {np.dtype(dtype)}
    for duplicate in (copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert duplicate.dtype == dtype
        assert {array.dtype for array in arrays_of(duplicate)} == {np.dtype(dtype)}
        assert_same_arrays([duplicate.flat_params], [layer.flat_params])


def test_a_layer_pickled_without_a_dtype_is_float32():
    layer = Dense(3, 4, seed=0)
    state = layer.__getstate__()
    del state["dtype"]
    twin = Dense.__new__(Dense)
    twin.__setstate__(state)
    assert twin.dtype == np.float32
    assert_same_arrays([twin.flat_params], [layer.flat_params])


def test_initial_values_of_float32_are_those_of_float64_rounded():
    wide, narrow = Dense(3, 4, dtype="float64", seed=5), Dense(3, 4, seed=5)
    assert_same_arrays([narrow.flat_params], [wide.flat_params.astype(np.float32)])
    assert (wide.params["weight"] != narrow.params["weight"]).all()


@every_dtype
def test_arrays_of_the_other_dtype_are_refused_with_the_mend(dtype):
    layer = Dense(3, 4, dtype=dtype, seed=0)
    name, wrong = np.dtype(dtype), normal(other(dtype), 4)
    message = f"bias has dtype {wrong.dtype}; expected {name}, the dtype of the layer (bias.astype(np.{name}))"
    before = [array.copy() for array in arrays_of(layer)]
    weight = normal(dtype, 4, 3)
    with layer.editing() as params:
        calls = {
            "Parameters": [
                lambda: params.update(bias=wrong),
                lambda: params.__setitem__("bias", wrong),
                lambda: layer.grads.update({"weight": weight, "bias": wrong}),
                lambda: layer.grads.__ior__({"bias": wrong}),
            ],
            "Dense.load_state_dict": [
                lambda: layer.load_state_dict({"weight": weight, "bias": wrong}),
                lambda: layer.load_state_dict({"bias": wrong}, strict=False),
            ],
        }
        for who, each in calls.items():
            for call in each:
                with pytest.raises(TypeError, match=f"^{re.escape(f'{who}: {message}')}$"):
                    call()
    assert_same_arrays(arrays_of(layer), before)
    state = {**layer.__getstate__(), "flat_params": layer.flat_params.astype(wrong.dtype)}
    with pytest.raises(TypeError, match=rf"Dense: flat_params has dtype {wrong.dtype}; expected {name}, "):
        Dense.__new__(Dense).__setstate__(state)


@every_dtype
def test_inits_answer_has_the_layers_dtype(dtype):
    given = normal(dtype, 4)
    layer = Dense(3, 4, dtype=dtype, init=lambda name, shape, rng: given if name == "bias" else None)
    assert_same_arrays([np.array(layer.params["bias"])], [given])
    with pytest.raises(TypeError, match=rf"Dense: init\('weight', ...\) has dtype .*\.astype\(np\.{np.dtype(dtype)}\)"):
        Dense(3, 4, dtype=dtype, init=lambda name, shape, rng: np.zeros(shape, other(dtype)))


def test_a_default_of_the_wrong_dtype_is_not_cast():
    class Careless(Dense):
        def _default(self, name, shape, rng):
            return np.zeros(shape, np.float32)

    with pytest.raises(TypeError, match="Cannot cast"):
        Careless(3, 4, dtype="float64")


def test_tensors_of_pytorch_are_taken_in_the_layers_dtype():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Linear(3, 4, dtype=torch.float64)
    layer = Dense(3, 4, dtype="float64")
    layer.load_state_dict(theirs.state_dict())
    assert_same_arrays([layer.state_dict()["bias"]], [theirs.bias.detach().numpy()])
    with pytest.raises(TypeError, match=r"weight has dtype float32; .*\(weight.double\(\).numpy\(force=True\)\)"):
        layer.load_state_dict(theirs.float().state_dict())


@every_dtype
def test_parameters_of_ones_own_have_the_dtype_of_their_buffer(dtype):
    flat = normal(dtype, 7)
    own = Parameters(flat, {"a": (2, 3), "b": (1,)})
    own["a"] = np.zeros((2, 3), dtype)
    assert not flat[:6].any()
    with pytest.raises(TypeError, match="Parameters: b has dtype"):
        own["b"] = np.zeros(1, other(dtype))


@every_dtype
def test_initial_values_have_the_dtype_asked_for_and_are_rounded_once(dtype):
    def rng():
        return np.random.default_rng(3)

    for make in (
        lambda **asked: init.orthogonal((8, 4), rng(), **asked),
        lambda **asked: init.orthogonal((3, 5), rng(), **asked),
        lambda **asked: init.glorot_uniform((8, 4), rng(), 2, **asked),
        lambda **asked: init.uniform((8, 4), rng(), 0.1, **asked),
        lambda **asked: init.zeros((8, 4), **asked),
        lambda **asked: init.default("LSTM", "bias_ih_l0", (8,), rng(), **asked),
        lambda **asked: init.default("GRU", "weight_hh_l0", (6, 2), rng(), **asked),
        lambda **asked: init.default("UGRNN", "weight_ih_l1", (6, 2), rng(), **asked),
    ):
        values = make(dtype=dtype)
        assert values.flags.c_contiguous
        assert_same_arrays([values], [make(dtype="float64").astype(dtype)])
    assert init.uniform((2,), rng(), 1e-40, np.float64).any()
    with pytest.raises(ValueError, match="in the range of float32"):
        init.uniform((2,), rng(), 1e-40)


@every_dtype
@pytest.mark.parametrize("shape", [(0,), (3,), (5, 7), (4000, 2)])
def test_kept_memory_is_of_the_dtype_asked_for(dtype, shape):
    array = memory.empty(shape, dtype)
    assert (array.dtype, array.shape) == (np.dtype(dtype), shape)
    assert array.ctypes.data % 64 == 0
    array[...] = np.arange(array.size).reshape(shape)
    for writeable in (False, True):
        view = memory.view_of(array, writeable)
        assert (view.dtype, view.flags.writeable) == (np.dtype(dtype), writeable)
        np.testing.assert_array_equal(view, array)


@every_dtype
def test_central_differences_follow_the_layers_dtype(dtype):
    layer, x, dy = Dense(3, 4, dtype=dtype, seed=0), normal(dtype, 5, 3), normal(dtype, 5, 4, seed=1)
    before = layer.flat_params.copy()
    layer.backward(x, dy)
    numerical = gradcheck.by_parameters(lambda: np.vdot(layer(x), dy), layer)
    assert_same_arrays([layer.flat_params.copy()], [before])
    assert numerical.keys() == layer.grads.keys()
    for name, gradient in numerical.items():
        assert gradient.dtype == np.float64
        tolerance = 1e-9 if dtype == np.float64 else 1e-3
        np.testing.assert_allclose(gradient, layer.grads[name], rtol=0, atol=tolerance)


# --------------------------------------------------------------------------------- the compiled code itself


def fourth_order(differences, step=1e-3):
    """Gradients by central differences of two steps: the error of each goes with its square, and that part cancels."""
    near, far = differences(step), differences(2 * step)
    pairs = [(near[key], far[key]) for key in near] if isinstance(near, dict) else zip(near, far, strict=True)
    found = [(4 * fine - coarse) / 3 for fine, coarse in pairs]
    return dict(zip(near, found, strict=True)) if isinstance(near, dict) else found


@pytest.mark.parametrize("integers", [False, True], ids=["vectors", "integers"])
@every_cell
def test_compiled_gradients_equal_central_differences(name, integers):
    """By every weight, the inputs and the initial state; no NumPy twin is involved."""
    step = make_step(name, (5, 2, 3, 4), 2, integers, dtype="float64")
    results, layer = step.run(), step.layer

    def loss(x, *state):
        y, final = layer(x, from_tuple(state))
        return sum(np.vdot(a, b) for a, b in zip((y, *parts(final)), (step.dy, *parts(step.dstate)), strict=True))

    arrays = [*([] if integers else [step.x]), *parts(step.state)]
    function = (lambda *state: loss(step.x, *state)) if integers else loss
    by_weights = fourth_order(lambda h: gradcheck.by_parameters(lambda: loss(step.x, *parts(step.state)), layer, h))
    by_arrays = fourth_order(lambda h: gradcheck.central_difference(function, arrays, h))
    names = [*([] if integers else ["dx"]), *(f"d{kind}" for kind in layer.STATES)]
    numerical = {f"d{key}": gradient for key, gradient in by_weights.items()} | dict(zip(names, by_arrays, strict=True))
    assert numerical.keys() == {key for key in results if key.startswith("d") and results[key] is not None}
    for key, gradient in numerical.items():
        np.testing.assert_allclose(gradient, results[key], rtol=0, atol=1e-10, err_msg=key)


@every_cell
def test_float32_gradients_equal_central_differences(name):
    if name == "rnn_relu":
        pytest.skip("steps of float32 are so long that they cross the rectifier's kink")
    step = make_step(name, (5, 2, 3, 4), 2)
    step.dstate = None
    results = step.run()
    numerical = gradcheck.by_parameters(lambda: np.vdot(step.infer()["y"], step.dy), step.layer)
    for key, gradient in numerical.items():
        np.testing.assert_allclose(gradient, results[f"d{key}"], rtol=0, atol=1e-2, err_msg=key)


@pytest.mark.parametrize("shape", [(6, 3, 5, 17), (3, 5, 16, 40)])
@every_cell
def test_float64_layers_equal_their_twin(name, shape):
    step = make_step(name, shape, 2, dtype="float64")
    actual, expected = step.run(), step.twin()
    for key, value in expected.items():
        assert_close(key, actual[key], value, 1e-13, np.float64)


@every_cell
def test_streams_of_float64_give_the_bits_of_a_run(name):
    step = make_step(name, (6, 3, 5, 17), 2, dtype="float64")
    stream = step.layer.stream(3)
    stream.state = step.state
    y, final = step.layer(step.x, step.state)
    assert_same_arrays([stream.step(x_t) for x_t in step.x], list(y))
    assert_same_arrays(parts(stream.state), parts(final))


def test_gradients_of_linear_and_loss_equal_central_differences():
    rng = np.random.default_rng(0)
    head, x, targets = fastrnn.Linear(5, 7, dtype="float64", seed=0), normal("float64", 6, 5), rng.integers(7, size=6)

    def loss(x):
        return fastrnn.softmax_cross_entropy(head(x), targets)[0]

    logits, tape = head.forward(x)
    _, dlogits = fastrnn.softmax_cross_entropy(logits, targets)
    dx = head.backward(tape, dlogits)
    assert logits.dtype == dlogits.dtype == dx.dtype == np.float64
    by_logits = fourth_order(
        lambda h: gradcheck.central_difference(lambda z: fastrnn.softmax_cross_entropy(z, targets)[0], [logits], h)
    )
    by_x = fourth_order(lambda h: gradcheck.central_difference(loss, [x], h))
    np.testing.assert_allclose(by_logits[0], dlogits, rtol=0, atol=1e-10)
    np.testing.assert_allclose(by_x[0], dx, rtol=0, atol=1e-10)
    for name, gradient in fourth_order(lambda h: gradcheck.by_parameters(lambda: loss(x), head, h)).items():
        np.testing.assert_allclose(gradient, head.grads[name], rtol=0, atol=1e-10, err_msg=name)


OPTIMISERS = {
    "sgd": (lambda modules: fastrnn.SGD(modules, 0.1, momentum=0.9), lambda p, g: p - 0.1 * g),
    "rmsprop": (lambda modules: fastrnn.RMSprop(modules, 0.1), lambda p, g: p - 0.1 * g / (0.1 * np.abs(g) + 1e-8)),
    "adagrad": (lambda modules: fastrnn.Adagrad(modules, 0.1), lambda p, g: p - 0.1 * g / (np.abs(g) + 1e-10)),
    "adam": (lambda modules: fastrnn.Adam(modules, 0.1), lambda p, g: p - 0.1 * g / (np.abs(g) + 1e-8)),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_training_step_in_float64_is_the_twins(name, optimiser):
    """Layer, head, loss, clipping and the first step of an optimiser, all beside NumPy."""
    step = make_step(name, (6, 3, 5, 8), 2, dtype="float64")
    layer, head = step.layer, fastrnn.Linear(8, 4, dtype="float64", seed=1)
    targets = np.random.default_rng(2).integers(4, size=(6, 3))
    modules = [layer, head]
    before = [module.flat_params.copy() for module in modules]
    make, rule = OPTIMISERS[optimiser]

    y, _, tape = layer.forward(step.x, step.state)
    logits, head_tape = head.forward(y)
    loss, dlogits = fastrnn.softmax_cross_entropy(logits, targets)
    layer.zero_grad()
    layer.backward(tape, head.backward(head_tape, dlogits))
    norm = fastrnn.clip_grad_norm_([module.grads for module in modules], 0.05)
    make(modules).step()

    weight, bias = (before[1][:32].reshape(4, 8), before[1][32:])
    with layer.editing() as params:
        trained, params.flat[:] = layer.flat_params.copy(), before[0]
    y = step.twin()["y"]
    expected, dlogits = twin_of_loss(y @ weight.T + bias, targets)
    step.dy, step.dstate = dlogits @ weight, None
    twin = step.twin()
    of_head = [np.tensordot(dlogits, y, ((0, 1), (0, 1))).ravel(), dlogits.sum((0, 1))]
    gradients = [np.concatenate([twin[f"d{key}"].ravel() for key in layer.params]), np.concatenate(of_head)]
    expected_norm = np.sqrt(sum((g**2).sum() for g in gradients))
    assert loss == pytest.approx(expected, rel=1e-14)
    assert norm == pytest.approx(expected_norm, rel=1e-13)
    assert expected_norm > 0.05
    for actual, p, g in zip([trained, head.flat_params], before, gradients, strict=True):
        clipped = g * (0.05 / (expected_norm + 1e-6))
        # The others divide by a gradient's size: that of one near zero counts as much as any.
        np.testing.assert_allclose(actual, rule(p, clipped), rtol=0, atol=1e-15 if optimiser == "sgd" else 1e-11)


def test_a_network_of_float64_learns():
    rng = np.random.default_rng(0)
    modules = [fastrnn.GRU(2, 16, dtype="float64", seed=1), fastrnn.Linear(16, 2, dtype="float64", seed=2)]
    gru, head = modules
    optimizer = fastrnn.Adam(modules, lr=0.02)
    losses = []
    for _ in range(150):
        bits = rng.integers(2, size=(8, 32))
        y, _, tape = gru.forward(np.eye(2)[bits])
        logits, head_tape = head.forward(y)
        loss, dlogits = fastrnn.softmax_cross_entropy(logits, bits.cumsum(axis=0) % 2)
        optimizer.zero_grad()
        gru.backward(tape, head.backward(head_tape, dlogits))
        fastrnn.clip_grad_norm_([module.grads for module in modules], 1.0)
        optimizer.step()
        losses.append(loss)
    assert losses[0] > 0.6
    assert losses[-1] < 0.1


@every_dtype
def test_float32_and_float64_are_not_mixed(dtype):
    layer, head = fastrnn.LSTM(3, 4, dtype=dtype, seed=0), fastrnn.Linear(4, 5, dtype=dtype, seed=0)
    x, wrong = normal(dtype, 6, 2, 3), other(dtype)
    y, _, tape = layer.forward(x)
    logits, head_tape = head.forward(y)
    h = np.zeros((1, 2, 4), wrong)
    target, name = np.dtype(dtype), np.dtype(dtype).name
    before = [layer.flat_grads.copy(), head.flat_grads.copy()]
    for who, argument, call, otherwise in (
        ("LSTM", "x", lambda: layer(x.astype(wrong)), ", or integers (T, B)"),
        ("LSTM.forward", "x", lambda: layer.forward(x.astype(wrong)), ", or integers (T, B)"),
        ("LSTM", "state[0] (h)", lambda: layer(x, (h, h)), ""),
        ("LSTM.backward", "dy", lambda: layer.backward(tape, y.astype(wrong)), ""),
        ("LSTM.backward", "dstate[0] (h)", lambda: layer.backward(tape, y, (h, h)), ""),
        ("Linear", "x", lambda: head(y.astype(wrong)), ""),
        ("Linear.forward", "x", lambda: head.forward(y.astype(wrong)), ""),
        ("Linear.backward", "dy", lambda: head.backward(head_tape, logits.astype(wrong)), ""),
    ):
        code = argument.split(" (")[0]
        message = (
            f"{who}: {argument} has dtype {np.dtype(wrong)}; expected {target}, the dtype of the layer "
            f"({code}.astype(np.{name})){otherwise}"
        )
        with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
            call()
    assert_same_arrays([layer.flat_grads, head.flat_grads], before)
    layer.backward(tape, head.backward(head_tape, logits))  # the tapes are still good


def test_a_failing_function_leaves_the_parameters_as_they_were():
    layer = Dense(3, 4, seed=0)
    before = layer.flat_params.copy()
    with pytest.raises(ZeroDivisionError):
        gradcheck.by_parameters(lambda: 1 / 0, layer)
    assert_same_arrays([layer.flat_params.copy()], [before])
