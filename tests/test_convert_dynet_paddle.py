"""DyNet's text and Paddle's binary files, written here by their formats' rules, become the layers that they were."""

import struct

import numpy as np
import pytest

from fastrnn import GRU, convert
from fastrnn.cli.main import main
from fastrnn.convert import dynet, paddle

RNG = np.random.default_rng(20)


def random(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# --------------------------------------------------------------------------------------------- DyNet


def dynet_text(parameters, lookups=(), gradients=()):
    """The bytes of a file: columns one behind the other, 16 bytes a number."""
    parts = []
    for name, array in parameters.items():
        kind, numbers = ("Lookup", array) if name in lookups else ("", array.T)
        shape = ",".join(map(str, numbers.shape[::-1]))
        block = "".join(f"{number:+.8e} " for number in numbers.ravel()) + "\n"
        words = "FULL_GRAD" if name in gradients else "ZERO_GRAD"
        if name in gradients:
            block *= 2
        parts.append(f"#{kind}Parameter# {name} {{{shape}}} {len(block)} {words}\n{block}")
    return "".join(parts).encode()


def builder(name, inputs, width):
    shapes = (4 * width, inputs), (4 * width, width), (4 * width,)
    return {f"{name}/_{number}": random(*shape) for number, shape in enumerate(shapes)}


def dynet_lstm(x, parameters, forget_bias=1.0):
    """What a VanillaLSTMBuilder does: gates i f o g, and something more for the forget gate."""
    inputs, hidden, bias = (array.astype(np.float64) for array in parameters)
    h = c = np.zeros(hidden.shape[1])
    outputs = []
    for x_t in x:
        i, f, o, g = np.split(inputs @ x_t + hidden @ h + bias, 4)
        c = sigmoid(f + forget_bias) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.array(outputs)


@pytest.fixture
def saved(tmp_path):
    def save(data, name="model.txt"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return save


def test_a_dynet_file_is_known_by_its_content_and_gives_its_numbers_exactly(saved):
    given = {"/_0": random(3, 5), "/_1": random(3), "/_2": random(7, 4)}
    path = saved(dynet_text(given, lookups=["/_2"]))
    assert convert.recognise(path) is dynet
    read = dynet.parameters(path)
    assert list(read) == list(given)
    for name, array in given.items():
        np.testing.assert_array_equal(read[name].array, array)
        assert read[name].is_lookup == (name == "/_2")


@pytest.mark.parametrize("forget_bias", [1.0, 0.0])
def test_a_birnn_of_dynet_is_an_lstm_of_two_directions(saved, forget_bias):
    directions = [builder("/birnn/vanilla-lstm-builder", 3, 4), builder("/birnn/vanilla-lstm-builder_1", 3, 4)]
    path = saved(dynet_text(directions[0] | directions[1]))
    lstm = convert.read(path, forget_bias=forget_bias).build()["birnn"]
    x = random(6, 3)
    forward = dynet_lstm(x, directions[0].values(), forget_bias)
    backward = dynet_lstm(x[::-1], directions[1].values(), forget_bias)[::-1]
    np.testing.assert_allclose(lstm(x)[0], np.concatenate([forward, backward], axis=1), atol=1e-5)


def test_layers_of_a_dynet_builder_are_stacked(saved):
    name = "/encoder/vanilla-lstm-builder_2"
    first, second = builder(name, 3, 4), builder(name, 4, 4)
    renamed = {f"{name}/_{3 + place}": array for place, array in enumerate(second.values())}
    lstm = convert.read(saved(dynet_text(first | renamed))).build()[name.lstrip("/")]
    x = random(6, 3)
    expected = dynet_lstm(dynet_lstm(x, first.values()), second.values())
    np.testing.assert_allclose(lstm(x)[0], expected, atol=1e-5)


def test_two_layers_of_a_dynet_birnn_pair_their_directions(saved):
    names = [f"/birnn_1/vanilla-lstm-builder{suffix}" for suffix in ("", "_1", "_2", "_3")]
    given = [builder(name, inputs, 2) for name, inputs in zip(names, (3, 3, 4, 4), strict=True)]
    lstm = convert.read(saved(dynet_text(given[0] | given[1] | given[2] | given[3]))).build()["birnn_1"]
    y = x = random(5, 3)
    for forward, backward in (given[:2], given[2:]):
        y = np.concatenate([dynet_lstm(y, forward.values()), dynet_lstm(y[::-1], backward.values())[::-1]], axis=1)
    np.testing.assert_allclose(lstm(x)[0], y, atol=1e-5)


def test_a_matrix_of_dynet_takes_the_vector_behind_it_and_the_rest_is_kept(saved):
    given = {
        "/_0": random(3, 5), "/_1": random(3), "/_2": random(2, 2), "/_3": random(4), "/_4": random(7, 4),
        "/gru-builder/_0": random(4, 4),
    }  # fmt: skip
    model = convert.read(saved(dynet_text(given, lookups=["/_4"])))
    layers = {layer.name: (layer.kind, list(layer.tensors)) for layer in model.layers}
    assert layers == {
        "_0": ("Linear", ["weight", "bias"]), "_2": ("Linear", ["weight"]), "_4": ("Embedding", ["weight"]),
    }  # fmt: skip
    assert list(model.rest) == ["/gru-builder/_0", "/_3"]
    np.testing.assert_array_equal(model.build()["_4"], given["/_4"])


def test_gradients_in_a_dynet_file_are_left(saved):
    given = {"/_0": random(3, 5), "/_1": random(3)}
    read = dynet.parameters(saved(dynet_text(given, gradients=["/_0"])))
    np.testing.assert_array_equal(read["/_0"].array, given["/_0"])
    np.testing.assert_array_equal(read["/_1"].array, given["/_1"])


BAD = {
    "a line that is no header": (lambda text: text + b"and so on\n", "and so on"),
    "a name twice": (lambda text: text + text, "twice"),
    "three axes": (lambda text: text.replace(b"{3,5}", b"{3,5,1}"), "3 axes"),
    "a number too few": (lambda text: text.replace(b"{3,5}", b"{3,6}"), "15 numbers; expected 18"),
    "a word": (lambda text: text.replace(b"e+00", b"x+00", 1), "no number"),
    "a size beyond the file": (lambda text: text.replace(b" 241 ", b" 999999999999999999 "), "ends after"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_dynet_file_is_refused_with_what_is_wrong(saved, name):
    damage, message = BAD[name]
    path = saved(damage(dynet_text({"/_0": 1 + np.abs(random(3, 5)) % 8})))
    with pytest.raises(ValueError, match=message) as error:
        convert.read(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("numbers", [2, 6])
def test_a_dynet_builder_with_other_parameters_is_refused(saved, numbers):
    given = {f"/vanilla-lstm-builder/_{number}": random(8) for number in range(numbers)}
    with pytest.raises(ValueError, match="expected"):
        convert.read(saved(dynet_text(given)))


# -------------------------------------------------------------------------------------------- Paddle


def varint(number):
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


KINDS = {"float32": 5, "float64": 6, "int64": 3, "float16": 4, "bool": 0, "int8": 21}


def paddle_bytes(array, packed=False):
    sizes = b"".join(map(varint, array.shape)) if packed else b"".join(b"\x10" + varint(size) for size in array.shape)
    message = b"\x08" + varint(KINDS[array.dtype.name]) + (b"\x12" + varint(len(sizes)) + sizes if packed else sizes)
    return struct.pack("<IQIi", 0, 0, 0, len(message)) + message + array.tobytes()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", KINDS)
def test_a_paddle_tensor_is_known_by_its_content_and_read_exactly(saved, dtype, packed):
    array = (RNG.standard_normal((300, 2)) * 50).astype(dtype)
    path = saved(paddle_bytes(array, packed), "fc_0.w_0")
    assert convert.recognise(path) is paddle
    read = paddle.tensors(path)["fc_0.w_0"]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_a_folder_of_paddle_has_the_names_of_its_files_and_a_file_of_many_their_places(saved, tmp_path, capsys):
    arrays = {"crfw": random(4, 2), "fc_0.b_0": random(3)}
    for name, array in arrays.items():
        saved(paddle_bytes(array), name)
    assert convert.recognise(tmp_path) is paddle
    read = convert.read(tmp_path)
    assert not read.layers
    for name, array in arrays.items():
        np.testing.assert_array_equal(read.rest[name], array)
    assert main(["info", str(tmp_path)]) == 0
    assert "fc_0.b_0" in capsys.readouterr().out
    both = paddle.tensors(saved(b"".join(map(paddle_bytes, arrays.values())), "__params__"))
    for place, array in enumerate(arrays.values()):
        np.testing.assert_array_equal(both[str(place)], array)


@pytest.mark.parametrize("origin_mode", [False, True])
def test_a_dynamic_gru_of_paddle_is_a_gru_that_resets_before_the_product(origin_mode):
    inputs, width = 3, 4
    given = random(inputs, 3 * width), random(3 * width), random(width, 3 * width), random(1, 3 * width)
    weight, bias, recurrent, more = (array.astype(np.float64) for array in given)
    gates = recurrent.ravel()[: 2 * width * width].reshape(width, 2 * width)
    candidate = recurrent.ravel()[2 * width * width :].reshape(width, width)
    x, h, expected = random(6, inputs), np.zeros(width), []
    for projected in x @ weight + bias + more:
        u, r = np.split(sigmoid(projected[: 2 * width] + h @ gates), 2)
        c = np.tanh(projected[2 * width :] + (r * h) @ candidate)
        h = u * h + (1 - u) * c if origin_mode else (1 - u) * h + u * c
        expected.append(h)
    gru = GRU(inputs, width, reset_after=False)
    gru.load_state_dict({f"{name}_l0": array for name, array in paddle.gru(*given, origin_mode).items()})
    np.testing.assert_allclose(gru(x)[0], expected, atol=1e-5)


def test_arrays_of_other_shapes_are_no_gru_of_paddle():
    with pytest.raises(ValueError, match=r"expected \(I, 3\*H\)"):
        paddle.gru(random(3, 12), random(12), random(4, 12), random(12))


def test_a_paddle_file_that_is_cut_off_anywhere_is_refused(saved):
    whole = paddle_bytes(random(2, 3))
    for size in range(1, len(whole)):
        with pytest.raises(ValueError, match="expected"):
            paddle.tensors(saved(whole[:size], "cut"))


@pytest.mark.parametrize(
    ("place", "byte"), [(0, 1), (4, 1), (12, 1), (16, 0), (20, 0x0D), (21, 99), (22, 0x18), (23, 0xFF)]
)
def test_a_paddle_file_with_a_wrong_byte_in_its_start_is_refused(saved, place, byte):
    data = bytearray(paddle_bytes(random(2, 3)))
    data[place] = byte
    with pytest.raises(ValueError, match="expected"):
        paddle.tensors(saved(bytes(data), "wrong"))
