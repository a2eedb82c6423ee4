"""Weights that are saved and loaded, and layers that are copied."""

import copy
import pickle

import numpy as np
import pytest
from runs import CLASSES, every_class, floats
from tolerance import EPS, assert_same_arrays

import fastrnn

# ------------------------------------------------------------------------------------------------- loading


@every_class
def test_state_dict_round_trip(name):
    layer, other = CLASSES[name](3, 5, 2, seed=0), CLASSES[name](3, 5, 2, seed=1)
    saved = layer.state_dict()
    assert type(saved) is dict
    other.load_state_dict(saved)
    assert_same_arrays([other.flat_params], [layer.flat_params])
    for array in saved.values():
        array[...] = 7  # copies, on either side
    assert_same_arrays([other.flat_params], [layer.flat_params])
    assert not (layer.flat_params == 7).any()


def test_gradients_and_masks_are_not_part_of_the_state_dict():
    layer, other = fastrnn.GRU(3, 5, seed=0), fastrnn.GRU(3, 5, seed=1)
    layer.flat_grads[:] = 3
    before = layer.rng.bit_generator.state
    layer.load_state_dict(other.state_dict())
    assert (layer.flat_grads == 3).all()
    assert layer.rng.bit_generator.state == before


def test_not_strict_takes_what_fits():
    layer, before = fastrnn.LSTM(3, 5, seed=0), fastrnn.LSTM(3, 5, seed=0)
    given = {"weight_hh_l0": floats(20, 5), "weight_hh_l1": floats(9, 9), "epoch": 3, 4: None}
    layer.load_state_dict(given, strict=False)
    for key, array in layer.params.items():
        np.testing.assert_array_equal(array, given.get(key, before.params[key]))
    layer.load_state_dict({}, strict=False)
    with pytest.raises(ValueError, match="shape"):
        layer.load_state_dict({"weight_hh_l0": floats(5, 5)}, strict=False)


# ----------------------------------------------------------------------------------------------- blend="cho"


def logistic(a):
    return 1 / (1 + np.exp(-a))


def cho_gru(x, weights, reset_after):
    """h' = (1-z)*h + z*n as Cho et al. and many courses write it, in plain NumPy and float64."""
    w, r, b, c = (weights[f"{key}_l0"].astype(np.float64) for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    (w_r, w_z, w_n), (r_r, r_z, r_n), (b_r, b_z, b_n), (c_r, c_z, c_n) = (np.split(each, 3) for each in (w, r, b, c))
    h, ys = np.zeros((x.shape[1], r.shape[1])), []
    for x_t in x.astype(np.float64):
        reset = logistic(x_t @ w_r.T + b_r + h @ r_r.T + c_r)
        z = logistic(x_t @ w_z.T + b_z + h @ r_z.T + c_z)
        recurrent = reset * (h @ r_n.T + c_n) if reset_after else (reset * h) @ r_n.T + c_n
        h = (1 - z) * h + z * np.tanh(x_t @ w_n.T + b_n + recurrent)
        ys.append(h)
    return np.stack(ys)


@pytest.mark.parametrize("reset_after", [True, False])
def test_weights_of_the_other_blend_are_converted(reset_after):
    weights = {key: 0.7 * floats(*a.shape) for key, a in fastrnn.GRU(3, 5, seed=0).params.items()}
    layer, x = fastrnn.GRU(3, 5, reset_after=reset_after, seed=1), floats(6, 2, 3)
    layer.load_state_dict(weights, blend="cho")
    expected = cho_gru(x, weights, reset_after)
    np.testing.assert_allclose(layer(x)[0], expected, atol=64 * EPS)
    layer.load_state_dict(weights)
    assert np.abs(layer(x)[0] - expected).max() > 0.1
    layer.load_state_dict(weights, blend="torch")
    assert_same_arrays([layer.params[key] for key in weights], list(weights.values()))


def test_conversion_negates_the_rows_of_z_in_what_is_loaded_alone():
    layer, before = fastrnn.GRU(3, 5, seed=0), fastrnn.GRU(3, 5, seed=0)
    given = {"weight_ih_l0": floats(15, 3), "bias_hh_l0": floats(15)}
    copies = copy.deepcopy(given)
    layer.load_state_dict(given, strict=False, blend="cho")
    sign = np.repeat([1, -1, 1], 5).astype(np.float32)
    np.testing.assert_array_equal(layer.params["weight_ih_l0"], given["weight_ih_l0"] * sign[:, None])
    np.testing.assert_array_equal(layer.params["bias_hh_l0"], given["bias_hh_l0"] * sign)
    for key in ("weight_hh_l0", "bias_ih_l0"):
        np.testing.assert_array_equal(layer.params[key], before.params[key])
    assert_same_arrays(list(given.values()), list(copies.values()))


# -------------------------------------------------------------------------------------------------- copies


def made(name):
    if name == "Linear":
        return fastrnn.Linear(3, 5, seed=0)
    options = {"nonlinearity": "relu"} if name == "RNN" else {}
    return CLASSES[name](3, 5, 2, dropout=0.5, seed=0, **options)


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "old pickle": lambda module: pickle.loads(pickle.dumps(module, protocol=2)),
}
every_copy = pytest.mark.parametrize("how", COPIES)


@pytest.mark.parametrize("name", ["LSTM", "RNN", "Linear"])
@every_copy
def test_a_copy_is_an_equal_and_independent_layer(name, how):
    module = made(name)
    module.flat_grads[:] = floats(module.flat_grads.size)
    twin = COPIES[how](module)
    assert type(twin) is type(module)
    assert_same_arrays([twin.flat_params, twin.flat_grads], [module.flat_params, module.flat_grads])
    assert not np.shares_memory(twin.flat_params, module.flat_params)
    assert not np.shares_memory(twin.flat_grads, module.flat_grads)
    assert not twin.flat_params.flags.writeable
    results = []
    for each in (twin, module):
        y, *_, tape = each.forward(floats(4, 2, 3))
        each.backward(tape, y)
        fastrnn.SGD(each, lr=0.1).step()
        results.append([y, each.flat_grads, each.flat_params])
    assert_same_arrays(*results)
    before = module.flat_params.copy()
    with twin.editing() as params:
        params.flat.fill(1)
    assert_same_arrays([module.flat_params], [before])
    assert (twin.params["weight" if name == "Linear" else "weight_hh_l1"] == 1).all()


@every_copy
def test_a_copy_has_every_option_of_its_layer(how):
    layer = fastrnn.LSTM(
        3, [5, 6], bidirectional=True, proj_size=2, merge="ave", dtype="float64", batch_first=True, dropout=0.5, seed=0
    )
    twin = COPIES[how](layer)
    sizes, others = ("input_size", "hidden_size", "num_layers", "proj_size"), ("bidirectional", "merge", "dtype")
    for name in (*sizes, *others, "batch_first", "dropout"):
        assert getattr(twin, name) == getattr(layer, name), name
    assert [*twin.params] == [*layer.params]
    results = []
    for each in (twin, layer):
        x = [floats(n, 3).astype(np.float64) for n in (4, 0, 7)]
        y, (h, c), tape = each.forward(x, reset=[np.arange(len(one)) == 2 for one in x], checkpoint=2)
        dx, (dh, dc) = each.backward(tape, y)
        results.append([*y, h, *c, *dx, dh, *dc, each.flat_grads])
    assert_same_arrays(*results)


def test_a_tape_keeps_the_form_that_its_batch_came_in():
    layer = fastrnn.GRU(3, 5, seed=0)
    x, mask = floats(4, 2, 3), np.arange(8).reshape(4, 2) % 3 > 0
    for options in ({}, {"mask": mask}):
        y, _, tape = layer.forward(x, **options)
        expected, _ = layer.backward(layer.forward(x, **options)[2], y)
        layer.batch_first = True
        assert_same_arrays([layer.backward(tape, y)[0]], [expected])
        layer.batch_first = False


@every_copy
def test_parameters_alone_can_be_copied(how):
    grads = fastrnn.RNN(3, 5, seed=0).grads
    grads.flat[:] = floats(grads.flat.size)
    twin = COPIES[how](grads)
    assert_same_arrays([*twin.values(), twin.flat], [*grads.values(), grads.flat])
    assert list(twin) == list(grads)
    assert all(np.shares_memory(array, twin.flat) for array in twin.values())


@every_class
def test_a_subclass_is_the_same_cell(name):
    class Named(CLASSES[name]):
        """A layer with a name of its own."""

    x = floats(4, 2, 3)
    assert_same_arrays([Named(3, 5, seed=0)(x)[0]], [CLASSES[name](3, 5, seed=0)(x)[0]])


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_tape_is_not_copied(duplicate):
    layer = fastrnn.LSTM(3, 5)
    tape = layer.forward(floats(2, 4, 3))[2]
    with pytest.raises(TypeError, match="Tape: a tape can be neither copied nor pickled"):
        duplicate(tape)
    layer.backward(tape, floats(2, 4, 5))


def test_a_layer_that_compares_by_value_needs_no_hash():
    class Comparable(fastrnn.GRU):
        def __eq__(self, other):
            return bool((self.flat_params == other.flat_params).all())

    assert Comparable(3, 5, seed=0) == Comparable(3, 5, seed=0)
