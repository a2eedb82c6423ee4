"""What is accepted has an effect, and the effect is the one that it says: edits, attributes, copies, rates, names."""

import copy
import fractions
import io
import json
import pickle
import re
import threading
import warnings
from itertools import pairwise

import numpy as np
import pytest
from runs import CLASSES, every_class, floats
from safetensors.numpy import load, save
from tolerance import assert_same_arrays

import fastrnn
from fastrnn import gradcheck
from fastrnn.module import Parameters
from fastrnn.windows import tbptt

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "old pickle": lambda thing: pickle.loads(pickle.dumps(thing, protocol=2)),
}
every_copy = pytest.mark.parametrize("how", COPIES)

# ------------------------------------------------------------------------------------------------- editing


def changed_by_slice(params):
    params["bias_hh_l0"][...] = 2


def changed_by_entry(params):
    params["bias_hh_l0"] = np.full(params["bias_hh_l0"].shape, 2, np.float32)


def changed_by_update(params):
    params.update(bias_hh_l0=np.full(params["bias_hh_l0"].shape, 2, np.float32))


def changed_by_union(params):
    params |= {"bias_hh_l0": np.full(params["bias_hh_l0"].shape, 2, np.float32)}


def changed_in_place(params):
    params["bias_hh_l0"] *= 0
    params["bias_hh_l0"] += 2


def changed_by_out(params):
    np.add(0 * params["bias_hh_l0"], 2, out=params["bias_hh_l0"])


def changed_by_copyto(params):
    np.copyto(params["bias_hh_l0"], 2)


def changed_by_flat(params):
    flat = params.flat
    flat.fill(2)
    params.flat *= 1


def changed_by_swapping(params):
    params |= {"bias_ih_l0": params["bias_hh_l0"], "bias_hh_l0": params["bias_ih_l0"]}
    params["bias_hh_l0"] = 0 * params["bias_ih_l0"] + 2


CHANGES = [value for name, value in sorted(globals().items()) if name.startswith("changed_")]
every_change = pytest.mark.parametrize("change", CHANGES)


@every_change
@every_class
def test_every_way_to_change_a_parameter_changes_results(name, change):
    layer, x = CLASSES[name](3, 5, seed=0), floats(4, 2, 3)
    stream = layer.stream(2)
    before, step = layer(x)[0], stream.step(x[0])
    with layer.editing() as params:
        change(params)
        np.testing.assert_array_equal(layer(x)[0], before)  # not before the end of the block
    assert (layer.params["bias_hh_l0"] == 2).all()
    assert (layer.state_dict()["bias_hh_l0"] == 2).all()
    assert not np.array_equal(layer(x)[0], before)
    stream.reset()
    assert not np.array_equal(stream.step(x[0]), step)


@every_change
def test_every_way_to_change_a_gradient_changes_the_vector(change):
    layer = fastrnn.GRU(3, 5, seed=0)
    layer.flat_grads[:] = floats(layer.flat_grads.size)
    change(layer.grads)
    assert (layer.grads["bias_hh_l0"] == 2).all()
    assert (layer.flat_grads == 2).sum() >= layer.grads["bias_hh_l0"].size


def test_gradients_changed_in_place_by_an_operator():
    layer = fastrnn.GRU(3, 5, seed=0)
    layer.flat_grads[:] = 1
    kept = layer.flat_grads
    layer.flat_grads *= 2
    layer.grads.flat += 1
    layer.grads |= {"bias_ih_l0": np.full(15, 7, np.float32)}
    assert layer.flat_grads is kept and layer.grads.flat is kept
    assert sorted(set(kept)) == [3, 7]


def test_what_still_looks_into_a_block_after_it_changes_nothing():
    layer, x = fastrnn.LSTM(3, 5, seed=0), floats(4, 2, 3)
    with layer.editing() as params:
        views = [params["weight_hh_l0"][1:], params.flat[::2], params["weight_ih_l0"].T]
        views.append(np.asarray(params["bias_ih_l0"]))
        params["bias_hh_l0"][...] = 1
    before, weights = layer(x)[0], layer.flat_params.copy()
    for view in views:
        view.flags.writeable = True
        view[...] = 9
    params["bias_ih_l0"].flags.writeable = True
    params["bias_ih_l0"][...] = 9
    np.testing.assert_array_equal(layer.flat_params, weights)
    np.testing.assert_array_equal(layer(x)[0], before)
    with layer.editing() as later:
        np.testing.assert_array_equal(later.flat, weights)


def test_blocks_that_overlap_all_count():
    layer, other = fastrnn.RNN(3, 5, seed=0), fastrnn.RNN(3, 5, seed=1)
    with layer.editing() as outer:
        outer["bias_ih_l0"][...] = 1
        with layer.editing() as inner:
            assert (inner["bias_ih_l0"] == 1).all()
            inner["bias_hh_l0"][...] = 2
        assert (layer.params["bias_hh_l0"] == 2).all()
        layer.load_state_dict({"weight_ih_l0": other.params["weight_ih_l0"]}, strict=False)
        layer.flat_grads[:] = 1
        fastrnn.SGD(layer, lr=1.0).step()
        np.testing.assert_array_equal(outer.flat, layer.flat_params)
    assert (layer.params["bias_ih_l0"] == 0).all()
    assert (layer.params["bias_hh_l0"] == 1).all()
    np.testing.assert_array_equal(layer.params["weight_ih_l0"], other.params["weight_ih_l0"] - 1)
    assert not layer._drafts


def test_blocks_of_several_threads_all_count():
    layer, both_inside = fastrnn.RNN(3, 5, seed=0), threading.Barrier(2)

    def edit(name, value):
        with layer.editing() as params:
            both_inside.wait(60)
            params[name][...] = value
            both_inside.wait(60)

    threads = [threading.Thread(target=edit, args=job) for job in (("bias_ih_l0", 1), ("bias_hh_l0", 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (layer.params["bias_ih_l0"] == 1).all()
    assert (layer.params["bias_hh_l0"] == 2).all()


def test_optimisers_over_the_same_layers_in_any_order_never_wait_for_each_other():
    layers = [fastrnn.RNN(3, 5, seed=0), fastrnn.Linear(5, 2, seed=1)]
    optimizers = [fastrnn.SGD(layers, lr=0.0), fastrnn.SGD(layers[::-1], lr=0.0)]

    def run(optimizer):
        for _ in range(2000):
            optimizer.step()

    threads = [threading.Thread(target=run, args=(optimizer,), daemon=True) for optimizer in optimizers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()


@every_class
def test_parameters_can_never_be_made_writable(name):
    layer = CLASSES[name](3, 5, seed=0)
    for array in (*layer.params.values(), layer.flat_params, layer.params.flat, layer.params["weight_hh_l0"][1:].T):
        for each in (array, np.asarray(array), array.view(np.ndarray), array[...]):
            with pytest.raises(ValueError, match="WRITEABLE"):
                each.flags.writeable = True
            with pytest.raises(ValueError, match="WRITEABLE"):
                each.setflags(write=True)
            while isinstance(each.base, np.ndarray):
                each = each.base
                assert not each.flags.writeable
                with pytest.raises(ValueError, match="WRITEABLE"):
                    each.flags.writeable = True
            with pytest.raises(TypeError):
                memoryview(each.base)
        with pytest.raises((ValueError, TypeError)):
            memoryview(array)[0] = 1
        assert not np.lib.stride_tricks.as_strided(array).flags.writeable
        assert not np.lib.stride_tricks.as_strided(array, writeable=True).flags.writeable


def test_what_is_computed_of_parameters_is_a_plain_array():
    weight = fastrnn.Linear(3, 4, seed=0).params["weight"]
    for array in (
        weight * 2,
        weight @ weight.T,
        weight.sum(0),
        weight.copy(),
        weight.astype(np.float64),
        np.concatenate([weight, weight]),
        np.where(weight > 0, weight, 0),
        np.array(weight),
        np.copy(weight),
        copy.copy(weight),
        copy.deepcopy(weight),
        pickle.loads(pickle.dumps(weight)),
    ):
        assert type(array) is np.ndarray
        assert array.flags.writeable


def test_what_forward_shows_of_a_tape_can_never_be_made_writable():
    for layer in (fastrnn.LSTM(3, 5, seed=0), fastrnn.GRU(3, 5, 2, seed=0)):
        y = layer.forward(floats(4, 2, 3))[0]
        with pytest.raises(ValueError, match="WRITEABLE"):
            y.flags.writeable = True
        assert type(y) is np.ndarray and not isinstance(y.base, np.ndarray)


def test_nobody_can_resize_what_compiled_code_writes():
    layer = fastrnn.Linear(3, 4, seed=0)
    for array in (layer.flat_grads, layer.grads["weight"], layer.params["weight"], layer.params.flat):
        while isinstance(array, np.ndarray):
            with pytest.raises(ValueError, match="resize"):
                array.resize(1000, refcheck=False)
            array = array.base


def test_parameters_go_into_files_and_to_other_libraries():
    layer = fastrnn.GRU(3, 5, seed=0)
    expected = layer.state_dict()
    file = io.BytesIO()
    np.savez(file, **layer.params)
    file.seek(0)
    for given in (
        dict(np.load(file)),
        load(save(layer.params)),
        pickle.loads(pickle.dumps(dict(layer.params))),
        json.loads(json.dumps({name: array.tolist() for name, array in layer.params.items()})),
    ):
        assert_same_arrays([np.asarray(given[name], np.float32) for name in expected], list(expected.values()))


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_parameters_go_to_pytorch():
    torch = pytest.importorskip("torch")
    layer, theirs = fastrnn.GRU(3, 5, seed=0), torch.nn.GRU(3, 5)
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in layer.params.items()})
    theirs.load_state_dict({name: torch.as_tensor(array) for name, array in layer.params.items()})
    np.testing.assert_array_equal(theirs.weight_hh_l0.detach().numpy(), layer.params["weight_hh_l0"])


# ------------------------------------------------------------------------------------------- entries of a dict


def test_a_dict_of_parameters_is_a_dict():
    grads = fastrnn.Linear(3, 4, seed=0).grads
    assert isinstance(grads, dict)
    assert type(dict(grads)) is type(grads.copy()) is type(grads | {"more": 1}) is dict
    assert list(grads | {"more": 1}) == ["weight", "bias", "more"]
    assert grads.setdefault("bias") is grads.get("bias") is grads["bias"]
    assert grads.get("more") is None
    assert "more" not in grads
    assert [*grads] == ["weight", "bias"]
    own = dict(grads)
    own.pop("bias")
    assert len(grads) == 2


def test_an_update_that_fails_changes_nothing():
    grads = fastrnn.Linear(3, 4, seed=0).grads
    for wrong in ({"more": floats(4)}, {"weight": floats(4)}, {"weight": None}):
        with pytest.raises((KeyError, TypeError, ValueError), match=r"Parameters: "):
            grads.update({"bias": floats(4), **wrong})
        with pytest.raises((KeyError, TypeError, ValueError), match=r"Parameters: "):
            grads |= {"bias": floats(4), **wrong}
    assert not grads.flat.any()


def test_compiled_code_does_not_follow_what_is_done_to_the_dicts():
    layer, twin, x = fastrnn.Linear(3, 4, seed=0), fastrnn.Linear(3, 4, seed=0), floats(5, 3)
    kept = layer.grads["weight"]
    dict.update(layer.grads, weight=np.zeros((1, 1), np.float32))
    dict.pop(layer.grads, "bias")
    kept.shape = (12,)
    for each in (layer, twin):
        y, tape = each.forward(x)
        each.backward(tape, y)
    assert_same_arrays([layer.flat_grads], [twin.flat_grads])


# --------------------------------------------------------------------------------------------- attributes


def results_of(layer, x):
    layer.zero_grad()
    y, _, tape = layer.forward(x)
    dx, _ = layer.backward(tape, y)
    return [layer(x)[0], y, dx, layer.flat_grads.copy()]


@every_copy
def test_dropout_and_layout_may_be_changed_and_are_copied(how):
    layer, x = fastrnn.GRU(3, 5, 2, seed=0), floats(4, 4, 3)
    layer.dropout, layer.batch_first, layer.rng = np.float32(0.5), True, np.random.default_rng(7)
    expected = fastrnn.GRU(3, 5, 2, dropout=0.5, batch_first=True, init=lambda name, *_: layer.params[name])
    expected.rng = np.random.default_rng(7)
    twin = COPIES[how](layer)
    assert (twin.dropout, twin.batch_first) == (0.5, True)
    wanted = results_of(expected, x)
    assert_same_arrays(results_of(layer, x), wanted)
    assert_same_arrays(results_of(twin, x), wanted)
    layer.dropout, layer.batch_first = 0, False
    plain = fastrnn.GRU(3, 5, 2, init=lambda name, *_: layer.params[name])
    assert_same_arrays(results_of(layer, x), results_of(plain, x))


def test_dropout_that_has_no_place_is_said_when_it_is_set():
    layer = fastrnn.GRU(3, 5, seed=0)
    with pytest.warns(UserWarning, match="dropout is 0.5; between layers") as caught:
        layer.dropout = 0.5
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer.dropout = 0.0


def test_attributes_of_ones_own_are_kept():
    layer = fastrnn.GRU(3, 5, seed=0)
    layer.note, stream, optimizer = "mine", layer.stream(), fastrnn.SGD(layer)
    stream.note = optimizer.note = "mine"
    for duplicate in COPIES.values():
        assert duplicate(layer).note == duplicate(stream).note == duplicate(optimizer).note == "mine"


# ---------------------------------------------------------------------------------------------------- streams


@every_copy
@every_class
def test_a_copy_of_a_stream_goes_on_by_itself(name, how):
    layer, x = CLASSES[name](3, 5, 2, seed=0), floats(6, 2, 3)
    stream = layer.stream(2)
    for x_t in x[:3]:
        stream.step(x_t)
    twin, expected = COPIES[how](stream), layer(x)[0]
    state = stream.state
    for x_t, y_t in zip(x[3:], expected[3:], strict=True):
        np.testing.assert_array_equal(twin.step(x_t), y_t)
    assert_same_arrays([*np.atleast_1d(stream.state)], [*np.atleast_1d(state)])
    twin.reset()
    for x_t, y_t in zip(x[3:], expected[3:], strict=True):
        np.testing.assert_array_equal(stream.step(x_t), y_t)
    assert twin.batch_size == 2
    assert (twin._layer is layer) == (how == "copy")


def test_copies_of_a_layer_and_its_stream_stay_together():
    layer = fastrnn.RNN(3, 5, seed=0)
    twin, stream = copy.deepcopy((layer, layer.stream(2)))
    before = stream.step(floats(2, 3))
    with twin.editing() as params:
        params.flat[:] *= 2
    stream.reset()
    assert not np.array_equal(stream.step(floats(2, 3)), before)


def test_step_is_in_the_help_and_can_be_replaced_by_a_subclass():
    assert "x_t : (B, I)" in fastrnn.Stream.step.__doc__
    layer, x = fastrnn.RNN(3, 5, seed=0), floats(2, 3)

    class Doubled(fastrnn.Stream):
        def step(self, x_t, out=None):
            return 2 * super().step(x_t, out)

    np.testing.assert_array_equal(Doubled(layer, 2).step(x_t=x), 2 * layer.stream(2).step(x_t=x))


SELECTIONS = [
    [3], [0, 3], [-1], [1, 1], (2,), 3, np.int8(1), np.array(2), slice(1, None, 2), range(2),
    [True, False, False, True], np.array([0, 1, 1, 0], bool), [], [0, 1, 2, 3],
]  # fmt: skip


@pytest.mark.parametrize("rows", SELECTIONS, ids=repr)
def test_rows_are_reset_as_numpy_indexes_them(rows):
    stream, expected = fastrnn.RNN(3, 5, seed=0).stream(4), floats(1, 4, 5)
    stream.state = expected
    stream.reset(rows)
    expected[:, list(rows) if isinstance(rows, (tuple, range)) else rows] = 0
    np.testing.assert_array_equal(stream.state, expected)


@pytest.mark.parametrize("rows", [[1, 0, 0, 1], np.array([0, 0, 0, 0]), (1, 1, 1, 1), np.array([1, 0, 1, 0], np.uint8)])
def test_zeros_and_ones_for_every_row_are_ambiguous_and_the_advice_works(rows):
    stream = fastrnn.RNN(3, 5, seed=0).stream(4)
    stream.state = floats(1, 4, 5)
    with pytest.raises(ValueError, match="may be a mask or row numbers") as caught:
        stream.reset(rows)
    np.testing.assert_array_equal(stream.state, floats(1, 4, 5))
    advised = re.search(r"the mask \((.*)\), or for row numbers (.*)$", str(caught.value)).groups()
    for code, expected in zip(advised, (np.array(rows, bool), np.isin(np.arange(4), rows)), strict=True):
        stream.state = floats(1, 4, 5)
        stream.reset(eval(code, {"np": np, "rows": rows}))
        np.testing.assert_array_equal(stream.state[0], floats(1, 4, 5)[0] * ~expected[:, None])


# ------------------------------------------------------------------------------------------------------ windows


def numbers(pairs):
    return [int(x[0, 0]) for x, _ in pairs]


def test_iterations_over_windows_do_not_know_of_each_other():
    windows = tbptt(np.arange(9), batch_size=1, seq_length=2)
    assert [numbers(windows) for _ in windows] == [[0, 2, 4, 6]] * 4
    assert [(int(a[0][0, 0]), int(b[0][0, 0])) for a, b in zip(windows, windows, strict=True)] == [
        (0, 0), (2, 2), (4, 4), (6, 6)
    ]  # fmt: skip
    assert [int(later[0][0, 0] - first[0][0, 0]) for first, later in pairwise(windows)] == [2, 2, 2]
    left_early = iter(windows)
    next(left_early)
    assert numbers(windows) == [0, 2, 4, 6]
    assert numbers(left_early) == [2, 4, 6]


@every_copy
def test_copies_of_windows_are_read_only_and_go_on_by_themselves(how):
    windows = tbptt(np.arange(9), batch_size=1, seq_length=2)
    windows.position = 2
    twin = COPIES[how](windows)
    assert numbers(twin) == [4, 6]
    assert windows.position == 2
    for x, target in twin:
        assert not x.flags.writeable and not target.flags.writeable


def test_a_position_that_is_set_is_for_the_next_iteration_alone():
    windows = tbptt(np.arange(9), batch_size=1, seq_length=2)
    windows.position = np.array(2)
    assert windows.position == 2
    assert [numbers(windows), numbers(windows)] == [[4, 6], [0, 2, 4, 6]]
    for index, _ in enumerate(windows):
        if index == 2:
            break
    assert windows.position == 3
    windows.position = windows.position
    assert numbers(windows) == [6]
    windows.position = len(windows)
    assert numbers(windows) == []
    assert windows.position == 0


# ------------------------------------------------------------------------------------------------ optimisers

RULES = {"SGD": fastrnn.SGD, "RMSprop": fastrnn.RMSprop, "Adagrad": fastrnn.Adagrad, "Adam": fastrnn.Adam}
every_rule = pytest.mark.parametrize("rule", RULES)
NUMBERS = (np.int64(0), np.float32(0), np.array(0), np.array(0.0), fractions.Fraction(0), 0, np.float16(0))


def stepped(optimizer, layer, steps=3):
    for i in range(steps):
        layer.flat_grads[:] = floats(layer.flat_grads.size, seed=i)
        layer.flat_grads[::3] = 0
        optimizer.step()
    return layer.flat_params.copy()


@every_rule
@pytest.mark.parametrize("zero", NUMBERS, ids=lambda zero: type(zero).__name__)
def test_a_rate_of_zero_leaves_the_weights(rule, zero):
    layer = fastrnn.Linear(3, 4, seed=0)
    before = layer.flat_params.copy()
    optimizer = RULES[rule](layer, lr=zero)
    np.testing.assert_array_equal(stepped(optimizer, layer), before)
    optimizer.lr = 0.1
    assert not np.array_equal(stepped(optimizer, layer), before)
    before, optimizer.lr = layer.flat_params.copy(), zero
    np.testing.assert_array_equal(stepped(optimizer, layer), before)
    optimizer.load_state_dict({**optimizer.state_dict(), "lr": zero})
    np.testing.assert_array_equal(stepped(optimizer, layer), before)


def test_every_kind_of_number_is_a_number():
    layer = fastrnn.Linear(3, 4, seed=0)
    for zero in NUMBERS:
        assert fastrnn.SGD(layer, momentum=zero).momentum == 0
        assert fastrnn.LSTM(3, 4, 2, dropout=zero).dropout == 0
        one = type(zero)(1) if not isinstance(zero, np.ndarray) else zero + 1
        assert type(fastrnn.Adam(layer, lr=one).lr) is float
        layer.flat_grads[:] = 2
        fastrnn.clip_grad_value_(layer.grads, one)
        assert (layer.flat_grads == 1).all()
        assert fastrnn.clip_grad_norm_(layer.grads, one) == pytest.approx(4)
    for three in (np.int8(3), np.uint64(3), np.array(3)):
        assert fastrnn.LSTM(three, three, three).num_layers == 3
        assert fastrnn.Linear(three, three).in_features == 3
        assert len(tbptt(np.arange(10), batch_size=three, seq_length=three)) == 1
        fastrnn.LSTM(3, 4)(floats(2, 2, 3), num_threads=three)


# The least and the most that is accepted, and the ordinary.
EXTREMES = (1.2e-38, 1e-30, 1e-8, 1.0, 1e30, 3e38)


@pytest.mark.parametrize("rule", ["RMSprop", "Adagrad", "Adam"])
@pytest.mark.parametrize("eps", EXTREMES)
@pytest.mark.parametrize("lr", [0, *EXTREMES])
def test_no_accepted_number_spoils_a_weight_without_a_gradient(rule, eps, lr):
    layer = fastrnn.Linear(3, 4, seed=0)
    before = layer.flat_params.copy()
    try:
        optimizer = RULES[rule](layer, lr=lr, eps=eps)
    except ValueError:
        assert (rule, lr) == ("Adam", 3e38)
        return
    layer.flat_grads[0] = 1
    for _ in range(3):
        optimizer.step()
    np.testing.assert_array_equal(layer.flat_params[1:], before[1:])


@every_rule
def test_extreme_numbers_give_what_pytorch_gives(rule):
    torch = pytest.importorskip("torch")
    for lr in (0.0, 1e-30, 1e-3, 1e30):
        for eps in (None,) if rule == "SGD" else (1e-37, 1e-20, 1e-8, 1e30):
            options = {"lr": lr} if eps is None else {"lr": lr, "eps": eps}
            layer = fastrnn.Linear(3, 4, seed=0)
            parameter = torch.nn.Parameter(torch.from_numpy(layer.flat_params.copy()))
            theirs = getattr(torch.optim, rule)([parameter], **options)
            ours = RULES[rule](layer, **options)
            for i in range(2):
                grads = floats(layer.flat_grads.size, seed=i)
                grads[::3] = 0
                layer.flat_grads[:], parameter.grad = grads, torch.from_numpy(grads)
                ours.step()
                theirs.step()
            np.testing.assert_allclose(layer.flat_params, parameter.detach().numpy(), rtol=1e-5, atol=1e-6 * max(lr, 1))


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("SGD", {"lr": 0.3}),
        ("SGD", {"momentum": 0.5}),
        ("RMSprop", {"alpha": 0.5, "eps": 0.1}),
        ("Adagrad", {"eps": 0.1}),
        ("Adam", {"betas": (0.5, 0.6), "eps": 0.1}),
        ("Adam", {"beta1": 0.5, "beta2": 0.6}),
        ("Adam", {"betas": np.array([0.5, 0.6])}),
    ],
)
def test_hyperparameters_that_are_set_are_in_effect(rule, changes):
    layer, twin, plain = (fastrnn.Linear(3, 4, seed=0) for _ in range(3))
    optimizer = RULES[rule](layer, lr=0.1)
    for name, value in changes.items():
        setattr(optimizer, name, value)
        np.testing.assert_array_equal(getattr(optimizer, name), value)
    given = {"betas": (0.5, 0.6)} if "beta1" in changes else changes
    expected = stepped(RULES[rule](twin, **{"lr": 0.1, **given}), twin)
    assert_same_arrays([stepped(optimizer, layer)], [expected])
    assert not np.array_equal(stepped(RULES[rule](plain, lr=0.1), plain), expected)


def test_momentum_that_is_set_to_zero_and_back_starts_from_rest():
    layer, twin = fastrnn.Linear(3, 4, seed=0), fastrnn.Linear(3, 4, seed=0)
    optimizer = fastrnn.SGD(layer, lr=0.1, momentum=0.9)
    stepped(optimizer, layer)
    optimizer.momentum = 0
    assert list(optimizer.state_dict()) == ["lr", "momentum", "step"]
    twin.load_state_dict(layer.state_dict())
    optimizer.momentum = 0.9
    assert_same_arrays([stepped(optimizer, layer)], [stepped(fastrnn.SGD(twin, lr=0.1, momentum=0.9), twin)])


def test_a_state_with_momentum_goes_on_with_it_whatever_the_optimiser_had():
    layers = [fastrnn.Linear(3, 4, seed=0) for _ in range(2)]
    first = fastrnn.SGD(layers[0], lr=0.1, momentum=0.9)
    stepped(first, layers[0])
    second = fastrnn.SGD(layers[1])
    second.load_state_dict(first.state_dict())
    layers[1].load_state_dict(layers[0].state_dict())
    assert_same_arrays([stepped(second, layers[1])], [stepped(first, layers[0])])


@every_rule
@every_copy
def test_a_copy_of_an_optimiser_goes_on_by_itself(rule, how):
    layer = fastrnn.Linear(3, 4, seed=0)
    optimizer = RULES[rule](layer, lr=0.1, **({"momentum": 0.9} if rule == "SGD" else {}))
    stepped(optimizer, layer)
    twin = COPIES[how](optimizer)
    twin.lr = 0.5
    assert optimizer.lr == 0.1
    (own,) = twin._modules
    assert (own is layer) == (how == "copy")
    saved, before = layer.state_dict(), optimizer.state_dict()
    stepped(twin, own)
    for name, value in optimizer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    layer.load_state_dict(saved)
    third = RULES[rule](other := fastrnn.Linear(3, 4, seed=1))
    other.load_state_dict(saved)
    third.load_state_dict(before)
    assert_same_arrays([stepped(optimizer, layer)], [stepped(third, other)])


# ------------------------------------------------------------------------------------------------ state dicts


def test_load_state_dict_returns_the_names_as_pytorch_does():
    layer = fastrnn.LSTM(3, 5, seed=0)
    assert str(layer.load_state_dict(layer.state_dict())) == "<All keys matched successfully>"
    before = layer.flat_params.copy()
    prefixed = {f"lstm.{name}": array for name, array in fastrnn.LSTM(3, 5, seed=1).state_dict().items()}
    keys = layer.load_state_dict(prefixed, strict=False)
    assert keys.missing_keys == keys[0] == list(layer.params)
    assert keys.unexpected_keys == keys[1] == list(prefixed)
    np.testing.assert_array_equal(layer.flat_params, before)
    missing, unexpected = fastrnn.GRU(3, 5).load_state_dict({}, strict=False, blend="cho")
    assert len(missing) == 4 and unexpected == []


def test_load_state_dict_returns_the_very_lists_of_pytorch():
    torch = pytest.importorskip("torch")
    ours, theirs = fastrnn.GRU(3, 5, 2), torch.nn.GRU(3, 5, 2)
    given = {"weight_hh_l1": theirs.state_dict()["weight_hh_l1"], "z": theirs.state_dict()["bias_ih_l0"], "a": 0}
    given["a"] = given["z"]
    assert tuple(ours.load_state_dict(given, strict=False)) == tuple(theirs.load_state_dict(given, strict=False))


class Once:
    """An array of another library that is another at every look."""

    def __init__(self, *arrays):
        self.arrays = list(arrays)

    def __array__(self, dtype=None, copy=None):
        return self.arrays.pop(0)


def test_what_is_checked_is_what_is_loaded():
    head = fastrnn.Linear(3, 4, seed=0)
    head.load_state_dict({"bias": Once(floats(4), np.full(4, np.nan, np.float32)), "weight": head.params["weight"]})
    np.testing.assert_array_equal(head.params["bias"], floats(4))


# ---------------------------------------------------------------------------------------------------- the rest


def test_distinct_gradients_over_one_buffer_are_clipped():
    """Columns of one matrix, every other element: near each other, but none twice."""
    matrix = floats(6, 4)
    norm = np.linalg.norm(matrix.astype(np.float64))
    expected = matrix * (0.5 / norm)
    columns = [{"a": matrix[:, 0], "b": matrix[:, 2]}, {"c": matrix[:, 1], "d": matrix[::-1, 3]}]
    assert fastrnn.clip_grad_norm_(columns, 0.5) == pytest.approx(norm, rel=1e-12)
    np.testing.assert_allclose(matrix, expected, rtol=1e-5)
    gru, head = fastrnn.GRU(3, 5), fastrnn.Linear(5, 2)
    fastrnn.clip_grad_norm_([gru.grads, head.grads, {}, {"nothing": np.zeros(0)}], 1.0)


def test_a_limit_beyond_an_arrays_type_clips_nothing():
    for dtype in (np.float16, np.float32, np.float64):
        values = np.array([[1e4, -1e4]] * 3, dtype)[:, :1]
        fastrnn.clip_grad_value_({"w": values}, 1e39)
        assert (values == 1e4).all()


def test_gradient_checks_take_what_numpy_takes():
    for differentiate in (gradcheck.complex_step, gradcheck.central_difference):
        (gradient,) = differentiate(lambda a: (a * a).sum(), [[1, 2, 3]])
        np.testing.assert_allclose(gradient, [2, 4, 6], rtol=1e-6)


def test_parameters_of_ones_own():
    flat = floats(7)
    own = Parameters(flat, {"a": (2, 3), "b": (1,), "none": (0, 4)})
    own["a"] = np.zeros((2, 3), np.float32)
    assert not flat[:6].any() and flat[6] == own["b"][0]
