"""Every argument given every odd value: Embedding, Dropout, Attention, decoding, whole models and fit."""

import numpy as np
from odd_values import (
    ANYTHING,
    LEFT_OUT,
    REFUSED,
    THREADS,
    B,
    Call,
    H,
    I,
    T,
    V,
    absent,
    assert_refused_or_stands_for,
    count,
    dropout,
    each_argument_of,
    flag,
    initialiser,
    is_masked,
    lengths,
    names,
    nothing,
    number,
    positive,
    seed,
    share,
    x,
)
from runs import floats

import fastrnn
from fastrnn import decoding, inspect


def kind_of(layer):
    """No odd value is such a layer."""
    return {"recurrent": (fastrnn.GRU(I, H, seed=0), absent), "head": (fastrnn.Linear(H, V, seed=0), absent)}[layer]


def sequence_model(**given):
    model = fastrnn.SequenceModel(**given)
    return [model([x()[:, 0], x()[:2, 1]])]


def encoder_decoder(**given):
    layers = {"encoder": fastrnn.GRU(I, H, seed=0), "decoder": fastrnn.GRU(V, H, seed=1)}
    model = fastrnn.EncoderDecoder(**{**layers, "head": fastrnn.Linear(H, V, seed=2), **given})
    loss = model.measure([x()[:, 0], x()[:2, 1]], [np.array([2, 3]), np.array([4])])
    return [np.array(loss)]


def fitted(**given):
    """A run of two epochs over two sequences."""
    model = fastrnn.SequenceModel(fastrnn.GRU(I, H, seed=0), fastrnn.Linear(H, V, seed=1))
    inputs, targets = [x()[:, 0], x()[:2, 1]], [np.array([2, 3, 1]), np.array([4, 0])]
    given = {"model": model, "inputs": inputs, "targets": targets, "epochs": 2, "batch_size": 1, **given}
    fastrnn.fit(**given)
    return [module.flat_params for module in given["model"].modules.values()]


def looked(**given):
    """A batch of two sequences through a model."""
    model = fastrnn.SequenceModel(fastrnn.GRU(I, H, seed=0), fastrnn.Linear(H, V, seed=1))
    inputs, targets = [x()[:, 0], x()[:2, 1]], [np.array([2, 3, 1]), np.array([4, 0])]
    found = inspect.look(**{"model": model, "inputs": inputs, "targets": targets, **given})
    return [found.loss, *found.gradient_norms.values()]


def loss_function(value):
    """What another callable does is its own affair."""
    return LEFT_OUT if callable(value) else REFUSED


def function_or_none(value):
    return None if value is None else loss_function(value)


def no_callbacks(value):
    return [] if isinstance(value, (list, tuple)) and not value else REFUSED


def path_or_none(value):
    return LEFT_OUT if isinstance(value, str) and value else nothing(value)


def seed_or_none(value):
    return LEFT_OUT if value is None else count(value, 0)


def positive_or_none(value):
    return None if value is None else positive(value)


def items(value):
    """What the model says of two things that are no sequences is its own affair."""
    return LEFT_OUT if isinstance(value, (range, np.ndarray)) and np.shape(value)[:1] == (2,) else REFUSED


def symbol(value):
    """The values that are one of V tokens."""
    given = count(value, 0)
    return given if given is REFUSED or given < V else LEFT_OUT


def index(value, least=0, most=2**31 - 1):
    return None if value is None else count(value, least, most)


def count_or_none(value):
    return None if value is None else count(value)


def embedded(**given):
    layer = fastrnn.Embedding(**given)
    return [layer.flat_params, layer(np.arange(layer.num_embeddings))]


def embedding_backward(**given):
    layer = fastrnn.Embedding(I, H, seed=0)
    layer.backward(**{"tape": layer.forward(np.zeros((T, B), int))[1], **given})
    return [layer.flat_grads]


def dropped(**given):
    return [fastrnn.Dropout(**{"p": 0.5, "seed": 0, **given}).forward(x())[0]]


def dropout_backward(**given):
    layer = fastrnn.Dropout(0.5, seed=0)
    return [layer.backward(**{"tape": layer.forward(x())[1], **given})]


def attended(**given):
    layer = fastrnn.Attention(**given)
    return [layer.flat_params, *layer(floats(T, B, layer.query_size), floats(4, B, layer.key_size))]


def attention():
    return fastrnn.Attention(H, I, "general", seed=0)


def attention_backward(**given):
    layer = attention()
    tape = layer.forward(floats(T, B, H), x())[2]
    return [*layer.backward(**{"tape": tape, **given}), layer.flat_grads]


def decoded(function, **fixed):
    def step(tokens, state):
        return np.array([[1.0, 2.0, 0.5]] * len(tokens)) * (1 + tokens[:, None] % 2), state

    return lambda **given: [np.concatenate([
        np.asarray(one.tokens if isinstance(one, tuple) else one)
        for own in function(**{"step": step, "state": None, "start": 0, "length": 4, **fixed, **given})
        for one in (own if isinstance(own, list) else [own])
    ])]


def one_symbol(value):
    """The values that are the symbol before the first, of one sequence or of several."""
    if is_masked(value) or isinstance(value, (bool, np.bool_)):
        return REFUSED
    try:
        array = np.asarray(value)
    except Exception:
        return REFUSED
    fits = array.dtype.kind in "iu" and array.ndim < 2 and array.size
    return ANYTHING if fits and ((array >= 0) & (array < 2**31)).all() else REFUSED


def is_indices(value, size):
    plain = isinstance(value, np.ndarray) and not is_masked(value)
    return plain and value.dtype.kind in "iu" and ((value >= 0) & (value < size)).all()


def some_floats(value):
    plain = isinstance(value, np.ndarray) and not is_masked(value)
    return ANYTHING if plain and value.dtype in (np.float32, np.float64) else REFUSED


def logits_alone(value):
    """The values that are logits of one symbol, which is the blank; strange numbers end in FloatingPointError."""
    return ANYTHING if some_floats(value) is ANYTHING and value.ndim == 3 and value.size else REFUSED


def empty_state(value):
    """The values without arrays, and those that are a state of one sequence."""
    if value is None or (isinstance(value, (list, tuple)) and value in ([], (), [[]])):
        return ANYTHING
    plain = isinstance(value, np.ndarray) and not is_masked(value)
    return ANYTHING if plain and value.ndim >= 2 and value.shape[1] == 1 else REFUSED


def short(value):
    """Lengths that end soon."""
    given = count(value)
    return given if given is REFUSED or given < 10**6 else LEFT_OUT


def heat(value):
    given = number(value)
    fits = given is not REFUSED and (given == 0 or np.finfo(float).tiny <= given <= np.finfo(float).max)
    return given if fits else REFUSED


def exponent(value):
    given = number(value)
    return given if given is not REFUSED and 0 <= given <= 30 else REFUSED


def mass(value):
    given = number(value)
    return None if value is None else given if given is not REFUSED and 0 < given <= 1 else REFUSED


CALLS = [
    Call(
        "Embedding",
        embedded,
        {"num_embeddings": (I, lambda value: count(value, most=10**6)), "embedding_dim": (H, count), "seed": (0, seed),
         "padding_index": (None, lambda value: index(value, most=I - 1)), "dtype": ("float32", absent),
         "init": (None, initialiser)},
    ),
    Call(
        "Embedding",
        lambda **given: [fastrnn.Embedding(I, H, seed=0)(**given)],
        {"indices": (np.zeros((T, B), int), lambda value: ANYTHING if is_indices(value, I) else REFUSED), **THREADS},
    ),
    Call(
        "Embedding.forward",
        lambda **given: [fastrnn.Embedding(I, H, seed=0).forward(**given)[0]],
        {"indices": (np.zeros((T, B), int), lambda value: ANYTHING if is_indices(value, I) else REFUSED), **THREADS},
    ),
    Call(
        "Embedding.backward",
        embedding_backward,
        {"tape": (ANYTHING, absent), "dy": (floats(T, B, H), absent), **THREADS},
    ),
    Call("Dropout", dropped, {"p": (0.5, dropout), "seed": (0, seed)}),
    Call("Dropout", lambda **given: [fastrnn.Dropout(0.5)(**given)], {"x": (x(), some_floats), **THREADS}),
    Call(
        "Dropout.forward",
        lambda **given: [fastrnn.Dropout(0.5, seed=0).forward(**given)[0]],
        {"x": (x(), some_floats), **THREADS},
    ),
    Call(
        "Dropout.backward",
        dropout_backward,
        {"tape": (ANYTHING, absent), "dy": (x(), absent), **THREADS},
    ),
    Call(
        "Attention",
        attended,
        {"query_size": (H, count), "key_size": (I, count), "hidden_size": (3, count_or_none),
         "kind": ("additive", names("additive")), "dtype": ("float32", absent), "seed": (0, seed),
         "init": (None, initialiser)},
    ),
    Call(
        "Attention",
        lambda **given: [*attention()(**given)],
        {"queries": (floats(T, B, H), absent), "memory": (x(), absent), "lengths": (None, lengths),
         "keys": (None, nothing), **THREADS},
    ),
    Call(
        "Attention.keys",
        lambda **given: [fastrnn.Attention(H, I, "additive", seed=0).keys(**given)],
        {"memory": (x(), absent), **THREADS},
    ),
    Call(
        "Attention.forward",
        lambda **given: [*attention().forward(**given)[:2]],
        {"queries": (floats(T, B, H), absent), "memory": (x(), absent), "lengths": (None, lengths), **THREADS},
    ),
    Call(
        "Attention.backward",
        attention_backward,
        {"tape": (ANYTHING, absent), "dcontext": (floats(T, B, I), absent), **THREADS},
    ),
    Call(
        "greedy",
        decoded(decoding.greedy),
        {"state": (None, empty_state), "start": (0, one_symbol), "end": (None, index), "length": (3, short)},
    ),
    Call(
        "sample",
        decoded(decoding.sample, seed=0),
        {"state": (None, empty_state), "start": (0, one_symbol), "end": (None, index), "length": (3, short),
         "temperature": (1.0, heat), "top_k": (None, count_or_none), "top_p": (None, mass), "seed": (0, seed)},
    ),
    Call(
        "beam_search",
        decoded(decoding.beam_search, end=2),
        {"state": (None, empty_state), "start": (0, one_symbol), "end": (None, index), "length": (3, short),
         "width": (2, count), "length_penalty": (0.6, exponent)},
    ),
    Call(
        "ctc_greedy",
        lambda **given: decoding.ctc_greedy(**given),
        {"logits": (x(), logits_alone), "lengths": (None, lengths), "blank": (0, lambda value: count(value, 0, I - 1))},
    ),
    Call(
        "ctc_beam_search",
        lambda **given: [one.tokens for own in decoding.ctc_beam_search(**given) for one in own],
        {"logits": (x(), logits_alone), "lengths": (None, lengths), "width": (2, count),
         "blank": (0, lambda value: count(value, 0, I - 1))},
    ),
    Call(
        "SequenceModel",
        sequence_model,
        {"recurrent": kind_of("recurrent"), "head": kind_of("head"),
         "loss": (fastrnn.softmax_cross_entropy, loss_function), "embedding": (None, nothing),
         "dropout": (0.0, dropout), "pool": (None, nothing), "seed": (0, seed)},
    ),
    Call(
        "EncoderDecoder",
        encoder_decoder,
        {"encoder": (fastrnn.GRU(I, H, seed=0), absent), "decoder": (fastrnn.GRU(V, H, seed=1), absent),
         "head": (fastrnn.Linear(H, V, seed=2), absent), "start": (0, symbol), "end": (1, symbol),
         "attention": (None, nothing), "combine": (None, nothing), "source_embedding": (None, nothing),
         "target_embedding": (None, nothing), "dropout": (0.0, dropout), "label_smoothing": (0.1, share),
         "seed": (0, seed)},
    ),
    Call(
        "fit",
        fitted,
        {"model": (ANYTHING, absent), "inputs": (ANYTHING, items), "targets": (ANYTHING, items),
         "validation": (None, nothing), "epochs": (2, lambda value: LEFT_OUT if count(value) != 2 else count(value)),
         "batch_size": (1, count), "optimizer": (None, function_or_none), "schedule": (None, function_or_none),
         "clip_norm": (1.0, positive_or_none),
         "accumulate": (1, count), "bucket": (True, flag), "patience": (None, count_or_none), "seed": (0, seed_or_none),
         "callbacks": ((), no_callbacks), "log": (None, path_or_none), "progress": (False, flag),
         "checkpoint": (None, path_or_none), "save_every": (None, nothing),
         "resume": (False, lambda value: False if flag(value) is False else REFUSED),
         "comm": (None, nothing), "ordered": (False, flag), **THREADS},
        {"inputs": "inputs|targets", "targets": "targets|inputs"},
    ),
    Call(
        "inspect.look",
        looked,
        {"model": (ANYTHING, absent), "inputs": (ANYTHING, items), "targets": (ANYTHING, items), **THREADS},
        {"inputs": "inputs|targets", "targets": "targets|inputs"},
    ),
]  # fmt: skip


@each_argument_of(CALLS)
def test_it_is_refused_by_name_or_does_what_it_stands_for(call, name):
    assert_refused_or_stands_for(call, name)
