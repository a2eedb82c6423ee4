"""`fastrnn convert` and `fastrnn info` as a user types them."""

import json
import os

import numpy as np
import pytest
from charlm_tools import save_model
from convert_tools import assert_same, random_array, random_model

import fastrnn
from fastrnn import convert
from fastrnn.cli import main

MODEL = random_model(("LSTM", "body", 5, 4, {"bidirectional": True, "merge": "sum"}), ("Linear", "head", 4, 2, {}))


def call(capsys, *words):
    code = main.main([str(word) for word in words])
    return (code, *capsys.readouterr())


@pytest.fixture
def source(folder):
    convert.write(MODEL, folder / "in.npz")
    return folder


def test_every_tensor_is_shown_from_to_shape(source, capsys):
    code, out, err = call(capsys, "convert", "in.npz", "out.safetensors")
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{name} -> {name} {array.shape}" for name, array in MODEL.state_dict().items()]
    assert_same(convert.read("out.safetensors"), MODEL)


def test_a_model_of_the_command_s_own_is_converted(folder, capsys):
    model, _ = save_model(folder / "m.safetensors", cell="gru")
    assert call(capsys, "convert", "m.safetensors", "m.json")[0] == 0
    assert [layer.kind for layer in convert.read("m.json").layers] == ["GRU", "Linear"]
    code, out, _ = call(capsys, "convert", "m.safetensors", "m.npz")
    assert code == 0
    assert "recurrent.weight_ih_l0 -> recurrent.weight_ih_l0 (48, 14)" in out
    with np.load("m.npz") as file:
        np.testing.assert_array_equal(file["head.weight"], model.head.params["weight"])
    save_model(folder / "u.safetensors", cell="ugrnn")
    code, _, err = call(capsys, "convert", "u.safetensors", "u.npz")
    assert code == 1
    assert "u.safetensors: a character model with cell 'ugrnn', which other systems have not" in err


def test_what_is_in_the_way_is_kept_unless_the_command_wrote_it(source, capsys):
    (source / "out.npz").write_bytes(b"precious")
    assert call(capsys, "convert", "in.npz", "out.npz")[2] == "kept the earlier out.npz as out.npz.previous\n"
    assert (source / "out.npz.previous").read_bytes() == b"precious"
    assert call(capsys, "convert", "in.npz", "out.npz")[::2] == (0, "")
    assert sorted(os.listdir()) == ["in.npz", "out.npz", "out.npz.previous", "text.txt"]


def test_nothing_is_written_where_something_is_wrong(source, capsys):
    np.savez("odd.npz", **MODEL.state_dict(), gamma=np.ones(4, "f"))
    np.savez("tf.npz", **{"lstm_cell/kernel": np.ones((9, 16), "f"), "lstm_cell/bias": np.ones(16, "f")})
    (source / "link.npz").symlink_to("in.npz")
    before = sorted(os.listdir())
    for words, message in (
        (["in.npz", "in.npz"], "in.npz: the converted model would go there, which is the input in.npz"),
        (["in.npz", "link.npz"], "which is the input in.npz; expected another OUT"),
        (["in.npz", "out.txt"], "out.txt: the name says no format; expected one that ends in"),
        (["in.npz", "out.pt"], "out.pt: PyTorch files are only read"),
        (["in.npz", "no/out.h5"], "no/out.h5: cannot be written there: no such folder"),
        (["none.npz", "out.h5"], "none.npz: no such file"),
        (["text.txt", "out.h5"], "text.txt: of no format that fastrnn reads"),
        (["odd.npz", "out.safetensors"], "odd.npz: 1 tensor of layers that fastrnn has not: gamma; expected none, or"),
        (["in.npz", "out.json"], "in.npz: body: RTNeural has no bidirectional=True"),
        (["in.npz", "out.npz", "--assume", "merge"], "--assume is 'merge'; expected NAME=VALUE"),
        (["in.npz", "out.npz", "--assume", "a=1", "--assume", "a=2"], "--assume says a twice"),
        (["in.npz", "out.npz", "--assume", "colour=red"], "nothing is left open that colour could say"),
        (["tf.npz", "out.npz"], "expected forget_bias=1.0 or another number"),
    ):
        code, out, err = call(capsys, "convert", *words)
        assert (code, out) == (1, "")
        assert message in err and err.count("\n") == 1
        assert sorted(os.listdir()) == before


def test_tensors_of_other_layers_may_be_left_out(source, capsys):
    np.savez("odd.npz", **MODEL.state_dict(), gamma=np.ones(4, "f"))
    code, out, _ = call(capsys, "convert", "odd.npz", "out.safetensors", "--leave-out")
    assert code == 0
    assert out.splitlines()[-1] == "gamma -> left out"


def test_what_a_file_leaves_open_may_be_said(source, capsys):
    lstm = {"lstm_cell/kernel": np.ones((9, 16), "f"), "lstm_cell/bias": np.zeros(16, "f")}
    np.savez("tf.npz", **lstm)
    assert call(capsys, "convert", "tf.npz", "out.npz", "--assume", "forget_bias=1")[0] == 0
    assert convert.read("out.npz").layers[0].tensors["bias_ih_l0"].tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    np.savez("rnn.npz", **fastrnn.RNN(3, 2, seed=0).state_dict())
    assert "nonlinearity='relu'" in call(capsys, "info", "rnn.npz", "--assume", "nonlinearity=relu")[1]


def test_a_layer_without_a_name_may_be_said_to_be_all(source, capsys):
    pytest.importorskip("h5py")
    alone = random_model(("LSTM", "", 5, 4, {}))
    alone.chain = False
    convert.write(alone, "alone.npz")
    assert "expected that it is said: order=\n" in call(capsys, "convert", "alone.npz", "out.keras")[2]
    assert call(capsys, "convert", "alone.npz", "out.keras", "--assume", "order=")[0] == 0
    code, _, err = call(capsys, "convert", "out.keras", "out.npz", "--assume", "reset_after=no")
    assert (code, err) == (1, "fastrnn: reset_after is 'no'; expected true or false\n")


def test_info_shows_files_of_other_systems(source, capsys):
    np.savez("odd.npz", **MODEL.state_dict(), gamma=np.ones(4, "f"))
    code, out, _ = call(capsys, "info", "odd.npz")
    assert code == 0
    assert [line.split(maxsplit=1) for line in out.splitlines()[:4]] == [
        ["format", "npz"],
        ["layer", "body: LSTM(5, 4, bidirectional=True)"],
        ["layer", "head: Linear(4, 2)"],
        ["parameters", "362"],
    ]
    assert out.splitlines()[-1].split(maxsplit=2) == ["not", "read", "gamma (4,)"]
    assert call(capsys, "convert", "in.npz", "state.safetensors")[0] == 0
    assert "merge='sum'" in call(capsys, "info", "state.safetensors")[1]
    layers = [{"type": "dense", "activation": "relu", "shape": [None, 2], "weights": [[[1, 2]]]}]
    (source / "m.json").write_text(json.dumps({"in_shape": [None, 1], "layers": layers}))
    assert "dense_0.activation: relu" in call(capsys, "info", "m.json")[1]


def test_info_refuses_damage(source, capsys):
    (source / "cut.npz").write_bytes((source / "in.npz").read_bytes()[:-40])
    code, out, err = call(capsys, "info", "cut.npz")
    assert (code, out) == (1, "")
    assert "cut.npz: " in err and err.count("\n") == 1


def test_keras_files_need_h5py_and_say_where_it_is_to_be_had(source, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    for words in (["in.npz", "out.h5"], ["in.npz", "out.keras"]):
        code, _, err = call(capsys, "convert", *words)
        assert code == 1
        assert "pip install 'fastrnn[convert]'" in err
    assert not (source / "out.h5").exists()


def test_convert_goes_to_keras_and_back(source, capsys):
    pytest.importorskip("h5py")
    for target in ("m.h5", "m.weights.h5", "m.keras"):
        code, out, _ = call(capsys, "convert", "in.npz", target)
        assert code == 0
        code, out, _ = call(capsys, "convert", target, "back.npz")
        assert code == 0
        assert "kernel" in out or "vars/0" in out
        x = random_array(np.random.default_rng(0), 7, 2, 5)
        ours, theirs = (next(iter(convert.read(name).build().values())) for name in ("in.npz", "back.npz"))
        np.testing.assert_allclose(theirs(x)[0], ours(x)[0], atol=1e-6)
