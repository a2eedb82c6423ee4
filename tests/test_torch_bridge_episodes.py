"""run_with_resets and sb3-contrib's sequences, beside plain loops over steps."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_bridge_tools import HERE, flat, gradients, layer, losses, random, same, state_of, ways  # noqa: E402

import fastrnn.torch as bridge  # noqa: E402
from fastrnn.torch.sb3 import process_sequence  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("torch_on_one_thread"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]
STEPS, BATCH = 7, 3
KINDS = {
    "lstm": ("LSTM", {}),
    "lstm, 2 layers": ("LSTM", {"layers": 2}),
    "projected": ("LSTM", {"proj_size": 2, "layers": 2}),
    "gru": ("GRU", {"layers": 2}),
    "tanh": ("RNN", {"bias": False}),
    "relu": ("RNN", {"nonlinearity": "relu", "layers": 2}),
}
RESETS = {
    "nowhere": lambda: torch.zeros(STEPS, BATCH),
    "first step": lambda: (torch.arange(STEPS)[:, None] == 0).expand(STEPS, BATCH).float(),
    "first step of one": lambda: ((torch.arange(STEPS)[:, None] == 0) & (torch.arange(BATCH) == 1)).float(),
    "everywhere": lambda: torch.ones(STEPS, BATCH),
    "last step": lambda: (torch.arange(STEPS)[:, None] == STEPS - 1).expand(STEPS, BATCH).float(),
    "some": lambda: (random(STEPS, BATCH, seed=4) > 0.7).float(),
    "one sequence": lambda: (torch.arange(BATCH) == 2).expand(STEPS, BATCH).float(),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_reset = pytest.mark.parametrize("resets", RESETS)


def module_of(kind, **options):
    name, own = KINDS[kind]
    return layer(name, 4, 3, **{**own, **options})


def loop(module, x, state, reset):
    """The loop over single steps that `run_with_resets` stands for."""
    if module.batch_first:
        x, reset = x.transpose(0, 1), reset.T
    if state is None:
        state = tuple(torch.zeros_like(one, dtype=x.dtype) for one in flat(state_of(module, x.shape[1])))
        state = state if isinstance(module, nn.LSTM) else state[0]
    ys = []
    for step, begins in zip(x, reset, strict=True):
        kept = (1 - begins.to(x.dtype)).view(1, -1, 1)
        state = tuple(kept * one for one in state) if isinstance(state, tuple) else kept * state
        step = step.unsqueeze(1 if module.batch_first else 0)
        y, state = module(step, state)
        ys.append(y.transpose(0, 1) if module.batch_first else y)
    y = torch.cat(ys)
    return (y.transpose(0, 1) if module.batch_first else y), state


def problem(kind, dtype=torch.float64, state=True, **options):
    module = module_of(kind, dtype=dtype, **options)
    shape = (BATCH, STEPS) if module.batch_first else (STEPS, BATCH)
    x = random(*shape, 4, dtype=dtype, grad=True)
    hx = state_of(module, BATCH, grad=True, dtype=dtype) if state else None
    return module, x, hx, [x, *([] if hx is None else flat(hx)), *module.parameters()]


def compare(run, kind, resets, **options):
    """Outputs and gradients, of everything and of y and the last state alone."""
    module, x, state, leaves = problem(kind, **options)
    results = []
    for function in (loop, run):
        y, final = function(module, x, state, resets)
        found = [y, final]
        for loss in (losses([y, *flat(final)]), losses(y), losses(flat(final)[-1])):
            loss.backward(retain_graph=True)
            found.append([torch.zeros_like(leaf) if one is None else one
                          for leaf, one in zip(leaves, gradients(leaves), strict=True)])  # fmt: skip
        results.append(found)
    same(results[1], results[0], strides=False)


@every_reset
@every_kind
@pytest.mark.parametrize("batch_first", [False, True], ids=["time first", "batch first"])
def test_it_is_the_loop_over_steps(kind, resets, batch_first):
    flags = RESETS[resets]()
    bridge.reset_report()
    compare(bridge.run_with_resets, kind, flags.T if batch_first else flags, batch_first=batch_first)
    assert ways() == HERE


@every_kind
def test_without_a_state_and_in_float32_and_accelerated_and_in_eval(kind):
    flags = RESETS["some"]()
    compare(bridge.run_with_resets, kind, flags, state=False)
    compare(bridge.run_with_resets, kind, flags, dtype=torch.float32)

    def accelerated(module, *arguments):
        bridge.accelerate(module)
        return bridge.run_with_resets(module.eval(), *arguments)

    compare(accelerated, kind, flags)
    with bridge.enabled():
        compare(bridge.run_with_resets, kind, flags)


@every_kind
@pytest.mark.parametrize("form", [torch.bool, torch.float64, torch.int64, torch.uint8], ids=str)
def test_resets_of_any_type(kind, form):
    """Whatever is not 0 is one; it may need a gradient, which it does not get."""
    module, x, state, _ = problem(kind)
    flags = RESETS["some"]()
    expected = bridge.run_with_resets(module, x, state, flags)
    given = (flags * 3).to(form)
    if form == torch.float64:
        given = (given * 0.1).requires_grad_()
    same(bridge.run_with_resets(module, x, state, given), expected, tolerance=0)
    losses(bridge.run_with_resets(module, x, state, given)).backward()
    assert given.grad is None


@every_kind
@pytest.mark.parametrize("resets", ["first step", "everywhere"])
def test_a_dropped_state_may_hold_anything(kind, resets):
    """NaN and infinities leak neither into results nor into gradients; the state's own gradient is 0."""
    module, x, state, leaves = problem(kind)
    flags = RESETS[resets]()
    expected = bridge.run_with_resets(module, x, None, flags)
    losses(expected).backward()
    wanted = gradients(leaves)
    with torch.no_grad():
        for one in flat(state):
            one.fill_(float("nan"))
            one[..., 0] = float("inf")
    result = bridge.run_with_resets(module, x, state, flags)
    losses(result).backward()
    same(result, expected)
    found = gradients(leaves)
    for leaf, one, other in zip(leaves, found, wanted, strict=True):
        if any(leaf is part for part in flat(state)):
            assert not one.any()
        else:
            same(one, other)


@every_kind
def test_second_gradients(kind):
    results = []
    for function in (loop, bridge.run_with_resets):
        module, x, state, leaves = problem(kind)
        result = function(module, x, state, RESETS["some"]())
        first = torch.autograd.grad(losses(result), leaves, create_graph=True)
        sum((one * one).sum() for one in first).backward()
        results.append((first, gradients(leaves)))
    same(results[1], results[0], strides=False)


@every_kind
def test_without_gradients(kind):
    module, x, state, _ = problem(kind)
    flags = RESETS["some"]()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            same(bridge.run_with_resets(module, x, state, flags), loop(module, x, state, flags), strides=False)


@every_kind
def test_weights_of_functional_call_and_parametrisations(kind):
    """The weights of this call, not those of the module's last."""
    class Caller(nn.Module):
        def __init__(self, run):
            super().__init__()
            self.inner, self.run = module_of(kind, dtype=torch.float64), run

        def forward(self, *arguments):
            return self.run(self.inner, *arguments)

    _, x, state, _ = problem(kind)
    results = []
    for run in (loop, bridge.run_with_resets):
        module = Caller(run)
        weights = {name: parameter.detach() * 2 for name, parameter in module.named_parameters()}
        found = [torch.func.functional_call(module, weights, (x, state, RESETS["some"]())),
                 module(x, state, RESETS["some"]())]  # fmt: skip
        results.append(found)
    same(results[1], results[0], strides=False)


def test_what_cannot_run_here_runs_by_torch():
    """Half precision; autocast; functorch."""
    flags = RESETS["some"]()
    module, x, state, _ = problem("lstm", dtype=torch.bfloat16)
    bridge.reset_report()
    same(bridge.run_with_resets(module, x, state, flags), loop(module, x, state, flags), tolerance=0.02, strides=False)
    assert ways() == {"torch: dtype"}
    module, x, state, _ = problem("gru")
    bridge.reset_report()
    module.requires_grad_(False)
    gradient = torch.func.grad(lambda x: losses(bridge.run_with_resets(module, x, state, flags)))(x.detach())
    expected = torch.autograd.grad(losses(loop(module, x, state, flags)), x)[0]
    same(gradient.detach(), expected)
    assert ways() == {"torch: functorch"}


def test_dropout_between_layers():
    """Not the loop's masks, but dropout it is; none of a single layer, none in eval."""
    module, x, state, _ = problem("gru", dropout=0.5)
    flags = RESETS["some"]()
    torch.manual_seed(0)
    one = bridge.run_with_resets(module, x, state, flags)[0]
    torch.manual_seed(0)
    assert torch.equal(one, bridge.run_with_resets(module, x, state, flags)[0])
    assert not torch.equal(one, bridge.run_with_resets(module, x, state, flags)[0])
    losses(one).backward()
    module.eval()
    same(bridge.run_with_resets(module, x, state, flags), loop(module, x, state, flags), strides=False)
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        module, x, state, _ = problem("lstm", dropout=0.5)
    bridge.reset_report()
    same(bridge.run_with_resets(module, x, state, flags), loop(module, x, state, flags), strides=False)
    assert ways() == HERE


def test_a_compiled_function_that_calls_it():
    module, x, state, _ = problem("gru")
    flags = RESETS["some"]()
    function = torch.compile(lambda x: bridge.run_with_resets(module, x, state, flags)[0] * 2, backend="eager")
    same(function(x), loop(module, x, state, flags)[0] * 2)
    torch._dynamo.reset()


def with_a_hook():
    module = nn.LSTM(4, 3)
    module.register_forward_pre_hook(lambda module, given: None)
    return module


@pytest.mark.parametrize(("kind", "changes", "error", "message"), [
    ("lstm", {"module": nn.Linear(4, 3)}, TypeError, "module is a Linear; expected torch.nn.LSTM, GRU or RNN"),
    ("lstm", {"module": nn.LSTM(4, 3, bidirectional=True)}, ValueError, "module has two directions; expected one"),
    ("lstm", {"module": with_a_hook()}, ValueError, "module has forward pre-hooks, which would not run; expected none"),
    ("lstm", {"x": [1]}, TypeError, "x is a list; expected a tensor"),
    ("lstm", {"reset": [0]}, TypeError, "reset is a list; expected a tensor"),
    ("lstm", {"reset": torch.zeros(3, 7)}, ValueError, r"reset has shape \(3, 7\); expected \(7, 3\)"),
    ("lstm", {"x": torch.zeros(7, 4)}, ValueError, r"x has shape \(7, 4\); expected \(T, B, I\) with input_size=4"),
    ("lstm", {"x": torch.zeros(0, 3, 4)}, ValueError, r"x has shape \(0, 3, 4\); expected \(T, B, I\)"),
    ("lstm", {"state": torch.zeros(1, 3, 3)}, TypeError, r"state is a Tensor; expected a pair \(h, c\)"),
    ("lstm", {"state": [torch.zeros(1, 3, 3)]}, ValueError, r"state has 1 parts; expected a pair \(h, c\)"),
    ("lstm", {"state": (torch.zeros(1, 3, 3), None)}, TypeError, "state's c is a NoneType; expected a tensor"),
    ("lstm", {"state": (torch.zeros(1, 3, 3), torch.zeros(1, 2, 3))}, ValueError, r"state's c has shape \(1, 2, 3\)"),
    ("gru", {"state": (torch.zeros(2, 3, 3), torch.zeros(2, 3, 3))}, TypeError, "state's h is a tuple; expected"),
    ("gru", {"state": torch.zeros(1, 3, 3)}, ValueError, r"state's h has shape \(1, 3, 3\); expected \(2, 3, 3\)"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(kind, changes, error, message):
    module, x, _, _ = problem(kind, dtype=torch.float32)
    arguments = {"module": module, "x": x, "state": None, "reset": RESETS["some"](), **changes}
    with pytest.raises(error, match=f"run_with_resets: {message}"):
        bridge.run_with_resets(**arguments)


def sb3s_way(features, states, starts, lstm):
    """What the policies do: the whole sequences where nothing starts, else one call for each step."""
    count = states[0].shape[1]
    x = features.reshape(count, -1, lstm.input_size).transpose(0, 1)
    starts = starts.reshape(count, -1).transpose(0, 1)
    if (starts == 0).all():
        y, states = lstm(x, states)
    else:
        y, states = loop(lstm, x, states, starts)
    return y.transpose(0, 1).flatten(0, 1), states


@pytest.mark.parametrize("resets", RESETS)
@pytest.mark.parametrize("layers", [1, 2])
def test_sb3s_sequences(resets, layers):
    """Features of all steps of one sequence after the other."""
    starts = RESETS[resets]().T.flatten()
    results = []
    for function in (sb3s_way, process_sequence):
        lstm = layer("LSTM", 4, 3, layers)
        features, states = random(STEPS * BATCH, 4, grad=True), state_of(lstm, BATCH, grad=True)
        y, final = function(features, states, starts, lstm)
        losses([y, *final]).backward()
        found = gradients([features, *states, *lstm.parameters()])
        results.append((y, final, [torch.zeros(1) if one is None else one for one in found]))
    same(results[1], results[0], strides=False)
