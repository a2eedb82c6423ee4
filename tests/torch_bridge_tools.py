"""What the tests of the PyTorch bridge share: runs with the bridge and without, and the comparison of all they give."""

import contextlib

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils.rnn import PackedSequence  # noqa: E402

import fastrnn.torch as bridge  # noqa: E402

TOLERANCES = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 0, torch.bfloat16: 0}
LAYERS = ("LSTM", "GRU", "RNN")
CELLS = ("LSTMCell", "GRUCell", "RNNCell")


def in_both(run, *arguments):
    """What a function gives with PyTorch alone and with the bridge in force, and the ways of its calls then."""
    plain = run(*arguments)
    bridge.reset_report()
    with bridge.enabled():
        ours = run(*arguments)
    return plain, ours, ways()


def ways():
    """All ways that calls took since the report was reset: {"fastrnn", "torch: autocast"}, for example."""
    return {way for counts in bridge.report().values() for way in counts}


HERE = {"fastrnn"}


def by_torch(*reasons):
    return {f"torch: {reason}" for reason in reasons}


@contextlib.contextmanager
def only(*expected):
    """Inside, calls with the bridge in force take exactly these ways."""
    bridge.reset_report()
    with bridge.enabled():
        yield
    assert ways() == set(expected)


def raised(function, *arguments):
    """The type and the message of the error that a call raises, or None."""
    try:
        function(*arguments)
    except Exception as error:
        return type(error), str(error)
    return None


def same(ours, plain, tolerance=None, strides=True, where="result"):
    """Assert that two results are the same: forms, dtypes, shapes, strides, flags, and numbers within a tolerance.

    tolerance: relative to the largest number; None for that of the dtype
    """
    if isinstance(plain, PackedSequence):
        assert isinstance(ours, PackedSequence), where
        same(tuple(ours), tuple(plain), tolerance, strides, where)
    elif isinstance(plain, (tuple, list)):
        assert type(ours) is type(plain) and len(ours) == len(plain), where
        for i, (one, other) in enumerate(zip(ours, plain, strict=True)):
            same(one, other, tolerance, strides, f"{where}[{i}]")
    elif isinstance(plain, dict):
        assert ours.keys() == plain.keys(), where
        for key in plain:
            same(ours[key], plain[key], tolerance, strides, f"{where}[{key!r}]")
    elif isinstance(plain, torch.Tensor):
        same_tensor(ours, plain, tolerance, strides, where)
    else:
        assert ours == plain, where


def same_tensor(ours, plain, tolerance, strides, where):
    assert type(ours) is type(plain), where
    for what in ("dtype", "device", "shape", "requires_grad", "is_leaf"):
        assert getattr(ours, what) == getattr(plain, what), f"{where}: {what}"
    assert (ours.grad_fn is None) == (plain.grad_fn is None), f"{where}: grad_fn"
    assert ours.is_inference() == plain.is_inference(), f"{where}: inference"
    if strides:
        assert strides_that_count(ours) == strides_that_count(plain), f"{where}: strides"
    if plain.device.type == "meta":
        return
    if not plain.dtype.is_floating_point:
        assert torch.equal(ours, plain), where
        return
    tolerance = TOLERANCES[plain.dtype] if tolerance is None else tolerance
    ours, plain = ours.detach().double(), plain.detach().double()
    if plain.numel():
        scale = max(plain.abs().max().item(), 0.1)
        error = (ours - plain).abs().max().item()
        assert error <= tolerance * scale, f"{where}: error {error:.3g} of {scale:.3g}"


def strides_that_count(tensor):
    """Strides of the axes along which there is more than one entry."""
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def layer(kind, inputs=4, hidden=3, layers=1, seed=0, **options):
    """A layer or cell of torch.nn by its name, its weights by seed."""
    torch.manual_seed(seed)
    if kind.endswith("Cell"):
        return getattr(nn, kind)(inputs, hidden, **options)
    return getattr(nn, kind)(inputs, hidden, layers, **options)


def random(*shape, seed=0, dtype=torch.float32, grad=False):
    """Normal numbers by seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad)


def state_of(module, batch, seed=1, grad=False, dtype=torch.float32):
    """A random state for a layer or a cell, in the form that it takes."""
    cell = isinstance(module, nn.RNNCellBase)
    lead = () if cell else (module.num_layers * (2 if module.bidirectional else 1),)
    h_width = module.hidden_size if cell else module.proj_size or module.hidden_size
    h = random(*lead, batch, h_width, seed=seed, dtype=dtype, grad=grad)
    if not isinstance(module, (nn.LSTM, nn.LSTMCell)):
        return h
    return h, random(*lead, batch, module.hidden_size, seed=seed + 1, dtype=dtype, grad=grad)


def flat(result):
    """All tensors of a result, in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, PackedSequence):
        return [result.data]
    return [tensor for part in result for tensor in flat(part)]


def losses(result):
    """A number that depends on everything in a result, differently on each entry."""
    return sum((tensor * torch.linspace(-1, 1, tensor.numel(), dtype=tensor.dtype).view(tensor.shape)).sum()
               for tensor in flat(result))  # fmt: skip


def gradients(tensors):
    """The .grad of each, None where there is none; they are cleared."""
    found = [tensor.grad for tensor in tensors]
    for tensor in tensors:
        tensor.grad = None
    return found
