"""The same module on fastrnn and on torch alone: with one set of parameters, so that they cannot drift apart."""

import contextlib
import itertools
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import fastrnn.torch
from fastrnn._core import workspace
from fastrnn.torch import bridge, calls  # noqa: F401  # for scripts that import all of this

# Name, the module's class and options, float64 or float32; sizes are those of `make`.
FORMS = {
    "lstm": (nn.LSTM, {}),
    "lstm projected": (nn.LSTM, {"proj_size": 3}),
    "lstm both ways, two layers": (nn.LSTM, {"bidirectional": True, "num_layers": 2}),
    "lstm float64": (nn.LSTM, {"dtype": torch.float64}),
    "gru both ways": (nn.GRU, {"bidirectional": True}),
    "gru, two layers, no biases": (nn.GRU, {"num_layers": 2, "bias": False}),
    "rnn": (nn.RNN, {}),
    "lstm cell": (nn.LSTMCell, {}),
    "gru cell float64": (nn.GRUCell, {"dtype": torch.float64}),
    "relu cell": (nn.RNNCell, {"nonlinearity": "relu"}),
}
SHORT = ("lstm", "gru both ways", "lstm cell")  # where a case costs much
T, B, INPUTS, HIDDEN = 4, 2, 3, 5


def make(form, seed=0, sizes=(INPUTS, HIDDEN)):
    kind, options = FORMS[form]
    torch.manual_seed(seed)
    return kind(*sizes, **options)


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.from_numpy(np.random.default_rng([seed, *shape]).standard_normal(shape)).to(dtype)


def input_of(module, seed=0, T=T, B=B):
    dtype = weight_of(module).dtype
    shape = (B,) if isinstance(module, nn.RNNCellBase) else (T, B)
    return numbers(*shape, module.input_size, seed=seed, dtype=dtype)


def state_of(module, seed=1, B=B):
    """One that is not 0: each weight matters then."""
    if isinstance(module, nn.RNNCellBase):
        shapes = [(B, module.hidden_size)] * 2
    else:
        parts = module.num_layers * (1 + module.bidirectional)
        shapes = [(parts, B, width) for width in (module.proj_size or module.hidden_size, module.hidden_size)]
    dtype = next(module.parameters()).dtype
    states = [numbers(*shape, seed=seed, dtype=dtype) for shape in shapes]
    return tuple(states) if isinstance(module, (nn.LSTM, nn.LSTMCell)) else states[0]


def weight_of(module):
    return module.weight_hh if isinstance(module, nn.RNNCellBase) else module.weight_hh_l0


def change_one_number(module):
    """Without gradient, version or a place that a sample of a few numbers looks at."""
    weight_of(module).data[2, 1] += 0.5


def flat(outputs):
    """All tensors of nested tuples."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return list(itertools.chain.from_iterable(map(flat, outputs)))


def infer(module, x, state=None):
    with torch.no_grad():
        return flat(module(x, state_of(module) if state is None else state))


def gradients(module, x, state=None):
    """The outputs, then the gradients of x, the states and the parameters; `.grad` stays as it is."""
    state = state_of(module) if state is None else state
    sources = [x.detach().requires_grad_()] + [one.detach().requires_grad_() for one in flat(state)]
    outputs = flat(module(sources[0], tuple(sources[1:]) if len(sources) == 3 else sources[1]))
    loss = sum((output * weights_for(output)).sum() for output in outputs)
    found = torch.autograd.grad(loss, sources + list(module.parameters()))
    return [output.detach() for output in outputs] + list(found)


def weights_for(output):
    return torch.linspace(-1, 1.5, output.numel(), dtype=output.dtype).reshape(output.shape)


def on_fastrnn(what, *arguments):
    """The result, all of which was computed here; for tests with the fixture `switched`."""
    fastrnn.torch.reset_report()
    bridge.override(True)
    try:
        result = what(*arguments)
    finally:
        bridge.override(False)
    assert {way for counts in fastrnn.torch.report().values() for way in counts} == {"fastrnn"}
    return result


@contextlib.contextmanager
def override_registered():
    """Registered, but not in force: `on_fastrnn` puts it in force for one call, in no time. On one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with fastrnn.torch.enabled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
        bridge.override(False)
        yield
    torch.set_num_threads(before)


@pytest.fixture
def switched():
    with override_registered():
        yield


def assert_close(actual, expected):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        wide = one.dtype == torch.float64
        torch.testing.assert_close(one, other, rtol=1e-9 if wide else 2e-4, atol=1e-11 if wide else 2e-5)


def assert_same_bits(actual, expected):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert one.detach().numpy().tobytes() == other.detach().numpy().tobytes()


@contextlib.contextmanager
def packing_anew():
    """Inside, nothing is known of weights that were packed before; afterwards it is known again."""
    before = dict(workspace.waiting)
    workspace.waiting.clear()
    yield
    workspace.waiting.clear()
    workspace.waiting.update(before)


def assert_as_torch(what, module, *arguments):
    """On fastrnn it gives what torch alone gives, and the very bits of weights that are packed anew."""
    ours = on_fastrnn(what, module, *arguments)
    assert_close(ours, what(module, *arguments))
    with packing_anew():
        assert_same_bits(ours, on_fastrnn(what, module, *arguments))
    return ours
