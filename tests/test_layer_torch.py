"""PyTorch as referee of the layers' options: directions, projection, packed sequences, several layers, batch first."""

import numpy as np
import pytest
from compiled_problems import cast, layer_of
from layer_forms import FORMS, calm, run
from layer_problems import Problem
from runs import as_tuple, from_tuple
from tolerance import BACKWARD, FORWARD, assert_close, bound

torch = pytest.importorskip("torch")
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

KINDS = {
    "rnn": ("RNN", {"nonlinearity": "tanh"}),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "lstmp": ("LSTM", {}),
    "gru": ("GRU", {}),
}
every_cell = pytest.mark.parametrize("name", KINDS)
pytestmark = [
    pytest.mark.usefixtures("torch_on_one_thread"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]
TIME, BATCH = 7, 6
LENGTHS = np.array([2, 7, 1, 4, 7, 3])  # PyTorch takes any order, but no 0


def torch_layer(problem, **options):
    """PyTorch's layer with the problem's weights, in float64."""
    kind, own = KINDS[problem.name]
    own = {**own, "proj_size": problem.projection} if problem.name == "lstmp" else own
    theirs = getattr(torch.nn, kind)(
        problem.inputs, problem.widths[0], len(problem.widths), bidirectional=problem.merge is not None,
        dropout=0.0, dtype=torch.float64, **own, **options,
    )  # fmt: skip
    theirs.load_state_dict({key: torch.tensor(problem.arrays[key]) for key in problem.weights()})
    return theirs


def torch_run(problem, theirs):
    """Every result and gradient of PyTorch's layer, by the names of `Problem.run`."""
    swap = theirs.batch_first
    x = torch.tensor(problem.arrays["x"], requires_grad=True)
    states = [torch.tensor(kind, requires_grad=True) for kind in as_tuple(problem.as_states(problem.arrays))]
    given = x.transpose(0, 1) if swap else x
    if problem.lengths is not None:
        given = pack_padded_sequence(given, torch.tensor(problem.lengths), batch_first=swap, enforce_sorted=False)
    y, final = theirs(given, from_tuple(states))
    if problem.lengths is not None:
        y, _ = pad_packed_sequence(y, batch_first=swap, total_length=problem.time)
    y = y.transpose(0, 1) if swap else y
    upstream = [problem.upstream["y"], *as_tuple(problem.as_states(problem.upstream))]
    torch.autograd.backward([y, *as_tuple(final)], [torch.tensor(array) for array in upstream])
    results = {"y": y.detach().numpy(), "dx": x.grad.numpy()}
    results |= problem.by_name(from_tuple([part.detach().numpy() for part in as_tuple(final)]))
    results |= problem.by_name(from_tuple([state.grad.numpy() for state in states]), "d")
    return results | {f"d{key}": weight.grad.numpy() for key, weight in theirs.named_parameters()}


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "packed"])
@pytest.mark.parametrize("merge", [None, "concat"], ids=["one", "two"])
@pytest.mark.parametrize(("layers", "hidden"), [(1, 17), (2, 9), (3, 5)])
@every_cell
def test_every_result_and_gradient_is_pytorchs(name, layers, hidden, merge, lengths):
    """In float64 and float32, and in every form."""
    problem = Problem(name, 6, TIME, BATCH, (hidden,) * layers, 4, merge, lengths=lengths, inputs=11)
    calm(problem)
    expected = torch_run(problem, torch_layer(problem, batch_first=layers == 2))
    wide, narrow = layer_of(problem), layer_of(problem, "float32")
    length = layers * TIME * 4 * (hidden + 11)
    for form in FORMS:
        actual = run(problem, wide, form)
        assert actual.keys() == expected.keys()
        for key, wanted in expected.items():
            atol = 1e-12 * max(1, np.abs(wanted).max())
            np.testing.assert_allclose(actual[key], wanted, rtol=0, atol=atol, err_msg=key)
        for key, got in run(problem, narrow, form).items():
            if name != "rnn_relu" or not key.startswith("d"):  # a rectifier's gradients jump
                assert_close(key, got, expected[key], bound(length, BACKWARD if key.startswith("d") else FORWARD))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("merge", [None, "concat"], ids=["one", "two"])
@every_cell
def test_state_dicts_go_to_pytorch_and_back_as_they_are(name, merge, dtype):
    problem = Problem(name, widths=(5, 5), merge=merge)
    theirs = torch_layer(problem).to(getattr(torch, dtype))
    ours = layer_of(problem, dtype)
    with ours.editing() as params:
        params.flat[:] = 0
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, tensor in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.params[key], tensor.numpy())
    back = torch_layer(problem).to(getattr(torch, dtype))
    back.load_state_dict({key: torch.from_numpy(array) for key, array in ours.state_dict().items()})
    x = torch.tensor(cast(problem.arrays["x"], dtype))
    assert torch.equal(back(x)[0], theirs(x)[0])
