"""The embedding: the twin against the complex step, the layer against the twin and PyTorch, and what it promises."""

import copy
import pickle

import numpy as np
import pytest
from numpy_layer import every_dtype, normal, other
from tolerance import BACKWARD, assert_close, assert_same_arrays, bound

import fastrnn
from fastrnn.gradcheck import complex_step
from fastrnn.reference import embedding as twin

V = 11
INDICES = [(), (1,), (7,), (0,), (5, 3), (3, 0), (2, 3, 4)]
every_shape = pytest.mark.parametrize("shape", INDICES, ids=str)


def indices_of(*shape, seed=0, dtype=np.int64):
    return np.asarray(np.random.default_rng([seed, *shape]).integers(V, size=shape), dtype)


def made(E, dtype="float32", **options):
    layer = fastrnn.Embedding(V, E, dtype=dtype, seed=0, **options)
    layer.flat_grads[:] = normal(dtype, V * E, seed=1)
    return layer


@pytest.mark.parametrize("padding_index", [None, 0, 4])
def test_the_twin_against_the_complex_step(padding_index):
    weight, indices, dy = normal("float64", V, 3), indices_of(5, 4), normal("float64", 5, 4, 3)
    padded = weight.copy() if padding_index is None else np.delete(weight, padding_index, axis=0)

    def loss(rows):
        if padding_index is not None:  # a constant
            rows = np.insert(rows, padding_index, weight[padding_index], axis=0)
        return (dy * twin.forward(indices, rows)).sum()

    found = twin.backward(indices, weight, dy, padding_index)
    if padding_index is not None:
        assert not found[padding_index].any()
        found = np.delete(found, padding_index, axis=0)
    np.testing.assert_allclose(found, complex_step(loss, [padded])[0], rtol=0, atol=1e-12)


@every_shape
@pytest.mark.parametrize("E", [1, 7, 8, 33])
@pytest.mark.parametrize("padding_index", [None, 4])
@every_dtype
def test_equals_the_twin(shape, E, padding_index, dtype):
    layer, indices, dy = made(E, dtype, padding_index=padding_index), indices_of(*shape), normal(dtype, *shape, E)
    before = layer.grads["weight"].astype(np.float64)
    y, tape = layer.forward(indices)
    assert layer.backward(tape, dy) is None
    assert y.shape == (*shape, E) and y.dtype == dtype
    np.testing.assert_array_equal(y, twin.forward(indices, layer.params["weight"]))
    expected = before + twin.backward(indices, before, dy.astype(np.float64), padding_index)
    assert_close("dweight", layer.grads["weight"], expected, bound(indices.size + 1, BACKWARD, dtype), dtype)
    np.testing.assert_array_equal(layer(indices), y)


@every_dtype
def test_matches_pytorch(dtype):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Embedding(V, 5, padding_idx=2, dtype=getattr(torch, dtype.__name__))
    ours = fastrnn.Embedding(V, 5, padding_index=2, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    indices, dy = indices_of(6, 9), normal(dtype, 6, 9, 5)
    expected = theirs(torch.from_numpy(indices))
    expected.backward(torch.from_numpy(dy))
    y, tape = ours.forward(indices)
    ours.backward(tape, dy)
    np.testing.assert_array_equal(y, expected.detach().numpy())
    assert_close("dweight", ours.grads["weight"], theirs.weight.grad.numpy(), bound(54, BACKWARD, dtype), dtype)
    assert not ours.grads["weight"][2].any()


def test_gradients_are_added_in_the_order_of_the_indices():
    """Of one row in float32: a large number, small ones that it swallows, and its opposite."""
    layer = fastrnn.Embedding(3, 1)
    dy = np.array([1e8, 1, 1, -1e8, 1], np.float32)
    layer.backward(layer.forward(np.ones(5, int))[1], dy[:, None])
    assert layer.grads["weight"][1] == np.float32(1)


def test_a_list_has_the_bits_of_its_arrays_one_by_one():
    layer, apart = made(5), made(5)
    given = [indices_of(n, seed=n) for n in (3, 0, 7)]
    dy = [normal("float32", len(one), 5) for one in given]
    y, tape = layer.forward(given)
    assert layer.backward(tape, dy) is None
    for one, gradient, found in zip(given, dy, y, strict=True):
        alone, own = apart.forward(one)
        apart.backward(own, gradient)
        assert_same_arrays([found], [alone])
    assert_same_arrays([layer.flat_grads], [apart.flat_grads])
    assert [array.shape for array in layer([indices_of(2, 3), indices_of(4)])] == [(2, 3, 5), (4, 5)]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_integers_of_any_kind_and_strides(dtype):
    layer, indices = made(3), indices_of(6, 4, dtype=dtype)
    expected = layer(indices.astype(np.int64))
    for given in (indices, np.asfortranarray(indices), indices[::-1][::-1]):
        np.testing.assert_array_equal(layer(given), expected)


def test_bits_do_not_depend_on_threads():
    layer, indices = fastrnn.Embedding(V, 300, seed=0), indices_of(100, 100)
    assert_same_arrays([layer(indices, num_threads=3)], [layer(indices, num_threads=1)])


def test_the_tape_does_not_look_at_the_indices_again():
    layer, indices = made(3), indices_of(5)
    layer.zero_grad()
    before = indices.copy()
    y, tape = layer.forward(indices)
    indices[:] = 10**6
    layer.backward(tape, np.ones_like(y))
    np.testing.assert_array_equal(layer.grads["weight"][:, 0], np.bincount(before, minlength=V))


def test_the_row_of_padding_is_zero_and_stays_so():
    layer = fastrnn.Embedding(V, 3, padding_index=0, init=lambda name, shape, rng: np.ones(shape, np.float32))
    assert not layer.params["weight"][0].any() and (layer.params["weight"][1:] == 1).all()
    optimizer = fastrnn.Adam(layer, lr=0.1)
    for _ in range(3):
        y, tape = layer.forward(np.arange(V))
        layer.backward(tape, np.ones_like(y))
        optimizer.step()
    assert not layer.params["weight"][0].any() and (layer.params["weight"][1:] < 1).all()


def test_copies_are_equal_and_independent():
    layer, indices = made(3, padding_index=4), indices_of(9)
    for twin_of in (copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))):
        other_layer, reference = twin_of(layer), copy.deepcopy(layer)
        for name in ("num_embeddings", "embedding_dim", "padding_index", "dtype"):
            assert getattr(other_layer, name) == getattr(layer, name)
        for each in (other_layer, reference):
            y, tape = each.forward(indices)
            each.backward(tape, y)
            fastrnn.SGD(each, lr=0.1).step()
        assert_same_arrays([other_layer.flat_params, other_layer.flat_grads],
                           [reference.flat_params, reference.flat_grads])
        assert not np.shares_memory(other_layer.flat_params, layer.flat_params)
    fresh = fastrnn.Embedding(V, 3, padding_index=4, seed=5)
    fresh.load_state_dict(layer.state_dict())
    assert_same_arrays([fresh(indices)], [layer(indices)])


def test_a_tape_is_used_once_and_by_the_weights_it_was_made_with():
    layer = made(3)
    y, tape = layer.forward(indices_of(4))
    layer.backward(tape, y)
    with pytest.raises(ValueError, match="the tape is used up"):
        layer.backward(tape, y)
    y, tape = layer.forward(indices_of(4))
    with pytest.raises(ValueError, match="another Embedding's"):
        made(3).backward(tape, y)
    with layer.editing() as params:
        params["weight"] *= 2
    with pytest.raises(ValueError, match="the weights changed"):
        layer.backward(tape, y)


def test_names_shapes_seeds_and_initial_values():
    layer = fastrnn.Embedding(200, 30, seed=0)
    assert {name: array.shape for name, array in layer.params.items()} == {"weight": (200, 30)}
    assert abs(layer.flat_params.mean()) < 0.05 and abs(layer.flat_params.std() - 1) < 0.05
    assert_same_arrays([fastrnn.Embedding(200, 30, seed=0).flat_params], [layer.flat_params])
    wide = fastrnn.Embedding(200, 30, seed=0, dtype="float64").flat_params
    assert_same_arrays([wide.astype(np.float32)], [np.asarray(layer.flat_params)])




@every_dtype
def test_nothing_is_cast(dtype):
    layer = made(3, dtype)
    y, tape = layer.forward(indices_of(4))
    with pytest.raises(TypeError, match="dy has dtype"):
        layer.backward(tape, y.astype(other(dtype)))
