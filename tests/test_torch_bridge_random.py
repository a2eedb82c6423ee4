"""Random configurations of PyTorch's layers and cells: the bridge gives what PyTorch gives, form by form."""

import random as python_random

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_sequence  # noqa: E402
from torch_bridge_tools import HERE, in_both, random, same  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("torch_on_one_thread"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:dropout option adds dropout after all but last"),
]
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-11}


class Case:
    """A random configuration by seed; `run` makes everything anew, runs it forward and backward, and tells all."""

    def __init__(self, seed):
        pick = python_random.Random(seed)
        self.seed, self.kind = seed, pick.choice(["LSTM", "LSTM", "LSTM", "GRU", "GRU", "RNN"])
        self.dtype = pick.choice([torch.float32, torch.float64])
        self.options = {
            "input_size": pick.randint(1, 9), "hidden_size": pick.randint(2, 20), "num_layers": pick.randint(1, 3),
            "bias": pick.random() < 0.7, "batch_first": pick.random() < 0.5, "bidirectional": pick.random() < 0.4,
            "dropout": pick.choice([0.0, 0.0, 0.3, 0.9]),
        }  # fmt: skip
        if self.kind == "RNN":
            self.options["nonlinearity"] = pick.choice(["tanh", "relu"])
        if self.kind == "LSTM" and pick.random() < 0.3:
            self.options["proj_size"] = pick.randint(1, self.options["hidden_size"] - 1)
        self.form = pick.choice(["batch", "batch", "unbatched", "sorted", "unsorted", "equal"])
        self.steps, self.batch = pick.randint(1, 6), 1 if self.form == "unbatched" else pick.randint(1, 5)
        self.training = pick.random() < 0.7
        self.state = pick.choice(["none", "given", "given", "transposed", "shared", "expanded"])
        self.layout = pick.choice(["contiguous", "transposed", "strided", "offset", "expanded"])
        self.weights = pick.choice(["own", "own", "transposed", "offset"])
        self.needing = pick.choice(["all", "all", "weights", "x", "states", "some", "nothing", "no_grad", "inference"])
        self.upstream = pick.choice(["random", "sum", "transposed", "y only", "states only"])
        self.keyword = pick.random() < 0.2
        self.pick = pick.random()

    def __repr__(self):
        return ", ".join(f"{name}={value}" for name, value in vars(self).items())

    def laid_out(self, tensor, layout):
        """The tensor's numbers (or for "expanded" some of them) in another layout of memory."""
        if layout == "transposed":
            return tensor.transpose(0, -1).contiguous().transpose(0, -1)
        if layout == "strided":
            return torch.stack([tensor, -tensor], -1)[..., 0]
        if layout == "offset":
            return torch.cat([tensor.new_zeros(1), tensor.flatten()])[1:].view(tensor.shape)
        if layout == "expanded":
            return tensor[..., :1].expand(tensor.shape)
        return tensor

    def module(self):
        torch.manual_seed(self.seed)
        module = getattr(nn, self.kind)(dtype=self.dtype, **self.options).train(self.training)
        return self.with_flags(module)

    def with_flags(self, module):
        """Let those parameters need a gradient that shall."""
        all_of_them = self.needing in ("all", "weights")
        for i, (name, parameter) in enumerate(module.named_parameters()):
            parameter.requires_grad_(all_of_them or (self.needing == "some" and (i + self.seed) % 3 == 0))
            if "weight_hr" in name and self.needing == "some":  # alone, it leaves torch's c of one step without a graph
                parameter.requires_grad_(module.weight_ih_l0.requires_grad)
        return module

    def input(self):
        shape = (self.batch, self.steps) if self.options["batch_first"] else (self.steps, self.batch)
        x = random(*shape, self.options["input_size"], seed=self.seed, dtype=self.dtype)
        x = self.laid_out(x, self.layout).requires_grad_(self.needing in ("all", "x"))
        return x

    def as_form(self, x):
        batch_axis = 0 if self.options["batch_first"] else 1
        if self.form == "batch":
            return x
        if self.form == "unbatched":
            return x.squeeze(batch_axis)
        pick = python_random.Random(self.seed)
        lengths = [self.steps if self.form == "equal" else pick.randint(1, self.steps) for _ in range(self.batch)]
        if self.form == "sorted":
            lengths.sort(reverse=True)
        sequences = [x.select(batch_axis, b)[:length] for b, length in enumerate(lengths)]
        return pack_sequence(sequences, enforce_sorted=self.form == "sorted")

    def states(self, module):
        """h and c as leaves, and the argument made of them."""
        if self.state == "none":
            return [], None
        rows = self.options["num_layers"] * (2 if self.options["bidirectional"] else 1)
        lead = (rows,) if self.form == "unbatched" else (rows, self.batch)
        widths = [module.proj_size or module.hidden_size, module.hidden_size][: 2 if self.kind == "LSTM" else 1]
        leaves = [random(*lead, width, seed=self.seed + i, dtype=self.dtype) for i, width in enumerate(widths)]
        if self.state in ("transposed", "expanded"):
            leaves = [self.laid_out(leaf, self.state) for leaf in leaves]
        for leaf in leaves:
            leaf.requires_grad_(self.needing in ("all", "states"))
        if self.state == "shared" and len(set(widths)) == 1:
            return leaves[:1], (leaves[0], leaves[0]) if self.kind == "LSTM" else leaves[0]
        return leaves, tuple(leaves) if self.kind == "LSTM" else leaves[0]

    def call(self, module, x, hx):
        named = {"input": x, "hx": hx} if self.keyword else {}
        arguments = () if self.keyword else (x,) if hx is None else (x, hx)
        if self.weights == "own":
            return module(*arguments, **named)
        other = {name: self.laid_out(p, self.weights) for name, p in module.named_parameters()}
        return torch.func.functional_call(module, other, arguments, named)

    def upstream_of(self, outputs):
        """Pairs of an output and the gradient it is given."""
        if self.upstream == "y only":
            outputs = outputs[:1]
        elif self.upstream == "states only":
            outputs = outputs[1:]
        for i, output in enumerate(outputs):
            gradient = random(*output.shape, seed=self.seed + 10 + i, dtype=self.dtype)
            if self.upstream == "sum":
                gradient = gradient.new_ones(()).expand(output.shape)
            elif self.upstream == "transposed":
                gradient = self.laid_out(gradient, "transposed")
            yield output, gradient

    def run(self):
        module = self.module()
        x = self.input()
        leaves, hx = self.states(module)
        torch.manual_seed(self.seed + 1)
        with torch.inference_mode(self.needing == "inference"), torch.set_grad_enabled(self.needing != "no_grad"):
            y, final = self.call(module, self.as_form(x), hx)
        outputs = [y.data if self.form in ("sorted", "unsorted", "equal") else y]
        outputs += final if self.kind == "LSTM" else [final]
        results = {"y": y, "final": final, "generator": torch.get_rng_state()}
        pairs = [(output, gradient) for output, gradient in self.upstream_of(outputs) if output.requires_grad]
        if pairs:
            torch.autograd.backward(*zip(*pairs, strict=True))
        results |= {name: parameter.grad for name, parameter in module.named_parameters()}
        return results | {"x": x.grad, "states": [leaf.grad for leaf in leaves]}


def check(case, strides=True):
    plain, ours, ways = in_both(case.run)
    assert ways == HERE, case
    try:
        same(ours, plain, TOLERANCE[case.dtype], strides)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{case}") from error


@pytest.mark.parametrize("hundred", [0, 1, 2, *[pytest.param(n, marks=pytest.mark.slow) for n in range(3, 20)]])
def test_random_configurations_give_what_pytorch_gives(hundred):
    """Values, shapes, strides, flags, gradients, the generator's state: of a hundred layers each."""
    for seed in range(100 * hundred, 100 * hundred + 100):
        check(Case(seed))


class CellCase(Case):
    """The same of a cell."""

    def module(self):
        torch.manual_seed(self.seed)
        options = {key: self.options[key] for key in ("input_size", "hidden_size", "bias", "nonlinearity")
                   if key in self.options}  # fmt: skip
        return self.with_flags(getattr(nn, self.kind + "Cell")(dtype=self.dtype, **options))

    def run(self):
        module = self.module()
        unbatched = self.form == "unbatched"
        lead = () if unbatched else (self.batch,)
        x = self.laid_out(random(*lead, module.input_size, seed=self.seed, dtype=self.dtype), self.layout)
        x.requires_grad_(self.needing in ("all", "x"))
        leaves = [random(*lead, module.hidden_size, seed=self.seed + i, dtype=self.dtype)
                  for i in range(2 if self.kind == "LSTM" else 1)]  # fmt: skip
        leaves = [self.laid_out(leaf, self.state).requires_grad_(self.needing in ("all", "states")) for leaf in leaves]
        if self.state == "shared":
            leaves = leaves[:1] * len(leaves)
        hx = None if self.state == "none" else tuple(leaves) if self.kind == "LSTM" else leaves[0]
        with torch.inference_mode(self.needing == "inference"), torch.set_grad_enabled(self.needing != "no_grad"):
            result = self.call(module, x, hx)
        outputs = list(result) if self.kind == "LSTM" else [result]
        pairs = list(self.upstream_of(outputs))
        if pairs and outputs[0].requires_grad:
            torch.autograd.backward(*zip(*pairs, strict=True))
        results = {name: parameter.grad for name, parameter in module.named_parameters()}
        return results | {"result": result, "x": x.grad, "states": [leaf.grad for leaf in leaves]}


@pytest.mark.parametrize("hundred", [0, *[pytest.param(n, marks=pytest.mark.slow) for n in range(1, 5)]])
def test_random_cells_give_what_pytorch_gives(hundred):
    for seed in range(100 * hundred, 100 * hundred + 100):
        case = CellCase(seed)
        check(case, strides=case.state != "transposed")  # torch's elementwise operators keep a transposed layout
