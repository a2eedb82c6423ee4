"""Layouts of Keras 2 and of tf.keras, made by h5py as those versions wrote them, against the equations in NumPy."""

import json

import numpy as np
import pytest
from convert_tools import gru, lstm, random_array, run

from fastrnn import convert

h5py = pytest.importorskip("h5py")

I, H = 5, 4  # noqa: E741
X = random_array(np.random.default_rng(7), 2, 6, I)


def arrays(gates, seed=0, bias_shape=None):
    rng = np.random.default_rng(seed)
    rows = gates * H
    return [random_array(rng, I, rows), random_array(rng, H, rows), random_array(rng, *(bias_shape or (rows,)))]


def save(path, layers, version="2.6.0", config=None, pieces=False):
    """An .h5 file; `layers` is {name: {weight name: array}}."""
    with h5py.File(path, "w") as file:
        group = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
            group = file.create_group("model_weights")
        group.attrs["keras_version"] = np.bytes_(version)
        names = [name.encode() for name in layers]
        if pieces:  # as Keras does where an attribute would be longer than HDF5 allows
            group.attrs["layer_names0"], group.attrs["layer_names1"] = names[:1], names[1:]
        else:
            group.attrs["layer_names"] = names
        for name, weights in layers.items():
            own = group.create_group(name)
            own.attrs["weight_names"] = [one.encode() for one in weights]
            for one, array in weights.items():
                own.create_dataset(one, data=array)
    return path


def named(folder, values):
    names = (f"{folder}/{name}:0" for name in ("kernel", "recurrent_kernel", "bias"))
    return dict(zip(names, values, strict=True))


def test_weights_of_either_depth_of_names(tmp_path):
    """`lstm/kernel:0` of Keras 2, `lstm_1/lstm_cell_3/kernel:0` of tf.keras."""
    values = arrays(4)
    for folder in ("lstm_1", "lstm_1/lstm_cell_3", "sequential/lstm_1/lstm_cell"):
        path = save(tmp_path / "weights.h5", {"input_1": {}, "lstm_1": named(folder, values)}, pieces=True)
        model = convert.read(path)
        assert [(layer.kind, layer.name) for layer in model.layers] == [("LSTM", "lstm_1")]
        np.testing.assert_allclose(run(model, X), lstm(X, *values), atol=1e-6)
        assert model.layers[0].sources["weight_hh_l0"] == f"lstm_1/{folder}/recurrent_kernel:0"


@pytest.mark.parametrize("after", [False, True])
def test_a_gru_s_form_is_in_its_bias(tmp_path, after):
    values = arrays(3, bias_shape=(2, 3 * H) if after else None)
    model = convert.read(save(tmp_path / "weights.hdf5", {"gru": named("gru/gru_cell", values)}))
    assert model.layers[0].options == ({} if after else {"reset_after": False})
    np.testing.assert_allclose(run(model, X), gru(X, *values, after=after), atol=1e-6)


def test_two_directions_by_their_folders(tmp_path):
    forward, backward = arrays(4, 1), arrays(4, 2)
    weights = {
        **named("both/forward_lstm/lstm_cell_1", forward),
        **named("both/backward_lstm/lstm_cell_2", backward),
    }
    model = convert.read(save(tmp_path / "weights.h5", {"both": weights}), merge="sum")
    wanted = lstm(X, *forward) + lstm(X[:, ::-1], *backward)[:, ::-1]
    np.testing.assert_allclose(run(model, X), wanted, atol=1e-6)
    assert convert.read(tmp_path / "weights.h5").layers[0].options == {"bidirectional": True}


@pytest.mark.parametrize(("gates", "name"), [(4, "cu_dnnlstm"), (3, "cu_dnngru")])
def test_cudnn_s_kernels_lie_transposed_gate_by_gate(tmp_path, gates, name):
    kernel, recurrent, _ = arrays(gates)
    two = random_array(np.random.default_rng(5), 2, gates * H)

    def laid_out(matrix):
        """What cuDNN keeps for Keras's matrix: each gate as (H, inputs), in that order of memory."""
        return np.hstack([gate.T.ravel().reshape(gate.shape) for gate in np.split(matrix, gates, axis=1)])

    weights = named(name, [laid_out(kernel), laid_out(recurrent), two.ravel()])
    model = convert.read(save(tmp_path / "weights.h5", {name: weights}, version="2.1.5"))
    wanted = lstm(X, kernel, recurrent, two.sum(0)) if gates == 4 else gru(X, kernel, recurrent, two, after=True)
    np.testing.assert_allclose(run(model, X), wanted, atol=1e-6)


def test_weights_from_before_sigmoid_was_the_default_need_it_said(tmp_path):
    values = arrays(4)
    path = save(tmp_path / "weights.h5", {"lstm": named("lstm", values)}, version="2.2.4-tf")
    with pytest.raises(ValueError, match=r"hard_sigmoid .* recurrent_activation=sigmoid"):
        convert.read(path)
    model = convert.read(path, recurrent_activation="sigmoid")
    np.testing.assert_allclose(run(model, X), lstm(X, *values), atol=1e-6)
    with pytest.raises(ValueError, match="recurrent_activation is 'relu'; expected only sigmoid"):
        convert.read(path, recurrent_activation="relu")


def model_config(class_name, **options):
    """A configuration of Keras 2.1, whose Sequential is a list."""
    config = {"name": "one", "units": H, "activation": "tanh", "recurrent_activation": "sigmoid", **options}
    return {"class_name": "Sequential", "config": [{"class_name": class_name, "config": config}]}


def test_an_old_model_s_configuration_says_its_options(tmp_path):
    values = arrays(3)
    path = tmp_path / "model.h5"
    save(path, {"one": named("one", values)}, "2.1.5", model_config("GRU"))
    np.testing.assert_allclose(run(convert.read(path), X), gru(X, *values), atol=1e-6)
    save(path, {"one": named("one", values)}, "2.1.5", model_config("GRU", recurrent_activation="hard_sigmoid"))
    with pytest.raises(ValueError, match="one: recurrent_activation 'hard_sigmoid' of GRU; expected sigmoid"):
        convert.read(path)
    save(path, {"one": named("one", values)}, "2.6.0", model_config("GRU", reset_after=True))
    with pytest.raises(ValueError, match=r"one: reset_after is True, but bias has shape \(12,\)"):
        convert.read(path)


def test_layers_that_fastrnn_has_not_are_left_over_by_name(tmp_path):
    layers = {
        "attention": {"attention/attention_W:0": random_array(np.random.default_rng(0), 4, 1)},
        "conv": {"conv/kernel:0": np.zeros((3, 4, 4), "f"), "conv/bias:0": np.zeros(4, "f")},
        "norm": {"norm/gamma:0": np.ones(4, "f")},
        "table": {"table/embeddings:0": random_array(np.random.default_rng(1), 9, 4)},
        "head": {"head/kernel:0": random_array(np.random.default_rng(2), 4, 3), "head/bias:0": np.zeros(3, "f")},
    }
    model = convert.read(save(tmp_path / "weights.h5", layers))
    assert [(layer.kind, layer.name) for layer in model.layers] == [("Embedding", "table"), ("Linear", "head")]
    wanted = {"attention/attention/attention_W:0", "conv/conv/kernel:0", "conv/conv/bias:0", "norm/norm/gamma:0"}
    assert set(model.rest) == wanted


@pytest.mark.parametrize("root", ["layers", "_layer_checkpoint_dependencies"])
def test_new_files_of_weights_have_numbers_for_names(tmp_path, root):
    values, path = arrays(4), tmp_path / "m.weights.h5"
    with h5py.File(path, "w") as file:
        for number, array in enumerate(values):
            file[f"{root}/lstm_3/cell/vars/{number}"] = array
        file[f"{root}/dropout/seed_generator/vars/0"] = np.zeros(2, "uint32")
        file["optimizer/vars/0"] = np.ones(3, "f")
    model = convert.read(path)
    assert [(layer.kind, layer.name) for layer in model.layers] == [("LSTM", "lstm_3")]
    assert model.notes["optimizer"] == "its state is left out" and not model.rest
    np.testing.assert_allclose(run(model, X), lstm(X, *values), atol=1e-6)
    with h5py.File(path, "a") as file:
        file["vars/0"] = np.ones(3, "f")  # a weight of the model's own
    assert list(convert.read(path).rest) == ["vars/0"]


def test_hdf5_files_of_others_are_refused(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["data"] = np.ones(3)
    with pytest.raises(ValueError, match="an HDF5 file, but not one of Keras"):
        convert.read(tmp_path / "m.h5")


def test_wrong_shapes_are_named(tmp_path):
    kernel, recurrent, bias = arrays(4)
    for values, words in (
        ([kernel[:, :-1], recurrent, bias], "kernel and recurrent_kernel have shapes"),
        ([kernel, recurrent, bias[:-1]], "bias_ih_l0"),
        ([kernel, recurrent, np.full_like(bias, np.nan)], "not finite"),
    ):
        path = save(tmp_path / "weights.h5", {"lstm": named("lstm", values)})
        with pytest.raises(ValueError, match=words):
            convert.read(path)
