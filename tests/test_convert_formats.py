"""The table of formats: models go through every pair of them, found by content, replaced in one step."""

import contextlib
import json
import pickle

import numpy as np
import pytest
from convert_tools import assert_same, gru, lstm, random_array, random_layer, random_model, run

import fastrnn
from fastrnn import convert
from fastrnn.convert import Layer, Model

MODELS = {
    "chain": random_model(
        ("Embedding", "table", 11, 5, {}),
        ("LSTM", "body", 5, 4, {"bidirectional": True, "merge": "sum"}),
        ("GRU", "tail", 4, 6, {"reset_after": False, "bias": False}),
        ("RNN", "last", 6, 3, {"nonlinearity": "sigmoid"}),
        ("Linear", "head", 3, 2, {"bias": False}),
    ),
    "stacks": random_model(
        ("LSTM", "a.b", 5, [4, 6], {"num_layers": 2, "proj_size": 3, "bidirectional": True}),
        ("GRU", "c", 5, 4, {"num_layers": 3, "dtype": "float64", "batch_first": True}),
    ),
    "plain": random_model(
        ("LSTM", "lstm_0", 5, 4, {}), ("GRU", "gru_1", 4, 3, {}), ("Linear", "dense_2", 3, 2, {})
    ),
}  # fmt: skip
TENSORS = ("npz", "safetensors")
ENDINGS = (*TENSORS, "json", "h5", "weights.h5", "keras")


@pytest.mark.parametrize("ending", TENSORS)
@pytest.mark.parametrize("name", MODELS)
def test_files_of_tensors_keep_every_option(tmp_path, name, ending):
    path = tmp_path / f"m.{ending}"
    convert.write(MODELS[name], path)
    assert_same(convert.read(path), MODELS[name])
    assert convert.written_here(path)


@pytest.mark.parametrize("second", ENDINGS)
@pytest.mark.parametrize("first", ENDINGS)
def test_a_model_goes_through_every_pair_of_formats(tmp_path, first, second):
    if "h5" in first + second or "keras" in (first, second):
        pytest.importorskip("h5py")
    one, two, back = (tmp_path / f"{name}.{ending}" for name, ending in (("1", first), ("2", second), ("3", "npz")))
    convert.write(MODELS["plain"], one)
    rows = convert.convert(one, two)
    assert len(rows) == 10 and all(row.source for row in rows)
    convert.convert(two, back)
    x = random_array(np.random.default_rng(5), 2, 7, 5)
    np.testing.assert_allclose(run(convert.read(back), x), run(MODELS["plain"], x), atol=1e-6)
    assert convert.written_here(two)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_format_is_found_by_content_whatever_the_name(tmp_path, ending):
    if "h5" in ending or ending == "keras":
        pytest.importorskip("h5py")
    convert.write(MODELS["plain"], tmp_path / f"m.{ending}")
    found = convert.recognise(tmp_path / f"m.{ending}")
    (tmp_path / f"m.{ending}").rename(tmp_path / "m.pth")
    assert convert.recognise(tmp_path / "m.pth") is found
    assert len(convert.read(tmp_path / "m.pth").layers) == 3


def test_names_and_contents_of_no_format_are_refused(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("some words")
    with pytest.raises(ValueError, match="of no format that fastrnn reads; expected one of Keras"):
        convert.read(path)
    with pytest.raises(ValueError, match=r"the name says no format; expected one that ends in .*\.npz"):
        convert.write(MODELS["plain"], path)
    with pytest.raises(ValueError, match="PyTorch files are only read"):
        convert.write(MODELS["plain"], tmp_path / "m.pt")
    with pytest.raises(FileNotFoundError, match="no such file"):
        convert.read(tmp_path / "nothing.npz")


def test_an_assumption_that_the_format_has_not_is_refused(tmp_path):
    convert.write(MODELS["plain"], tmp_path / "m.npz")
    with pytest.raises(TypeError, match="npz: nothing is left open that colour could say; expected non"):
        convert.read(tmp_path / "m.npz", colour="red")


def test_a_file_is_not_its_own_target(tmp_path):
    convert.write(MODELS["plain"], tmp_path / "m.npz")
    (tmp_path / "link.npz").symlink_to("m.npz")
    with pytest.raises(ValueError, match="is the file to convert; expected another name"):
        convert.convert(tmp_path / "m.npz", tmp_path / "link.npz")


def test_a_model_that_a_format_cannot_hold_leaves_the_old_file(tmp_path):
    for ending, layer, words in (
        ("json", ("RNN", "x", 5, 4, {}), "x: RTNeural has no RNN"),
        ("json", ("LSTM", "x", 5, 4, {"bidirectional": True}), "RTNeural has no bidirectional=True"),
        ("json", ("LSTM", "x", 5, 4, {"proj_size": 2}), "RTNeural has no proj_size=2"),
        ("json", ("GRU", "x", 5, 4, {"reset_after": False}), "RTNeural has no reset_after=False"),
        ("json", ("LSTM", "x", 5, 4, {"dtype": "float64"}), "RTNeural has no dtype='float64'"),
        ("h5", ("LSTM", "x", 5, 4, {"proj_size": 2}), "x: Keras has no projection"),
        ("keras", ("LSTM", "x", 5, 4, {"proj_size": 2}), "x: Keras has no projection"),
    ):
        path = tmp_path / f"m.{ending}"
        path.write_bytes(b"old")
        with pytest.raises(ValueError, match=words):
            convert.write(random_model(layer), path)
        assert path.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.h5", "m.json", "m.keras"]


def test_layers_that_do_not_follow_each_other_are_no_chain(tmp_path):
    model = random_model(("LSTM", "a", 5, 4, {}), ("Linear", "b", 5, 2, {}))
    for ending in ("json", "keras"):
        with pytest.raises(ValueError, match="expected a chain"):
            convert.write(model, tmp_path / f"m.{ending}")
    convert.write(model, tmp_path / "m.npz")


def test_models_are_written_only_of_layers_that_are_said_to_follow_each_other(tmp_path):
    np.savez(tmp_path / "m.npz", **MODELS["plain"].state_dict())
    with pytest.raises(ValueError, match=r"nothing says that its layers follow each other.*order=lstm_0,gru_1,dense_2"):
        convert.convert(tmp_path / "m.npz", tmp_path / "m.json")
    convert.convert(tmp_path / "m.npz", tmp_path / "again.npz")
    with pytest.raises(ValueError, match="order is 'lstm_0,gru_1'; expected all of lstm_0, gru_1, dense_2"):
        convert.read(tmp_path / "m.npz", order="lstm_0,gru_1")
    convert.convert(tmp_path / "m.npz", tmp_path / "m.json", order="lstm_0,gru_1,dense_2")
    x = random_array(np.random.default_rng(5), 2, 7, 5)
    np.testing.assert_allclose(run(convert.read(tmp_path / "m.json"), x), run(MODELS["plain"], x), atol=1e-6)


def test_layers_that_are_wrong_are_refused_by_name():
    good = random_layer("LSTM", "x", 5, 4)
    for changes, words in (
        ({"kind": "Conv"}, "x: a layer of kind Conv; expected one of LSTM"),
        ({"options": {"reset_after": True}}, "x: LSTM has no option reset_after"),
        ({"tensors": {**good.tensors, "weight_hr_l0": np.ones((2, 2))}}, "unexpected tensor of LSTM"),
        ({"options": {"bias": False}}, "x.bias_ih_l0 .*unexpected tensor"),
        ({"options": {"dtype": "float64"}}, "is float32; expected one dtype"),
    ):
        with pytest.raises(ValueError, match=words):
            Layer(**{**vars(good), **changes}).check()
    with pytest.raises(ValueError, match="two layers are called 'x'"):
        Model([good, good], "").check()


# ---------------------------------------------------------------------------------- safetensors, RTNeural


def test_character_models_are_read_without_their_training(tmp_path):
    from charlm_tools import trained

    trainer = trained(steps=3)
    trainer.save(tmp_path / "m.safetensors")
    model = convert.read(tmp_path / "m.safetensors")
    assert [(layer.kind, layer.name) for layer in model.layers] == [("LSTM", "recurrent"), ("Linear", "head")]
    assert not model.rest
    theirs = trainer.model.recurrent.state_dict()
    for name, array in model.layers[0].tensors.items():
        np.testing.assert_array_equal(array, theirs[name])


def test_a_damaged_record_is_refused(tmp_path):
    import safetensors.numpy

    tensors = fastrnn.Linear(3, 2, seed=0).state_dict()
    for record in (
        "{",
        "[]",
        '{"layers": [{"kind": "Conv", "name": "", "options": {}}], "notes": {}, "chain": true}',
        '{"layers": [{"kind": "Linear", "name": "", "options": {"bias": [1]}}], "notes": {}, "chain": true}',
        '{"layers": [], "notes": [], "chain": true}',
    ):
        safetensors.numpy.save_file(tensors, tmp_path / "m.safetensors", {"fastrnn": record})
        with pytest.raises(ValueError, match="the record 'fastrnn'"):
            convert.read(tmp_path / "m.safetensors")


def rtneural(path, *layers):
    """Layers of (type, activation, width, *arrays) as RTNeural's scripts save them."""
    saved = []
    for kind, activation, width, *arrays in layers:
        weights = [one.tolist() for one in arrays]
        saved.append({"type": kind, "activation": activation, "shape": [None, None, width], "weights": weights})
    path.write_text(json.dumps({"in_shape": [None, None, 5], "layers": saved}))
    return path


def test_rtneural_s_arrays_are_keras_s(tmp_path):
    rng = np.random.default_rng(0)
    first = [random_array(rng, *shape) for shape in ((5, 16), (4, 16), (16,))]
    second = [random_array(rng, *shape) for shape in ((4, 9), (3, 9), (2, 9))]
    dense, bias = random_array(rng, 3, 2), random_array(rng, 2)
    path = tmp_path / "m.json"
    rtneural(path, ("lstm", "tanh", 4, *first), ("gru", "", 3, *second), ("dense", "relu", 2, dense, bias))
    model = convert.read(path)
    x = random_array(rng, 2, 7, 5)
    wanted = gru(lstm(x, *first), *second, after=True) @ dense + bias
    np.testing.assert_allclose(run(model, x), wanted, atol=1e-6)
    assert model.notes == {"dense_2.activation": "relu"}
    convert.write(model, tmp_path / "again.json")
    again, saved = (json.loads(one.read_text())["layers"] for one in (tmp_path / "again.json", path))
    assert [{**one, "activation": one["activation"] or "tanh"} for one in saved] == again


def test_rtneural_s_other_layers_and_wrong_shapes(tmp_path):
    path, bias = tmp_path / "m.json", np.zeros(16)
    model = convert.read(rtneural(path, ("conv1d", "", 4, np.ones((3, 5, 4))), ("dense", "", 2, np.ones((4, 2)))))
    assert list(model.rest) == ["layers[0].weights[0] of conv1d"]
    for layer, words in (
        (("lstm", "", 3, np.ones((5, 16)), np.ones((4, 16)), bias), "lstm_0: 4 units, but shape"),
        (("lstm", "relu", 4, np.ones((5, 16)), np.ones((4, 16)), bias), "lstm_0: activation 'relu'; expected tanh"),
        (("lstm", "", 4, np.ones((5, 15)), np.ones((4, 16)), bias), "lstm_0: kernel and recurrent_kernel have shapes"),
        (("gru", "", 4, np.ones((5, 12)), np.ones((4, 12)), np.ones(12)), r"shape \(12,\); expected \(2, 12\)"),
        (("gru", "", 4, np.ones((5, 12))), "gru_0: number of arrays is 1; expected 3: kernel"),
    ):
        with pytest.raises(ValueError, match=words):
            convert.read(rtneural(path, layer))


def test_rtneural_takes_a_state_dict_of_pytorch_s(tmp_path):
    stack = fastrnn.GRU(5, 4, 3, seed=0)
    path = tmp_path / "m.json"
    path.write_text(json.dumps({f"gru.{name}": array.tolist() for name, array in stack.state_dict().items()}))
    model = convert.read(path)
    layer = model.layers[0]
    assert (layer.kind, layer.name, layer.options) == ("GRU", "gru", {"num_layers": 3})
    np.testing.assert_array_equal(model.build()["gru"].flat_params, stack.flat_params)


# ------------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_cut_off_anywhere_are_a_clean_error(tmp_path, ending):
    if "h5" in ending or ending == "keras":
        pytest.importorskip("h5py")
    path = tmp_path / f"m.{ending}"
    convert.write(MODELS["plain"], path)
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=str(path)):
            convert.read(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_bytes_changed_anywhere_are_an_error_of_ours_or_other_numbers(tmp_path, ending):
    if "h5" in ending or ending == "keras":
        pytest.importorskip("h5py")
    path = tmp_path / f"m.{ending}"
    convert.write(MODELS["plain"], path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(len(whole), size=20):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        with contextlib.suppress(RefusedError):
            read_or_refuse(path)
            refused -= 1
        refused += 1
    assert refused


class RefusedError(Exception):
    """A file was refused with a message that names it."""


def read_or_refuse(path):
    try:
        convert.read(path)
    except ValueError as error:
        if str(path) not in str(error):
            raise AssertionError("the file is not named") from error
        raise RefusedError from error


def test_pickles_are_refused_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Evil()))
    np.savez(tmp_path / "m.npz", weight=np.array([Evil()], dtype=object))
    for name in ("m.pkl", "m.npz"):
        with pytest.raises(ValueError, match="pickle, which could run code when it is read"):
            convert.read(tmp_path / name)
    assert not (tmp_path / "ran").exists()
