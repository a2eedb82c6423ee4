"""What is said of a file is held against what the file says, and guesses are notes; small files of other systems."""

import json

import numpy as np
import pytest
from convert_tools import assert_same, random_model

import fastrnn
from fastrnn import convert

LSTM, GRU, RNN = (one(3, 4, seed=0).state_dict() for one in (fastrnn.LSTM, fastrnn.GRU, fastrnn.RNN))


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_an_assumption_of_no_layer_is_an_error(tmp_path):
    path = save(tmp_path / "m.npz", **LSTM)
    for said, words in (
        ({"nonlinearity": "relu"}, "nonlinearity is said, but there is no RNN in the file"),
        ({"merge": "sum"}, "merge is said, but there is no layer of two directions"),
        ({"forget_bias": 1.0}, "forget_bias is said, but there is no LSTM cell of TensorFlow 1"),
        ({"kind": "rnn"}, "kind is said, but there is no kernel of the kind rnn"),
    ):
        with pytest.raises(ValueError, match=words):
            convert.read(path, **said)


def test_an_assumption_that_the_file_contradicts_is_an_error(tmp_path):
    rnn = ("RNN", "body", 3, 4, {"nonlinearity": "relu", "bidirectional": True, "merge": "sum"})
    convert.write(random_model(rnn, ("Embedding", "table", 5, 3, {})), tmp_path / "m.npz")
    for said, words in (
        ({"nonlinearity": "tanh"}, "body: nonlinearity is said to be tanh, and the file says relu"),
        ({"merge": "mul"}, "body: merge is said to be mul, and the file says sum"),
        ({"linear": "table"}, r"linear is table, which is Embedding\(5, 3\) in the file"),
        ({"linear": "body"}, "linear is body, which is RNN"),
    ):
        with pytest.raises(ValueError, match=words):
            convert.read(tmp_path / "m.npz", **said)
    assert convert.read(tmp_path / "m.npz", nonlinearity="relu", merge="sum").layers


def test_values_that_fastrnn_has_not_are_refused(tmp_path):
    path = save(tmp_path / "m.npz", **RNN)
    for said, words in (
        ({"nonlinearity": "swish"}, "nonlinearity is 'swish'; expected one of tanh, relu, sigmoid"),
        ({"merge": 3}, "merge is 3; expected one of concat, sum, mul, ave"),
        ({"forget_bias": "one"}, "forget_bias is 'one'; expected a number"),
        ({"forget_bias": True}, "forget_bias is True; expected a number"),
        ({"linear": 5.0}, "linear is 5.0; expected names of layers"),
        ({"order": 3}, "order is 3; expected names of layers"),
    ):
        with pytest.raises(ValueError, match=words):
            convert.read(path, **said)
    assert convert.read(save(tmp_path / "two.npz", **{"0.weight_ih": RNN["weight_ih_l0"]} | {
        "0.weight_hh": RNN["weight_hh_l0"], "1.weight": np.ones((2, 4), "f"), "1.bias": np.ones(2, "f"),
    }), order=["0", "1"]).chain  # fmt: skip


@pytest.mark.parametrize("value", ["no", "maybe", "1", 1, 0.0])
def test_reset_after_is_true_or_false_and_nothing_else(tmp_path, value):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layers/gru/cell/vars/0"], file["layers/gru/cell/vars/1"] = np.ones((3, 12), "f"), np.ones((4, 12), "f")
    with pytest.raises(ValueError, match=f"reset_after is {value!r}; expected true or false"):
        convert.read(tmp_path / "m.weights.h5", reset_after=value)
    for word in ("true", "False", True):
        options = convert.read(tmp_path / "m.weights.h5", reset_after=word).layers[0].options
        assert options.get("reset_after", True) is (str(word).lower() == "true")


def test_guesses_are_notes(tmp_path):
    path = save(tmp_path / "m.npz", **{f"body.{name}": array for name, array in RNN.items()}, **{"t.weight": np.eye(3)})
    notes = convert.read(path).notes
    assert notes["body.nonlinearity"].startswith("tanh, assumed")
    assert notes["t"] == "an Embedding, assumed of a matrix alone: linear=t says a Linear"
    assert not convert.read(path, nonlinearity="tanh", linear="t").notes


# --------------------------------------------------------------------------------------- one layer alone


@pytest.mark.parametrize("ending", ["npz", "safetensors", "json"])
def test_one_layer_alone_in_a_file_of_tensors_is_a_whole_model(tmp_path, ending):
    source = tmp_path / f"m.{ending}"
    if ending == "npz":
        save(source, **LSTM)
    elif ending == "json":
        source.write_text(json.dumps({name: array.tolist() for name, array in LSTM.items()}))
    else:
        pytest.importorskip("safetensors.numpy").save_file(LSTM, source)
    convert.convert(source, tmp_path / "out.json")
    assert_same_numbers(convert.read(tmp_path / "out.json"), LSTM)
    assert not convert.read(save(tmp_path / "more.npz", **LSTM, other=np.ones(3))).chain


def assert_same_numbers(model, tensors):
    own = model.layers[0].tensors
    np.testing.assert_array_equal(own["weight_hh_l0"], tensors["weight_hh_l0"])
    np.testing.assert_allclose(
        own["bias_ih_l0"] + own["bias_hh_l0"], tensors["bias_ih_l0"] + tensors["bias_hh_l0"], rtol=1e-6
    )


def test_one_layer_that_is_not_all_of_its_model_is_not_written_as_one(tmp_path):
    model = random_model(("LSTM", "body", 3, 4, {}))
    model.chain, model.notes["scale"] = False, "a Rescaling, which is not read"
    words = r"nothing says that its one layer is all that it does, .*; scale is a Rescaling, .*order=body"
    with pytest.raises(ValueError, match=words):
        convert.write(model, tmp_path / "m.json")
    convert.write(model, tmp_path / "m.npz")
    with pytest.raises(ValueError, match="nothing says that its one layer is all that it does"):
        convert.convert(tmp_path / "m.npz", tmp_path / "m.json")
    convert.convert(tmp_path / "m.npz", tmp_path / "m.json", order="body")


def test_last_steps_are_kept_or_refused(tmp_path):
    model = random_model(("LSTM", "body", 3, 4, {}), ("Linear", "head", 4, 2, {}))
    model.notes["body.return_sequences"] = "False"
    convert.write(model, tmp_path / "m.npz")
    again = convert.read(tmp_path / "m.npz")
    assert again.notes == model.notes
    with pytest.raises(ValueError, match=r"body.return_sequences is False; RTNeural JSON \(.json\) cannot say that"):
        convert.write(again, tmp_path / "m.json")
    model.notes = {"body.mask_zero": "masked"}
    with pytest.raises(ValueError, match=r"body\.mask_zero is masked"):
        convert.write(model, tmp_path / "m.json")


# ------------------------------------------------------------------------------------------ small files


def test_an_unnamed_linear_is_read_back_from_an_npz(tmp_path):
    model = random_model(("Linear", "", 3, 4, {}))
    convert.write(model, tmp_path / "m.npz")
    assert_same(convert.read(tmp_path / "m.npz"), model)
    save(tmp_path / "odd.npz", bias=np.ones(3, "f"))
    assert list(convert.read(tmp_path / "odd.npz").rest) == ["bias"]


def test_rtneural_s_numbers_are_numbers(tmp_path):
    path = tmp_path / "m.json"
    for matrix, words in (
        ([["1.5"]], r"layers\[0\].weights\[0\] is no array of numbers"),
        ([[True]], "is no array of numbers"),
        ([[None]], "is no array of numbers"),
        ([[1], [1, 2]], "is no array of numbers"),
        ([[1e300]], "not finite"),
    ):
        layer = {"type": "dense", "activation": "", "shape": [None, 1], "weights": [matrix, [0]]}
        path.write_text(json.dumps({"in_shape": [None, 1], "layers": [layer]}))
        with pytest.raises(ValueError, match=words):
            convert.read(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="an empty JSON object; expected one with layers or weights"):
        convert.read(path)


def test_half_precision_says_its_mend(tmp_path):
    path = save(tmp_path / "m.npz", **{name: array.astype("float16") for name, array in LSTM.items()})
    with pytest.raises(ValueError, match=r"is float16; expected one dtype, float32 or float64, .*tensor.float\(\)"):
        convert.read(path)


def test_errors_name_a_layer_without_a_name(tmp_path):
    model = random_model(("LSTM", "", 3, 4, {"proj_size": 2}))
    with pytest.raises(ValueError, match=r"^LSTM: Keras has no projection"):
        convert.write(model, tmp_path / "m.h5")


def test_a_checkpoint_of_several_state_dicts_needs_one_said(tmp_path):
    torch = pytest.importorskip("torch")
    two = {"ema": torch.nn.Linear(3, 4).state_dict(), "net": torch.nn.Linear(3, 4).state_dict(), "step": 3}
    torch.save(two, tmp_path / "m.pt")
    with pytest.raises(ValueError, match="2 entries that are state_dicts: ema, net; expected that one is said: entry="):
        convert.read(tmp_path / "m.pt")
    for name in ("ema", "net"):
        read = convert.read(tmp_path / "m.pt", entry=name).layers[0].tensors["weight"]
        np.testing.assert_array_equal(read, two[name]["weight"].numpy())
    with pytest.raises(ValueError, match="entry is step; expected one that is a state_dict: ema, net"):
        convert.read(tmp_path / "m.pt", entry="step")
    torch.save({"step": 3, "loss": 0.5}, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"no entry is a state_dict .* among its entries: step, loss; expected one"):
        convert.read(tmp_path / "m.pt")
    torch.save(two["net"], tmp_path / "m.pt")
    with pytest.raises(ValueError, match="entry is net, but the file is one state_dict"):
        convert.read(tmp_path / "m.pt", entry="net")
