"""A layer has one dtype: every array of it has that, and one of another is refused with the mend."""

import copy
import pickle
import re

import numpy as np
import pytest
from numpy_layer import Dense, every_dtype, normal, other
from tolerance import assert_same_arrays

import fastrnn
from fastrnn import gradcheck, init
from fastrnn._core import memory
from fastrnn.module import Parameters


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
    what = "type fastrnn computes in" if dtype == np.float32 else "dtype of the layer"
    message = f"bias has dtype {wrong.dtype}; expected {name}, the {what} (bias.astype(np.{name}))"
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


not_yet = pytest.mark.xfail(raises=TypeError, strict=True, reason="no compiled layer takes a dtype yet")


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=not_yet)])
@pytest.mark.parametrize("kind", [fastrnn.LSTM, fastrnn.GRU, fastrnn.RNN, fastrnn.UGRNN])
def test_compiled_gradients_equal_central_differences(kind, dtype):
    options = {} if dtype == np.float32 else {"dtype": dtype}
    layer, x, dy = kind(3, 4, 2, seed=0, **options), normal(dtype, 5, 2, 3), normal(dtype, 5, 2, 4, seed=1)
    layer.backward(layer.forward(x)[2], dy)
    numerical = gradcheck.by_parameters(lambda: np.vdot(layer(x)[0], dy), layer)
    for name, gradient in numerical.items():
        tolerance = 1e-8 if dtype == np.float64 else 1e-2
        np.testing.assert_allclose(gradient, layer.grads[name], rtol=0, atol=tolerance, err_msg=name)


def test_a_failing_function_leaves_the_parameters_as_they_were():
    layer = Dense(3, 4, seed=0)
    before = layer.flat_params.copy()
    with pytest.raises(ZeroDivisionError):
        gradcheck.by_parameters(lambda: 1 / 0, layer)
    assert_same_arrays([layer.flat_params.copy()], [before])
