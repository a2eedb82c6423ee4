"""Keras's own files against Keras 3: what it saves runs here, and what is written here runs there."""

import os

import numpy as np
import pytest
from convert_tools import assert_same, random_array, random_model, run

from fastrnn import convert

pytest.importorskip("torch")
pytest.importorskip("h5py")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
L = keras.layers

pytestmark = pytest.mark.filterwarnings("ignore")

FILES = ("model.keras", "model.h5", "model.weights.h5")


def cell(name, **options):
    return lambda: getattr(L, name)(4, return_sequences=True, **options)


def both(name, merge, **options):
    return lambda: L.Bidirectional(cell(name, **options)(), merge_mode=merge)


# Each form of each layer that Keras and fastrnn have.
FORMS = {
    "lstm": cell("LSTM"),
    "lstm without bias": cell("LSTM", use_bias=False),
    "lstm without the initial forget bias": cell("LSTM", unit_forget_bias=False),
    "lstm with dropout": cell("LSTM", dropout=0.3, recurrent_dropout=0.2),
    "gru after": cell("GRU", reset_after=True),
    "gru before": cell("GRU", reset_after=False),
    "gru after without bias": cell("GRU", reset_after=True, use_bias=False),
    "gru before without bias": cell("GRU", reset_after=False, use_bias=False),
    "rnn tanh": cell("SimpleRNN"),
    "rnn relu": cell("SimpleRNN", activation="relu"),
    "rnn sigmoid": cell("SimpleRNN", activation="sigmoid"),
    "rnn without bias": cell("SimpleRNN", use_bias=False),
    **{f"both lstm {merge}": both("LSTM", merge) for merge in ("concat", "sum", "mul", "ave")},
    **{f"both gru {merge}": both("GRU", merge) for merge in ("concat", "sum")},
    "both gru before": both("GRU", "mul", reset_after=False),
    "both rnn": both("SimpleRNN", "ave", activation="relu", use_bias=False),
    "lstm in float64": cell("LSTM", dtype="float64"),
}

# What weights alone do not say.
SAID = {
    "gru after without bias": {"reset_after": True},
    "gru before without bias": {"reset_after": False},
    "rnn relu": {"nonlinearity": "relu"},
    "rnn sigmoid": {"nonlinearity": "sigmoid"},
    "both lstm sum": {"merge": "sum"},
    "both lstm mul": {"merge": "mul"},
    "both lstm ave": {"merge": "ave"},
    "both gru sum": {"merge": "sum"},
    "both gru before": {"merge": "mul"},
    "both rnn": {"merge": "ave", "nonlinearity": "relu"},
}


def network(*layers, seed=0, inputs=5):
    """A Sequential with random weights, none of them zero."""
    dtype = layers[0].dtype if layers else "float32"
    model = keras.Sequential([keras.Input((None, inputs), dtype=dtype), *layers])
    randomise(model, seed)
    return model


def randomise(model, seed):
    rng = np.random.default_rng(seed)
    model.set_weights([random_array(rng, *array.shape, dtype=array.dtype) for array in model.get_weights()])


def save(model, path):
    model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)


def x_of(model, seed=1):
    return random_array(np.random.default_rng(seed), 3, 7, model.input_shape[-1], dtype=model.inputs[0].dtype)


def assert_equal_outputs(theirs, ours, x):
    wanted = np.asarray(theirs.predict(x, verbose=0))
    np.testing.assert_allclose(run(ours, x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("form", FORMS)
def test_what_keras_saves_gives_keras_s_numbers_here(tmp_path, form, file):
    theirs = network(FORMS[form]())
    save(theirs, tmp_path / file)
    said = SAID.get(form, {}) if file == "model.weights.h5" else {}
    assert_equal_outputs(theirs, convert.read(tmp_path / file, **said), x_of(theirs))


@pytest.mark.parametrize("target", FILES)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_gives_the_same_numbers_in_keras(tmp_path, form, target):
    theirs = network(FORMS[form](), L.Dense(3, activation="softmax"))
    theirs.save(tmp_path / "source.keras")
    x = x_of(theirs)
    wanted = np.asarray(theirs.predict(x, verbose=0))
    convert.convert(tmp_path / "source.keras", tmp_path / target)
    if target.endswith(".keras"):
        again = keras.saving.load_model(tmp_path / target)
    else:
        again = keras.models.clone_model(theirs)
        randomise(again, 9)
        again.load_weights(tmp_path / target)
    for one, other in zip(again.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(np.asarray(again.predict(x, verbose=0)), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("file", FILES)
def test_stacks_keep_each_layer_by_its_name(tmp_path, file):
    theirs = network(
        L.Bidirectional(L.LSTM(4, return_sequences=True), name="first"),
        L.GRU(3, return_sequences=True, name="second"),
        L.GRU(6, return_sequences=True, name="third"),
        L.TimeDistributed(L.Dense(5), name="head"),
    )
    save(theirs, tmp_path / file)
    ours = convert.read(tmp_path / file)
    assert {layer.name for layer in ours.layers} == {"first", "second", "third", "head"}
    order = {"first": 0, "second": 1, "third": 2, "head": 3}  # a file of weights has no order
    ours.layers.sort(key=lambda layer: order[layer.name])
    assert_equal_outputs(theirs, ours, x_of(theirs))


@pytest.mark.parametrize("file", FILES)
def test_embeddings_and_models_inside_models(tmp_path, file):
    inner = keras.Sequential([keras.Input((None, 6)), L.LSTM(4, return_sequences=True, name="deep")], name="inner")
    ids = keras.Input((None,), dtype="int32")
    theirs = keras.Model(ids, L.Dense(2, name="head")(inner(L.Embedding(11, 6, name="table")(ids))))
    randomise(theirs, 3)
    save(theirs, tmp_path / file)
    ours = convert.read(tmp_path / file)
    assert sorted(layer.name for layer in ours.layers) == ["head", "inner/deep", "table"]
    order = ["table", "inner/deep", "head"]
    ours.layers.sort(key=lambda layer: order.index(layer.name))
    x = np.random.default_rng(0).integers(11, size=(3, 7))
    assert_equal_outputs(theirs, ours, x)


def test_options_that_fastrnn_has_not_are_refused_by_name(tmp_path):
    path = tmp_path / "model.keras"
    for layer, words in (
        (L.LSTM(4, activation="relu"), "activation 'relu'"),
        (L.LSTM(4, recurrent_activation="hard_sigmoid"), "recurrent_activation 'hard_sigmoid'"),
        (L.GRU(4, activation="elu"), "activation 'elu'"),
        (L.SimpleRNN(4, activation=None), "activation 'linear'"),
        (L.GRU(4, go_backwards=True), "go_backwards is True"),
        (L.Bidirectional(L.LSTM(4, return_sequences=True), merge_mode=None), "merge_mode None"),
        (L.Bidirectional(L.LSTM(4), backward_layer=L.GRU(4, go_backwards=True)), "directions of LSTM and GRU"),
    ):
        inputs = keras.Input((None, 5))
        keras.Model(inputs, layer(inputs)).save(path)
        with pytest.raises(ValueError, match=words):
            convert.read(path)


def test_activations_that_follow_layers_stay_and_what_ends_a_chain_is_not_lost(tmp_path):
    source, target = tmp_path / "source.h5", tmp_path / "target.keras"
    theirs = network(
        *(L.LSTM(4, return_sequences=True), L.Activation("relu"), L.Dropout(0.5)),
        *(L.Dense(3), L.ReLU(), L.Dense(3), L.Softmax()),
    )
    theirs.save(source)
    convert.convert(source, target)
    x = x_of(theirs)
    again = keras.saving.load_model(target)
    np.testing.assert_allclose(again.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    inputs = keras.Input((None, 5))
    one, two = (L.LSTM(5, return_sequences=True)(inputs) for _ in range(2))
    for model, words in (
        (network(L.LSTM(4, return_sequences=True), L.Reshape((-1, 2, 2)), L.Dense(2)), "order=lstm"),
        (network(L.Masking(-1.0), L.LSTM(4, return_sequences=True), L.Dense(2)), "order=lstm"),
        (keras.Model(inputs, L.Add()([one, two])), "order=lstm"),
    ):
        model.save(source)
        with pytest.raises(ValueError, match=words):
            convert.convert(source, target)


@pytest.mark.parametrize("file", FILES)
def test_weights_of_other_layers_are_left_over_and_refused(tmp_path, file):
    theirs = network(L.Conv1D(4, 3), L.BatchNormalization(), L.LSTM(4, return_sequences=True))
    theirs.compile("adam", "mse")
    theirs.fit(x_of(theirs), np.zeros((3, 5, 4)), verbose=0)  # so that an optimizer's state is saved, too
    save(theirs, tmp_path / file)
    ours = convert.read(tmp_path / file)
    assert [layer.kind for layer in ours.layers] == ["LSTM"]
    assert len(ours.rest) == 6
    with pytest.raises(ValueError, match=r"6 tensors of layers that fastrnn has not: .*(conv1d|batch_norm)"):
        convert.convert(tmp_path / file, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()
    rows = convert.convert(tmp_path / file, tmp_path / "out.npz", leave_out=True)
    assert len(rows) == 4


def test_stacks_of_ours_become_layers_of_keras(tmp_path):
    ours = random_model(
        ("LSTM", "body", 5, [4, 6], {"num_layers": 2, "bidirectional": True, "merge": "sum"}),
        ("GRU", "tail", 6, 3, {"num_layers": 2, "reset_after": False}),
        ("Linear", "head", 3, 2, {"bias": False}),
    )
    convert.write(ours, tmp_path / "model.keras")
    theirs = keras.saving.load_model(tmp_path / "model.keras")
    assert [layer.name for layer in theirs.layers] == ["body_l0", "body_l1", "tail_l0", "tail_l1", "head"]
    assert_equal_outputs(theirs, ours, x_of(theirs))
    again = convert.read(tmp_path / "model.keras")
    convert.write(again, tmp_path / "again.keras")
    assert_same(again, convert.read(tmp_path / "again.keras"))


def test_what_weights_alone_leave_open_is_noted_or_asked_for(tmp_path):
    save(network(both("SimpleRNN", "sum")()), tmp_path / "model.weights.h5")
    notes = convert.read(tmp_path / "model.weights.h5").notes
    assert any("merge" in name and "assumed" in words for name, words in notes.items())
    assert any("nonlinearity" in name and "assumed" in words for name, words in notes.items())
    save(network(cell("GRU", use_bias=False)()), tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match="does not say its form; expected that it is said: reset_after=True or False"):
        convert.read(tmp_path / "model.weights.h5")
