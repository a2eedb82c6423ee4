"""NumPy's npz under three systems' names, and TensorFlow 1's cells against its equations."""

import numpy as np
import pytest
from convert_tools import assert_same, gru_of_tf1, lstm_of_tf1, random_array, random_model, run

import fastrnn
from fastrnn import convert

I, H = 5, 4  # noqa: E741
RNG = np.random.default_rng(3)
X = random_array(RNG, 2, 6, I)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_a_layer_s_own_state_dict_and_a_module_s(tmp_path):
    lstm = fastrnn.LSTM(I, H, 2, bidirectional=True, proj_size=3, seed=0)
    model = convert.read(save(tmp_path / "own.npz", **lstm.state_dict()))
    assert model.layers[0].options == {"num_layers": 2, "bidirectional": True, "proj_size": 3}
    y = lstm(X.swapaxes(0, 1).copy())[0].swapaxes(0, 1)
    np.testing.assert_array_equal(run(model, X), y)
    prefixed = {f"encoder.rnn.{name}": array for name, array in lstm.state_dict().items()}
    assert convert.read(save(tmp_path / "module.npz", **prefixed)).layers[0].name == "encoder.rnn"


def test_short_names_mean_pytorch_s(tmp_path):
    gru = {
        name: random_array(RNG, *shape)
        for name, shape in {"w_ih": (12, I), "w_hh": (12, H), "b_ih": (12,), "b_hh": (12,)}.items()
    }
    table, w, b = random_array(RNG, 9, I), random_array(RNG, 3, H), random_array(RNG, 3)
    arrays = {"enc_emb": table, **{f"enc_{name}": array for name, array in gru.items()}, "fc_w": w, "fc_b": b}
    model = convert.read(save(tmp_path / "short.npz", **arrays))
    assert [(layer.kind, layer.name) for layer in model.layers] == [
        ("Embedding", "enc_emb"), ("GRU", "enc"), ("Linear", "fc"),
    ]  # fmt: skip
    assert [row.source for row in model.rows()] == list(arrays)
    assert convert.read(save(tmp_path / "bare.npz", **gru)).layers[0].name == ""
    with pytest.raises(ValueError, match=r"enc_emb: means enc_emb.weight, which is there as well"):
        convert.read(save(tmp_path / "double.npz", **{"enc_emb": table, "enc_emb.weight": table}))


def test_one_matrix_alone_is_an_embedding_unless_it_is_said(tmp_path):
    path = save(tmp_path / "m.npz", **{"head.weight": random_array(RNG, 3, H)})
    assert convert.read(path).layers[0].kind == "Embedding"
    layer = convert.read(path, linear="head").layers[0]
    assert (layer.kind, layer.options) == ("Linear", {"bias": False})
    with pytest.raises(ValueError, match="there is no layer 'other'"):
        convert.read(path, linear="head,other")


def test_an_rnn_s_nonlinearity_may_be_said(tmp_path):
    path = save(tmp_path / "m.npz", **fastrnn.RNN(I, H, nonlinearity="relu", seed=0).state_dict())
    assert convert.read(path).layers[0].options == {}
    assert convert.read(path, nonlinearity="relu").layers[0].options == {"nonlinearity": "relu"}


def test_a_ugrnn_and_other_numbers_of_gates_are_refused(tmp_path):
    path = save(tmp_path / "m.npz", **fastrnn.UGRNN(I, H, seed=0).state_dict())
    with pytest.raises(ValueError, match="weight_hh has 8 rows for 4 units; expected 4"):
        convert.read(path)


def test_unused_missing_and_misshaped_tensors_are_errors_by_name(tmp_path):
    lstm = fastrnn.LSTM(I, H, seed=0).state_dict()
    target = tmp_path / "out.safetensors"
    convert.convert(save(tmp_path / "m.npz", **lstm), target)
    missing = {name: array for name, array in lstm.items() if name != "bias_hh_l0"}
    for arrays, words in (
        ({**lstm, "norm.gamma": np.ones(3, "f")}, "1 tensor of layers that fastrnn has not: norm.gamma;"),
        ({**lstm, "step": np.int64(3)}, "not: step;"),
        (missing, r"bias_hh_l0: no such tensor in the file; expected shape \(16,\)"),
        ({**lstm, "weight_ih_l0": lstm["weight_ih_l0"][:12]}, r"weight_ih_l0 .*shape \(12, 5\); expected \(16, 5\)"),
        ({**lstm, "weight_hr_l0": np.ones((2, H), "f")}, r"weight_hh_l0 .*has shape \(16, 4\); expected \(16, 2\)"),
        ({**lstm, "weight_ih_l7": lstm["weight_ih_l0"]}, "a tensor of layer 7, but 5 tensors"),
        ({**lstm, "weight_ih_l9999": lstm["weight_ih_l0"]}, "a tensor of layer 9999, but 5 tensors"),
        ({**lstm, "bias_ih_l0": lstm["bias_ih_l0"].astype("float64")}, "bias_ih_l0 .*is float64; expected one dtype"),
        ({name: array.astype("float16") for name, array in lstm.items()}, "is float16; expected one dtype"),
        ({**lstm, "bias_ih": lstm["bias_ih_l0"]}, "under two names"),
    ):
        before = target.read_bytes()
        with pytest.raises(ValueError, match=words):
            convert.convert(save(tmp_path / "m.npz", **arrays), target)
        assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_float64_stays(tmp_path):
    lstm = fastrnn.LSTM(I, H, dtype="float64", seed=0)
    model = convert.read(save(tmp_path / "m.npz", **lstm.state_dict()))
    assert next(iter(model.build().values())).dtype == np.float64
    convert.write(model, tmp_path / "m.safetensors")
    assert_same(model, convert.read(tmp_path / "m.safetensors"))


# ------------------------------------------------------------------------------------------ TensorFlow 1


def test_tensorflow_1_s_lstm_adds_its_forget_bias_at_run_time(tmp_path):
    kernel, bias = random_array(RNG, I + H, 4 * H), random_array(RNG, 4 * H)
    scope = "rnn/multi_rnn_cell/cell_0/basic_lstm_cell"
    path = save(tmp_path / "m.npz", **{f"{scope}/kernel:0": kernel, f"{scope}/bias:0": bias})
    for forget_bias in (0.0, 1.0, 2.5):
        model = convert.read(path, forget_bias=forget_bias)
        np.testing.assert_allclose(run(model, X), lstm_of_tf1(X, kernel, bias, forget_bias), atol=1e-6)
    assert model.layers[0].name == scope.replace("/", ".")
    with pytest.raises(ValueError, match=r"which no file says; expected forget_bias=1\.0 or another number"):
        convert.read(path)


def test_tensorflow_1_s_gru_resets_before_the_product(tmp_path):
    gates, candidate = random_array(RNG, I + H, 2 * H), random_array(RNG, I + H, H)
    bias, other = random_array(RNG, 2 * H), random_array(RNG, H)
    names = ("gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias")
    arrays = dict(zip((f"rnn/gru_cell/{name}" for name in names), (gates, bias, candidate, other), strict=True))
    model = convert.read(save(tmp_path / "m.npz", **arrays))
    assert model.layers[0].options == {"reset_after": False}
    np.testing.assert_allclose(run(model, X), gru_of_tf1(X, gates, bias, candidate, other), atol=1e-6)
    del arrays["rnn/gru_cell/candidate/kernel"], arrays["rnn/gru_cell/candidate/bias"]
    with pytest.raises(ValueError, match="a GRUCell without rnn/gru_cell/candidate"):
        convert.read(save(tmp_path / "m.npz", **arrays))


def test_names_that_say_no_cell_need_it_said(tmp_path):
    kernel, bias = random_array(RNG, I + H, 4 * H), random_array(RNG, 4 * H)
    path = save(tmp_path / "m.npz", kernel=kernel, bias=bias)
    with pytest.raises(ValueError, match="its name says no cell"):
        convert.read(path)
    assert convert.read(path, kind="dense").layers[0].kind == "Linear"
    assert convert.read(path, forget_bias=1.0).layers[0].kind == "LSTM"
    one = save(tmp_path / "one.npz", kernel=kernel[:, :H], bias=bias[:H])
    assert convert.read(one, kind="rnn").layers[0].kind == "RNN"
    with pytest.raises(ValueError, match="kind is 'gru'; expected one of lstm, rnn, dense"):
        convert.read(path, kind="gru")


def test_tensorflow_1_s_other_cells_are_refused(tmp_path):
    kernel, bias = random_array(RNG, I + H, 4 * H), random_array(RNG, 4 * H)
    for arrays, words in (
        ({"ugrnn_cell/kernel": kernel, "ugrnn_cell/bias": bias}, "a cell that is not read"),
        (
            {"lstm_cell/kernel": kernel, "lstm_cell/bias": bias, "lstm_cell/projection/kernel": kernel},
            "with a projection",
        ),
        ({"lstm_cell/kernel": kernel}, "only kernel; expected kernel and bias"),
        ({"lstm_cell/kernel": kernel[:, 1:], "lstm_cell/bias": bias}, r"expected \(I\+H, 4\*H\) and \(4\*H,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            convert.read(save(tmp_path / "m.npz", **arrays), forget_bias=1.0)
    peepholes = {"lstm_cell/kernel": kernel, "lstm_cell/bias": bias, "lstm_cell/w_f_diag": bias[:H]}
    assert list(convert.read(save(tmp_path / "m.npz", **peepholes), forget_bias=1.0).rest) == ["lstm_cell/w_f_diag"]


def test_what_is_written_is_known_as_written(tmp_path):
    model = random_model(("LSTM", "body", I, H, {}), ("Linear", "head", H, 3, {"bias": False}))
    convert.write(model, tmp_path / "m.npz")
    assert convert.written_here(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as file:
        assert list(file) == [f"body.{name}" for name in model.layers[0].tensors] + ["head.weight"]
    assert not convert.written_here(save(tmp_path / "other.npz", **model.state_dict()))
    assert_same(convert.read(tmp_path / "m.npz"), model)
