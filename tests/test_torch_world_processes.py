"""Processes that are forked from, or started beside, one that has run recurrent layers through the bridge.

Torch's own operators hang in a child that was forked from a parent with a team of OpenMP threads, unless the child sets
torch's threads to one. Children here do so, except where only layers run.
"""

import pickle

import pytest

torch = pytest.importorskip("torch")

from fresh import needs_fork, output  # noqa: E402
from torch import nn  # noqa: E402

import fastrnn.torch  # noqa: E402

# In the parent: layers have run forward and backward, with teams of threads, and the override is in force.
BEFORE = """
import os, signal, sys, time
import torch, fastrnn.torch
from torch_twins import *
calls.set_by_speed(False)
torch.set_num_threads(2)
fastrnn.torch.enable()
module = make("lstm both ways, two layers", sizes=(24, 48))
x = input_of(module, T=20, B=32)
states = [torch.zeros(4, 32, 48), torch.zeros(4, 32, 48)]

def step():
    return gradients(module, x, tuple(states))

def train():
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    losses = []
    for _ in range(3):
        loss = module(x)[0].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses

expected = step()
"""

IN_CHILD = """
import children

def in_child(function, alone=True):
    def run():
        if alone:
            torch.set_num_threads(1)
        function()

    return children.in_child(run, seconds=30)
"""


@needs_fork
def test_a_forked_child_computes_the_same_and_trains():
    """So does its own child, and the parent afterwards."""
    script = """
import copy

def child():
    assert_same_bits(step(), expected)
    assert in_child(lambda: assert_same_bits(step(), expected)) == 0
    weights = copy.deepcopy(module.state_dict())
    losses = train()
    assert losses[-1] < losses[0]
    module.load_state_dict(weights)
    assert_same_bits(step(), expected)

def infer_only():
    for actual, wanted in zip(infer(module, x, tuple(states)), expected):
        assert torch.equal(actual[:2, :2], wanted[:2, :2])

print(in_child(infer_only, alone=False), [in_child(child) for _ in range(2)])
assert_same_bits(step(), expected)
assert set(fastrnn.torch.report()["lstm"]) == {"fastrnn"}
"""
    assert output(BEFORE + IN_CHILD + script) == "0 [0, 0]"


@needs_fork
def test_a_tape_from_before_the_fork_runs_backward_in_the_child():
    script = """
loss = module(x)[0].square().sum()
parameters = list(module.parameters())

def child():
    return torch.autograd.grad(loss, parameters, retain_graph=True)

found = child()
print(in_child(lambda: assert_same_bits(child(), found)))
loss = module(x)[0].square().sum()
print(in_child(lambda: assert_same_bits(child(), found)))
assert_same_bits(child(), found)
"""
    assert output(BEFORE + IN_CHILD + script) == "0\n0"


@needs_fork
def test_forks_beside_threads_that_compute():
    """Whatever a thread was doing at the moment of the fork."""
    script = """
import threading
stop = threading.Event()

def work(form):
    other = make(form)
    while not stop.is_set():
        gradients(other, input_of(other))
        infer(module, x, tuple(states))

threads = [threading.Thread(target=work, args=(form,)) for form in ("lstm", "gru both ways")]
for thread in threads:
    thread.start()
results = {in_child(lambda: assert_same_bits(step(), expected)) for _ in range(5)}
stop.set()
for thread in threads:
    thread.join()
print(results)
"""
    assert output(BEFORE + IN_CHILD + script) == "{0}"


@needs_fork
def test_workers_of_a_data_loader_run_layers():
    """As where features are computed by a frozen network."""
    script = """
from torch.utils.data import DataLoader, Dataset

class Features(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        with torch.no_grad():
            return module(x[:, i:i + 1])[0][:, 0]

loader = DataLoader(Features(), batch_size=2, num_workers=2, multiprocessing_context="fork")
found = torch.cat(list(loader))
with torch.no_grad():
    assert_close([found], [module(x[:, :6])[0].swapaxes(0, 1)])
print("same")
"""
    assert output(BEFORE + script) == "same"


@needs_fork
def test_a_pool_of_forked_processes():
    script = """
import torch.multiprocessing

def job(scale):
    with torch.no_grad():
        return module(x * scale)[0]

with torch.no_grad():
    wanted = [module(x * scale)[0] for scale in (1, 2, 3, 4)]
with torch.multiprocessing.get_context("fork").Pool(2, torch.set_num_threads, (1,)) as pool:
    assert_same_bits(pool.map_async(job, (1, 2, 3, 4)).get(timeout=40), wanted)
print("same")
"""
    assert output(BEFORE + script) == "same"


@needs_fork
def test_outputs_and_gradients_can_be_shared_and_sent():
    """They lie in the engine's memory, not in torch's: sharing moves them."""
    script = """
import torch.multiprocessing
context = torch.multiprocessing.get_context("fork")
module.zero_grad()
y = module(x)[0]
y.sum().backward()
wanted = module.weight_hh_l0.grad.clone(), y.detach().clone()
for parameter in module.parameters():
    parameter.grad.share_memory_()
shared = y.detach().share_memory_()

def change():
    assert_same_bits([module.weight_hh_l0.grad, shared], wanted)
    module.weight_hh_l0.grad.mul_(2)
    queue.put(module(x)[0].detach())
    received.wait(40)  # what is sent lives no longer than the sender

queue, received = context.Queue(), context.Event()
child = context.Process(target=change)
child.start()
sent = queue.get(timeout=40)
received.set()
child.join(40)
assert child.exitcode == 0
assert_same_bits([sent, module.weight_hh_l0.grad], [wanted[1], wanted[0] * 2])
print("shared")
"""
    assert output(BEFORE + script) == "shared"


SPAWNED = """
import sys
import torch, fastrnn.torch

def child(queue, module, x, gradients):
    torch.set_num_threads(1)
    loss = module(x)[0].square().sum()
    loss.backward()
    with torch.no_grad():
        module.bias_hh_l0.add_(1.0)
    for shared, parameter in zip(gradients, module.parameters()):
        shared.copy_(parameter.grad)
    queue.put((float(loss), type(module).__name__, type(module).__module__, fastrnn.torch.report()["lstm"]))

if __name__ == "__main__":
    import torch.multiprocessing
    torch.set_num_threads(1)
    context = torch.multiprocessing.get_context("spawn")
    module = fastrnn.torch.LSTM(3, 5)
    module.share_memory()
    gradients = [torch.zeros_like(parameter).share_memory_() for parameter in module.parameters()]
    x = torch.randn(4, 2, 3)
    for repeats in (1, 2, 3):
        for _ in range(repeats):
            y = module(x)[0]
        module.zero_grad()
        loss = y.square().sum()
        loss.backward()
        queue = context.Queue()
        process = context.Process(target=child, args=(queue, module, x, gradients))
        process.start()
        found, *kind = queue.get(timeout=60)
        process.join(60)
        assert process.exitcode == 0 and found == float(loss), (found, float(loss))
        assert kind == ["LSTM", "fastrnn.torch.modules", {"fastrnn": 1}], kind
        for shared, parameter in zip(gradients, module.parameters()):
            assert torch.equal(shared, parameter.grad)
        after = module(x)[0]
        with torch.no_grad():
            torch.testing.assert_close(after, torch.nn.LSTM.forward(module, x)[0], rtol=2e-4, atol=2e-5)
        assert not torch.equal(after, y)
    print("same")
"""


def test_a_started_process_trains_on_shared_parameters(tmp_path):
    """The module goes there as a pickle; its parameters stay in shared memory, where the child changes them."""
    path = tmp_path / "spawned.py"
    path.write_text(SPAWNED)
    script = f"import runpy, sys; sys.argv = [{str(path)!r}]; runpy.run_path({str(path)!r}, run_name='__main__')"
    assert output(script) == "same"


def test_pickles_and_copies_of_our_layers_are_our_layers():
    module = fastrnn.torch.GRU(3, 5, bidirectional=True)
    again = pickle.loads(pickle.dumps(module))
    assert type(again) is fastrnn.torch.GRU
    x = torch.ones(4, 2, 3)
    assert torch.equal(again(x)[0], module(x)[0])
    assert isinstance(again, nn.GRU)
