"""Every way of asking PyTorch's autograd for gradients, through the bridge."""

import pytest

torch = pytest.importorskip("torch")
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch_bridge_tools import (  # noqa: E402
    CELLS,
    HERE,
    LAYERS,
    flat,
    gradients,
    in_both,
    layer,
    losses,
    only,
    raised,
    random,
    same,
    state_of,
)  # fmt: skip

pytestmark = [
    pytest.mark.usefixtures("torch_on_one_thread"),
    pytest.mark.filterwarnings("ignore:.torch.cpu.amp.autocast"),  # checkpoint of 2.4
]
every_layer = pytest.mark.parametrize("kind", LAYERS)
every_kind = pytest.mark.parametrize("kind", [*LAYERS, *CELLS])


class Problem:
    """A layer or cell in float64, its input and state, all of which need a gradient."""

    def __init__(self, kind, **options):
        self.module = layer(kind, 3, 4, dtype=torch.float64, **options)
        self.x = random(*([2] if kind in CELLS else [5, 2]), 3, dtype=torch.float64, grad=True)
        self.state = state_of(self.module, 2, grad=True, dtype=torch.float64)
        self.states = flat(self.state)
        self.leaves = [self.x, *self.states, *self.module.parameters()]

    def outputs(self):
        """All outputs: y, for a layer, and the final states."""
        return flat(self.module(self.x, self.state))


def compare(run, *arguments, expected=HERE, **options):
    plain, ours, found = in_both(run, *arguments)
    same(ours, plain, **options)
    assert found == expected


@every_kind
def test_outputs_go_backward_one_by_one(kind):
    """Each alone, all after another over one kept graph, and again the first."""

    def run():
        problem, found = Problem(kind), []
        outputs = problem.outputs()
        for output in [*outputs, outputs[0], sum(outputs[-2:])]:
            losses(output).backward(retain_graph=True)
            found.append(gradients(problem.leaves))
        return found

    compare(run)


@every_kind
def test_gradients_add_up_where_they_are(kind):
    def run():
        problem = Problem(kind)
        for _ in range(3):
            losses(problem.outputs()).backward()
        return gradients(problem.leaves)

    compare(run)


@every_kind
@pytest.mark.parametrize("pattern", range(8))
def test_frozen_parameters_in_every_pattern(kind, pattern):
    """Bits of the pattern: weights, biases, x and states need a gradient."""

    def run():
        problem = Problem(kind)
        for name, parameter in problem.module.named_parameters():
            parameter.requires_grad_(bool(pattern & (1 if "weight" in name else 2)))
        for tensor in (problem.x, *problem.states):
            tensor.requires_grad_(bool(pattern & 4))
        outputs = problem.outputs()
        if pattern:
            losses(outputs).backward()
        return [output.requires_grad for output in outputs], gradients(problem.leaves)

    compare(run)


@every_kind
def test_only_one_tensor_needs_a_gradient(kind):
    def run():
        found = []
        for one in range(len(Problem(kind).leaves)):
            problem = Problem(kind)
            for i, leaf in enumerate(problem.leaves):
                leaf.requires_grad_(i == one)
            losses(problem.outputs()).backward()
            found.append(gradients(problem.leaves))
        return found

    compare(run)


@every_kind
def test_autograd_grad_of_what_is_asked_for(kind):
    def run():
        problem, other = Problem(kind), random(3, grad=True)
        outputs = problem.outputs()
        asked = [problem.states[0], other, problem.leaves[-1]]
        found = torch.autograd.grad(losses(outputs), asked, retain_graph=True, allow_unused=True)
        return found, raised(torch.autograd.grad, losses(outputs), asked)

    compare(run)


@every_kind
def test_gradients_of_states_that_nobody_used(kind):
    """y alone, twice in one sum; the last state alone."""

    def run():
        problem, found = Problem(kind), []
        for chosen in (lambda y, *_: [y, y * y], lambda *outputs: [outputs[-1]], lambda *outputs: [outputs[0][:1]]):
            losses(chosen(*problem.outputs())).backward()
            found.append(gradients(problem.leaves))
        return found

    compare(run)


@every_kind
def test_graphs_of_gradients(kind):
    """A gradient penalty, and a third gradient. Torch's LSTM of float32 has no second one on oneDNN."""

    def run():
        problem = Problem(kind)
        first = torch.autograd.grad(losses(problem.outputs()), problem.leaves, create_graph=True)
        second = torch.autograd.grad(sum((one * one).sum() for one in first), problem.leaves, create_graph=True)
        sum((one * one).sum() for one in second).backward()
        return first, second, gradients(problem.leaves)

    compare(run)


@every_kind
def test_graphs_of_gradients_of_tensors_that_depend_on_each_other(kind):
    """The state is made of the input, and twice the same: each place has its own gradient."""

    def run():
        problem = Problem(kind)
        h = (problem.x.mean(-1).mean() + problem.states[0]).tanh()
        result = problem.module(problem.x, (h, h) if "LSTM" in kind else h)
        first = torch.autograd.grad(losses(result), [problem.x, h, problem.states[0]], create_graph=True)
        sum((one * one).sum() for one in first).backward()
        return first, gradients(problem.leaves)

    compare(run)


def test_second_gradients_of_a_float32_lstm():
    """Torch alone has none on oneDNN; those of float64 are the measure."""

    def run(dtype):
        module = layer("LSTM", 3, 4, 2, dtype=torch.float64, batch_first=True).to(dtype)
        x = random(2, 5, 3, dtype=torch.float64).to(dtype).requires_grad_()
        first = torch.autograd.grad(losses(module(x)), x, create_graph=True)[0]
        first.square().sum().backward()
        return gradients([x, *module.parameters()])

    expected = run(torch.float64)
    with only(*HERE):
        actual = run(torch.float32)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


@every_kind
def test_jacobians_and_hessians(kind):
    def run():
        problem = Problem(kind)

        def function(x, *states):
            return tuple(flat(problem.module(x, states if len(states) == 2 else states[0])))

        arguments = (problem.x, *problem.states)
        one = torch.autograd.functional.jacobian(function, arguments)
        fast = torch.autograd.functional.jacobian(function, arguments, vectorize=True)
        hessian = torch.autograd.functional.hessian(lambda *given: losses(function(*given)), arguments)
        product = torch.autograd.functional.hvp(
            lambda *given: losses(function(*given)), arguments, tuple(torch.ones_like(one) for one in arguments))
        return one, fast, hessian, product

    compare(run, strides=False)


@every_kind
def test_many_gradients_at_once(kind):
    def run():
        problem = Problem(kind)
        y = problem.outputs()[0]
        upstream = random(3, *y.shape, dtype=torch.float64)
        batched = torch.autograd.grad(y, problem.leaves, upstream, is_grads_batched=True, retain_graph=True)
        mapped = torch.vmap(lambda v: torch.autograd.grad(y, problem.leaves, v, retain_graph=True))(upstream)
        return batched, mapped

    compare(run, strides=False)


@every_layer
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_checkpoints(kind, reentrant, dropout):
    def run():
        problem = Problem(kind, layers=2, dropout=dropout)
        torch.manual_seed(3)
        result = checkpoint(problem.module, problem.x, problem.state, use_reentrant=reentrant)
        losses(result).backward()
        return gradients(problem.leaves)

    compare(run)


@every_kind
def test_saved_tensors_kept_elsewhere(kind):
    """save_on_cpu; hooks that pack, in float64 and in another form."""

    def run():
        problem, found = Problem(kind), []
        for hooks in (
            torch.autograd.graph.save_on_cpu(),
            torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor.numpy(force=True), torch.from_numpy),
        ):
            with hooks:
                outputs = problem.outputs()
            losses(outputs).backward(retain_graph=True)
            losses(outputs).backward()
            found.append(gradients(problem.leaves))
        return found

    compare(run)


@every_kind
def test_anomaly_mode_and_hooks_of_tensors(kind):
    def run():
        problem, seen = Problem(kind), []
        with torch.autograd.detect_anomaly(check_nan=True):
            outputs = problem.outputs()
            if kind == "LSTMCell":  # torch makes h of the c that it returns, so hooks of that see both gradients
                outputs = outputs[:1]
            for tensor in (*outputs, *problem.leaves):
                tensor.register_hook(lambda gradient: seen.append(gradient.clone()))
            outputs[0].register_hook(lambda gradient: gradient * 2)
            outputs[-1].retain_grad()
            losses(outputs).backward()
        seen.sort(key=lambda gradient: (gradient.shape, gradient.flatten()[0].item()))
        return seen, outputs[-1].grad, gradients(problem.leaves)

    with pytest.warns(UserWarning, match="Anomaly Detection"):
        compare(run)


@every_kind
def test_hooks_of_modules(kind):
    def run():
        problem, seen = Problem(kind), []
        problem.module.register_forward_pre_hook(lambda _, given: (given[0] * 2, *given[1:]))
        problem.module.register_forward_hook(lambda _, given, result: seen.append(flat(result)))
        problem.module.register_full_backward_pre_hook(lambda _, upstream: seen.append(upstream))
        problem.module.register_full_backward_hook(lambda _, into, upstream: seen.append((into, upstream)))
        losses(problem.outputs()).backward()
        return [tensor.detach() for tensor in without_none(seen)], gradients(problem.leaves)

    compare(run, strides=False)


def without_none(some):
    if isinstance(some, (tuple, list)):
        return [tensor for one in some for tensor in without_none(one)]
    return [] if some is None else [some]


@every_kind
def test_gradients_that_nobody_gives(kind):
    """A function after the layer that returns no gradient at all."""

    class Cut(torch.autograd.Function):
        @staticmethod
        def forward(ctx, tensor):
            return tensor.clone()

        @staticmethod
        def backward(ctx, upstream):
            return None

    def run():
        problem = Problem(kind)
        sum(Cut.apply(output).sum() for output in problem.outputs()).backward()
        return [gradient is None or not gradient.any() for gradient in gradients(problem.leaves)]

    compare(run)
