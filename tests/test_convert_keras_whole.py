"""A whole model of Keras is written as one with all that it does, or refused; its weights go back where they were."""

import os

import numpy as np
import pytest

import fastrnn
from fastrnn import convert

pytest.importorskip("torch")
h5py = pytest.importorskip("h5py")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
L = keras.layers

pytestmark = pytest.mark.filterwarnings("ignore")
X = np.random.default_rng(0).standard_normal((3, 6, 4)).astype("float32")


def steps(kind="LSTM", **options):
    return getattr(L, kind)(3, return_sequences=True, **options)


def network(*layers, dtype="float32", shape=(None, 4)):
    model = keras.Sequential([keras.Input(shape, dtype=dtype), *layers])
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(-0.7, 0.7, one.shape) for one in model.get_weights()])
    return model


def assert_same_after(theirs, source, target, x=X):
    convert.convert(source, target)
    again = keras.saving.load_model(target)
    wanted, got = (np.asarray(one.predict(x, verbose=0)) for one in (theirs, again))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@keras.saving.register_keras_serializable("fastrnn_tests")
def relu(x):
    return 2 * x


MORE = {
    "rescaling": (lambda: [steps(), L.Rescaling(5.0)], "is of class Rescaling, which is not read"),
    "relu with a top": (lambda: [L.Dense(3), L.ReLU(max_value=1)], "is of class ReLU, which is not read"),
    "norm": (lambda: [L.Dense(3), L.UnitNormalization()], "is of class UnitNormalization"),
    "masking": (lambda: [L.Masking(0.0), steps()], "is of class Masking"),
    "pooling": (lambda: [steps(), L.GlobalAveragePooling1D()], "is of class GlobalAveragePooling1D"),
    "leaky": (lambda: [steps(), L.LeakyReLU(0.3)], "is of class LeakyReLU"),
    "two activations": (lambda: [L.Dense(3, activation="tanh"), L.Activation("relu")], "is of class Activation, relu"),
    "activation first": (lambda: [L.Activation("relu"), steps()], "is of class Activation, relu"),
    "each step's": (lambda: [steps(), L.TimeDistributed(L.Activation("relu"))], "is of class TimeDistributed"),
    "softmax of time": (lambda: [steps(), L.Softmax(axis=1)], "is of class Softmax"),
    "custom": (lambda: [L.Dense(3, activation=relu)], "is followed by the activation fastrnn_tests>relu"),
    "slope": (lambda: [L.Dense(3, activation=L.LeakyReLU(0.4))], "is followed by the activation"),
}


@pytest.mark.parametrize("form", MORE)
@pytest.mark.parametrize("target", ["m.keras", "m.onnx", "m.json"])
def test_what_surrounds_one_layer_is_never_lost(tmp_path, form, target):
    if target == "m.onnx":
        pytest.importorskip("onnx")
    layers, words = MORE[form]
    network(*layers(), shape=(6, 4)).save(tmp_path / "source.keras")
    with pytest.raises(ValueError, match=f"{words}.*order="):
        convert.convert(tmp_path / "source.keras", tmp_path / target)
    assert not (tmp_path / target).exists()


def test_what_a_layer_does_over_calls_or_beside_others_ends_the_chain(tmp_path):
    inputs = keras.Input((None, 4))
    twice = keras.Model(inputs, L.Add()([steps(name="one")(inputs), L.Dense(3)(inputs)]))
    stateful = keras.Sequential([keras.Input(batch_shape=(3, None, 4)), steps(stateful=True, name="one")])
    for model, words in ((twice, "is of class Add"), (stateful, "one.stateful is True")):
        model.save(tmp_path / "source.keras")
        with pytest.raises(ValueError, match=words):
            convert.convert(tmp_path / "source.keras", tmp_path / "m.keras")


SAME = {
    "last step": lambda: [L.LSTM(3), L.Dense(2)],
    "last of two": lambda: [L.Bidirectional(L.GRU(3), merge_mode="sum")],
    "linear": lambda: [steps(), L.Activation("linear"), L.Activation("relu")],
    "training's": lambda: [steps(), L.AlphaDropout(0.2), L.ActivityRegularization(0.1), L.Dense(2)],
    "cell": lambda: [L.RNN(L.LSTMCell(3), return_sequences=True), L.RNN(L.GRUCell(2, reset_after=False))],
    "cells both ways": lambda: [L.Bidirectional(L.RNN(L.SimpleRNNCell(3, activation="relu"), return_sequences=True))],
    "each step's": lambda: [L.TimeDistributed(L.Dense(3, activation="tanh")), L.TimeDistributed(L.Dense(2))],
    "own second": lambda: [L.Bidirectional(steps(name="a"), backward_layer=steps(name="z", go_backwards=True))],
    "inner": lambda: [network(steps("GRU"), L.Dense(3, activation="relu")), L.Dense(2)],
}


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("form", SAME)
def test_a_whole_model_gives_the_same_numbers(tmp_path, form, ending):
    theirs = network(*SAME[form]())
    theirs.save(tmp_path / f"source.{ending}")
    assert_same_after(theirs, tmp_path / f"source.{ending}", tmp_path / "m.keras")
    convert.convert(tmp_path / f"source.{ending}", tmp_path / "m.npz")
    assert_same_after(theirs, tmp_path / "m.npz", tmp_path / "again.keras")


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_functional_model_is_a_chain_where_its_layers_follow_each_other_alone(tmp_path, ending):
    def saved(call):
        inputs = keras.Input((None, 4))
        theirs = keras.Model(inputs, call(inputs))
        theirs.save(tmp_path / f"source.{ending}")
        return theirs

    plain = saved(lambda x: L.Dense(4, activation="softmax")(L.Dropout(0.5)(L.LSTM(4)(x))))
    assert_same_after(plain, tmp_path / f"source.{ending}", tmp_path / "m.keras")
    one, states = steps(), L.LSTM(4, return_state=True, return_sequences=True)
    for call in (
        lambda x: [L.Dense(2)(x), L.Dense(3)(x)],
        lambda x: L.Dense(2)(states(x)[1]),
        lambda x: one(L.Dense(4)(one(L.Dense(4)(x)))[..., :3] * 2),
        lambda x: L.Dense(2)(L.Dropout(0.5)(x, training=True)),
        lambda x: L.LSTM(4)(x, initial_state=[L.LSTM(4)(x)] * 2),
        lambda x: L.Dense(4)(x) * 2,
    ):
        saved(call)
        assert not convert.read(tmp_path / f"source.{ending}").chain


@pytest.mark.parametrize("form", [form for form in SAME if form != "inner"])
@pytest.mark.parametrize("target", ["m.weights.h5", "m.h5"])
def test_the_same_model_loads_its_weights(tmp_path, form, target):
    theirs = network(*SAME[form]())
    theirs.save(tmp_path / "source.keras")
    convert.convert(tmp_path / "source.keras", tmp_path / target)
    again = keras.models.clone_model(theirs)
    again.set_weights([0 * one for one in again.get_weights()])
    again.load_weights(tmp_path / target)
    for one, other in zip(again.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert_same_after(theirs, tmp_path / target, tmp_path / "m.keras")


def test_masks_are_kept(tmp_path):
    theirs = network(L.Embedding(9, 4, mask_zero=True), steps(), dtype="int32", shape=(None,))
    theirs.save(tmp_path / "source.keras")
    ids = np.random.default_rng(1).integers(0, 3, (3, 8))
    assert_same_after(theirs, tmp_path / "source.keras", tmp_path / "m.keras", ids)
    convert.convert(tmp_path / "source.keras", tmp_path / "m.h5")
    assert_same_after(theirs, tmp_path / "m.h5", tmp_path / "again.keras", ids)


def test_names_with_dots_are_names_that_every_backend_takes(tmp_path):
    lstm = fastrnn.LSTM(4, 3, seed=0)
    np.savez(tmp_path / "m.npz", **{f"decoder.lstm.{name}": array for name, array in lstm.state_dict().items()})
    convert.convert(tmp_path / "m.npz", tmp_path / "m.keras")
    assert keras.saving.load_model(tmp_path / "m.keras").layers[0].name == "decoder_lstm"


@pytest.mark.parametrize("target", ["m.onnx", "m.json"])
def test_last_steps_are_refused_where_a_format_has_all(tmp_path, target):
    if target == "m.onnx":
        pytest.importorskip("onnx")
    network(L.LSTM(3, name="one")).save(tmp_path / "source.keras")
    with pytest.raises(ValueError, match=r"one\.return_sequences is False"):
        convert.convert(tmp_path / "source.keras", tmp_path / target)


def back(name, **options):
    return getattr(L, name)(3, return_sequences=True, go_backwards=True, **options)


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_directions_of_different_options_are_refused_by_name(tmp_path, ending):
    for forward, backward, words in (
        (steps("SimpleRNN", activation="relu"), back("SimpleRNN"), "nonlinearity of its directions is relu and tanh"),
        (steps("GRU"), back("GRU", reset_after=False), "reset_after of its directions is True and False"),
        (steps("LSTM"), back("LSTM", use_bias=False), "bias of its directions is True and False"),
        (steps("LSTM", use_bias=False), back("LSTM"), "bias of its directions is False and True"),
        (steps("GRU", use_bias=False), back("GRU", use_bias=False, reset_after=False), "reset_after of its directions"),
    ):
        network(L.Bidirectional(forward, backward_layer=backward, name="two")).save(tmp_path / f"m.{ending}")
        with pytest.raises(ValueError, match=f"two: {words}"):
            convert.read(tmp_path / f"m.{ending}")


def test_cells_that_are_no_layer_are_named_with_the_mend(tmp_path):
    stack = network(L.RNN(L.StackedRNNCells([L.GRUCell(3), L.GRUCell(2)]), return_sequences=True, name="stack"))
    stack.save(tmp_path / "m.keras")
    assert convert.read(tmp_path / "m.keras").notes["stack"].startswith("of class RNN of StackedRNNCells (LSTM")
    with pytest.raises(ValueError, match="stack is of class RNN of StackedRNNCells"):
        convert.convert(tmp_path / "m.keras", tmp_path / "m.npz")


def test_numbers_outside_of_the_layers_are_reported(tmp_path):
    network(steps()).save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5", "a") as file:
        file["stray"], file["other/vars/0"] = np.ones(3, "f"), np.ones(2, "f")
    assert sorted(convert.read(tmp_path / "m.weights.h5").rest) == ["other/vars/0", "stray"]
