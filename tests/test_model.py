"""Whole models: their gradients against central differences, lists against one sequence at a time, decoding steps."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
from model_problems import VOCABULARY, classifier, language_model, sequences, tagger, tokens, translator

import fastrnn

LENGTHS = (4, 1, 6, 3)


def central_differences(model, inputs, targets, step=1e-6):
    """The gradient of the summed loss by every parameter, one after the other."""
    found = []
    for module in model.modules.values():
        for index in range(module.flat_params.size):
            sides = []
            for sign in (1, -1):
                with module.editing() as params:
                    params.flat[index] += sign * step
                sides.append(model.measure(inputs, targets)[0])
                with module.editing() as params:
                    params.flat[index] -= sign * step
            found.append((sides[0] - sides[1]) / (2 * step))
    return np.array(found)


def gradients(model, inputs, targets):
    model.zero_grad()
    model.add_gradients(inputs, targets)
    return np.concatenate([module.flat_grads for module in model.modules.values()])


def check_gradients(model, inputs, targets):
    np.testing.assert_allclose(
        gradients(model, inputs, targets), central_differences(model, inputs, targets), rtol=2e-6, atol=2e-8
    )


SINGLE = {
    "tagger": lambda rng: (tagger(), sequences(rng, LENGTHS), tokens(rng, LENGTHS, 4)),
    "bidirectional": lambda rng: (
        tagger(bidirectional=True, num_layers=2), sequences(rng, LENGTHS), tokens(rng, LENGTHS, 4)),
    "regression": lambda rng: (
        tagger(loss=fastrnn.squared_error), sequences(rng, LENGTHS), sequences(rng, LENGTHS, 4)),
    "last": lambda rng: (classifier("last"), sequences(rng, LENGTHS), list(rng.integers(0, 4, 4))),
    "last, LSTM, both directions": lambda rng: (
        classifier("last", cell=fastrnn.LSTM, bidirectional=True), sequences(rng, LENGTHS),
        list(rng.integers(0, 4, 4))),
    "mean": lambda rng: (
        classifier("mean", bidirectional=True), sequences(rng, LENGTHS), list(rng.integers(0, 4, 4))),
    "widths": lambda rng: (
        fastrnn.SequenceModel(
            fastrnn.LSTM(3, [4, 2], bidirectional=True, dtype="float64", seed=1),
            fastrnn.Linear(4, 4, dtype="float64", seed=2), pool="last"),
        sequences(rng, LENGTHS), list(rng.integers(0, 4, 4))),
    "language model": lambda rng: (language_model(), tokens(rng, LENGTHS), tokens(rng, LENGTHS)),
    "one array": lambda rng: (tagger(), rng.standard_normal((2, 5, 3)), rng.integers(0, 4, (2, 5))),
    "ctc": lambda rng: (
        tagger(loss=fastrnn.ctc_loss), sequences(rng, (5, 7, 6)),
        [np.array([1, 1]), np.array([2, 3, 1]), np.array([3])]),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_gradients_of_a_sequence_model_are_those_of_central_differences(name):
    check_gradients(*SINGLE[name](np.random.default_rng(0)))


@pytest.mark.parametrize("kind", ["dot", "general", "additive", None])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_gradients_of_an_encoder_decoder_are_those_of_central_differences(kind, bidirectional):
    rng = np.random.default_rng(0)
    model = translator(kind=kind, bidirectional=bidirectional)
    check_gradients(model, tokens(rng, (3, 5, 1)), tokens(rng, (4, 2, 0)))


@pytest.mark.parametrize("options", [
    {"combine": False}, {"embeddings": False}, {"cell": fastrnn.GRU, "layers": 2}, {"cell": fastrnn.LSTM, "layers": 2},
], ids=str)  # fmt: skip
def test_gradients_of_other_encoder_decoders_are_those_of_central_differences(options):
    rng = np.random.default_rng(1)
    check_gradients(translator(**options), tokens(rng, (3, 5)), tokens(rng, (4, 2)))


def test_a_batch_is_the_sum_of_its_sequences():
    rng = np.random.default_rng(2)
    for model, inputs, targets in [SINGLE[name](rng) for name in ("tagger", "mean", "last", "ctc")]:
        whole, weight = model.measure(inputs, targets)
        parts = [model.measure([x], [t]) for x, t in zip(inputs, targets, strict=True)]
        assert whole == pytest.approx(sum(loss for loss, _ in parts), rel=1e-12)
        assert weight == sum(weight for _, weight in parts)


def test_a_batch_of_pairs_is_the_sum_of_its_pairs():
    rng = np.random.default_rng(3)
    model, inputs, targets = translator(), tokens(rng, (3, 5, 1)), tokens(rng, (4, 2, 3))
    parts = [model.measure([x], [t])[0] for x, t in zip(inputs, targets, strict=True)]
    assert model.measure(inputs, targets)[0] == pytest.approx(sum(parts), rel=1e-12)


@pytest.mark.parametrize("embedding", [True, False])
def test_inputs_may_be_lists_of_pythons_integers(embedding):
    one = language_model() if embedding else fastrnn.SequenceModel(fastrnn.LSTM(7, 4), fastrnn.Linear(4, 7))
    inputs = tokens(np.random.default_rng(0), (3, 1))
    for given in ([each.tolist() for each in inputs], tuple(inputs)):
        for found, expected in zip(one(given), one(inputs), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_an_array_of_arrays_is_as_a_list():
    one, inputs = tagger(), sequences(np.random.default_rng(0), (3, 5))
    together = np.empty(2, object)
    together[:] = inputs
    for found, expected in zip(one(together), one(inputs), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("masked", ["inputs", "targets"])
def test_a_mask_is_not_lost(masked):
    one, given = translator(), {"inputs": np.array([2, 3]), "targets": np.array([4, 5])}
    given[masked] = np.ma.array(given[masked], mask=[False, True])
    with pytest.raises(TypeError, match=rf"EncoderDecoder: {masked}\[0\] is a masked array"):
        one.measure([given["inputs"]], [given["targets"]])


@pytest.mark.parametrize("name", ["tagger", "regression", "ctc", "mean"])
def test_targets_may_be_lists_of_pythons_numbers(name):
    one, inputs, targets = SINGLE[name](np.random.default_rng(0))
    listed = [np.asarray(target).tolist() for target in targets]
    np.testing.assert_array_equal(gradients(one, inputs, listed), gradients(one, inputs, targets))


def test_a_list_without_labels_is_a_target_of_ctc():
    one, rng = tagger(loss=fastrnn.ctc_loss), np.random.default_rng(0)
    inputs = sequences(rng, (3, 4))
    assert one.measure(inputs, [[], [1]]) == one.measure(inputs, [np.zeros(0, np.int64), np.array([1])])


def test_outputs_have_the_form_of_the_inputs():
    rng = np.random.default_rng(4)
    outputs = tagger()(sequences(rng, LENGTHS))
    assert [one.shape for one in outputs] == [(length, 4) for length in LENGTHS]
    x = rng.standard_normal((5, 2, 3))
    np.testing.assert_array_equal(tagger()(x), np.stack(tagger()(list(x))))
    assert classifier("mean")(x).shape == (5, 4)
    assert classifier("last")(sequences(rng, LENGTHS)).shape == (4, 4)


def test_steps_of_a_language_model_give_its_outputs():
    model, text = language_model(), np.array([3, 1, 4, 1, 5])
    state = model.begin(1)
    for token, expected in zip(text, model([text])[0], strict=True):
        logits, state = model.step(np.array([token]), state)
        np.testing.assert_array_equal(logits[0], expected)


def test_steps_of_a_decoder_give_the_logits_of_forward():
    rng = np.random.default_rng(5)
    model, inputs, targets = translator(kind="additive"), tokens(rng, (3, 5)), tokens(rng, (4, 4))
    logits, _ = model.forward(inputs, targets)
    state, given = model.begin(inputs), np.stack([np.concatenate(([model.start], one)) for one in targets], axis=1)
    for step, expected in zip(given, logits, strict=True):
        found, state = model.step(step, state)
        np.testing.assert_array_equal(found, expected)


def test_an_encoder_decoder_learns_to_copy_backwards():
    rng = np.random.default_rng(6)
    model = translator("float32", kind="general")
    inputs = [rng.integers(2, VOCABULARY, rng.integers(1, 4)) for _ in range(300)]
    targets = [one[::-1] for one in inputs]
    fastrnn.fit(model, inputs, targets, epochs=25, batch_size=16, optimizer=partial(fastrnn.Adam, lr=0.02))
    found = model.decode(inputs[:50], length=5)
    assert np.mean([np.array_equal(a, b) for a, b in zip(found, targets, strict=False)]) > 0.9


def test_the_weights_of_a_model_are_loaded_all_or_none():
    model, other = tagger(), tagger(cell=fastrnn.LSTM)
    with other.head.editing() as params:
        params.flat[:] = 1
    model.load_state_dict(other.state_dict())
    assert all(np.array_equal(a, b) for a, b in zip(
        model.state_dict().values(), other.state_dict().values(), strict=True))  # fmt: skip
    before, wrong = model.state_dict(), {**other.state_dict(), "recurrent.weight_hh_l0": np.zeros((16, 4))}
    with pytest.raises(ValueError, match=r"Linear.load_state_dict: bias has shape \(3,\)"):
        model.load_state_dict({**wrong, "head.bias": np.zeros(3)})
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())
    with pytest.raises(KeyError, match="missing"):
        model.load_state_dict({})


@pytest.mark.parametrize("make", [tagger, partial(classifier, "last"), language_model, translator])
@pytest.mark.parametrize("remake", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_model_is_another_model_with_the_same_weights(make, remake):
    model = make()
    other = remake(model)
    with model.head.editing() as params:
        params.flat[:] += 1
    assert not np.array_equal(model.head.flat_params, other.head.flat_params)
    assert other.modules["head"] is other.head


OTHERWISE = {
    "nonlinearity": lambda: (tagger(cell=fastrnn.RNN), tagger(cell=fastrnn.RNN, nonlinearity="relu")),
    "reset": lambda: (tagger(cell=fastrnn.GRU, bias=False), tagger(cell=fastrnn.GRU, bias=False, reset_after=False)),
    "merge": lambda: [tagger(bidirectional=True, merge=merge) for merge in ("sum", "ave")],
    "pool": lambda: [classifier(pool) for pool in ("last", "mean")],
    "start": lambda: [
        fastrnn.EncoderDecoder(fastrnn.GRU(5, 3), fastrnn.GRU(5, 3), fastrnn.Linear(3, 5), start=start, end=1)
        for start in (0, 2)],
    "class weights": lambda: [
        tagger(loss=partial(fastrnn.softmax_cross_entropy, class_weights=weights))
        for weights in (np.ones(2000), np.where(np.arange(2000) == 1000, 2.0, 1.0))],
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERWISE)
def test_models_that_compute_otherwise_say_so_in_their_settings(name):
    one, other = OTHERWISE[name]()
    assert one.settings != other.settings
    assert one.settings == copy.deepcopy(one).settings


def test_dropout_depends_on_the_key_alone():
    rng = np.random.default_rng(7)
    model, inputs = tagger(dropout=0.5, num_layers=2), sequences(rng, LENGTHS)
    runs = []
    for key in (1, 2, 1):
        model.reseed(key, 5)
        runs.append(np.concatenate(model.forward(inputs)[0]))
    assert np.array_equal(runs[0], runs[2]) and not np.array_equal(runs[0], runs[1])
