"""What the bridge leaves to PyTorch's own operators: silently, with the results and the errors of PyTorch alone.

Each case runs with PyTorch alone, with the bridge in force, and with an accelerated layer.
"""

import pytest

torch = pytest.importorskip("torch")
from torch.nn.utils.rnn import PackedSequence  # noqa: E402
from torch.overrides import BaseTorchFunctionMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch_bridge_tools import (  # noqa: E402
    CELLS,
    HERE,
    LAYERS,
    by_torch,
    flat,
    gradients,
    layer,
    losses,
    raised,
    random,
    same,
    state_of,
    ways,
)  # fmt: skip

import fastrnn.torch as bridge  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("torch_on_one_thread"),
    pytest.mark.filterwarnings("ignore:There is a performance drop because we have not yet implemented the batching"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated"),  # torch itself calls it
]
every_layer = pytest.mark.parametrize("kind", LAYERS)
every_kind = pytest.mark.parametrize("kind", [*LAYERS, *CELLS])


def check(run, make, expected, **options):
    """Assert that run(module) gives the same in all three ways, and that calls took the expected way.

    make: a function that makes the layer or cell
    """
    plain = run(make())
    for accelerated in (False, True):
        module = make()
        if accelerated and not bridge.accelerate(module).changed:
            continue
        bridge.reset_report()
        if accelerated:
            ours = run(module)
        else:
            with bridge.enabled():
                ours = run(module)
        same(ours, plain, **options)
        assert ways() == expected, f"accelerated: {accelerated}"


def tried(function, *arguments):
    """What it returns, or the error that it raises."""
    return raised(function, *arguments) or function(*arguments)


def accelerated(module):
    bridge.accelerate(module)
    return module


def input_for(kind, dtype=torch.float32, grad=False):
    return random(*([2] if kind in CELLS else [5, 2]), 4, dtype=dtype, grad=grad)


@every_kind
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(kind, dtype):
    def run(module):
        x = input_for(kind, dtype, grad=True)
        result = module(x)
        sum(tensor.sum() for tensor in flat(result)).backward()
        return result, x.grad, gradients([*module.parameters()])

    plain = run(layer(kind, dtype=dtype))
    bridge.reset_report()
    with bridge.enabled():
        ours = run(layer(kind, dtype=dtype))
    same(ours, plain)
    assert ways() == by_torch("dtype")
    assert bridge.accelerate(layer(kind, dtype=dtype)).changed == []


@every_kind
def test_autocast(kind):
    def run(module):
        with torch.autocast("cpu", torch.bfloat16):
            result = module(input_for(kind))
        losses([tensor.float() for tensor in flat(result)]).backward()
        return result, gradients([*module.parameters()])

    check(run, lambda: layer(kind), by_torch("autocast"), tolerance=0)


@every_kind
def test_vmap(kind):
    """Over inputs; over an ensemble of weights."""

    def run(module):
        xs = torch.stack([input_for(kind), input_for(kind) * 2])
        weights = {name: torch.stack([parameter, parameter * 2]) for name, parameter in module.named_parameters()}
        ensemble = torch.vmap(lambda w, x: torch.func.functional_call(module, w, (x,)))
        return tried(torch.vmap(module), xs), tried(ensemble, weights, xs)

    plain = run(layer(kind).requires_grad_(False))
    same(run(accelerated(layer(kind).requires_grad_(False))), plain, strides=False)
    with bridge.enabled():
        same(run(layer(kind).requires_grad_(False)), plain, strides=False)


@every_kind
def test_ensembles_of_gradients(kind):
    """vmap over per-sample gradients of float64, for which torch has all rules but those that write in place."""

    def run(module):
        weights, xs = dict(module.named_parameters()), torch.stack([input_for(kind), input_for(kind) * 2])

        def loss(weights, x):
            return losses(torch.func.functional_call(module, weights, (x,)))

        return tried(torch.vmap(torch.func.grad(loss), (None, 0)), weights, xs)

    check(run, lambda: layer(kind), by_torch("functorch"), strides=False)


@every_kind
def test_functional_gradients(kind):
    """grad, vjp and jacrev of functional_call."""

    def run(module):
        weights, x = dict(module.named_parameters()), input_for(kind)

        def loss(weights, x):
            return losses(torch.func.functional_call(module, weights, (x,)))

        _, back = torch.func.vjp(loss, weights, x)
        return torch.func.grad(loss)(weights, x), back(torch.ones(())), torch.func.jacrev(loss)(weights, x)

    check(run, lambda: layer(kind), by_torch("functorch"), strides=False)


@every_kind
def test_forward_mode_gradients(kind):
    """Dual numbers, and jvp of torch.func."""

    def run(module):
        x, tangent = input_for(kind, torch.float64), input_for(kind, torch.float64) * 2
        with torch.autograd.forward_ad.dual_level():
            result = flat(module(torch.autograd.forward_ad.make_dual(x, tangent)))
            dual = [tuple(torch.autograd.forward_ad.unpack_dual(tensor)) for tensor in result]
        return dual, torch.func.jvp(module, (x,), (tangent,))

    check(run, lambda: layer(kind, dtype=torch.float64), by_torch("forward-mode gradients", "functorch"))


@every_kind
def test_functional_call_runs_here(kind):
    def run(module):
        weights = {name: (parameter * 2).requires_grad_() for name, parameter in module.named_parameters()}
        result = torch.func.functional_call(module, weights, (input_for(kind),))
        return result, torch.autograd.grad(losses(result), [*weights.values()])

    check(run, lambda: layer(kind), HERE)


class Tagged(torch.Tensor):
    """A subclass that has nothing of its own."""


class Logged(torch.Tensor):
    """A subclass that sees the functions called with it."""

    seen = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        cls.seen.append(function.__name__)
        return super().__torch_function__(function, types, args, kwargs or {})


@every_kind
@pytest.mark.parametrize("subclass", [Tagged, Logged])
def test_subclasses_of_tensor(kind, subclass):
    def run(module):
        Logged.seen.clear()
        result = module(input_for(kind).as_subclass(subclass))
        seen = [name for name in Logged.seen if name.split("_")[0] in ("lstm", "gru", "rnn")]
        losses([tensor.as_subclass(torch.Tensor) for tensor in flat(result)]).backward()
        return result, seen, gradients([*module.parameters()])

    check(run, lambda: layer(kind), by_torch("tensor subclass"))


@every_kind
def test_function_modes_see_what_they_see_without_us(kind):
    class Functions(BaseTorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append(function.__name__)
            return super().__torch_function__(function, types, args, kwargs)

    seen = []

    def run(module):
        seen.clear()
        with Functions():
            result = module(input_for(kind))
        return result, [name for name in seen if name.split("_")[0] in ("lstm", "gru", "rnn")]

    plain = run(layer(kind))
    with bridge.enabled():
        same(run(layer(kind)), plain)
    same(run(accelerated(layer(kind))), plain)


@every_layer
def test_a_default_device_is_no_reason(kind):
    """It is a function mode, too, but concerns only what makes tensors."""

    def run(module):
        with torch.device("cpu"):
            return module(input_for(kind))

    check(run, lambda: layer(kind), HERE)


@every_kind
def test_dispatch_modes_see_what_they_see_without_us(kind):
    class Operators(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    seen = []

    def run(module):
        seen.clear()
        with Operators():
            losses(module(input_for(kind))).backward()
        return seen.copy(), gradients([*module.parameters()])

    check(run, lambda: layer(kind), by_torch("dispatch mode, compile or export"), tolerance=0)


@every_layer
@pytest.mark.parametrize("shape", [(0, 2, 4), (5, 0, 4), (5, 2, 3), (5,), (5, 2, 3, 4)], ids=str)
def test_wrong_and_empty_inputs(kind, shape):
    expected = by_torch("shapes") if 0 in shape else set()
    check(lambda module: tried(module, random(*shape)), lambda: layer(kind), expected)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("shape", [(0, 4), (2, 3), (2, 3, 4), ()], ids=str)
def test_wrong_and_empty_inputs_of_cells(kind, shape):
    def run(module):
        return tried(module, random(*shape))

    plain = run(layer(kind))
    with bridge.enabled():
        same(run(layer(kind)), plain)


@every_kind
def test_states_and_operators_of_wrong_shapes(kind):
    """The module checks the state; the operators are called with wrong weights, one bias and wrong counts as well."""
    function = getattr(torch, {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_tanh", "LSTMCell": "lstm_cell",
                               "GRUCell": "gru_cell", "RNNCell": "rnn_tanh_cell"}[kind])  # fmt: skip

    def run(module):
        x, found = input_for(kind), []
        state = state_of(module, 2)
        for wrong in (state_of(module, 3), [*flat(state), *flat(state)], random(1, 1, 1)):
            found.append(raised(module, x, wrong))
        weights = [parameter.detach() for parameter in module.parameters()]
        short = [*weights[:2], weights[2][1:], weights[3]]
        for given in (weights[:-1], weights[:1], [weights[0].T, *weights[1:]], short, [*weights, *weights], []):
            arguments = (x, state, *given) if kind in CELLS else (x, state, given, True, 1, 0.0, False, False, False)
            found.append(tried(function, *arguments))
        return found

    plain = run(layer(kind))
    bridge.reset_report()
    with bridge.enabled():
        ours = run(layer(kind))
    same(ours, plain)
    assert "fastrnn" not in ways()


@every_kind
def test_mixed_dtypes(kind):
    def run(module):
        state = random(*flat(state_of(module, 2))[0].shape, dtype=torch.float64)
        state = (state, state) if "LSTM" in kind else state
        found = [raised(module, input_for(kind, torch.float64)), raised(module, input_for(kind).int())]
        return found, raised(module, input_for(kind), state)

    plain = run(layer(kind))
    with bridge.enabled():
        assert run(layer(kind)) == plain
    module = layer(kind)
    if bridge.accelerate(module).changed:
        assert run(module) == plain


@every_kind
@pytest.mark.parametrize("form", ["negative", "lazy clone", "zero"])
def test_tensors_that_are_not_what_lies_in_memory(kind, form):
    def run(module):
        x = input_for(kind)
        if form == "negative":
            x = torch._neg_view(x)
        elif form == "lazy clone":
            x = torch._lazy_clone(x)
        elif form == "zero" and kind != "LSTM":  # torch's own reads what is not there
            x = torch._efficientzerotensor(x.shape)
        result = module(x)
        losses(result).backward()
        return result, gradients([*module.parameters()])

    plain_form = form == "lazy clone" or (form, kind) == ("zero", "LSTM")
    expected = HERE if plain_form else by_torch("not a plain CPU tensor")
    check(run, lambda: layer(kind), expected, strides=False)


def test_a_conjugate_view_and_complex_numbers():
    def run(module):
        return raised(module, torch.zeros(5, 2, 4, dtype=torch.complex64).conj())

    check(run, lambda: layer("LSTM"), set())


@every_kind
def test_the_meta_device(kind):
    check(lambda module: module(torch.empty(*input_for(kind).shape, device="meta")),
          lambda: layer(kind, device="meta"), set())  # fmt: skip
    module = layer(kind)
    if bridge.accelerate(module).changed:
        module.to("meta")
        bridge.reset_report()
        assert flat(module(torch.empty(5, 2, 4, device="meta")))[0].device.type == "meta"
        assert ways() == by_torch("not a plain CPU tensor")


@every_layer
def test_packed_sequences_that_are_none(kind):
    """Batch sizes that grow, that hold 0, that do not add up, of another dtype."""

    def run(module):
        found = []
        for sizes in ([1, 2], [2, 0], [3, 3], [2, 2, 2], []):
            given = PackedSequence(random(3, 4), torch.tensor(sizes, dtype=torch.int64))
            error = raised(module, given)
            found.append(error[0] if error else "none")
        return found

    plain = run(layer(kind))
    with bridge.enabled():
        assert run(layer(kind)) == plain


@every_kind
def test_numbers_that_lie_between_the_places_of_numbers(kind):
    """Input and weights of torch.frombuffer, as a mapped file has them: they are read from copies."""

    def between(tensor):
        memory = bytearray(tensor.numel() * tensor.element_size() + 1)
        made = torch.frombuffer(memory, dtype=tensor.dtype, offset=1).view(tensor.shape)
        return made.copy_(tensor.detach())

    def run(module):
        x = between(input_for(kind))
        module.load_state_dict({name: between(tensor) for name, tensor in module.state_dict().items()}, assign=True)
        result = module(x.requires_grad_())
        losses(result).backward()
        return result, gradients([x, *module.parameters()])

    check(run, lambda: layer(kind), HERE)


def test_dropout_of_everything():
    check(lambda module: module(input_for("LSTM")), lambda: layer("LSTM", layers=2, dropout=1.0),
          by_torch("dropout"))  # fmt: skip
