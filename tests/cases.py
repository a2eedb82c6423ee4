"""The one table of cells and shapes, for parity, gradients and benchmarks. Plain data.

T time, B batch, I input size, H hidden size. Kernels go wrong at the edges of a vector and of a
register tile, so sizes sit around the widest vector, W = 16 floats (and 8, the narrower one):
1, 3, 8, W-1, W, W+1, 2W, 3W+5; batches around the rows of a tile; T = 1 has no recurrence.
"""

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

# (cell, B, T, I, H, layers), the cell a name of CELLS. The UGRNN rows repeat LSTM shapes: no other
# package has the cell, so it is compared with our own LSTM.
INFERENCE_CASES = [
    ("lstm", 1, 1, 64, 64, 1),
    ("lstm", 1, 1, 256, 256, 1),
    ("lstm", 1, 1, 512, 512, 1),
    ("lstm", 1, 100, 16, 32, 1),
    ("lstm", 1, 100, 128, 128, 1),
    ("lstm", 1, 100, 512, 512, 1),
    ("lstm", 1, 100, 1024, 1024, 1),
    ("lstm", 8, 50, 256, 256, 1),
    ("lstm", 32, 50, 256, 256, 2),
    ("lstm", 64, 50, 512, 512, 1),
    ("gru", 1, 100, 128, 128, 1),
    ("gru", 1, 100, 512, 512, 1),
    ("gru", 32, 50, 256, 256, 1),
    ("gru", 64, 50, 512, 512, 1),
    ("rnn", 1, 100, 128, 128, 1),
    ("rnn", 32, 50, 256, 256, 1),
    ("ugrnn", 8, 50, 256, 256, 1),
]

TRAINING_CASES = [
    ("lstm", 1, 25, 64, 100, 1),
    ("lstm", 16, 50, 64, 64, 1),
    ("lstm", 32, 50, 128, 128, 2),
    ("lstm", 64, 50, 256, 256, 1),
    ("lstm", 50, 50, 512, 512, 3),
    ("lstm", 128, 100, 128, 128, 1),
    ("gru", 1, 25, 64, 100, 1),
    ("gru", 32, 50, 128, 128, 2),
    ("gru", 64, 50, 256, 256, 1),
    ("gru", 50, 50, 512, 512, 3),
    ("rnn", 32, 50, 128, 128, 1),
    ("ugrnn", 32, 50, 128, 128, 2),
    ("ugrnn", 64, 50, 256, 256, 1),
]

BENCHMARK_CASES = INFERENCE_CASES + TRAINING_CASES
