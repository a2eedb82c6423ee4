"""Small whole models and data for them, in float64 where gradients are proved."""

from functools import partial

import fastrnn

VOCABULARY = 7


def sequences(rng, lengths, features=3, dtype="float64"):
    return [rng.standard_normal((length, features)).astype(dtype) for length in lengths]


def tokens(rng, lengths, V=VOCABULARY):
    return [rng.integers(0, V, length) for length in lengths]


def tagger(dtype="float64", cell=fastrnn.LSTM, loss=fastrnn.softmax_cross_entropy, dropout=0.0, **options):
    """A label at each step."""
    layer = cell(3, 4, dtype=dtype, seed=1, **options)
    width = 8 if layer.bidirectional and layer.merge == "concat" else 4
    return fastrnn.SequenceModel(
        layer, fastrnn.Linear(width, 4, dtype=dtype, seed=2), loss, dropout=dropout, seed=3
    )


def classifier(pool, dtype="float64", cell=fastrnn.GRU, dropout=0.0, **options):
    """A label for each sequence."""
    layer = cell(3, 4, dtype=dtype, seed=1, **options)
    width = 8 if layer.bidirectional else 4
    return fastrnn.SequenceModel(
        layer, fastrnn.Linear(width, 4, dtype=dtype, seed=2), pool=pool, dropout=dropout, seed=3
    )


def language_model(dtype="float64", V=VOCABULARY):
    """Tokens in, the next token out, over an embedding."""
    return fastrnn.SequenceModel(
        fastrnn.LSTM(4, 5, dtype=dtype, seed=1),
        fastrnn.Linear(5, V, dtype=dtype, seed=2),
        embedding=fastrnn.Embedding(V, 4, dtype=dtype, seed=3),
    )


def translator(
    dtype="float64", kind="dot", combine=True, embeddings=True, bidirectional=True, cell=fastrnn.LSTM, layers=1
):
    """Tokens in, other tokens out; `kind` None is without attention."""
    make = partial(fastrnn.Linear, dtype=dtype)
    H, V = 3, VOCABULARY
    inputs = 3 if embeddings else V
    encoder = cell(inputs, H, layers, bidirectional=bidirectional, dtype=dtype, seed=1)
    width = 2 * H if bidirectional else H
    decoder = cell(inputs, width, layers, dtype=dtype, seed=2)
    attention = None if kind is None else fastrnn.Attention(width, width, kind, dtype=dtype, seed=3)
    joint = width if kind is None else 2 * width
    combined = make(joint, 6, seed=4) if combine and kind else None
    head = make(6 if combined else joint, V, seed=5)
    tables = [fastrnn.Embedding(V, 3, dtype=dtype, seed=6 + i) if embeddings else None for i in range(2)]
    return fastrnn.EncoderDecoder(
        encoder, decoder, head, attention=attention, combine=combined, source_embedding=tables[0],
        target_embedding=tables[1], start=0, end=1, label_smoothing=0.1,
    )  # fmt: skip
