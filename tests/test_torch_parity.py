"""PyTorch as an independent referee: the same random weights, outputs and every gradient."""

import numpy as np
import pytest
from runs import as_tuple, from_tuple, make_layer, make_step
from tolerance import BACKWARD, FORWARD, assert_close, bound

import fastrnn

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("torch_on_one_thread")
CASES = [
    pytest.param("rnn", {"nonlinearity": "tanh"}, id="rnn"),
    pytest.param("rnn_relu", {"nonlinearity": "relu"}, id="rnn_relu"),
    pytest.param("lstm", {}, id="lstm"),
    pytest.param("gru", {}, id="gru"),
]
SHAPES = [(6, 3, 4, 5), (9, 13, 40, 70)]  # (T, B, I, H)


def double(array):
    return torch.tensor(array, dtype=torch.float64)


def torch_layer(ours, options):
    """PyTorch's layer with our layer's weights."""
    kind = getattr(torch.nn, type(ours).__name__)
    theirs = kind(
        ours.input_size,
        ours.hidden_size,
        ours.num_layers,
        bias=ours.bias,
        batch_first=ours.batch_first,
        **options,
    )
    theirs.load_state_dict({name: torch.tensor(view) for name, view in ours.params.items()})
    return theirs


def torch_run(theirs, step):
    """Every result of PyTorch's layer, in float64."""
    leaves = [double(a).requires_grad_() for a in (step.x, *as_tuple(step.state))]
    y, final = theirs(leaves[0], from_tuple(leaves[1:]))
    outputs = [y, *as_tuple(final)]
    torch.autograd.backward(outputs, [double(a) for a in (step.dy, *as_tuple(step.dstate))])
    states = step.layer.STATES
    names = ["y", *states, "dx", *(f"d{name}" for name in states)]
    values = [output.detach() for output in outputs] + [leaf.grad for leaf in leaves]
    results = dict(zip(names, values, strict=True))
    results |= {f"d{name}": p.grad for name, p in theirs.named_parameters()}
    return {name: value.numpy() for name, value in results.items()}


@pytest.mark.parametrize(("bias", "batch_first"), [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_layer_matches_torch(name, options, shape, layers, bias, batch_first):
    step = make_step(name, shape, layers, bias=bias, batch_first=batch_first)
    theirs = torch_layer(step.layer, options)
    with step.layer.editing() as params:
        params.flat[:] = 0
    step.layer.load_state_dict(theirs.state_dict())
    actual, expected = step.run(), torch_run(theirs.double(), step)
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        factor = FORWARD if key in ("y", "h", "c") else BACKWARD
        assert_close(key, actual[key], value, bound(step.length(), factor))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_parameters_are_called_and_shaped_as_torch_does(name, options):
    ours = make_layer(name, 3, 5, 2)
    theirs = torch_layer(ours, options)  # strict: it refuses other names and shapes
    assert list(theirs.state_dict()) == list(ours.params)
    for key, value in theirs.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), ours.params[key])


def test_linear_and_loss_match_torch():
    torch.manual_seed(0)
    theirs = torch.nn.Linear(20, 33)
    ours = fastrnn.Linear(20, 33)
    ours.load_state_dict(theirs.state_dict())
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 5, 20)).astype(np.float32)
    targets = rng.integers(33, size=(7, 5))
    y, tape = ours.forward(x)
    loss, dy = fastrnn.softmax_cross_entropy(y, targets)
    dx = ours.backward(tape, dy)

    x_torch = double(x).requires_grad_()
    logits = theirs.double()(x_torch)
    logits.retain_grad()
    expected = torch.nn.functional.cross_entropy(
        logits.reshape(-1, 33), torch.tensor(targets).reshape(-1)
    )
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    pairs = {
        "y": (y, logits.detach()),
        "dy": (dy * 35, logits.grad * 35),  # of the sum, so that entries are of order one
        "dx": (dx * 35, x_torch.grad * 35),
        "dweight": (ours.grads["weight"], theirs.weight.grad),
        "dbias": (ours.grads["bias"], theirs.bias.grad),
    }
    for name, (actual, wanted) in pairs.items():
        assert_close(name, actual, wanted.numpy(), bound(35 * 20, BACKWARD))
