"""torch.autograd.gradcheck and gradgradcheck of the layers and cells that run through the bridge, in float64."""

import pytest

torch = pytest.importorskip("torch")
from torch.nn.utils.rnn import PackedSequence  # noqa: E402
from torch_bridge_tools import CELLS, HERE, flat, layer, only, random, state_of  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:Please use .torch.vmap. instead"),  # gradcheck until 2.6
    pytest.mark.usefixtures("torch_on_one_thread"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated"),  # torch itself calls it
]
slow = pytest.mark.slow
BATCH_SIZES = torch.tensor([3, 2, 1])
KINDS = {
    "lstm": ("LSTM", {}),
    "projected": ("LSTM", {"proj_size": 2}),
    "gru": ("GRU", {}),
    "tanh": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
}
OPTIONS = {
    "one": {},
    "two layers": {"layers": 2},
    "bidirectional": {"bidirectional": True},
    "batch first": {"batch_first": True},
    "no bias": {"bias": False},
    "everything": {"layers": 2, "bidirectional": True, "batch_first": True, "bias": False},
}


def problem(kind, options, packed):
    """A function of all of a layer's tensors, and those."""
    name, own = KINDS[kind]
    module = layer(name, 2, 3, dtype=torch.float64, **own, **options)
    names = [key for key, _ in module.named_parameters()]
    shape = (6,) if packed else (3, 2) if module.batch_first else (2, 3)
    x = random(*shape, 2, dtype=torch.float64, grad=True)
    states = flat(state_of(module, 3, grad=True, dtype=torch.float64))

    def function(x, *others):
        hx = others[: len(states)] if len(states) == 2 else others[0]
        given = PackedSequence(x, BATCH_SIZES) if packed else x
        weights = dict(zip(names, others[len(states) :], strict=True))
        return tuple(flat(torch.func.functional_call(module, weights, (given, hx))))

    return function, (x, *states, *(parameter.detach().clone().requires_grad_() for parameter in module.parameters()))


def cases():
    for kind in KINDS:
        for name, options in OPTIONS.items():
            for packed in (False, True):
                often = packed or name in ("one", "everything")
                yield pytest.param(kind, options, packed, id=f"{kind}, {name}{', packed' * packed}",
                                   marks=[] if often and kind != "tanh" else slow)  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "packed"), [*cases()])
def test_gradients_are_the_differences(kind, options, packed):
    function, tensors = problem(kind, options, packed)
    with only(*HERE):
        assert torch.autograd.gradcheck(function, tensors)


@pytest.mark.parametrize("packed", [False, True], ids=["batch", "packed"])
@pytest.mark.parametrize("kind", [*KINDS])
@pytest.mark.parametrize(
    "options", ["batch first", pytest.param("two layers", marks=slow), pytest.param("everything", marks=slow)]
)
def test_second_gradients_are_the_differences_of_the_first(kind, options, packed):
    function, tensors = problem(kind, OPTIONS[options], packed)
    with only(*HERE):
        assert torch.autograd.gradgradcheck(function, tensors)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("kind", CELLS)
def test_gradients_of_cells_are_the_differences(kind, bias):
    module = layer(kind, 2, 3, bias=bias, dtype=torch.float64)
    x = random(2, 2, dtype=torch.float64, grad=True)
    states = flat(state_of(module, 2, grad=True, dtype=torch.float64))
    names = [key for key, _ in module.named_parameters()]

    def function(x, *others):
        hx = others[: len(states)] if len(states) == 2 else others[0]
        weights = dict(zip(names, others[len(states) :], strict=True))
        return torch.func.functional_call(module, weights, (x, hx))

    tensors = (x, *states, *(parameter.detach().clone().requires_grad_() for parameter in module.parameters()))
    with only(*HERE):
        assert torch.autograd.gradcheck(function, tensors)
        assert torch.autograd.gradgradcheck(function, tensors)


@pytest.mark.parametrize("kind", [*KINDS])
def test_gradients_are_those_of_forward_mode_and_of_batches(kind):
    """gradcheck's other ways: forward-mode gradients and batched ones, which torch's operators compute."""
    function, tensors = problem(kind, OPTIONS["one"], False)
    with only("fastrnn", "torch: forward-mode gradients"):
        assert torch.autograd.gradcheck(function, tensors, check_forward_ad=True, check_batched_grad=True)
