"""The one table of cells and shapes, for parity, gradients and benchmarks. Plain data.

T time, B batch, I input size, H hidden size. Kernels go wrong at the edges of a vector and of a
register tile, so sizes sit around the widest vector, W = 16 floats (and 8, the narrower one):
1, 3, 8, W-1, W, W+1, 2W, 3W+5; batches around the rows of a tile; T = 1 has no recurrence.

The benchmarks' rows, (cell, B, T, I, H, layers), are part of the package, which has no tests where
it is installed: `fastrnn bench` needs them there.
"""

from fastrnn.bench.cases import BENCHMARK_CASES  # noqa: F401

# (name, class in `fastrnn`, options of that class). The module of the NumPy twin is the class's
# name in lower case.
CELLS = [
    ("rnn", "RNN", {"nonlinearity": "tanh"}),
    ("rnn_relu", "RNN", {"nonlinearity": "relu"}),
    ("rnn_sigmoid", "RNN", {"nonlinearity": "sigmoid"}),
    ("lstm", "LSTM", {}),
    ("gru", "GRU", {"reset_after": True}),
    ("gru_before", "GRU", {"reset_after": False}),
    ("ugrnn", "UGRNN", {}),
]

SIZES = (1, 3, 8, 15, 16, 17, 32, 53)
TIMES = (1, 2, 7)
BATCHES = (1, 2, 5, 7)

# (T, B, I, H). Every size occurs at least twice as I and as H, every T and B at least twice.
SHAPES = [
    (1, 1, 1, 1),
    (2, 1, 1, 3),
    (7, 2, 1, 16),
    (2, 5, 1, 53),
    (7, 5, 3, 1),
    (2, 2, 3, 8),
    (7, 1, 3, 17),
    (1, 7, 3, 32),
    (7, 7, 8, 8),
    (1, 2, 8, 15),
    (2, 1, 8, 3),
    (2, 7, 15, 15),
    (7, 1, 15, 16),
    (1, 5, 15, 17),
    (7, 5, 16, 16),
    (1, 1, 16, 32),
    (2, 2, 16, 53),
    (7, 7, 17, 17),
    (2, 1, 17, 1),
    (7, 2, 17, 15),
    (7, 5, 32, 32),
    (1, 2, 32, 8),
    (2, 7, 32, 53),
    (7, 1, 53, 53),
    (2, 5, 53, 16),
    (7, 2, 53, 3),
]
