"""Dropout as a layer: which numbers it drops, and that backward meets the mask of forward."""

import copy
import pickle

import numpy as np
import pytest
from numpy_layer import every_dtype, normal
from test_dropout import mask
from tolerance import assert_same_arrays

import fastrnn
from fastrnn._core import memory


def next_mask(layer, shape, dtype):
    """The mask of the next run; the layer's generator stays where it is."""
    kept = mask(int(copy.deepcopy(layer.rng).integers(2**63)), shape, layer.p) != 0
    return np.where(kept, 1 / (1 - np.asarray(np.float32(layer.p), dtype)), np.asarray(0, dtype))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(), (7,), (5, 2, 9)], ids=str)
@every_dtype
def test_forward_and_backward_use_the_mask_of_the_stated_generator(p, shape, dtype):
    layer, x, dy = fastrnn.Dropout(p, seed=1), normal(dtype, *shape), normal(dtype, *shape, seed=1)
    x, dy = np.asarray(x), np.asarray(dy)
    expected = next_mask(layer, x.shape, dtype)
    y, tape = layer.forward(x)
    layer.forward(x)  # another mask, which must not matter to the first tape
    layer.p, layer.rng = 0.3, np.random.default_rng(7)  # nor what is set since
    dx = layer.backward(tape, dy)
    assert y.dtype == dx.dtype == dtype and y.shape == dx.shape == x.shape
    np.testing.assert_array_equal(y, x * expected)
    np.testing.assert_array_equal(dx, dy * expected)


def test_a_call_drops_nothing_and_draws_nothing():
    layer, x = fastrnn.Dropout(0.5, seed=1), normal("float32", 3, 4)
    before, listed = layer.rng.bit_generator.state, [x, x]
    assert layer(x) is x and layer(listed) is listed
    assert layer.rng.bit_generator.state == before


def test_without_probability_everything_passes_and_nothing_is_drawn():
    layer, x = fastrnn.Dropout(0.0, seed=1), normal("float32", 3, 4)
    before = layer.rng.bit_generator.state
    y, tape = layer.forward(x)
    assert y is x and layer.backward(tape, x) is x
    assert layer.rng.bit_generator.state == before


@every_dtype
def test_a_list_is_one_array_of_all_its_numbers(dtype):
    layer, twin = fastrnn.Dropout(0.4, seed=3), fastrnn.Dropout(0.4, seed=3)
    x = [normal(dtype, n, 5) for n in (3, 0, 4)]
    y, tape = layer.forward(x)
    joined, twin_tape = twin.forward(np.concatenate(x))
    assert [one.shape for one in y] == [one.shape for one in x]
    assert_same_arrays([np.concatenate(y)], [joined])
    assert_same_arrays([np.concatenate(layer.backward(tape, x))], [twin.backward(twin_tape, np.concatenate(x))])


def test_strides_do_not_matter_and_arguments_stay():
    x = normal("float32", 6, 4)
    expected, _ = fastrnn.Dropout(0.5, seed=1).forward(x)
    turned = np.asfortranarray(x)
    y, _ = fastrnn.Dropout(0.5, seed=1).forward(turned)
    assert_same_arrays([y, turned], [expected, x])


def test_bits_do_not_depend_on_threads():
    x = normal("float32", 1000, 1000)
    results = [fastrnn.Dropout(0.5, seed=1).forward(x, num_threads=threads)[0] for threads in (1, 2, 5)]
    for found in results[1:]:
        assert_same_arrays([found], [results[0]])
    assert abs(np.mean(results[0] == 0) - 0.5) < 0.01


def test_a_saved_state_of_the_generator_resumes_exactly():
    layer, x = fastrnn.Dropout(0.5, seed=1), normal("float32", 3, 4)
    layer.forward(x)
    saved = layer.rng.bit_generator.state
    expected, _ = layer.forward(x)
    resumed = fastrnn.Dropout(0.5)
    resumed.rng.bit_generator.state = saved
    assert_same_arrays([resumed.forward(x)[0]], [expected])


def test_copies_go_on_as_the_layer_does():
    layer, x = fastrnn.Dropout(0.5, seed=1), normal("float32", 3, 4)
    layer.forward(x)
    twins = [copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    expected, _ = layer.forward(x)
    for twin in twins:
        assert twin.p == 0.5
        assert_same_arrays([twin.forward(x)[0]], [expected])


def test_it_is_a_module_without_parameters():
    """Beside others it may be given to what takes modules."""
    layer, head = fastrnn.Dropout(0.5), fastrnn.Linear(3, 2, seed=0)
    assert layer.state_dict() == {} and layer.load_state_dict({}) == ([], [])
    assert layer.flat_params.shape == layer.flat_grads.shape == (0,)
    head.flat_grads[:] = 1
    optimizer = fastrnn.Adam([head, layer], lr=0.1)
    assert fastrnn.clip_grad_norm_([head.grads, layer.grads], 100.0) == pytest.approx(np.sqrt(8))
    optimizer.step()
    layer.zero_grad()


X = np.zeros((3, 2), np.float32)
LAYER = fastrnn.Dropout(0.5, seed=0)


def test_a_refused_run_draws_nothing():
    before = LAYER.rng.bit_generator.state
    with pytest.raises(TypeError):
        LAYER.forward(X.astype(int))
    assert LAYER.rng.bit_generator.state == before


def test_without_memory_the_same_mask_is_drawn_again(monkeypatch):
    layer, x = fastrnn.Dropout(0.5, seed=1), normal("float32", 3, 4)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "empty", lambda *given: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            layer.forward(x)
    assert_same_arrays([layer.forward(x)[0]], [fastrnn.Dropout(0.5, seed=1).forward(x)[0]])


def test_a_tape_is_used_once_and_by_its_layer():
    y, tape = LAYER.forward(X)
    with pytest.raises(ValueError, match="another Dropout's"):
        fastrnn.Dropout(0.5).backward(tape, y)
    LAYER.backward(tape, y)
    with pytest.raises(ValueError, match="the tape is used up"):
        LAYER.backward(tape, y)
