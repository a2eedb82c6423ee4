"""The linear layer against plain NumPy in float64, at every edge of a vector and of a register tile."""

import numpy as np
import pytest
from numpy_layer import every_dtype
from tolerance import BACKWARD, assert_close, assert_same_arrays, bound

import fastrnn

SIZES = [1, 2, 7, 8, 9, 15, 16, 17, 65]
# (in_features, out_features): each size as either, a small one beside a large one, and one long row of each.
SHAPES = [(n, m) for n, m in zip(SIZES, SIZES[4:] + SIZES[:4], strict=True)]
SHAPES += [(n, n) for n in SIZES] + [(1000, 3), (3, 1000), (128, 65), (300, 33)]
every_shape = pytest.mark.parametrize("inputs, outputs", SHAPES)


def floats(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape).astype(dtype)


def make(inputs, outputs, bias=True, dtype=np.float32):
    """A layer with random biases too, and random gradients to add to."""
    layer = fastrnn.Linear(inputs, outputs, bias, dtype=dtype, seed=0)
    with layer.editing() as params:
        params.flat[:] = floats(params.flat.size, dtype=dtype)
    layer.flat_grads[:] = floats(layer.flat_grads.size, seed=1, dtype=dtype)
    return layer


@every_shape
@pytest.mark.parametrize("rows", [1, 2, 7, 33])
@pytest.mark.parametrize("bias", [True, False])
@every_dtype
def test_matches_numpy(inputs, outputs, rows, bias, dtype):
    layer = make(inputs, outputs, bias, dtype)
    x, dy = floats(rows, inputs, dtype=dtype), floats(rows, outputs, seed=2, dtype=dtype)
    weight, x64, dy64 = layer.params["weight"].astype(np.float64), x.astype(np.float64), dy.astype(np.float64)
    before = {name: array.copy() for name, array in layer.grads.items()}
    y, tape = layer.forward(x)
    dx = layer.backward(tape, dy)

    def compare(name, actual, expected, *terms):
        assert_close(name, actual, expected, bound(*terms, dtype=dtype), dtype)

    compare("y", y, x64 @ weight.T + (layer.params["bias"] if bias else 0), inputs + 1)
    compare("dx", dx, dy64 @ weight, outputs, BACKWARD)
    compare("dweight", layer.grads["weight"], before["weight"] + dy64.T @ x64, rows + 1, BACKWARD)
    if bias:
        compare("dbias", layer.grads["bias"], before["bias"] + dy64.sum(axis=0), rows + 1, BACKWARD)
    assert ("bias" in layer.params) == ("bias" in layer.grads) == bias
    np.testing.assert_array_equal(layer(x), y)


@pytest.mark.parametrize("rows", [255, 256, 257, 600])
@every_dtype
def test_gradients_over_more_rows_than_one_block(rows, dtype):
    """The product of the weight gradient is cut along the rows."""
    layer, x, dy = make(17, 33, dtype=dtype), floats(rows, 17, dtype=dtype), floats(rows, 33, seed=2, dtype=dtype)
    layer.zero_grad()
    layer.backward(layer.forward(x)[1], dy)
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    tolerance = bound(rows, BACKWARD, dtype)
    assert_close("dweight", layer.grads["weight"], dy.T @ x, tolerance, dtype)
    assert_close("dbias", layer.grads["bias"], dy.sum(axis=0), tolerance, dtype)


@pytest.mark.parametrize("lead", [(), (1,), (6,), (2, 3), (3, 1, 2), (1, 1, 1, 6)])
def test_leading_axes_are_rows(lead):
    layer, flat = make(5, 9), make(5, 9)
    x, dy = floats(*lead, 5), floats(*lead, 9)
    y, tape = layer.forward(x)
    assert y.shape == (*lead, 9)
    dx = layer.backward(tape, dy)
    assert dx.shape == x.shape
    flat_y, flat_tape = flat.forward(x.reshape(-1, 5))
    np.testing.assert_array_equal(y.reshape(-1, 9), flat_y)
    np.testing.assert_array_equal(dx.reshape(-1, 5), flat.backward(flat_tape, dy.reshape(-1, 9)))
    np.testing.assert_array_equal(layer.flat_grads, flat.flat_grads)


@pytest.mark.parametrize("lead", [(0,), (3, 0), (0, 2)])
@every_dtype
def test_no_rows_are_no_work(lead, dtype):
    layer = make(5, 9, dtype=dtype)
    before = layer.flat_grads.copy()
    y, tape = layer.forward(np.zeros((*lead, 5), dtype))
    assert (y.shape, y.dtype) == ((*lead, 9), dtype)
    dx = layer.backward(tape, y)
    assert (dx.shape, dx.dtype) == ((*lead, 5), dtype)
    np.testing.assert_array_equal(layer.flat_grads, before)


@pytest.mark.parametrize("inputs, outputs", [(1, 70), (64, 65), (128, 17), (40, 300)])
@every_dtype
def test_bits_do_not_depend_on_threads_or_on_other_rows(inputs, outputs, dtype):
    """2500 rows are worth several threads."""
    x, dy = floats(50, 50, inputs, dtype=dtype), floats(50, 50, outputs, dtype=dtype)
    results = []
    for threads in (1, 2, 3, 7):
        layer = make(inputs, outputs, dtype=dtype)
        y, tape = layer.forward(x, num_threads=threads)
        results.append([y, layer.backward(tape, dy, num_threads=threads), layer.flat_grads])
        np.testing.assert_array_equal(layer(x, num_threads=threads), y)
    for others in results[1:]:
        assert_same_arrays(others, results[0])
    for row in (0, 17, 49):
        np.testing.assert_array_equal(make(inputs, outputs, dtype=dtype)(x[row, 7]), results[0][0][row, 7])


def test_gradients_add_up():
    layer, x, dy = make(6, 5), floats(4, 6), floats(4, 5)
    layer.zero_grad()
    for _ in range(3):
        layer.backward(layer.forward(x)[1], dy)
    assert_close("dweight", layer.grads["weight"], 3.0 * dy.astype(np.float64).T @ x, bound(12, BACKWARD))
    layer.zero_grad()
    assert not layer.flat_grads.any()


def test_changed_weights_are_used_at_once():
    layer, x = make(6, 5), floats(4, 6)
    y, tape = layer.forward(x)
    layer.backward(tape, y)
    with layer.editing() as params:
        params["weight"][...] = 0
        params["weight"][2, 3] = 1
        params["bias"][...] = 2
    expected = np.full((4, 5), 2, np.float32)
    expected[:, 2] += x[:, 3]
    np.testing.assert_array_equal(layer(x), expected)
    y, tape = layer.forward(x)
    dx = layer.backward(tape, np.ones_like(y))
    np.testing.assert_array_equal(dx, np.eye(6, dtype=np.float32)[[3] * 4])


def test_names_shapes_seeds_and_initial_values():
    layer = fastrnn.Linear(3, 4, seed=0)
    assert {name: array.shape for name, array in layer.params.items()} == {"weight": (4, 3), "bias": (4,)}
    assert not layer.params["bias"].any()
    assert np.abs(layer.params["weight"]).max() <= np.sqrt(6 / 7)
    np.testing.assert_array_equal(fastrnn.Linear(3, 4, seed=0).flat_params, layer.flat_params)
    assert not np.array_equal(fastrnn.Linear(3, 4, seed=1).flat_params, layer.flat_params)
    given = fastrnn.Linear(3, 4, init=lambda name, shape, rng: np.full(shape, len(shape), np.float32))
    assert (given.params["weight"] == 2).all() and (given.params["bias"] == 1).all()
    assert list(fastrnn.Linear(3, 4, bias=False).params) == ["weight"]


def test_matches_pytorch():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.Linear(17, 9), fastrnn.Linear(17, 9)
    ours.load_state_dict(theirs.state_dict())
    x, dy = torch.from_numpy(floats(5, 4, 17)).requires_grad_(), floats(5, 4, 9)
    expected = theirs(x)
    expected.backward(torch.from_numpy(dy))
    y, tape = ours.forward(x.detach().numpy())
    assert_close("y", y, expected.detach().numpy(), bound(18))
    assert_close("dx", ours.backward(tape, dy), x.grad.numpy(), bound(9, BACKWARD))
    for name, tensor in theirs.named_parameters():
        assert_close(name, ours.grads[name], tensor.grad.numpy(), bound(20, BACKWARD))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_strange_numbers_stay_in_their_row(value):
    layer, x = make(17, 9), floats(8, 17)
    expected = layer(x)
    x[3, 16] = value
    y = layer(x)
    assert not np.isfinite(y[3]).any()
    np.testing.assert_array_equal(np.delete(y, 3, axis=0), np.delete(expected, 3, axis=0))
