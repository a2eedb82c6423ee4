"""What a layer is besides its arithmetic: names, seeds, the ways to change weights, copies, streams."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import fastrnn
from fastrnn.module import Parameters

EPS = float(np.finfo(np.float32).eps)
CLASSES = {"LSTM": fastrnn.LSTM, "GRU": fastrnn.GRU, "RNN": fastrnn.RNN, "UGRNN": fastrnn.UGRNN}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1, "UGRNN": 2}
every_class = pytest.mark.parametrize("name", CLASSES)


def floats(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def parts(state):
    return list(state) if isinstance(state, tuple) else [state]


def assert_equal(actual, expected):
    assert len(actual) == len(expected)
    for got, want in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(got, want)


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

    assert_equal(made(1), made(1))
    assert_equal(made(np.random.SeedSequence(7)), made(np.random.SeedSequence(7)))
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
        assert_equal(results(layer, stream), before)
        change()
        twin = CLASSES[name](3, 5, 2, init=lambda key, shape, rng: layer.params[key])
        after = results(layer, stream)
        assert_equal(after, results(twin, twin.stream(2)))
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


@pytest.mark.parametrize("how", ["copy", "deepcopy", "pickle"])
def test_parameters_alone_can_be_copied(how):
    grads = fastrnn.RNN(3, 5, seed=0).grads
    grads.flat[:] = floats(grads.flat.size)
    twin = COPIES[how](grads)
    assert_equal([*twin.values(), twin.flat], [*grads.values(), grads.flat])
    assert list(twin) == list(grads)
    assert all(np.shares_memory(array, twin.flat) for array in twin.values())


# ------------------------------------------------------------------------------------------------- loading


@every_class
def test_state_dict_round_trip(name):
    layer, other = CLASSES[name](3, 5, 2, seed=0), CLASSES[name](3, 5, 2, seed=1)
    saved = layer.state_dict()
    assert type(saved) is dict
    other.load_state_dict(saved)
    assert_equal([other.flat_params], [layer.flat_params])
    for array in saved.values():
        array[...] = 7  # copies, on either side
    assert_equal([other.flat_params], [layer.flat_params])
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
    assert_equal([layer.params[key] for key in weights], list(weights.values()))


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
    assert_equal(list(given.values()), list(copies.values()))


# ------------------------------------------------------------------------------------------------- running


@every_class
def test_call_equals_forward_without_dropout(name):
    layer, x = CLASSES[name](3, 5, 2, seed=0), floats(4, 2, 3)
    y, state = layer(x)
    y_of_forward, state_of_forward, _ = layer.forward(x)
    assert_equal([y, *parts(state)], [y_of_forward, *parts(state_of_forward)])
    assert len(parts(state)) == (2 if name == "LSTM" else 1)
    assert all(part.shape == (2, 2, 5) for part in parts(state))
    np.testing.assert_array_equal(parts(state)[0][-1], y[-1])
    assert y.flags.writeable
    assert not y_of_forward.flags.writeable  # the tape looks into it
    assert all(part.flags.writeable for part in (*parts(state), *parts(state_of_forward)))


@every_class
def test_a_call_changes_nothing(name):
    layer = CLASSES[name](3, 5, 2, dropout=0.5, seed=0)
    layer.flat_grads[:] = 1
    before = layer.flat_params.copy(), layer.rng.bit_generator.state
    results = [layer(floats(4, 2, 3))[0] for _ in range(2)]
    assert_equal(results[:1], results[1:])
    assert_equal([layer.flat_params], before[:1])
    assert layer.rng.bit_generator.state == before[1]
    assert (layer.flat_grads == 1).all()


@every_class
def test_batch_first_swaps_the_sequences_and_no_state(name):
    first, last = CLASSES[name](3, 5, 2, batch_first=True, seed=0), CLASSES[name](3, 5, 2, seed=0)
    x, dy = floats(4, 2, 3), floats(4, 2, 5)
    y, state, tape = last.forward(x)
    dx, dstate = last.backward(tape, dy, state)
    swapped, same, tape = first.forward(x.swapaxes(0, 1))
    dx_swapped, dsame = first.backward(tape, dy.swapaxes(0, 1), state)
    assert_equal([swapped.swapaxes(0, 1), *parts(same)], [y, *parts(state)])
    assert_equal([dx_swapped.swapaxes(0, 1), *parts(dsame)], [dx, *parts(dstate)])
    assert_equal([first.flat_grads], [last.flat_grads])
    assert swapped.flags.c_contiguous and dx_swapped.flags.c_contiguous


@every_class
def test_gradients_add_up_over_calls(name):
    layer, x, dy = CLASSES[name](3, 5, seed=0), floats(4, 2, 3), floats(4, 2, 5)
    layer.backward(layer.forward(x)[2], dy)
    once = layer.flat_grads.copy()
    layer.backward(layer.forward(x)[2], dy)
    np.testing.assert_allclose(layer.flat_grads, 2 * once, rtol=4 * EPS, atol=4 * EPS)
    layer.zero_grad()
    layer.backward(layer.forward(x)[2], dy)
    assert_equal([layer.flat_grads], [once])


@every_class
def test_open_tapes_do_not_disturb_each_other(name):
    layer, dy = CLASSES[name](3, 5, 2, seed=0), floats(4, 2, 5)
    inputs = [floats(4, 2, 3, seed=seed) for seed in range(3)]
    expected = [layer.backward(layer.forward(x)[2], dy)[0] for x in inputs]
    tapes = [layer.forward(x)[2] for x in inputs]
    layer(inputs[0])
    assert_equal([layer.backward(tape, dy)[0] for tape in reversed(tapes)], expected[::-1])


def test_input_gradient_is_left_out_where_it_is_not_wanted_or_not_defined():
    layer, ids = fastrnn.LSTM(3, 5, seed=0), np.zeros((4, 2), np.int64)
    assert layer.backward(layer.forward(floats(4, 2, 3))[2], floats(4, 2, 5), input_gradient=False)[0] is None
    assert layer.backward(layer.forward(ids)[2], floats(4, 2, 5))[0] is None


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


@pytest.mark.parametrize("name", ["LSTM", "RNN", "Linear"])
@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_an_equal_and_independent_layer(name, how):
    module = made(name)
    module.flat_grads[:] = floats(module.flat_grads.size)
    twin = COPIES[how](module)
    assert type(twin) is type(module)
    assert_equal([twin.flat_params, twin.flat_grads], [module.flat_params, module.flat_grads])
    assert not np.shares_memory(twin.flat_params, module.flat_params)
    assert not np.shares_memory(twin.flat_grads, module.flat_grads)
    assert not twin.flat_params.flags.writeable
    results = []
    for each in (twin, module):
        y, *_, tape = each.forward(floats(4, 2, 3))
        each.backward(tape, y)
        fastrnn.SGD(each, lr=0.1).step()
        results.append([y, each.flat_grads, each.flat_params])
    assert_equal(*results)
    before = module.flat_params.copy()
    edit(twin, lambda params: params.flat.fill(1))
    assert_equal([module.flat_params], [before])
    assert (twin.params["weight" if name == "Linear" else "weight_hh_l1"] == 1).all()


@every_class
def test_a_subclass_is_the_same_cell(name):
    class Named(CLASSES[name]):
        """A layer with a name of its own."""

    x = floats(4, 2, 3)
    assert_equal([Named(3, 5, seed=0)(x)[0]], [CLASSES[name](3, 5, seed=0)(x)[0]])


# ------------------------------------------------------------------------------------------------- streams


@every_class
def test_stream_is_made_with_zeros_and_one_row(name):
    layer = CLASSES[name](3, 5, 2, seed=0)
    stream = layer.stream()
    assert isinstance(stream, fastrnn.Stream)
    assert stream.batch_size == 1
    assert all(part.shape == (2, 1, 5) and not part.any() for part in parts(stream.state))
    assert stream.step(floats(1, 3)).shape == (1, 5)
    wide = layer.stream(batch_size=4, num_threads=2)
    assert wide.batch_size == 4
    y = wide.step(floats(4, 3))
    assert y.shape == (4, 5)
    np.testing.assert_array_equal(parts(wide.state)[0][-1], y)
    wide.state = None
    assert not any(part.any() for part in parts(wide.state))


ROWS = [
    1,
    -1,
    [1, 2],
    (1, 2),
    (0,),
    np.array([0, 2]),
    slice(1, None),
    np.array([True, False, True]),
    [],
]


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_reset_of_some_rows(rows):
    stream = fastrnn.LSTM(3, 5, 2, seed=0).stream(3)
    stream.step(floats(3, 3))
    before = stream.state
    expected = np.zeros(3, bool)
    expected[list(rows) if isinstance(rows, tuple) else rows] = True
    stream.reset(rows)
    for part, old in zip(stream.state, before, strict=True):
        assert not part[:, expected].any()
        np.testing.assert_array_equal(part[:, ~expected], old[:, ~expected])
