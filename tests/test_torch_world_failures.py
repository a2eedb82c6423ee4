"""Interrupts and lack of memory in the middle of a call: the error comes out, and everything is usable afterwards."""

import signal

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test_interrupt import Interrupted, Interruptions, assert_interrupted  # noqa: E402
from test_robustness_memory import users_of_empty  # noqa: E402
from torch import nn  # noqa: E402
from torch_twins import (  # noqa: E402
    FORMS,
    assert_same_bits,
    change_one_number,
    flat,
    gradients,
    infer,
    input_of,
    make,
    override_registered,
    state_of,
    switched,  # noqa: F401
)

import fastrnn.torch  # noqa: E402
from fastrnn._core import memory, workspace  # noqa: E402

allocate = memory.empty
signals = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no pthread_kill")


@pytest.fixture(autouse=True)
def enabled(switched):  # noqa: F811
    fastrnn.torch.enable()


# ------------------------------------------------------------------------------------------------------- interrupts


def assert_usable(module):
    """The bits of a module that has never been interrupted."""
    x = input_of(module)
    with override_registered():
        fastrnn.torch.enable()
        actual = [infer(module, x), gradients(module, x), infer(module, x)]
        workspace.release()
        for one, expected in zip(actual, [infer(module, x), gradients(module, x), infer(module, x)], strict=True):
            assert_same_bits(one, expected)


@signals
@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
def test_a_long_call_is_interrupted(grad):
    module = nn.GRU(8, 32, num_layers=4)
    x, before = torch.zeros(100_000, 4, 8), memory.statistics()["live"]
    with torch.set_grad_enabled(grad):
        assert_interrupted(lambda: module(x))
    assert memory.statistics()["live"] - before < 1_000_000
    assert_usable(module)


@signals
def test_a_long_backward_run_is_interrupted():
    """No gradient is given; the graph may run backward again where it was to be retained."""
    module = nn.LSTM(64, 512)
    x = torch.zeros(600, 1, 64).normal_()
    loss = module(x)[0].sum()
    assert_interrupted(lambda: loss.backward(retain_graph=True))
    assert all(parameter.grad is None for parameter in module.parameters())
    loss.backward()
    found = [parameter.grad for parameter in module.parameters()]
    expected = torch.autograd.grad(module(x)[0].sum(), list(module.parameters()))
    assert_same_bits(found, expected)
    assert_usable(module)


@signals
def test_a_handler_may_run_the_same_layer_and_the_call_goes_on():
    module = nn.LSTM(64, 512)
    x, short = torch.zeros(400, 1, 64).normal_(), torch.zeros(3, 1, 64)
    expected, wanted = infer(module, x, zeros(module)), infer(module, short, zeros(module))
    seen = []

    class Using(Interruptions):
        def handle(self, *_):
            seen.append(torch.equal(infer(module, short, zeros(module))[0], wanted[0]))
            super().handle()

    with Using(0):
        for _ in range(3):
            assert_same_bits(infer(module, x, zeros(module)), expected)
    assert seen and all(seen)


def zeros(module):
    return torch.zeros(1, 1, module.hidden_size), torch.zeros(1, 1, module.hidden_size)


@signals
def test_a_handler_that_raises_between_torchs_operators():
    """Anywhere in a loop that trains: the next step is right."""
    module = make("lstm both ways, two layers")
    x = input_of(module)
    expected = gradients(module, x)

    def train():
        while True:
            gradients(module, x)

    for _ in range(20):
        with pytest.raises(Interrupted), Interruptions(1):
            train()
        assert_same_bits(gradients(module, x), expected)
    change_one_number(module)
    assert_usable(module)


# ------------------------------------------------------------------------------------------------- lack of memory


class Scarce:
    """The engine's arrays, of which the nth cannot be had; it counts those that were asked for."""

    def __init__(self, nth):
        self.nth, self.asked = nth, 0

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        for user in users_of_empty():
            self.patch.setattr(user, "empty", self.empty)
        return self

    def __exit__(self, *_):
        self.patch.undo()

    def empty(self, shape, dtype=np.float32):
        self.asked += 1
        if self.asked == self.nth:
            raise MemoryError("none left")
        return allocate(shape, dtype)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", [infer, gradients])
def test_lack_of_memory_at_any_place_is_an_error_and_nothing_else(form, what):
    module = make(form)
    x, state = input_of(module), state_of(module)
    expected = what(module, x, state)
    for fresh in (True, False):
        count = 0
        while True:
            if fresh:
                workspace.release()
            count += 1
            with Scarce(count) as scarce:
                try:
                    result = what(module, x, state)
                except MemoryError:
                    result = None
            if scarce.asked < count:
                break
            assert result is None
            assert_same_bits(what(module, x, state), expected)
            change_one_number(module)
            expected = what(module, x, state)
        assert_same_bits(result, expected)
        assert count >= 2
    assert_usable(module)


def test_lack_of_memory_in_backward_leaves_no_gradient():
    module = make("gru both ways")
    x = input_of(module)
    expected = None
    count = 0
    while True:
        outputs = flat(module(x, state_of(module)))
        count += 1
        with Scarce(count) as scarce:
            try:
                outputs[0].sum().backward(retain_graph=True)
            except MemoryError:
                assert all(parameter.grad is None for parameter in module.parameters())
                outputs[0].sum().backward()
        found = [parameter.grad for parameter in module.parameters()]
        assert_same_bits(found, expected or found)
        expected = found
        module.zero_grad()
        if scarce.asked < count:
            break
    assert count >= 3
