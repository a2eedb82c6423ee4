"""The NumPy twins against PyTorch in float64: outputs, final states and every gradient."""

import numpy as np
import pytest
from layer_problems import I, Problem, T
from runs import as_tuple, from_tuple

from fastrnn.reference import gru, lstm, rnn, stack

torch = pytest.importorskip("torch")
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

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


LENGTHS = np.array([2, 5, 1, 4])  # PyTorch takes any order, but no 0
KINDS = {
    "rnn": ("RNN", {"nonlinearity": "tanh"}),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "lstmp": ("LSTM", {"proj_size": 2}),
    "gru": ("GRU", {}),
}


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "packed"])
@pytest.mark.parametrize("merge", [None, "concat"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", KINDS)
def test_options_match_torch(name, layers, merge, lengths):
    """Two directions, the projection, a packed sequence in its caller's order: every result and gradient."""
    problem = Problem(name, seed=6, widths=(3,) * layers, merge=merge, lengths=lengths)
    results = problem.run()
    kind, options = KINDS[name]
    theirs = getattr(torch.nn, kind)(I, 3, layers, bidirectional=merge is not None, dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter, weight in theirs.named_parameters():
            weight.copy_(torch.tensor(problem.arrays[parameter]))
    assert {parameter for parameter, _ in theirs.named_parameters()} == set(problem.weights())

    x = torch.tensor(problem.arrays["x"], requires_grad=True)
    states = [torch.tensor(kind, requires_grad=True) for kind in as_tuple(problem.as_states(problem.arrays))]
    given = x if lengths is None else pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    y, finals = theirs(given, from_tuple(states))
    if lengths is not None:
        y, _ = pad_packed_sequence(y, total_length=T)
    upstream = [problem.upstream["y"], *as_tuple(problem.as_states(problem.upstream))]
    torch.autograd.backward([y, *as_tuple(finals)], [torch.tensor(array) for array in upstream])

    stacked = from_tuple([final.detach().numpy() for final in as_tuple(finals)])
    initial = from_tuple([state.grad.numpy() for state in states])
    expected = {"y": y.detach().numpy(), "dx": x.grad.numpy()} | problem.by_name(stacked)
    expected |= problem.by_name(initial, "d")
    expected |= {f"d{parameter}": weight.grad.numpy() for parameter, weight in theirs.named_parameters()}
    assert results.keys() == expected.keys()
    for key, wanted in expected.items():
        np.testing.assert_allclose(results[key], wanted, rtol=1e-12, atol=1e-13, err_msg=key)
