"""`fastrnn.inspect.look`: what a batch makes of each recurrent layer of a whole model, which stays as it is."""

import copy
from functools import partial

import numpy as np
import pytest
from model_problems import classifier, language_model, sequences, tagger, tokens, translator

import fastrnn
from fastrnn import inspect

LENGTHS = (4, 1, 6, 3)


def rng():
    return np.random.default_rng(5)


def labels(V=4):
    return tokens(rng(), LENGTHS, V)


# Each a model and its batch: ragged, both directions, embeddings, pools, attention, none; float64.
PROBLEMS = {
    "tagger": (lambda: tagger(num_layers=2, bidirectional=True), sequences(rng(), LENGTHS), labels()),
    "summed directions": (lambda: tagger(bidirectional=True, merge="sum"), sequences(rng(), LENGTHS), labels()),
    "dropout": (lambda: tagger(num_layers=2, dropout=0.5), sequences(rng(), LENGTHS), labels()),
    "last": (lambda: classifier("last", bidirectional=True), sequences(rng(), LENGTHS), [0, 3, 1, 1]),
    "mean": (lambda: classifier("mean", cell=fastrnn.UGRNN), sequences(rng(), LENGTHS), [0, 3, 1, 1]),
    "language model": (language_model, labels(7), labels(7)),
    "translator": (translator, labels(7), tokens(rng(), (2, 5, 1, 3))),
    "no attention": (lambda: translator(kind=None, cell=fastrnn.GRU, layers=2), labels(7), tokens(rng(), (2, 5, 0, 3))),
}
each_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)


def edited(layer, **changes):
    """Write numbers into parameters, by name."""
    with layer.editing() as params:
        for name, (index, value) in changes.items():
            params[name][index] = value


# ------------------------------------------------------------------------------------------- the same by hand


def sequence_by_hand(model, inputs, targets):
    """A `SequenceModel`'s layers one by one: {name: (tape, dy, dstate)}, and the loss."""
    x = inputs if model.embedding is None else [model.embedding(one) for one in inputs]
    y, state, tape = model.recurrent.forward(x)
    ends = np.cumsum([len(one) for one in y])
    if model.pool is None:
        rows, wanted = np.concatenate(y), np.concatenate(targets)
    elif model.pool == "mean":
        rows, wanted = np.stack([one.mean(axis=0) for one in y]), np.array(targets)
    else:
        rows, wanted = np.concatenate([state[0], state[1]], axis=1), np.array(targets)
    kept = np.ones_like(rows)
    if model.dropout:
        kept, _ = model._dropout.forward(kept)
    outputs, headed = model.head.forward(rows * kept)
    loss, doutputs = fastrnn.softmax_cross_entropy(outputs, wanted, reduction="sum")
    drows = model.head.backward(headed, doutputs) * kept
    if model.pool is None:
        return {"recurrent": (tape, np.split(drows, ends[:-1]), None)}, loss
    if model.pool == "mean":
        dy = [np.tile(d / len(one), (len(one), 1)) for d, one in zip(drows, y, strict=True)]
        return {"recurrent": (tape, dy, None)}, loss
    return {"recurrent": (tape, None, np.stack(np.split(drows, 2, axis=1)))}, loss


def padded(arrays):
    x = np.zeros((max(map(len, arrays)), len(arrays)), np.int64)
    for b, one in enumerate(arrays):
        x[: len(one), b] = one
    return x, np.array([len(one) for one in arrays])


def side_by_side(states):
    """(layers * 2, B, H) of both directions as (layers, B, 2H)."""
    return np.concatenate([states[0::2], states[1::2]], axis=2)


def apart(states):
    halves = np.split(states, 2, axis=2)
    return np.stack([half[layer] for layer in range(len(states)) for half in halves])


def translator_by_hand(model, inputs, targets):
    """The same of an `EncoderDecoder` over a bidirectional encoder."""
    x, lengths = padded(inputs)
    before, steps = padded([np.concatenate([[model.start], one]).astype(int) for one in targets])
    after, _ = padded([np.concatenate([one, [model.end]]).astype(int) for one in targets])
    memory, state, read = model.encoder.forward(model.source_embedding(x), lengths=lengths)
    first = tuple(map(side_by_side, state)) if isinstance(state, tuple) else side_by_side(state)
    y, _, wrote = model.decoder.forward(model.target_embedding(before), first, lengths=steps)
    rows, dmemory = y, None
    if model.attention is not None:
        context, _, attended = model.attention.forward(y, memory, lengths)
        mixed, combined = model.combine.forward(np.concatenate([context, y], axis=2))
        rows = np.tanh(mixed)
    outputs, headed = model.head.forward(rows)
    loss, doutputs = model.loss(outputs, after, lengths=steps, reduction="sum")
    dy = model.head.backward(headed, doutputs)
    if model.attention is not None:
        dboth = model.combine.backward(combined, dy * (1 - rows**2))
        dqueries, dmemory = model.attention.backward(attended, dboth[..., : model.attention.key_size])
        dy = dqueries + dboth[..., model.attention.key_size :]
    layers = {"encoder": (read, dmemory), "decoder": (wrote, dy, None)}
    # The decoder's tape is read twice: its own numbers, and the gradient of its first state for the encoder.
    again = model.decoder.forward(model.target_embedding(before), first, lengths=steps)[2]
    _, dstate = model.decoder.backward(again, dy)
    layers["encoder"] += (tuple(map(apart, dstate)) if isinstance(dstate, tuple) else apart(dstate),)
    return layers, loss


@each_problem
def test_it_says_what_a_loop_by_hand_over_the_layers_tapes_says(problem):
    make, inputs, targets = problem
    model = make()
    by_hand = translator_by_hand if isinstance(model, fastrnn.EncoderDecoder) else sequence_by_hand
    layers, loss = by_hand(copy.copy(model), inputs, targets)
    found = inspect.look(model, inputs, targets)
    np.testing.assert_allclose(found.loss, loss, rtol=1e-12)
    assert list(found.gradient_norms) == list(found.saturation) == list(layers)
    for name, (tape, dy, dstate) in layers.items():
        wanted = inspect.gradient_norms(tape, dy, dstate)
        assert found.gradient_norms[name].shape == wanted.shape
        assert (wanted > 0).any()
        np.testing.assert_allclose(found.gradient_norms[name], wanted, rtol=1e-10, atol=1e-14)
        for one, other in zip(found.saturation[name], inspect.saturation(tape), strict=True):
            assert (one.layer, one.reverse, one.gate) == (other.layer, other.reverse, other.gate)
            np.testing.assert_array_equal(one.closed, other.closed)
            np.testing.assert_array_equal(one.open, other.open)
    assert found.first_nan is None


@each_problem
def test_loss_and_weight_are_those_of_a_training_step(problem):
    make, inputs, targets = problem
    found = inspect.look(make(), inputs, targets)
    assert (found.loss, found.weight) == make().add_gradients(inputs, targets)


# -------------------------------------------------------------------------------------- nothing else changes


def everything(model):
    """The bits of all weights and gradients, and the state of every generator."""
    parts = [*model.modules.values(), model._dropout]
    flats = [(one.flat_params.tobytes(), one.flat_grads.tobytes()) for one in model.modules.values()]
    return flats, [one.rng.bit_generator.state for one in parts if hasattr(one, "rng")], vars(model).keys()


@each_problem
def test_the_model_stays_as_it_is_and_so_does_all_that_it_does_later(problem):
    make, inputs, targets = problem
    model = make()
    model.add_gradients(inputs, targets)  # gradients, and random numbers that are in use
    other = copy.copy(model)
    before = everything(model)
    kept = copy.deepcopy((inputs, targets))
    inspect.look(model, inputs, targets)
    assert everything(model) == before
    for given, copied in zip((inputs, targets), kept, strict=True):
        assert all(np.array_equal(one, two) for one, two in zip(given, copied, strict=True))
    for one in (model, other):
        one.add_gradients(inputs, targets)
    assert everything(model) == everything(other)


def test_a_model_stays_as_it_is_where_the_batch_is_refused():
    make, inputs, targets = PROBLEMS["tagger"]
    model = make()
    before = everything(model)
    with pytest.raises(IndexError):
        inspect.look(model, inputs, [one + 9 for one in targets])
    assert everything(model) == before


@each_problem
def test_every_number_of_threads_gives_the_same_bits(problem):
    make, inputs, targets = problem
    one, two = (inspect.look(make(), inputs, targets, num_threads=n) for n in (1, 2))
    assert one.loss == two.loss
    for name, norms in one.gradient_norms.items():
        assert norms.tobytes() == two.gradient_norms[name].tobytes()


# ---------------------------------------------------------------------------------- where the first NaN is


def first(model, inputs, targets):
    return str(inspect.look(model, inputs, targets).first_nan)


@pytest.mark.parametrize(
    ("module", "name", "index"),
    [
        ("source_embedding", "weight", (2, 1)),
        ("encoder", "weight_hh_l0_reverse", (5, 0)),
        ("target_embedding", "weight", (0, 0)),
        ("decoder", "bias_ih_l0", (3,)),
        ("combine", "weight", (1, 1)),
        ("head", "bias", (6,)),
    ],
)
def test_a_parameter_that_is_nan_is_named_with_its_layer(module, name, index):
    make, inputs, targets = PROBLEMS["translator"]
    model = make()
    edited(model.modules[module], **{name: (index, np.nan)})
    assert first(model, inputs, targets) == f"{module}: {name} is nan at {index[0] if len(index) == 1 else index}"


def test_the_first_of_two_layers_parameters_is_named():
    make, inputs, targets = PROBLEMS["language model"]
    model = make()
    edited(model.head, weight=((0, 0), np.inf))
    edited(model.recurrent, bias_ih_l0=(3, np.nan), bias_hh_l0=(..., np.nan))
    assert first(model, inputs, targets) == "recurrent: bias_ih_l0 is nan at 3"


def test_a_bad_number_of_the_inputs_is_found_by_sequence_step_and_feature():
    make, inputs, targets = PROBLEMS["tagger"]
    inputs = copy.deepcopy(inputs)
    inputs[2][4, 1] = np.nan
    found = inspect.look(make(), inputs, targets).first_nan
    assert str(found) == "recurrent, layer 0, step 4, row 2: input is nan at 1"
    assert (found.module, found.layer, found.step, found.row, found.index) == ("recurrent", 0, 4, 2, (1,))


def test_forward_of_all_layers_comes_before_the_outputs_and_before_backward():
    """The decoder's input overflows; outputs, loss and gradients are children of that."""
    _, inputs, targets = PROBLEMS["translator"]
    model = translator(cell=partial(fastrnn.RNN, nonlinearity="relu"))
    edited(model.decoder, weight_ih_l0=(..., 1e308))
    edited(model.target_embedding, weight=(..., 1e308))
    assert first(model, inputs, targets) == "decoder, layer 0, step 0, row 0: gate h is inf at 0, and 5 more there"


def with_head(model, weight):
    """A head of one weight that is not 0."""
    edited(model.head, weight=(..., 0), bias=(..., 0))
    edited(model.head, weight=((0, 0), weight))
    return model


def test_outputs_that_overflow_are_found_in_their_sequence():
    _, inputs, targets = PROBLEMS["tagger"]
    model = tagger(loss=fastrnn.squared_error)
    edited(model.head, weight=(..., 1e308))
    edited(model.recurrent, weight_ih_l0=(..., 30))  # every h is near 1 where the inputs are 1
    inputs = [np.ones_like(one) for one in inputs]
    wanted = [np.zeros((len(one), 4)) for one in targets]
    assert first(model, inputs, wanted) == "row 0: outputs is inf at (0, 0), and 15 more there"


def test_a_target_that_is_nan_shows_in_the_loss():
    _, inputs, targets = PROBLEMS["tagger"]
    wanted = [np.full((len(one), 4), np.nan) for one in targets]
    assert first(tagger(loss=fastrnn.squared_error), inputs, wanted) == "loss is nan"


def rough(outputs, targets, *, slope, **options):
    """A loss of 0 whose gradient is `slope` everywhere."""
    each = [np.full_like(one, slope) for one in outputs]
    return 0.0, each if isinstance(outputs, list) else np.stack(each), 1.0


def test_a_losss_gradient_is_looked_at():
    _, inputs, targets = PROBLEMS["tagger"]
    model = tagger(loss=partial(rough, slope=np.inf))
    assert first(model, inputs, targets) == "row 0: gradient of outputs is inf at (0, 0), and 15 more there"


def test_backward_is_looked_at_before_gradients_of_parameters():
    _, inputs, targets = PROBLEMS["tagger"]
    model = with_head(tagger(loss=partial(rough, slope=1e200)), 1e200)
    assert first(model, inputs, targets) == "recurrent, layer 0, step 5, row 2: dy is inf at 0"


def test_backward_begins_with_the_decoder():
    _, inputs, targets = PROBLEMS["no attention"]
    model = with_head(translator(kind=None), 1e200)
    model.loss = partial(rough, slope=1e200)
    assert first(model, inputs, targets) == "decoder, layer 0, step 5, row 1: dy is inf at 0"


def test_a_mean_that_overflows_is_found_without_a_warning_of_numpys():
    _, inputs, labels = PROBLEMS["mean"]
    model = classifier("mean", cell=partial(fastrnn.RNN, nonlinearity="relu"))
    edited(model.recurrent, weight_ih_l0=(..., 1e308), weight_hh_l0=(..., 0))
    edited(model.head, weight=(..., 0.1))
    inputs = [np.full_like(one, 0.3) for one in inputs]
    assert first(model, inputs, labels) == "outputs is inf at (0, 0), and 11 more there"


def test_gradients_that_the_model_had_before_do_not_count():
    make, inputs, targets = PROBLEMS["tagger"]
    model = make()
    model.head.flat_grads[:] = np.nan
    assert inspect.look(model, inputs, targets).first_nan is None


def test_gradients_of_parameters_that_overflow_are_found_last():
    _, inputs, targets = PROBLEMS["tagger"]
    model = with_head(tagger(loss=partial(rough, slope=1e308)), 0)
    edited(model.recurrent, **dict.fromkeys(model.recurrent.params, (..., 0)))  # h is 0, so is the weight's gradient
    assert first(model, inputs, targets) == "head: gradient of bias is inf at 0, and 3 more there"


# ------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": fastrnn.GRU(3, 4)}, TypeError, "model is a GRU; expected a SequenceModel or an EncoderDecoder"),
        ({"inputs": 5}, TypeError, "inputs is 5; expected a list of an item for each sequence"),
        ({"targets": None}, TypeError, "targets is None; expected a list of an item for each sequence"),
        ({"inputs": []}, ValueError, "inputs has no items; expected one for each sequence"),
        ({"targets": [0]}, ValueError, "targets has 1 items; expected 4, as inputs has"),
        ({"num_threads": 0}, ValueError, "num_threads is 0; expected an integer >= 1"),
    ],
)
def test_what_is_no_model_and_no_batch_is_refused(changes, error, message):
    make, inputs, targets = PROBLEMS["tagger"]
    with pytest.raises(error) as caught:
        inspect.look(**{"model": make(), "inputs": inputs, "targets": targets, **changes})
    assert str(caught.value) == f"inspect.look: {message}"
