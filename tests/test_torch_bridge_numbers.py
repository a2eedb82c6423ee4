"""Numbers through the bridge: sizes that programs have, NaN and infinity, PyTorch's defaults of dtype and device."""

import pytest

torch = pytest.importorskip("torch")
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
    state_of,
)

pytestmark = [
    pytest.mark.usefixtures("torch_on_one_thread"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]
every_kind = pytest.mark.parametrize("kind", [*LAYERS, *CELLS])
every_layer = pytest.mark.parametrize("kind", LAYERS)


def x_for(kind, steps=5, batch=2, inputs=4):
    return random(*(() if kind in CELLS else (steps,)), batch, inputs)


def compare(run, tolerance=None):
    plain, ours, ways = in_both(run)
    same(ours, plain, tolerance)
    assert ways == HERE


@every_layer
@pytest.mark.parametrize(("steps", "batch", "inputs", "hidden", "layers"), [
    (1, 1, 64, 64, 1), (300, 1, 8, 16, 1), (20, 33, 7, 96, 2), (3, 2, 300, 5, 1), (2, 150, 3, 40, 1),
    (9, 17, 31, 129, 1),
])  # fmt: skip
def test_sizes_of_programs(kind, steps, batch, inputs, hidden, layers):
    def run():
        module = layer(kind, inputs, hidden, layers)
        x = x_for(kind, steps, batch, inputs).requires_grad_()
        result = module(x)
        sum(tensor.square().mean() for tensor in flat(result)).backward()
        return result, gradients([x, *module.parameters()])

    compare(run, 2e-4 if kind == "RNN" else 5e-5)


@every_kind
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e30, 1e-42])
@pytest.mark.parametrize("place", ["x", "state", "weight_hh", "weight_ih", "bias_hh"])
def test_numbers_that_are_none(kind, number, place):
    """They come out where they do in torch, and the finite ones are torch's."""

    def run():
        module = layer(kind, 4, 3).requires_grad_(False)
        x, state = x_for(kind), state_of(module, 2)
        if place == "x":
            x[..., 0, 1] = number
        elif place == "state":
            flat(state)[0][..., 0, 1] = number
        else:
            next(weight for name, weight in module.named_parameters() if place in name)[1] = number
        found = []
        for hx in (state, None):
            for tensor in flat(module(x, hx)):
                finite = tensor.isfinite()
                found += [tensor.isnan(), tensor.isposinf(), tensor.isneginf(), torch.where(finite, tensor, 0)]
        return found

    plain, ours, ways = in_both(run)
    same(ours, plain, strides=False)
    assert ways == HERE


@every_kind
def test_gradients_that_are_none(kind):
    """NaN and infinity upstream of one sequence reach the gradients of its own x only, and of the weights."""

    def run():
        module, x = layer(kind, 4, 3), x_for(kind).requires_grad_()
        y = flat(module(x))[0]
        upstream = torch.ones_like(y)
        upstream[..., 0, 1] = float("nan")
        y.backward(upstream)
        return [gradient.isnan() for gradient in gradients([x, *module.parameters()])]

    compare(run)


@every_kind
def test_the_default_dtype_and_device_are_others_business(kind):
    """Whatever torch makes by default: tensors that are given decide, in second gradients, too."""

    def run():
        module, x = layer(kind, 4, 3), x_for(kind).requires_grad_()
        try:
            torch.set_default_dtype(torch.float64)
            with torch.device("meta"):
                result = module(x, state_of_zeros(module))
                first = torch.autograd.grad(sum(tensor.square().sum() for tensor in flat(result)), x, create_graph=True)
                first[0].square().sum().backward()
        finally:
            torch.set_default_dtype(torch.float32)
        return result, first, gradients([x, *module.parameters()])

    tf32 = {"allow_tf32": None} if hasattr(torch.backends.mkldnn, "allow_tf32") else {}  # from 2.7 on
    with torch.backends.mkldnn.flags(enabled=kind != "LSTM", **tf32):  # oneDNN's has no second gradient
        plain = run()
    with only(*HERE):
        same(run(), plain)


def state_of_zeros(module):
    with torch.device("cpu"):
        state = state_of(module, 2)
    return tuple(one * 0 for one in state) if isinstance(state, tuple) else state * 0


@every_layer
def test_several_threads_of_torch_give_the_same_bits(kind):
    def run(threads):
        torch.set_num_threads(threads)
        module, x = layer(kind, 24, 70, 2), x_for(kind, 30, 24, 24).requires_grad_()
        result = module(x)
        losses(result).backward()
        return [*flat(result), *gradients([x, *module.parameters()])]

    _, one, _ = in_both(run, 1)
    _, two, _ = in_both(run, 2)
    torch.set_num_threads(1)
    same(two, one, tolerance=0)
