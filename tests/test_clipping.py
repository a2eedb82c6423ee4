"""Clipping against plain NumPy statements of it, and what it does with gradients it cannot clip."""

import math

import numpy as np
import pytest
from numpy_layer import DTYPES, Dense
from tolerance import EPS

from fastrnn._core import update
from fastrnn.clipping import clip_grad_norm_, clip_grad_value_

SIZES = [0, 1, 3, 15, 16, 17, 1000]  # around the number of running sums


class Buffers(dict):
    """Named views over one buffer, as a layer's gradients are."""

    def __init__(self, flat, split):
        super().__init__(weight=flat[:split], bias=flat[split:])
        self.flat = flat


def laid_over_one_buffer(size, seed=0, scale=1.0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return Buffers((scale * rng.standard_normal(size)).astype(dtype), size // 3)


def separate(size, seed=0, scale=1.0):
    return {name: view.copy() for name, view in laid_over_one_buffer(size, seed, scale).items()}


def in_float64(size, seed=0, scale=1.0):
    return laid_over_one_buffer(size, seed, scale, np.float64)


every_kind = pytest.mark.parametrize("make", [laid_over_one_buffer, separate, in_float64])


def all_elements(*dicts):
    return np.concatenate([array.ravel() for one in dicts for array in one.values()])


def plain_clip_norm(g, max_norm):
    norm = np.sqrt(np.sum(g.astype(np.float64) ** 2))
    return norm, g * min(1.0, max_norm / (norm + 1e-6))


def plain_clip_value(g, limit):
    return np.minimum(np.maximum(g, g.dtype.type(-limit)), g.dtype.type(limit))


@every_kind
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("max_norm", [0.25, 5.0, 1e6])
def test_norm_matches_plain_statement(make, size, max_norm):
    grads = make(size)
    expected_norm, expected = plain_clip_norm(all_elements(grads), max_norm)
    norm = clip_grad_norm_(grads, max_norm)
    assert isinstance(norm, float)
    assert norm == pytest.approx(expected_norm, rel=1e-13)
    eps = np.finfo(grads["weight"].dtype).eps
    np.testing.assert_allclose(all_elements(grads), expected, rtol=max(eps, 4e-15))


@every_kind
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("limit", [0.1, 1e6, math.inf])
def test_value_matches_plain_statement(make, size, limit):
    grads = make(size)
    expected = plain_clip_value(all_elements(grads), limit)
    assert clip_grad_value_(grads, limit) is None
    np.testing.assert_array_equal(all_elements(grads), expected)


def test_norm_is_global_over_a_list():
    layers = [laid_over_one_buffer(40, seed=1), separate(9, seed=2), {}]
    expected_norm, expected = plain_clip_norm(all_elements(*layers), 0.5)
    assert clip_grad_norm_(layers, 0.5) == pytest.approx(expected_norm, rel=1e-13)
    np.testing.assert_allclose(all_elements(*layers), expected, rtol=EPS)


def test_layers_of_both_dtypes_have_one_norm():
    layers = [Dense(3, 4, seed=0, dtype=dtype) for dtype in DTYPES]
    for index, layer in enumerate(layers):
        layer.flat_grads[:] = np.random.default_rng(index).standard_normal(16)
    grads = [layer.grads for layer in layers]
    expected_norm, expected = plain_clip_norm(all_elements(*grads), 0.5)
    assert clip_grad_norm_(grads, 0.5) == pytest.approx(expected_norm, rel=1e-13)
    np.testing.assert_allclose(layers[0].flat_grads, expected[:16], rtol=EPS)
    np.testing.assert_allclose(layers[1].flat_grads, expected[16:], rtol=1e-14)
    clip_grad_value_(grads, 0.01)
    assert [layer.flat_grads.dtype for layer in layers] == DTYPES
    assert np.abs(layers[1].flat_grads).max() == 0.01
    assert np.abs(layers[0].flat_grads).max() == np.float32(0.01)


def test_value_reaches_every_dict_of_a_list():
    layers = [laid_over_one_buffer(40, seed=1), separate(9, seed=2)]
    expected = plain_clip_value(all_elements(*layers), 0.5)
    clip_grad_value_(layers, 0.5)
    np.testing.assert_array_equal(all_elements(*layers), expected)


def test_matches_pytorch():
    torch = pytest.importorskip("torch")
    grads = separate(1000, scale=3.0)
    parameters = [torch.nn.Parameter(torch.zeros(array.shape)) for array in grads.values()]
    for parameter, array in zip(parameters, grads.values(), strict=True):
        parameter.grad = torch.from_numpy(array.copy())
    expected_norm = torch.nn.utils.clip_grad_norm_(parameters, 5.0)
    assert clip_grad_norm_(grads, 5.0) == pytest.approx(float(expected_norm), rel=1e-6)
    torch.nn.utils.clip_grad_value_(parameters, 0.1)
    clip_grad_value_(grads, 0.1)
    expected = np.concatenate([parameter.grad.numpy() for parameter in parameters])
    np.testing.assert_allclose(all_elements(grads), expected, rtol=8 * EPS)


@every_kind
def test_small_gradients_are_not_touched(make):
    grads = make(100)
    before = all_elements(grads)
    clip_grad_norm_(grads, math.inf)
    clip_grad_norm_(grads, 1e3)
    np.testing.assert_array_equal(all_elements(grads), before)


@every_kind
@pytest.mark.parametrize("magnitude", [1e-30, 3e38])
def test_squares_neither_overflow_nor_vanish(make, magnitude):
    grads = make(50)
    for array in grads.values():
        array[:] = magnitude
    norm = float(grads["bias"][0]) * math.sqrt(50)
    assert clip_grad_norm_(grads, 5.0) == pytest.approx(norm, rel=1e-13)
    expected = min(magnitude, 5.0 / math.sqrt(50))
    np.testing.assert_allclose(all_elements(grads), expected, rtol=2 * EPS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_does_not_depend_on_where_the_buffer_lies(dtype):
    values = np.random.default_rng(3).standard_normal(1001).astype(dtype)
    room = np.zeros(1020, dtype)
    for offset in range(17):
        shifted = room[offset : offset + 1001]
        shifted[:] = values
        assert update.sum_of_squares(shifted) == update.sum_of_squares(values)


@pytest.mark.parametrize("layout", ["float64", "transposed", "strided"])
def test_other_arrays_are_clipped_too(layout):
    values = np.random.default_rng(4).standard_normal((6, 5))
    array = {
        "float64": values,
        "transposed": values.astype(np.float32).T,
        "strided": values.astype(np.float32)[:, ::2],
    }[layout]
    expected_norm, expected = plain_clip_norm(array.copy(), 0.5)
    assert clip_grad_norm_({"w": array}, 0.5) == pytest.approx(expected_norm, rel=1e-13)
    np.testing.assert_allclose(array, expected, rtol=EPS)
    clip_grad_value_({"w": array}, 0.01)
    np.testing.assert_allclose(array, np.clip(expected, -0.01, 0.01), rtol=EPS)


both_functions = pytest.mark.parametrize("clip", [clip_grad_norm_, clip_grad_value_])


@both_functions
@every_kind
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_gradient_is_named_and_nothing_changed(clip, make, bad):
    grads = make(60)
    grads["bias"][7] = bad
    before = all_elements(grads)
    message = rf"{clip.__name__}: grads\['bias'\] has 1 non-finite of 40 elements"
    with pytest.raises(FloatingPointError, match=message):
        clip(grads, 0.01)
    np.testing.assert_array_equal(all_elements(grads), before)


@both_functions
def test_non_finite_gradient_in_a_list_names_the_dict(clip):
    layers = [laid_over_one_buffer(60), laid_over_one_buffer(30, seed=1)]
    layers[1]["weight"][0] = np.inf
    before = all_elements(*layers)
    with pytest.raises(FloatingPointError, match=r"grads\[1\]\['weight'\]"):
        clip(layers, 0.01)
    np.testing.assert_array_equal(all_elements(*layers), before)


def test_overflow_of_a_float64_norm_raises():
    grads = {"w": np.full(3, 1e200)}
    with pytest.raises(FloatingPointError, match="the norm overflows"):
        clip_grad_norm_(grads, 1.0)
    assert (grads["w"] == 1e200).all()


@both_functions
@pytest.mark.parametrize("limit", [0.0, -1.0, np.nan])
def test_limit_out_of_range(clip, limit):
    with pytest.raises(ValueError, match=rf"{clip.__name__}: (max_norm|limit) is .*> 0"):
        clip(separate(9), limit)


@both_functions
@pytest.mark.parametrize("limit", ["5", None, True, [5.0]])
def test_limit_of_wrong_type(clip, limit):
    with pytest.raises(TypeError, match=rf"{clip.__name__}: (max_norm|limit) is"):
        clip(separate(9), limit)


@both_functions
@pytest.mark.parametrize(
    ("grads", "error", "message"),
    [
        (np.zeros(3, np.float32), TypeError, "grads is a ndarray; expected a layer's grads"),
        ([np.zeros(3, np.float32)], TypeError, "grads is a list; expected a layer's grads"),
        (None, TypeError, "grads is a NoneType"),
        ({"w": np.zeros(3, np.int64)}, TypeError, "w is of type int64; expected an array"),
        ({"w": [1.0]}, TypeError, "w is of type list; expected an array of floats"),
    ],
)
def test_gradients_of_wrong_type(clip, grads, error, message):
    with pytest.raises(error, match=f"{clip.__name__}: {message}"):
        clip(grads, 1.0)


@both_functions
def test_read_only_and_repeated_gradients(clip):
    grads = separate(9, scale=100.0)
    with pytest.raises(ValueError, match=r"grads\[1\] comes twice"):
        clip([grads, grads], 1.0)
    before = all_elements(grads)
    grads["bias"].flags.writeable = False
    with pytest.raises(ValueError, match="bias is read-only"):
        clip(grads, 1.0)
    np.testing.assert_array_equal(all_elements(grads), before)
