"""Bad arguments of the layers that know no time, and of decoding: their messages, and that nothing has changed."""

import math

import numpy as np
from error_rows import Rows, assert_fails_cleanly, each_of

import fastrnn
from fastrnn import decoding

ROWS = Rows()


def add(error, message, call):
    ROWS.add(f"{len(ROWS)}: {message[:50]}", error, message, lambda w: call())


# ---------------------------------------------------------------------------------------------------- Embedding

EMBEDDING = fastrnn.Embedding(10, 2, seed=0)
IDS, DY = np.zeros((3, 2), np.int64), np.zeros((3, 2, 2), np.float32)
add(ValueError, "Embedding: num_embeddings is 0; expected an integer >= 1", lambda: fastrnn.Embedding(0, 3))
add(ValueError, "Embedding: embedding_dim is 0; expected an integer >= 1", lambda: fastrnn.Embedding(3, 0))
add(
    ValueError,
    "Embedding: padding_index is 3; expected one of 0..2 (num_embeddings=3)",
    lambda: fastrnn.Embedding(3, 3, padding_index=3),
)
add(
    ValueError,
    "Embedding: padding_index is -1; expected an integer >= 0 or None",
    lambda: fastrnn.Embedding(3, 3, padding_index=-1),
)
add(
    IndexError,
    "Embedding: indices has value 12 at (3, 0); expected 0..9",
    lambda: EMBEDDING(np.array([[1, 2], [3, 4], [5, 6], [12, 0]])),
)
add(IndexError, "Embedding: indices has value -1 at 1; expected 0..9", lambda: EMBEDDING(np.array([3, -1])))
add(
    IndexError,
    "Embedding: indices has value 9223372036854775808 at (); expected 0..9",
    lambda: EMBEDDING(np.array(2**63, np.uint64)),
)
add(IndexError, "Embedding: indices[1] has value 10 at 0; expected 0..9", lambda: EMBEDDING([IDS, np.array([10])]))
add(
    TypeError,
    "Embedding: indices are float64; expected an integer array (indices.astype(np.int64))",
    lambda: EMBEDDING(np.zeros(3)),
)
add(
    TypeError,
    "Embedding: indices are int; expected an integer array (np.asarray(indices, dtype=np.int64))",
    lambda: EMBEDDING(3),
)
add(
    TypeError,
    "Embedding: indices is the list [1, 2]; expected an array, or a list of integer arrays, one a sequence",
    lambda: EMBEDDING([1, 2]),
)
add(
    TypeError,
    "Embedding: indices is the list []; expected an array, or a list of integer arrays, one a sequence",
    lambda: EMBEDDING([]),
)
add(
    ValueError,
    "Embedding.backward: dy has shape (2, 2); expected the shape of y = (3, 2, 2)",
    lambda: EMBEDDING.backward(EMBEDDING.forward(IDS)[1], DY[0]),
)
add(
    TypeError,
    "Embedding.backward: dy has dtype float64; expected float32, the dtype of the layer (dy.astype(np.float32))",
    lambda: EMBEDDING.backward(EMBEDDING.forward(IDS)[1], DY.astype(float)),
)
add(
    TypeError,
    "Embedding.backward: dy is a ndarray; expected a list of 1, an array for each sequence",
    lambda: EMBEDDING.backward(EMBEDDING.forward([IDS])[1], DY),
)
add(
    ValueError,
    "Embedding.backward: dy[0] has shape (3, 2); expected the shape of y[0] = (3, 2, 2)",
    lambda: EMBEDDING.backward(EMBEDDING.forward([IDS])[1], [DY[:, 0]]),
)
add(ValueError, "Embedding: num_threads is 0; expected an integer >= 1", lambda: EMBEDDING(IDS, num_threads=0))

# ------------------------------------------------------------------------------------------------------ Dropout

DROPOUT = fastrnn.Dropout(0.5, seed=0)
X = np.zeros((3, 2), np.float32)
add(ValueError, "Dropout: p is 1.0; expected a number in [0, 1)", lambda: fastrnn.Dropout(1.0))
add(ValueError, "Dropout: p is -0.1; expected a number in [0, 1)", lambda: fastrnn.Dropout(-0.1))
add(TypeError, "Dropout: p is a str; expected a number in [0, 1)", lambda: fastrnn.Dropout("0.5"))
add(ValueError, "Dropout: p is 2; expected a number in [0, 1)", lambda: setattr(DROPOUT, "p", 2))
add(
    TypeError,
    "Dropout: rng is a int; expected a numpy.random.Generator (np.random.default_rng(0))",
    lambda: setattr(DROPOUT, "rng", 2),
)
add(
    TypeError,
    "Dropout: x has dtype int64; expected float32 or float64 (x.astype(np.float32))",
    lambda: DROPOUT(X.astype(int)),
)
add(
    TypeError,
    "Dropout.forward: x is a str; expected a float32 numpy array (np.asarray(x, dtype=np.float32))",
    lambda: DROPOUT.forward("x"),
)
add(
    TypeError,
    "Dropout: x is the list []; expected an array, or a list of float arrays, one a sequence",
    lambda: DROPOUT([]),
)
add(
    TypeError,
    "Dropout: x[1] has dtype float64; expected float32 as x[0] is (x[1].astype(np.float32))",
    lambda: DROPOUT([X, X.astype(float)]),
)
add(
    ValueError,
    "Dropout.backward: dy has shape (2, 2); expected the shape of y = (3, 2)",
    lambda: DROPOUT.backward(DROPOUT.forward(X)[1], X[1:]),
)
add(
    TypeError,
    "Dropout.backward: dy has dtype float64; expected float32, the dtype of the layer (dy.astype(np.float32))",
    lambda: DROPOUT.backward(DROPOUT.forward(X)[1], X.astype(float)),
)
add(
    TypeError,
    "Dropout.backward: dy is a ndarray; expected a list of 1, an array for each sequence",
    lambda: DROPOUT.backward(DROPOUT.forward([X])[1], X),
)
add(ValueError, "Dropout: num_threads is 0; expected an integer >= 1", lambda: DROPOUT(X, num_threads=0))

# ---------------------------------------------------------------------------------------------------- Attention

ATTENTION = fastrnn.Attention(5, 4, "general", seed=0)
ADDITIVE = fastrnn.Attention(5, 4, "additive", hidden_size=3, seed=0)
Q, M = np.zeros((3, 2, 5), np.float32), np.zeros((4, 2, 4), np.float32)
add(
    ValueError,
    "Attention: query_size is 3 and key_size 4; expected equal ones for 'dot', or 'general'",
    lambda: fastrnn.Attention(3, 4),
)
add(
    ValueError,
    "Attention: kind is 'luong'; expected one of dot, general, additive",
    lambda: fastrnn.Attention(3, 4, "luong"),
)
add(
    ValueError,
    "Attention: hidden_size is 4; only 'additive' has one, expected None",
    lambda: fastrnn.Attention(3, 3, hidden_size=4),
)
add(
    ValueError,
    "Attention: hidden_size is 0; expected an integer >= 1 or None",
    lambda: fastrnn.Attention(3, 3, "additive", hidden_size=0),
)
add(ValueError, "Attention: query_size is 0; expected an integer >= 1", lambda: fastrnn.Attention(0, 3))
add(ValueError, "Attention: queries has shape (2, 5); expected (Tq, B, Q) with Q=5", lambda: ATTENTION(Q[0], M))
add(ValueError, "Attention: memory has shape (3, 2, 5); expected (Tk, B, K) with K=4", lambda: ATTENTION(Q, Q))
add(
    ValueError,
    "Attention: queries has a batch of 2 and memory of 1; expected (T, B, ...) each",
    lambda: ATTENTION(Q, M[:, :1]),
)
add(ValueError, "Attention: lengths hold 5; expected 0..T=4", lambda: ATTENTION(Q, M, [5, 1]))
add(
    TypeError,
    "Attention: queries is a ndarray and memory a list; expected two arrays or two lists",
    lambda: ATTENTION(Q, [M[:, 0]]),
)
add(
    ValueError,
    "Attention: queries has 1 sequences and memory 2; expected as many",
    lambda: ATTENTION([Q[:, 0]], [M[:, 0]] * 2),
)
add(
    ValueError,
    "Attention: lengths are given with lists, which have their own; expected None",
    lambda: ATTENTION([Q[:, 0]], [M[:, 0]], [2]),
)
add(
    ValueError,
    "Attention: memory[0] has shape (4, 2, 4); expected (Tk_i, K) with K=4",
    lambda: ATTENTION([Q[:, 0]], [M]),
)
add(
    TypeError,
    "Attention: queries is the list []; expected an array, or a list of float arrays, one a sequence",
    lambda: ATTENTION([], []),
)
add(
    ValueError,
    "Attention.backward: dcontext has shape (3, 2, 5); expected the shape of context = (3, 2, 4)",
    lambda: ATTENTION.backward(ATTENTION.forward(Q, M)[2], Q),
)
add(
    TypeError,
    "Attention.backward: dcontext is a ndarray; expected a list of 1, an array for each sequence",
    lambda: ATTENTION.backward(ATTENTION.forward([Q[:, 0]], [M[:, 0]])[2], M),
)
add(ValueError, "Attention: num_threads is 0; expected an integer >= 1", lambda: ATTENTION(Q, M, num_threads=0))
add(
    ValueError,
    "Attention: keys are given for 'general', whose keys are the memory; expected None",
    lambda: ATTENTION(Q, M, keys=M),
)
add(
    ValueError,
    "Attention: keys has shape (4, 2, 4); expected keys(memory) = (4, 2, 3)",
    lambda: ADDITIVE(Q, M, keys=M),
)
add(ValueError, "Attention.keys: memory has shape (3, 2, 5); expected (Tk, B, K) with K=4", lambda: ADDITIVE.keys(Q))
add(
    TypeError,
    "Attention.keys: memory is the list [1]; expected an array, or a list of float arrays, one a sequence",
    lambda: ADDITIVE.keys([1]),
)

# ----------------------------------------------------------------------------------------------------- decoding

Z, STATE = np.zeros((1, 3)), np.zeros((2, 4, 5))


def constant(logits, state=None):
    return lambda tokens, given: (logits, state)


for given, error, message in (
    ({"logits": [[1.0, 2.0]]}, ValueError, "logits are float64 of shape (1, 2); expected (V,) numbers, V >= 1"),
    ({"logits": []}, ValueError, "logits are float64 of shape (0,); expected (V,) numbers, V >= 1"),
    ({"logits": ["a"]}, ValueError, "logits are <U1 of shape (1,); expected (V,) numbers, V >= 1"),
    ({"logits": [math.nan, 1.0]}, FloatingPointError,
     "logits hold NaN or infinity, or a row of -infinity alone; expected finite ones, and -infinity for what is "
     "impossible"),
    ({"temperature": -1.0}, ValueError, "temperature is -1.0; expected a finite number >= 0"),
    ({"top_k": -1}, ValueError, "top_k is -1; expected an integer >= 0"),
    ({"top_p": 0.0}, ValueError, "top_p is 0.0; expected a number in (0, 1]"),
):  # fmt: skip
    add(
        error,
        f"probabilities: {message}",
        lambda given=given: decoding.probabilities(**{"logits": [1.0, 2.0, 3.0], **given}),
    )
add(
    TypeError,
    "greedy: start is 0.5; expected an integer or (N,) integers",
    lambda: decoding.greedy(constant(Z), None, 0.5, length=1),
)
add(
    TypeError,
    "greedy: start is [[0]]; expected an integer or (N,) integers",
    lambda: decoding.greedy(constant(Z), None, [[0]], length=1),
)
add(
    ValueError,
    "greedy: start has 0 symbols; expected one for each sequence, at least one",
    lambda: decoding.greedy(constant(Z), None, np.zeros(0, int), length=1),
)
add(
    ValueError,
    "greedy: start has 1 symbols for the 4 of the state; expected one for each sequence, at least one",
    lambda: decoding.greedy(constant(Z), STATE, [0], length=1),
)
add(
    ValueError,
    "greedy: length is 0; expected an integer >= 1",
    lambda: decoding.greedy(constant(Z), None, 0, length=0),
)
add(
    ValueError,
    "greedy: end is -1; expected an integer >= 0 or None",
    lambda: decoding.greedy(constant(Z), None, 0, end=-1, length=1),
)
add(
    ValueError,
    "greedy: state has an array of shape (3,); expected arrays whose second axis is N, in tuples and lists",
    lambda: decoding.greedy(constant(Z), np.zeros(3), 0, length=1),
)
add(
    ValueError,
    "greedy: state has a int; expected arrays whose second axis is N, in tuples and lists",
    lambda: decoding.greedy(constant(Z), (STATE, 1), 0, length=1),
)
add(
    ValueError,
    "greedy: state has an array of shape (1, 3); expected arrays whose second axis is N, in tuples and lists",
    lambda: decoding.greedy(constant(Z), [STATE, Z], 0, length=1),
)
add(
    TypeError,
    "greedy: step returned a ndarray; expected the pair (logits, state)",
    lambda: decoding.greedy(lambda tokens, state: Z, None, 0, length=1),
)
add(
    TypeError,
    "greedy: step returned logits of type list; expected an array of floats (N, V)",
    lambda: decoding.greedy(constant([[0.0]]), None, 0, length=1),
)
add(
    TypeError,
    "greedy: step returned logits of type int64; expected an array of floats (N, V)",
    lambda: decoding.greedy(constant(np.zeros((1, 3), int)), None, 0, length=1),
)
add(
    ValueError,
    "greedy: step returned logits of shape (2, 3); expected (N, V) with N=1",
    lambda: decoding.greedy(constant(np.zeros((2, 3))), None, 0, length=1),
)
add(
    ValueError,
    "greedy: step returned a state of 4 sequences; expected 1",
    lambda: decoding.greedy(constant(Z, STATE), None, 0, length=1),
)
add(
    FloatingPointError,
    "greedy: logits hold NaN or infinity, or a row of -infinity alone; expected finite ones, and -infinity "
    "for what is impossible",
    lambda: decoding.greedy(constant(Z * np.nan), None, 0, length=1),
)
add(
    FloatingPointError,
    "greedy: logits hold NaN or infinity, or a row of -infinity alone; expected finite ones, and -infinity "
    "for what is impossible",
    lambda: decoding.greedy(constant(Z + np.inf), None, 0, length=1),
)
add(
    FloatingPointError,
    "greedy: logits hold NaN or infinity, or a row of -infinity alone; expected finite ones, and -infinity "
    "for what is impossible",
    lambda: decoding.greedy(constant(Z - np.inf), None, 0, length=1),
)
add(
    ValueError,
    "sample: temperature is -1.0; expected a finite number >= 0",
    lambda: decoding.sample(constant(Z), None, 0, length=1, temperature=-1),
)
add(
    ValueError,
    "sample: top_k is 0; expected an integer >= 1",
    lambda: decoding.sample(constant(Z), None, 0, length=1, top_k=0),
)
add(
    ValueError,
    "sample: top_p is 0.0; expected a number in (0, 1]",
    lambda: decoding.sample(constant(Z), None, 0, length=1, top_p=0),
)
add(
    ValueError,
    "sample: top_p is 1.1; expected a number in (0, 1]",
    lambda: decoding.sample(constant(Z), None, 0, length=1, top_p=1.1),
)
add(
    TypeError,
    "sample: seed is a str; expected a non-negative integer, a numpy.random.SeedSequence or None",
    lambda: decoding.sample(constant(Z), None, 0, length=1, seed="x"),
)
add(
    ValueError,
    "beam_search: width is 0; expected an integer >= 1",
    lambda: decoding.beam_search(constant(Z), None, 0, end=2, length=1, width=0),
)
add(
    ValueError,
    "beam_search: length_penalty is -1.0; expected a number in [0, 30]",
    lambda: decoding.beam_search(constant(Z), None, 0, end=2, length=1, length_penalty=-1),
)
add(
    ValueError,
    "ctc_greedy: logits has shape (1, 3); expected (T, B, V), with one V >= 1 for all",
    lambda: decoding.ctc_greedy(Z),
)
add(
    ValueError,
    "ctc_greedy: logits[1] has shape (1, 2); expected (T_i, V), with one V >= 1 for all",
    lambda: decoding.ctc_greedy([Z, Z[:, :2]]),
)
add(
    ValueError,
    "ctc_greedy: lengths are given with a list, which has its own; expected None",
    lambda: decoding.ctc_greedy([Z], [1]),
)
add(
    TypeError,
    "ctc_greedy: logits is the list []; expected an array, or a list of float arrays (T_i, V), one a sequence",
    lambda: decoding.ctc_greedy([]),
)
add(ValueError, "ctc_greedy: blank is 3; expected an integer in 0..2", lambda: decoding.ctc_greedy([Z], blank=3))
add(ValueError, "ctc_greedy: lengths hold 2; expected 0..T=1", lambda: decoding.ctc_greedy(Z[None], [2]))
add(
    TypeError,
    "ctc_greedy: logits has dtype int64; expected float32 or float64 (logits.astype(np.float32))",
    lambda: decoding.ctc_greedy(Z[None].astype(int)),
)
add(
    FloatingPointError,
    "ctc_greedy: logits hold NaN or infinity, or a row of -infinity alone; expected finite ones, and "
    "-infinity for what is impossible",
    lambda: decoding.ctc_greedy([Z * np.nan]),
)
add(
    ValueError,
    "ctc_beam_search: width is 0; expected an integer >= 1",
    lambda: decoding.ctc_beam_search([Z], width=0),
)


@each_of(ROWS)
def test_message_and_that_nothing_changed(row):
    assert_fails_cleanly(row)
