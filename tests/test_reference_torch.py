"""The NumPy twins against PyTorch in float64: outputs, final states and every gradient."""

import numpy as np
import pytest
from runs import as_tuple, from_tuple

from fastrnn.reference import gru, lstm, rnn, stack

torch = pytest.importorskip("torch")

TIME, BATCH, INPUTS, HIDDEN = 6, 3, 4, 5
CASES = [
    pytest.param(rnn, {"nonlinearity": "tanh"}, "RNN", {"nonlinearity": "tanh"}, id="rnn"),
    pytest.param(rnn, {"nonlinearity": "relu"}, "RNN", {"nonlinearity": "relu"}, id="rnn_relu"),
    pytest.param(lstm, {}, "LSTM", {}, id="lstm"),
    pytest.param(gru, {"reset_after": True}, "GRU", {}, id="gru"),
]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell, options, kind, torch_options", CASES)
def test_twin_matches_torch(cell, options, kind, torch_options, layers):
    torch.manual_seed(4)
    rng = np.random.default_rng(4)
    theirs = getattr(torch.nn, kind)(INPUTS, HIDDEN, layers, dtype=torch.float64, **torch_options)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    parameters = [[getattr(theirs, f"{n}_l{layer}") for n in names] for layer in range(layers)]
    weights = [tuple(p.detach().numpy() for p in layer) for layer in parameters]
    x = rng.normal(size=(TIME, BATCH, INPUTS))
    states = tuple(rng.normal(size=(layers, BATCH, HIDDEN)) for _ in cell.STATES)
    dy = rng.normal(size=(TIME, BATCH, HIDDEN))
    dstates = tuple(rng.normal(size=state.shape) for state in states)

    y, finals, tape = stack.forward(cell, x, from_tuple(states), weights, **options)
    dx, dinitials, dlayers = stack.backward(tape, dy, from_tuple(dstates))

    x_torch = torch.tensor(x, requires_grad=True)
    states_torch = tuple(torch.tensor(state, requires_grad=True) for state in states)
    y_torch, finals_torch = theirs(x_torch, from_tuple(states_torch))
    outputs = [y_torch, *as_tuple(finals_torch)]
    torch.autograd.backward(outputs, [torch.tensor(d) for d in (dy, *dstates)])

    dweights = [dw for layer in dlayers for dw in layer]
    ours = [y, *as_tuple(finals), dx, *as_tuple(dinitials), *dweights]
    leaves = [x_torch, *states_torch, *(p for layer in parameters for p in layer)]
    wanted = [output.detach() for output in outputs] + [leaf.grad for leaf in leaves]
    for actual, expected in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-12, atol=1e-13)
