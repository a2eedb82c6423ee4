"""Training steps on subnormal numbers beside the same on numbers of order one: the times of a pair shall be alike."""

import numpy as np
import pytest

import fastrnn


@pytest.mark.parametrize("scale", [1, 1e-39], ids=["order one", "subnormal"])
@pytest.mark.parametrize("cell", [fastrnn.LSTM, fastrnn.GRU, fastrnn.RNN, fastrnn.UGRNN])
def test_step(cell, scale, benchmark):
    """Weights, inputs, states and upstream gradients: (T, B, I, H) = (20, 16, 64, 64)."""
    benchmark.group = f"subnormals {cell.NAME}"
    layer, rng, tiny = cell(64, 64, seed=0), np.random.default_rng(0), np.float32(scale)
    with layer.editing() as params:
        params.flat[:] = rng.standard_normal(params.flat.size).astype(np.float32) * tiny
    x, dy = (rng.standard_normal((20, 16, 64)).astype(np.float32) * tiny for _ in range(2))
    h = rng.standard_normal((1, 16, 64)).astype(np.float32) * tiny
    state = (h, h) if len(cell.STATES) > 1 else h

    def step():
        _, _, tape = layer.forward(x, state, num_threads=1)
        layer.backward(tape, dy, state, num_threads=1)

    benchmark.pedantic(step, rounds=20, warmup_rounds=3)
