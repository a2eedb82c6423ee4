"""accelerate and restore: a model stays the model it was, and says which of its layers run here."""

import copy
import io
import pickle
import threading

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402
from torch.nn.utils.rnn import pack_sequence  # noqa: E402
from torch_bridge_tools import (  # noqa: E402
    CELLS,
    HERE,
    LAYERS,
    by_torch,
    flat,
    gradients,
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
    pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True to a scalar"),  # LBFGS of 2.8
]
every_layer = pytest.mark.parametrize("kind", LAYERS)


class Reader(nn.Module):
    """A model with recurrent parts inside parts, one of them under two names."""

    def __init__(self, kind="LSTM"):
        super().__init__()
        torch.manual_seed(0)
        options = {"LSTM": {"proj_size": 2}}.get(kind, {})
        self.encoder = nn.ModuleDict({"first": layer(kind, 4, 3), "second": nn.ModuleList([layer(kind, 3, 3, 2)])})
        self.again = self.encoder["first"]
        self.odd = layer(kind, 3, 5, bidirectional=True, batch_first=True, **options)
        self.head = nn.Linear(4 if options else 10, 2)

    def forward(self, x):
        x = self.encoder["first"](x)[0]
        x = self.encoder["second"][0](x)[0]
        x = torch.cat([x, self.again(torch.cat([x, x[..., :1]], -1))[0]])
        return self.head(self.odd(x.transpose(0, 1))[0])


NAMES = ["encoder.first", "encoder.second.0", "odd"]


def trained(module, x=None):
    result = module(random(5, 2, 4) if x is None else x)
    losses(result).backward()
    return result, gradients([*module.parameters()])


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@every_layer
def test_a_model_runs_here_and_back(kind):
    """Nested, and with one layer under two names; accelerate twice changes nothing more."""
    model, plain = Reader(kind), trained(Reader(kind))
    done = bridge.accelerate(model)
    assert (done.changed, done.left) == (NAMES, {})
    assert model.again is model.encoder["first"]
    assert type(model.again) is getattr(bridge, kind)
    assert bridge.accelerate(model) == bridge.Accelerated([], {})
    bridge.reset_report()
    same(trained(model), plain)
    assert ways() == HERE
    done = bridge.restore(model)
    assert (done.changed, done.left) == (NAMES, {})
    assert type(model.again) is getattr(nn, kind)
    bridge.reset_report()
    same(trained(model), plain)
    assert ways() == set()


@every_layer
def test_what_a_model_has_stays(kind):
    """Parameters, the state_dict, hooks, the mode, attributes, what it looks like."""
    model = layer(kind, 4, 3).eval()
    model.note, seen = "mine", []
    model.register_forward_hook(lambda module, given, result: seen.append(type(module)))
    parameters, state = [*model.parameters()], model.state_dict()
    before = repr(model), list(state), model.training
    assert bridge.accelerate(model).changed == [""]
    assert (repr(model), list(model.state_dict()), model.training) == before
    assert [*map(id, model.parameters())] == [*map(id, parameters)]
    assert model.note == "mine"
    assert isinstance(model, getattr(nn, kind))
    model(random(5, 2, 4))
    assert seen == [getattr(bridge, kind)]


@every_layer
def test_layers_of_ones_own(kind):
    """`fastrnn.torch.LSTM(...)` is `torch.nn.LSTM(...)`: parameters by seed, names, results; packed too."""
    for options in ({}, {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.5}):
        torch.manual_seed(1)
        plain = getattr(nn, kind)(4, 3, **options)
        torch.manual_seed(1)
        ours = getattr(bridge, kind)(4, 3, **options)
        assert repr(ours) == repr(plain)
        same(ours.state_dict(), plain.state_dict(), tolerance=0)
        packed = pack_sequence([random(length, 4) for length in (2, 5, 3)], enforce_sorted=False)
        for x in (random(5, 2, 4), random(5, 4), packed):
            results = []
            for module in (plain, ours):
                torch.manual_seed(2)
                results.append(trained(module, x))
            same(results[1], results[0])


@every_layer
@pytest.mark.parametrize("make", [
    lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
    lambda parameters: torch.optim.Adam(parameters, 0.1, fused=True),
    lambda parameters: torch.optim.AdamW(parameters, 0.1, foreach=True),
    lambda parameters: torch.optim.LBFGS(parameters, 0.1, max_iter=3),
], ids=["SGD", "fused Adam", "AdamW", "LBFGS"])  # fmt: skip
def test_an_optimiser_made_before_goes_on(kind, make):
    def train(accelerated):
        model = layer(kind, 4, 3, dtype=torch.float64)
        optimiser, found = make(model.parameters()), []
        for step in range(6):
            if accelerated and step == 2:
                bridge.accelerate(model)

            def closure():
                optimiser.zero_grad()
                loss = losses(model(random(5, 2, 4, dtype=torch.float64)))
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                found.append(loss.detach())
                return loss

            optimiser.step(closure)
        return found, [parameter.detach() for parameter in model.parameters()]

    same(train(True), train(False), tolerance=1e-9)


@every_layer
@pytest.mark.parametrize("assign", [True, False])
def test_loading_a_state_dict(kind, assign):
    model, other = layer(kind, 4, 3), layer(kind, 4, 3, seed=5)
    bridge.accelerate(model)
    model(random(5, 2, 4))
    model.load_state_dict(other.state_dict(), assign=assign)
    with only(*HERE):
        same(model(random(5, 2, 4)), other(random(5, 2, 4)))


@every_layer
def test_a_model_made_on_the_meta_device(kind):
    """As large models are loaded."""
    other, model = layer(kind, 4, 3), layer(kind, 4, 3, device="meta")
    assert bridge.accelerate(model).left == {"": "its parameters are on meta"}
    model.load_state_dict(other.state_dict(), assign=True)
    assert bridge.accelerate(model).changed == [""]
    same(model(random(5, 2, 4)), other(random(5, 2, 4)))


def saved_and_loaded(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@every_layer
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), saved_and_loaded],
                         ids=["deepcopy", "pickle", "torch.save"])  # fmt: skip
def test_copies_of_an_accelerated_model(kind, copied):
    model = Reader(kind) if kind != "LSTM" else layer(kind, 4, 3)
    plain = trained(model)
    bridge.accelerate(model)
    other = copied(model)
    bridge.reset_report()
    same(trained(other), plain)
    assert ways() == HERE
    with torch.no_grad():
        next(other.parameters()).zero_()
    same(trained(model), plain)


@every_layer
def test_shared_memory(kind):
    model = layer(kind, 4, 3)
    bridge.accelerate(model)
    plain = trained(model)
    same(trained(model.share_memory()), plain)
    assert all(parameter.is_shared() for parameter in model.parameters())


@every_layer
def test_other_dtypes_and_back(kind):
    model, plain = layer(kind, 4, 3), trained(layer(kind, 4, 3).double(), random(5, 2, 4).double())
    bridge.accelerate(model)
    model.half()(random(5, 2, 4).half())
    model = layer(kind, 4, 3)
    bridge.accelerate(model)
    bridge.reset_report()
    same(trained(model.double(), random(5, 2, 4).double()), plain)
    assert ways() == HERE
    assert bridge.accelerate(layer(kind).bfloat16()).left == {"": "its parameters are torch.bfloat16"}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_what_is_left_has_a_reason():
    class Mine(nn.GRU):
        pass

    class Ours(bridge.LSTM):
        pass

    model = nn.ModuleDict({"mine": Mine(4, 3), "linear": nn.Linear(2, 2), **{kind: layer(kind) for kind in CELLS}})
    model["script"] = torch.jit.script(nn.LSTM(4, 3))
    done = bridge.accelerate(model)
    assert done.changed == []
    assert done.left["mine"] == "Mine is a subclass: fastrnn.torch.enable() reaches what it calls"
    assert done.left["script"] == "TorchScript: fastrnn.torch.enable() reaches it"
    assert {done.left[kind] for kind in CELLS} == {"a cell: fastrnn.torch.enable() reaches it"}
    assert "linear" not in done.left
    model = nn.ModuleDict({"ours": Ours(4, 3)})
    assert bridge.accelerate(model) == bridge.Accelerated([], {})
    assert bridge.restore(model).left == {"ours": "Ours is a subclass"}


def test_subclasses_that_call_super_run_here():
    class Scaled(nn.LSTM):
        def forward(self, x, hx=None):
            return super().forward(x * 2, hx)

    def run():
        torch.manual_seed(0)
        return Scaled(4, 3)(random(5, 2, 4))

    plain = run()
    bridge.reset_report()
    with bridge.enabled():
        same(run(), plain)
    assert ways() == HERE


@pytest.mark.parametrize("function", [bridge.accelerate, bridge.restore])
def test_only_modules_can_be_accelerated(function):
    with pytest.raises(TypeError, match=f"{function.__name__}: model is a list; expected a torch.nn.Module"):
        function([])


@every_layer
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("how", ["weight_norm", "spectral_norm", "old weight_norm", "prune"])
@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated")
def test_weights_that_are_made_of_others(kind, how, before):
    """Parametrised before `accelerate` or after."""

    def make(ours):
        model = layer(kind, 4, 3)
        if ours and before:
            bridge.accelerate(model)
        torch.manual_seed(0)
        if how == "prune":
            prune.l1_unstructured(model, "weight_hh_l0", amount=0.5)
        else:
            function = nn.utils.weight_norm if how == "old weight_norm" else getattr(parametrizations, how)
            function(model, "weight_hh_l0")
        if ours and not before:
            bridge.accelerate(model)
        return model

    def run(model):
        optimiser, found = torch.optim.SGD(model.parameters(), 0.1), []
        for _ in range(3):
            result = model(random(5, 2, 4))
            losses(result).backward()
            found += [result, [None if p.grad is None else p.grad.clone() for p in model.parameters()]]
            optimiser.step()
        return found

    plain = run(make(False))
    same(run(make(True)), plain)
    with bridge.enabled():
        same(run(make(False)), plain)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.filterwarnings("ignore:.* deprecated")
def test_quantized_models_stay_quantized(kind):
    model = nn.ModuleList([layer(kind, 4, 3)])
    torch.ao.quantization.quantize_dynamic(model, {getattr(nn, kind)}, inplace=True)
    plain = model[0](random(5, 2, 4))
    assert bridge.accelerate(model).changed == []
    with bridge.enabled():
        same(model[0](random(5, 2, 4)), plain, tolerance=0)


@every_layer
def test_threads_that_call_one_model(kind):
    """Each with its own input, forward and backward, and two models of one size."""
    models = [layer(kind, 4, 3, 2), layer(kind, 4, 3, 2, seed=7)]
    inputs = [random(5, 2, 4, seed=seed, grad=True) for seed in range(8)]

    def run(x):
        found = []
        for model in models * 5:
            result = model(x)
            found.append((result, torch.autograd.grad(losses(result), [x, *model.parameters()])))
        return found

    plain, ours = [run(x) for x in inputs], {}
    for model in models:
        bridge.accelerate(model)
    threads = [threading.Thread(target=lambda i=i: ours.update({i: run(inputs[i])})) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same([ours[i] for i in range(len(inputs))], plain)


def test_one_layer_on_many_threads_of_torch():
    """Torch's number of threads is used: results are the same for each."""
    model = layer("GRU", 16, 64)
    plain = trained(model, random(20, 32, 16))
    bridge.accelerate(model)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        same(trained(model, random(20, 32, 16)), plain, tolerance=3e-5)


def test_enable_is_for_the_process_and_ends():
    """Nested; `enabled` leaves what it found; a graph made before runs backward after."""
    model = layer("GRU")
    plain = trained(model)
    assert not bridge.is_enabled()
    with bridge.enabled():
        with bridge.enabled():
            assert bridge.is_enabled()
        assert bridge.is_enabled()
        bridge.enable()
        result = model(random(5, 2, 4))
    assert not bridge.is_enabled()
    losses(result).backward()
    same((result, gradients([*model.parameters()])), plain)
    bridge.disable()
    bridge.reset_report()
    same(flat(model(random(5, 2, 4))), flat(plain[0]))
    assert ways() == set()


def test_the_report_names_operators_and_ways():
    bridge.reset_report()
    with bridge.enabled():
        layer("LSTM")(random(5, 2, 4))
        layer("RNNCell", nonlinearity="relu")(random(2, 4))
        layer("GRU")(pack_sequence([random(3, 4), random(2, 4)]))
        layer("GRU").half()(random(5, 2, 4).half())
    assert bridge.report() == {
        "lstm": {"fastrnn": 1}, "rnn_relu_cell": {"fastrnn": 1}, "gru, packed": {"fastrnn": 1},
        "gru": {"torch: dtype": 1},
    }  # fmt: skip
    assert by_torch("dtype") < ways()
    bridge.reset_report()
    assert bridge.report() == {}


@pytest.mark.parametrize("version", ["2.3.1", "3.0.0+cpu", "2.130.0"])
def test_versions_that_were_not_tested_are_refused_by_name(version):
    from fastrnn.torch import versions

    versions.check(torch.__version__)
    with pytest.raises(ImportError, match=f"PyTorch {version[:3]}.* was not tested; expected one of"):
        versions.check(version)
