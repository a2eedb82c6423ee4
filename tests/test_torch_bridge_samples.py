"""PyTorch's own samples of its recurrent modules, through the bridge."""

import copy

import pytest

torch = pytest.importorskip("torch")
common_modules = pytest.importorskip("torch.testing._internal.common_modules", exc_type=ImportError)
from torch_bridge_tools import CELLS, HERE, LAYERS, flat, gradients, in_both, losses, same  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("torch_on_one_thread"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]
NAMES = [f"nn.{name}" for name in (*LAYERS, *CELLS)]


def samples(info, dtype, training):
    """(module, arguments) of each sample; a generator is seeded by torch's own function."""
    torch.manual_seed(0)
    inputs = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)
    for sample in inputs:
        made = sample.constructor_input
        module = info.module_cls(*made.args, dtype=dtype, **made.kwargs).train(training)
        yield module, sample.forward_input, sample.reference_fn


def leaves_of(arguments):
    return [tensor for tensor in flat([one for one in arguments if one is not None]) if tensor.is_leaf]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_every_sample_and_its_gradients(name, dtype, training):
    (info,) = [info for info in common_modules.module_db if info.name == name]
    count = 0
    for module, given, reference in samples(info, dtype, training):

        def run(module=module, given=given):
            module, given = copy.deepcopy((module, given))
            result = module(*given.args, **given.kwargs)
            losses(result).backward()
            return result, gradients([*leaves_of([*given.args, *given.kwargs.values()]), *module.parameters()])

        plain, ours, ways = in_both(run)
        same(ours, plain)
        assert ways == HERE
        if reference is not None:
            expected = reference(module, *given.args, **given.kwargs)
            torch.testing.assert_close(ours[0], expected)
        count += 1
    assert count >= 2, "torch has samples of it"
