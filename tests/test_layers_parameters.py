"""What a layer's parameters are: their names, their first values, and the ways to change them."""

import inspect

import numpy as np
import pytest
from runs import CLASSES, every_class, floats, parts
from tolerance import EPS, assert_same_arrays

import fastrnn
from fastrnn.module import Parameters

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1, "UGRNN": 2}

# ------------------------------------------------------------------------------------------------- names


@every_class
@pytest.mark.parametrize("bias", [True, False])
def test_parameters_have_the_names_and_shapes_that_pytorch_gives_them(name, bias):
    layer = CLASSES[name](3, 5, 2, bias=bias, seed=0)
    rows = 5 * GATES[name]
    expected = {
        "weight_ih_l0": (rows, 3),
        "weight_hh_l0": (rows, 5),
        "bias_ih_l0": (rows,),
        "bias_hh_l0": (rows,),
        "weight_ih_l1": (rows, 5),
        "weight_hh_l1": (rows, 5),
        "bias_ih_l1": (rows,),
        "bias_hh_l1": (rows,),
    }
    if not bias:
        expected = {key: shape for key, shape in expected.items() if "bias" not in key}
    for arrays in (layer.params, layer.grads, layer.state_dict()):
        assert [(key, array.shape) for key, array in arrays.items()] == list(expected.items())
        assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays.values())


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_names_shapes_and_order_equal_those_of_pytorch_itself(name):
    torch = pytest.importorskip("torch")
    kind = getattr(torch.nn, name)
    options = {"num_layers": 3, "bias": True, "batch_first": False, "dropout": 0.0}
    theirs, ours = kind(4, 6, **options), CLASSES[name](4, 6, **options)
    shapes = [(key, tuple(tensor.shape)) for key, tensor in theirs.state_dict().items()]
    assert shapes == [(key, array.shape) for key, array in ours.params.items()]
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict({key: torch.from_numpy(array) for key, array in ours.state_dict().items()})
    x = floats(5, 2, 4)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(ours(x)[0], expected, atol=64 * EPS)


def test_arguments_have_the_names_and_order_that_pytorch_gives_them():
    common = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
    expected = {
        "LSTM": [*common, "proj_size"],
        "GRU": common,
        "RNN": [*common[:3], "nonlinearity", *common[3:]],
    }
    for name, names in expected.items():
        arguments = inspect.signature(CLASSES[name]).parameters.values()
        positional = [each.name for each in arguments if each.kind == each.POSITIONAL_OR_KEYWORD]
        assert [each for each in positional if each in [*common, "proj_size", "nonlinearity"]] == names, name


@every_class
def test_both_dicts_lie_over_one_buffer_each(name):
    layer = CLASSES[name](3, 5, 2, seed=0)
    for arrays, flat in ((layer.params, layer.flat_params), (layer.grads, layer.flat_grads)):
        assert isinstance(arrays, Parameters)
        assert flat is arrays.flat
        assert flat.shape == (sum(array.size for array in arrays.values()),)
        np.testing.assert_array_equal(flat, np.concatenate([array.ravel() for array in arrays.values()]))
        assert all(np.shares_memory(array, flat) for array in arrays.values())
    layer.flat_grads[:] = np.arange(layer.flat_grads.size)
    start = 0
    for array in layer.grads.values():
        np.testing.assert_array_equal(array.ravel(), np.arange(start, start + array.size))
        start += array.size
    layer.grads["weight_hh_l1"][...] = -1
    assert (layer.flat_grads == -1).sum() == layer.grads["weight_hh_l1"].size
    layer.zero_grad()
    assert not any(array.any() for array in layer.grads.values())


# -------------------------------------------------------------------------------------------------- seeds


@every_class
def test_a_seed_fixes_the_weights_and_the_masks(name):
    def made(seed):
        layer = CLASSES[name](3, 5, 2, dropout=0.5, seed=seed)
        return [layer.flat_params, layer.forward(floats(4, 2, 3))[0]]

    assert_same_arrays(made(1), made(1))
    assert_same_arrays(made(np.random.SeedSequence(7)), made(np.random.SeedSequence(7)))
    assert not np.array_equal(made(1)[0], made(2)[0])
    assert not np.array_equal(made(None)[0], made(None)[0])


@every_class
def test_initial_values_do_not_depend_on_dropout_or_layout(name):
    plain = CLASSES[name](3, 5, 2, seed=1)
    other = CLASSES[name](3, 5, 2, batch_first=True, dropout=0.5, seed=1)
    np.testing.assert_array_equal(plain.flat_params, other.flat_params)


@every_class
def test_initial_values_can_be_given(name):
    asked = []

    def init(key, shape, rng):
        asked.append((key, shape))
        assert isinstance(rng, np.random.Generator)
        if key == "weight_hh_l0":
            return given
        return np.full(shape, 0.25, np.float32) if key == "bias_ih_l1" else None

    given = floats(5 * GATES[name], 5)
    layer, plain = CLASSES[name](3, 5, 2, seed=1, init=init), CLASSES[name](3, 5, 2, seed=1)
    assert asked == [(key, array.shape) for key, array in layer.params.items()]
    np.testing.assert_array_equal(layer.params["weight_hh_l0"], given)
    assert (layer.params["bias_ih_l1"] == 0.25).all()
    np.testing.assert_array_equal(layer.params["weight_ih_l0"], plain.params["weight_ih_l0"])
    before = given.copy()
    given[...] = 9
    np.testing.assert_array_equal(layer.params["weight_hh_l0"], before)


# ---------------------------------------------------------------------------------------- changing weights


@every_class
def test_parameters_are_read_only_but_in_editing(name):
    layer = CLASSES[name](3, 5, seed=0)
    before = layer.flat_params.copy()
    for array in (*layer.params.values(), layer.flat_params, layer.params.flat):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with layer.editing() as params:
        assert isinstance(params, Parameters)
        assert list(params) == list(layer.params)
        params["weight_hh_l0"][...] = 2
        params.flat[0] = 3
        kept = (*params.values(), params.flat)
    assert (layer.params["weight_hh_l0"] == 2).all()
    assert layer.params["weight_ih_l0"][0, 0] == layer.flat_params[0] == 3
    assert (layer.flat_params != before).sum() == layer.params["weight_hh_l0"].size + 1
    for array in kept:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@every_class
@pytest.mark.parametrize("integers", [False, True])
def test_changed_weights_are_used_everywhere_at_once(name, integers):
    """Whatever was packed before: for vectors or indices, for forward, backward or a stream."""

    def results(layer, stream):
        x = np.array([[0, 2], [1, 1]]) if integers else floats(2, 2, 3)
        layer.zero_grad()
        stream.reset()
        y, state, tape = layer.forward(x)
        dx, dstate = layer.backward(tape, floats(2, 2, 5), state)
        inferred, final = layer(x)
        arrays = [y, *parts(state), *parts(dstate), inferred, *parts(final), *layer.grads.values(), stream.step(x[0])]
        return [array.copy() for array in arrays + ([] if dx is None else [dx])]

    layer, fresh = CLASSES[name](3, 5, 2, seed=0), CLASSES[name](3, 5, 2, seed=1)
    stream = layer.stream(2)
    before = results(layer, stream)
    changes = (
        lambda: layer.load_state_dict(fresh.state_dict()),
        lambda: edit(layer, lambda params: params.flat.__setitem__(slice(None), fresh.flat_params)),
        lambda: fastrnn.SGD([layer], lr=0.1).step(),
    )
    for change in changes:
        layer.load_state_dict(CLASSES[name](3, 5, 2, seed=0).state_dict())
        assert_same_arrays(results(layer, stream), before)
        change()
        twin = CLASSES[name](3, 5, 2, init=lambda key, shape, rng: layer.params[key])
        after = results(layer, stream)
        assert_same_arrays(after, results(twin, twin.stream(2)))
        assert not np.array_equal(after[0], before[0])


def edit(layer, function):
    with layer.editing() as params:
        function(params)


def test_editing_that_fails_halfway_still_counts():
    layer, x = fastrnn.GRU(3, 5, seed=0), floats(2, 2, 3)
    before = layer(x)[0]
    tape = layer.forward(x)[2]

    def fail(params):
        params["weight_ih_l0"][...] = 0
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        edit(layer, fail)
    assert not np.array_equal(layer(x)[0], before)
    with pytest.raises(ValueError, match="the weights changed"):
        layer.backward(tape, before)


def test_editing_may_be_nested():
    layer = fastrnn.RNN(3, 5, seed=0)
    with layer.editing() as outer:
        with layer.editing() as inner:
            inner["bias_ih_l0"][...] = 1
        outer["bias_hh_l0"][...] = 2
        with pytest.raises(ValueError, match="read-only"):
            inner["bias_ih_l0"][...] = 3
    assert (layer.params["bias_ih_l0"] == 1).all()
    assert (layer.params["bias_hh_l0"] == 2).all()


@pytest.mark.parametrize("kind", ["params", "grads"])
def test_an_assigned_entry_is_written_into_the_buffer(kind):
    """`params[name] = array` is the first thing that many will write."""
    layer, given = fastrnn.RNN(3, 5, seed=0), floats(5, 5)
    if kind == "params":
        edit(layer, lambda params: params.__setitem__("weight_hh_l0", given))
        np.testing.assert_array_equal(layer.params["weight_hh_l0"], given)
    else:
        layer.grads["weight_hh_l0"] = given
        layer.grads["weight_hh_l0"] *= 2
        np.testing.assert_array_equal(layer.flat_grads[15:40], 2 * given.ravel())
    with pytest.raises(ValueError, match="weight_hh_l0"):
        getattr(layer, kind)["weight_hh_l0"] = np.zeros((1, 1), np.float32)


def test_update_writes_into_the_buffer():
    layer, other = fastrnn.RNN(3, 5, seed=0), fastrnn.RNN(3, 5, seed=1)
    edit(layer, lambda params: params.update(other.params))
    np.testing.assert_array_equal(layer.flat_params, other.flat_params)
    layer.grads.update(weight_hh_l0=floats(5, 5))
    np.testing.assert_array_equal(layer.flat_grads[15:40], floats(5, 5).ravel())
