"""Random programs of a few modules: each step beside plain torch on the same parameters, and bit for bit anew."""

import random

import pytest

torch = pytest.importorskip("torch")

from test_torch_world_weights import WAYS, by_storage, by_strided_data  # noqa: E402
from torch_twins import (  # noqa: E402
    FORMS,
    assert_close,
    assert_same_bits,
    change_one_number,
    flat,
    gradients,
    infer,
    input_of,
    make,
    packing_anew,
    state_of,
    switched,  # noqa: F401
)

import fastrnn.torch  # noqa: E402
from fastrnn.torch import bridge, calls  # noqa: E402

pytestmark = pytest.mark.usefixtures("switched")
CHANGES = [way for way in WAYS if way not in (by_strided_data, by_storage)]  # with others torch refuses these


class Program:
    """Some modules, of which some share sizes, their optimisers, and graphs of earlier steps."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        self.random = random.Random(seed)
        self.modules = [make(form, place) for form in self.random.sample(list(FORMS), 3) for place in range(2)]
        self.optimizers = [self.optimizer_of(module) for module in self.modules]
        self.graphs = []
        fastrnn.torch.enable()
        calls.set_by_speed(seed % 3 == 0)

    def optimizer_of(self, module):
        kind = self.random.choice([torch.optim.SGD, torch.optim.Adam, torch.optim.Adagrad])
        return kind(module.parameters(), lr=0.01, foreach=self.random.random() < 0.5)

    def step(self):
        index = 0 if self.random.random() < 0.4 else self.random.randrange(len(self.modules))
        often = [self.infer, self.infer_in_inference_mode, self.gradients, self.train, self.change_one_number]
        self.random.choice([*often, *often, self.change, self.replace, self.keep, self.run_kept, self.toggle])(index)

    def arguments(self, index):
        rows, module = self.random.randrange(1, 4), self.modules[index]
        x = input_of(module, self.random.randrange(5), self.random.randrange(1, 6), rows)
        return module, x, state_of(module, self.random.randrange(5), rows)

    def compared(self, what, *arguments):
        result = what(*arguments)
        bridge.override(False)
        expected = what(*arguments)
        bridge.override(fastrnn.torch.is_enabled())
        assert_close(result, expected)
        if fastrnn.torch.is_enabled():
            with packing_anew():
                assert_same_bits(what(*arguments), result)
        return result

    def infer(self, index):
        for _ in range(self.random.randrange(1, 4)):
            self.compared(infer, *self.arguments(index))

    def infer_in_inference_mode(self, index):
        with torch.inference_mode():
            self.compared(infer, *self.arguments(index))

    def gradients(self, index):
        self.compared(gradients, *self.arguments(index))

    def train(self, index):
        module, x, state = self.arguments(index)
        parameters = list(module.parameters())
        for _ in range(self.random.randrange(1, 4)):
            found = self.compared(gradients, module, x, state)[-len(parameters) :]
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.grad = gradient
            self.optimizers[index].step()

    def change_one_number(self, index):
        change_one_number(self.modules[index])

    def change(self, index):
        self.random.choice(CHANGES)(self.modules[index])
        self.optimizers[index] = self.optimizer_of(self.modules[index])

    def replace(self, index):
        """Its memory may be the next one's."""
        form = self.random.choice(list(FORMS))
        self.modules[index] = None
        self.modules[index] = make(form, self.random.randrange(9))
        self.optimizers[index] = self.optimizer_of(self.modules[index])

    def keep(self, index):
        module, x, state = self.arguments(index)
        outputs = flat(module(x, state))
        weights = [(one, one.data_ptr(), one._version, one.detach().clone()) for one in module.parameters()]
        self.graphs.append((module, outputs, weights, (x, state)))

    def run_kept(self, _):
        """One whose weights have not changed runs backward, once or twice; others are dropped."""
        while self.graphs:
            module, outputs, weights, arguments = self.graphs.pop(self.random.randrange(len(self.graphs)))
            parameters = [parameter for parameter, *_ in weights]
            if all(
                now is then and then.data_ptr() == address and then._version == version and torch.equal(then, values)
                for now, (then, address, version, values) in zip(module.parameters(), weights, strict=True)
            ):
                bridge.override(False)
                expected = self.backward(flat(module(*arguments)), parameters)
                bridge.override(fastrnn.torch.is_enabled())
                for _ in range(self.random.randrange(1, 3)):
                    assert_close(self.backward(outputs, parameters), expected)
                return

    def backward(self, outputs, parameters):
        return torch.autograd.grad(sum(one.sin().sum() for one in outputs), parameters, retain_graph=True)

    def toggle(self, _):
        """Most of the time it is in force."""
        (fastrnn.torch.disable if self.random.random() < 0.3 else fastrnn.torch.enable)()


def run(seed, steps):
    program = Program(seed)
    for _ in range(steps):
        program.step()
    assert fastrnn.torch.report()


@pytest.mark.parametrize("seed", range(30))
def test_random_programs_are_those_of_torch(seed):
    run(seed, 40)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_long_random_programs_are_those_of_torch(seed):
    run(seed, 300)
