"""No call minds how its arrays lie in memory, whether they overlap or hold nothing; and none changes them."""

import tempfile

import numpy as np
import pytest
from calls import CALLS, B, H, I, L, T, V, every_call, gru_train, integers, lstm_call, lstm_train, stream_run
from runs import floats
from tolerance import assert_same_arrays

import fastrnn

# ----------------------------------------------------------------------------------- layouts of arguments


def margins(array):
    """In the middle of a larger block that holds what must not be read: NaN, or indices far out of bounds."""
    kind = array.dtype.kind
    poison = np.nan if kind == "f" else True if kind == "b" else np.iinfo(array.dtype).max // 2
    block = np.full(array.size + 200, poison, array.dtype)
    inner = block[100:-100].reshape(array.shape)
    inner[...] = array
    return inner


def misaligned(array, offset):
    block = np.zeros(array.nbytes + 64, np.uint8)
    inner = block[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)
    inner[...] = array
    return inner


def strided(array):
    block = np.full([3 * n for n in array.shape], 99, array.dtype)
    inner = block[tuple(slice(1, None, 3) for _ in array.shape)]
    inner[...] = array
    return inner


def reversed_axes(array):
    everywhere = tuple(slice(None, None, -1) for _ in array.shape)
    return array[everywhere].copy()[everywhere]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def memmap(array):
    with tempfile.TemporaryFile() as file:
        array.tofile(file)
        file.flush()
        return np.memmap(file, array.dtype, "r", shape=array.shape)


class Subclass(np.ndarray):
    """An array that would be noticed if its own arithmetic were used."""

    def __array_ufunc__(self, *args, **kwargs):
        raise AssertionError("a subclass's arithmetic was used")

    def __array_function__(self, *args, **kwargs):
        raise AssertionError("a subclass's functions were used")


LAYOUTS = {
    "margins": margins,
    "off by 1 byte": lambda array: misaligned(array, 1),
    "off by 4 bytes": lambda array: misaligned(array, 4),
    "off by 63 bytes": lambda array: misaligned(array, 63),
    "Fortran": np.asfortranarray,
    "strided": strided,
    "negative strides": reversed_axes,
    "swapped axes": lambda array: array.swapaxes(0, -1).copy().swapaxes(0, -1),
    "read-only": read_only,
    "memmap": memmap,
    "matrix of axes of length 1": lambda array: array[None, :, None].copy()[0, :, 0],
    "a field of records": lambda array: np.rec.fromarrays([array, array])["f0"],
}


@every_call
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_arguments_does_not_matter_and_they_are_not_changed(name, layout):
    arrays, function = CALLS[name]
    given = {key: LAYOUTS[layout](array) for key, array in arrays.items()}
    flags = {key: (array.strides, array.flags.writeable) for key, array in given.items()}
    assert_same_arrays(function(**given), function(**arrays))
    for key, array in arrays.items():
        np.testing.assert_array_equal(given[key], array, err_msg=key)
        assert (given[key].strides, given[key].flags.writeable) == flags[key]


@every_call
def test_zero_strides_are_read_as_the_array_they_stand_for(name):
    arrays, function = CALLS[name]
    given = {key: np.broadcast_to(array[:1], array.shape) for key, array in arrays.items()}
    assert_same_arrays(function(**given), function(**{key: array.copy() for key, array in given.items()}))


@every_call
def test_subclasses_are_read_as_plain_arrays(name):
    arrays, function = CALLS[name]
    results = function(**{key: array.view(Subclass) for key, array in arrays.items()})
    assert_same_arrays(results, function(**arrays))
    assert all(type(result) is np.ndarray for result in results)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, ">i2", np.uint32, ">i8", np.int64, np.uint64])
def test_every_integer_type_is_an_index(dtype):
    for name, key in (("index train", "ids"), ("index stream", "ids"), ("loss", "targets")):
        arrays, function = CALLS[name]
        assert_same_arrays(function(**{**arrays, key: arrays[key].astype(dtype)}), function(**arrays))


# ------------------------------------------------------------------------------------------------ aliasing


def test_one_array_may_stand_for_several_arguments():
    same, state = floats(T, B, H), floats(L, B, H)
    for function, given in (
        (lstm_train, {"x": same, "h": state, "c": state, "dy": same, "dh": state, "dc": state}),
        (gru_train, {"x": (x := floats(B, T, H)), "h": state, "dy": x, "dh": state}),
        (lstm_call, {"x": same, "h": state, "c": state}),
        (stream_run, {"x": same, "h": state, "c": state}),
    ):
        before = {key: array.copy() for key, array in given.items()}
        assert_same_arrays(function(**given), function(**before))
        for key, array in given.items():
            np.testing.assert_array_equal(array, before[key])


def test_results_may_be_the_next_arguments():
    layer = fastrnn.LSTM(H, H, L, seed=0)
    y, state = layer(floats(T, B, H))
    copies = [part.copy() for part in (y, *state)]
    assert_same_arrays([layer(y, state)[0]], [layer(copies[0], (copies[1], copies[2]))[0]])
    assert_same_arrays([y, *state], copies)

    y, state, tape = layer.forward(floats(T, B, H))
    expected = fastrnn.LSTM(H, H, L, seed=0)
    other_tape = expected.forward(floats(T, B, H))[2]
    second, _, second_tape = layer.forward(y, state)
    assert_same_arrays(layer.backward(tape, y, state)[1], expected.backward(other_tape, y.copy(), state)[1])
    assert_same_arrays([layer.backward(second_tape, second)[0]], [twice(floats(T, B, H))])


def twice(x):
    layer = fastrnn.LSTM(H, H, L, seed=0)
    y, state = layer(x)
    y, _, tape = layer.forward(y.copy(), state)
    return layer.backward(tape, y.copy())[0]


def test_a_step_may_write_over_its_own_input():
    separate, together = (fastrnn.GRU(H, H, L, seed=0).stream(B) for _ in range(2))
    x = floats(B, H)
    for _ in range(3):
        y = separate.step(x.copy())
        assert together.step(x, x) is x
        assert_same_arrays([x], [y])


def test_a_layers_own_parameters_may_be_exchanged():
    layer = fastrnn.RNN(H, H, seed=0)
    before = layer.state_dict()
    swapped = {"weight_ih_l0": "weight_hh_l0", "weight_hh_l0": "weight_ih_l0"}
    layer.load_state_dict({name: layer.params[swapped.get(name, name)] for name in layer.params})
    for name, array in layer.params.items():
        np.testing.assert_array_equal(array, before[swapped.get(name, name)])


def test_indices_may_be_overwritten_between_forward_and_backward():
    """They address memory: a batch that is filled again must not move what backward adds to."""
    given, kept = (fastrnn.LSTM(I, H, seed=0) for _ in range(2))
    ids, dy = integers(I, T, B), floats(T, B, H)
    tape, expected = given.forward(ids)[2], kept.forward(ids.copy())[2]
    ids[...] = 2**40
    given.backward(tape, dy)
    kept.backward(expected, dy)
    assert_same_arrays([given.flat_grads], [kept.flat_grads])


# ------------------------------------------------------------------------------------------------- no items


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (0, 0), (2, 0, 3)])
def test_linear_of_nothing_is_nothing(shape):
    head = fastrnn.Linear(I, V, seed=0)
    x = np.zeros((*shape, I), np.float32)
    y, tape = head.forward(x)
    assert y.shape == head(x).shape == (*shape, V)
    assert head.backward(tape, y).shape == (*shape, I)
    assert not head.flat_grads.any()


@pytest.mark.parametrize("name", [name for name in CALLS if name != "edit"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_arrays_without_items_raise(name, axis):
    """Any argument but the rows of a linear layer."""
    arrays, function = CALLS[name]
    for key, array in arrays.items():
        if axis >= array.ndim or (name, key) == ("linear train", "x"):
            continue
        if name in ("stream", "index stream") and key in ("x", "ids") and axis == 0:
            continue  # no step is taken
        if (name, key, axis) == ("list train", "long", 0):
            continue  # a sequence among others may have no steps
        empty = np.zeros([0 if i == axis else n for i, n in enumerate(array.shape)], array.dtype)
        with pytest.raises(ValueError, match="expected"):
            function(**{**arrays, key: empty})
