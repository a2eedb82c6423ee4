"""PyTorch's tracers and compilers: they see what they see without the bridge, and what they make runs on it."""

import io
import sys

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence  # noqa: E402
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
    random,
    same,
    ways,
)  # fmt: skip

import fastrnn.torch as bridge  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("torch_on_one_thread"),
    pytest.mark.filterwarnings("ignore:.torch.jit.* is deprecated"),
    pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean"),
    pytest.mark.filterwarnings("ignore:The tensor attribute"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated"),
]
# Before 2.10 dynamo does not look into layers that are not torch's own, before 2.5 nowhere at all.
TORCH = tuple(map(int, torch.__version__.split(".")[:2]))
every_layer = pytest.mark.parametrize("kind", LAYERS)
some_kinds = pytest.mark.parametrize(  # torch's compilers take their time
    "kind", [pytest.param(kind, marks=[] if kind in ("GRU", "LSTMCell") else pytest.mark.slow)
             for kind in (*LAYERS, *CELLS)])  # fmt: skip
every_kind = pytest.mark.parametrize("kind", [*LAYERS, *CELLS])


class Tagger(nn.Module):
    """An embedding, a recurrent part and an output layer."""

    def __init__(self, kind, **options):
        super().__init__()
        self.inner = layer(kind, 4, 3, **options)
        self.head = nn.Linear(3 * (1 + options.get("bidirectional", False)), 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = self.inner(x)
        return self.head(result[0] if isinstance(result, tuple) else result)


class First(nn.Module):
    """A layer's y alone, or the first of what a cell returns for each row."""

    def __init__(self, kind):
        super().__init__()
        self.inner = layer(kind, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)[0]


class ScriptableTagger(nn.Module):
    """The same for torch.jit.script, packed; of an LSTM."""

    def __init__(self):
        super().__init__()
        self.inner = layer("LSTM", 4, 3, 2, bidirectional=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        y, _ = self.inner(packed)
        return self.head(pad_packed_sequence(y)[0])


def input_for(kind, scale=1.0):
    return random(*([2] if kind in CELLS else [5, 2]), 4) * scale


def trained(module, *arguments):
    """What the module returns, and its gradients."""
    result = module(*arguments)
    losses(result).backward()
    return result, gradients([*module.parameters()])


@every_kind
def test_traced_modules_are_those_of_torch_alone(kind):
    """With the bridge in force and accelerated. A layer is one operator and runs here; torch takes cells apart."""

    def trace(module):
        return torch.jit.trace(module, (input_for(kind),))

    def kinds(traced):
        return [node.kind() for node in traced.inlined_graph.nodes()]

    plain = trace(Tagger(kind))
    expected = trained(plain, input_for(kind, 2))
    accelerated = Tagger(kind)
    bridge.accelerate(accelerated)
    with bridge.enabled():
        under = trace(Tagger(kind))
    for traced in (plain, under, trace(accelerated)):
        assert kinds(traced) == kinds(plain)
        with only(*(HERE if kind in LAYERS else ())):
            same(trained(traced, input_for(kind, 2)), expected)


@every_kind
def test_scripted_modules_run_here_as_loaded_files_do(kind):
    scripted = torch.jit.script(First(kind))
    expected = trained(scripted, input_for(kind))
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    for module in (scripted, loaded):
        for _ in range(3):  # the profiling executor rewrites the graph
            with only(*HERE):
                same(trained(module, input_for(kind)), expected)


def test_scripted_modules_of_packed_sequences_run_here():
    scripted = torch.jit.script(ScriptableTagger())
    arguments = random(6, 3, 4), torch.tensor([2, 6, 4])
    expected = trained(scripted, *arguments)
    for _ in range(3):
        with only(*HERE):
            same(trained(scripted, *arguments), expected)


@every_kind
def test_frozen_and_optimized_modules_run_here(kind):
    scripted = torch.jit.script(First(kind).eval())
    expected = [tensor.detach() for tensor in flat(scripted(input_for(kind)))]
    for make in (torch.jit.freeze, lambda module: torch.jit.optimize_for_inference(torch.jit.freeze(module))):
        module = make(scripted)
        for _ in range(3):
            with only(*HERE):
                same(flat(module(input_for(kind))), expected)


def compiled(kind, backend, way):
    """Results, gradients and the graphs that the compiler saw, of a compiled model."""
    torch._dynamo.reset()
    module, graphs = Tagger(kind), []
    if way == "accelerated":
        bridge.accelerate(module)

    def keeping(graph, examples):
        graphs.append([str(node.target) for node in graph.graph.nodes])
        return torch._dynamo.lookup_backend(backend)(graph, examples)

    bridge.reset_report()
    fast = torch.compile(module, backend=keeping)
    results = [trained(fast, input_for(kind, scale)) for scale in (1, 2)]
    torch._dynamo.reset()
    return results, graphs


@every_kind
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_models(kind, backend):
    """Dynamo leaves layers as they are, so ours run between its graphs; cells it takes apart."""
    plain, graphs = compiled(kind, backend, "plain")
    with bridge.enabled():
        ours, seen = compiled(kind, backend, "enabled")
        assert ways() == (HERE if kind in LAYERS else ways()), ways()
    same(ours, plain)
    assert seen == graphs
    if kind in LAYERS:
        ours, seen = compiled(kind, backend, "accelerated")
        same(ours, plain)
        assert ways() == HERE


@pytest.mark.parametrize("kind", CELLS)
def test_compiled_cells_that_run_here(kind):
    """With the backend "eager" a graph calls torch's operator at run time."""
    with bridge.enabled():
        compiled(kind, "eager", "enabled")
        assert "fastrnn" in ways()


@every_layer
def test_layers_inside_a_whole_graph(kind):
    """allow_rnn lets dynamo keep the operator in one graph."""

    def run(accelerated):
        torch._dynamo.reset()
        module = Tagger(kind)
        if accelerated:
            bridge.accelerate(module)
        with torch._dynamo.config.patch(allow_rnn=True):
            return trained(torch.compile(module, backend="eager", fullgraph=True), input_for(kind))

    plain = run(False)
    if TORCH >= (2, 5):
        same(run(True), plain)
    with bridge.enabled():
        same(run(False), plain)
    torch._dynamo.reset()


@every_kind
@pytest.mark.parametrize("strict", [False, True])
def test_exported_programs(kind, strict):
    def export(accelerated):
        module = Tagger(kind).eval()
        if accelerated:
            bridge.accelerate(module)
        return torch.export.export(module, (input_for(kind),), strict=strict)

    plain = export(False)
    with bridge.enabled():
        under = export(False)
    targets = [str(node.target) for node in plain.graph.nodes]
    expected = plain.module()(input_for(kind, 2))
    for program in (under, export(True)) if TORCH >= (2, 10) or not strict else (under,):
        assert [str(node.target) for node in program.graph.nodes] == targets
        with only(*HERE):
            same(program.module()(input_for(kind, 2)), expected)


@some_kinds
def test_decomposed_exported_programs(kind):
    """Torch keeps operators whole that have a CPU kernel, as ours have while the bridge is in force; only then."""

    def run():
        program = torch.export.export(Tagger(kind).eval(), (input_for(kind),)).run_decompositions()
        return [str(node.target) for node in program.graph.nodes], program.module()(input_for(kind, 2))

    (graph, plain), (_, ours), _ = in_both(run)
    same(ours, plain)
    if len(sys._current_frames()) == 1:  # beside a test runner's own threads `disable` takes nothing back
        assert run()[0] == graph


@some_kinds
@pytest.mark.parametrize("tracing_mode", ["real", "fake", "symbolic"])
def test_make_fx(kind, tracing_mode):
    from torch.fx.experimental.proxy_tensor import make_fx

    def run():
        module = layer(kind, 4, 3).requires_grad_(False)
        weights = dict(module.named_parameters())

        def function(weights, x):
            return torch.func.functional_call(module, weights, (x,))

        graph = make_fx(function, tracing_mode=tracing_mode)(weights, input_for(kind))
        return [str(node.target) for node in graph.graph.nodes], graph(weights, input_for(kind))

    plain, ours, found = in_both(run)
    same(ours, plain)
    assert "fastrnn" not in found


@every_kind
def test_fake_tensors(kind):
    from torch._subclasses.fake_tensor import FakeTensorMode

    def run():
        module = layer(kind, 4, 3)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            result = module(mode.from_tensor(input_for(kind)), None)
        return [(type(tensor).__name__, tensor.shape, tensor.dtype) for tensor in flat(result)]

    plain, ours, found = in_both(run)
    assert ours == plain
    assert "fastrnn" not in found


def test_packed_sequences_in_a_compiled_model():
    def run():
        torch._dynamo.reset()
        module = layer("GRU", 4, 3, 2)

        def function(data):
            return module(PackedSequence(data, torch.tensor([2, 2, 1])))[0].data * 2

        return torch.compile(function, backend="eager")(random(5, 4))

    plain, ours, found = in_both(run)
    same(ours, plain)
    assert found == HERE


@every_kind
def test_models_that_fx_traced_run_here(kind):
    def run():
        return trained(torch.fx.symbolic_trace(First(kind)), input_for(kind))

    plain, ours, found = in_both(run)
    same(ours, plain)
    assert found == HERE


@every_layer
def test_fx_refuses_accelerated_layers_and_takes_restored_ones(kind):
    module = First(kind)
    bridge.accelerate(module)
    with pytest.raises(torch.fx.proxy.TraceError):
        torch.fx.symbolic_trace(module)
    bridge.restore(module)
    same(torch.fx.symbolic_trace(module)(input_for(kind)), First(kind)(input_for(kind)))


@every_layer
def test_torchscript_refuses_accelerated_layers_and_takes_restored_ones(kind):
    module = First(kind)
    bridge.accelerate(module)
    with pytest.raises(Exception, match="variable number of arguments"):
        torch.jit.script(module)
    bridge.restore(module)
    same(torch.jit.script(module)(input_for(kind)), First(kind)(input_for(kind)))
