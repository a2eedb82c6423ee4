"""What the bridge keeps: a graph keeps its run, a result keeps itself, and nothing keeps a user's tensor.

Sizes are such that every array of interest comes from the engine's pool, which counts what is live.
"""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch_twins import (  # noqa: E402
    FORMS,
    SHORT,
    flat,
    gradients,
    infer,
    input_of,
    make,
    numbers,
    state_of,
    switched,  # noqa: F401
    weight_of,
)

import fastrnn.torch  # noqa: E402
from fastrnn._core import memory, workspace  # noqa: E402

SIZES = (64, 96)
LARGE = {"T": 24, "B": 16}
every_form = pytest.mark.parametrize("form", [form for form in FORMS if "projected" not in form])
some_forms = pytest.mark.parametrize("form", SHORT)


@pytest.fixture(autouse=True)
def without_collector(switched):  # noqa: F811
    """What is let go must be freed at once: nothing of the bridge may lie in a cycle."""
    with fastrnn.torch.enabled():
        fastrnn.torch.enable()
        workspace.release()
        gc.collect()
        gc.disable()
        yield
        gc.enable()


def live():
    """Bytes of the pool's blocks, but those of workspaces, which anybody may have next."""
    workspace.release()
    return memory.statistics()["live"]


def large(form):
    module = make(form, sizes=SIZES)
    return module, input_of(module, **LARGE), state_of(module, B=LARGE["B"])


def loss_of(module, x, state):
    return sum(output.sum() for output in flat(module(x, state)))


def bytes_of(tensors):
    """An upper bound of what the pool counts for them."""
    return sum(9 * tensor.numel() * tensor.element_size() // 8 for tensor in tensors)


# ------------------------------------------------------------------------------------------------ what a run keeps


@every_form
def test_a_graph_that_is_dropped_frees_all(form):
    module, x, state = large(form)
    loss_of(module, x, state).backward()  # what is packed of these sizes is there
    module.zero_grad()
    before = live()
    outputs = module(x, state)
    assert live() > before
    del outputs
    assert live() == before


@every_form
def test_after_backward_a_graph_keeps_its_results_alone(form):
    module, x, state = large(form)
    loss_of(module, x, state).backward()
    module.zero_grad()
    before = live()
    outputs = flat(module(x, state))
    torch.autograd.grad(sum(output.sum() for output in outputs), list(module.parameters()))
    assert live() - before <= bytes_of(outputs)
    kept = outputs[0].detach()
    del outputs
    assert live() - before <= bytes_of([kept])
    del kept
    assert live() == before


def test_retained_graphs_free_all_in_the_end():
    module, x, state = large("lstm")
    loss_of(module, x, state).backward()
    module.zero_grad()
    before = live()
    loss = loss_of(module, x, state)
    for _ in range(3):
        loss.backward(retain_graph=True)
    module.zero_grad()
    (found,) = torch.autograd.grad(loss, module.bias_hh_l0, create_graph=True)
    del loss, found
    assert live() == before


@some_forms
def test_one_gradient_that_is_kept_keeps_itself_alone(form):
    module, x, state = large(form)
    infer(module, x, state)
    before = live()
    loss_of(module, x, state).backward()
    kept = weight_of(module).grad
    assert kept.untyped_storage().nbytes() == kept.numel() * kept.element_size()
    module.zero_grad()
    assert live() - before <= bytes_of([kept])


def test_one_output_that_is_kept_keeps_itself_alone():
    module, x, state = large("lstm")
    infer(module, x, state)
    before = live()
    for index in range(3):
        kept = infer(module, x, state)[index]
        assert kept.untyped_storage().nbytes() == kept.numel() * kept.element_size()
        assert live() - before <= bytes_of([kept])
        del kept
    assert live() == before


# --------------------------------------------------------------------------------------------------- users' tensors


def watched(tensor):
    """A tensor of the same numbers over memory of its own, and a reference that tells when that memory is let go."""
    array = tensor.detach().numpy().copy()
    return torch.from_numpy(array), weakref.ref(array)


@every_form
@pytest.mark.parametrize("what", ["infer", "train", "drop", "fail"])
def test_no_tensor_of_the_users_outlives_its_own_names(form, what):
    module, x, state = large(form)
    x, x_alive = watched(x)
    alive = [x_alive]
    states = []
    for one in flat(state):
        one, reference = watched(one)
        states.append(one)
        alive.append(reference)
    for parameter in module.parameters():
        parameter.data, reference = watched(parameter)
        alive.append(reference)
    alive += [weakref.ref(one) for one in (module, x, *states, *module.parameters())]
    state = tuple(states) if len(states) == 2 else states[0]
    for _ in range(3):
        if what == "infer":
            result = infer(module, x, state)
        elif what == "train":
            result = gradients(module, x, state)
        elif what == "drop":
            module(x, state)
        else:
            with pytest.raises((RuntimeError, ValueError)):
                module(x[..., 1:], state)
    one = parameter = None
    del module, x, state, states, one, parameter, reference, x_alive
    assert not any(reference() is not None for reference in alive)
    result = None  # noqa: F841


# ------------------------------------------------------------------------------------------------- memory over time


@some_forms
def test_training_steps_do_not_grow(form):
    module = make(form, sizes=(16, 64))
    x = input_of(module, T=12, B=16)
    state = state_of(module, B=16)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)

    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(module, x, state).backward()
            optimizer.step()

    train(10)
    gc.collect()
    pool, objects = live(), len(gc.get_objects())
    tracemalloc.start()
    train(10)
    python = tracemalloc.get_traced_memory()[0]
    train(280)
    grown = tracemalloc.get_traced_memory()[0] - python
    tracemalloc.stop()
    assert live() == pool
    assert len(gc.get_objects()) - objects < 50
    assert grown < 100_000  # as torch alone, whose own caches grow at first


@some_forms
def test_calls_of_changing_shapes_do_not_grow(form):
    """Of a module, and of modules whose own sizes change."""
    module = make(form, sizes=(16, 64))

    def run(calls, module):
        for i in range(calls):
            T, B = 1 + 7 * i % 23, 1 + 11 * i % 29
            infer(module, input_of(module, T=T, B=B), state_of(module, B=B))

    run(60, module)
    pool = live()
    tracemalloc.start()
    run(60, module)
    python = tracemalloc.get_traced_memory()[0]
    run(180, module)
    grown = tracemalloc.get_traced_memory()[0] - python
    tracemalloc.stop()
    assert live() == pool
    assert grown < 100_000
    for hidden in range(1, 100):
        run(3, make(form, sizes=(4, hidden)))
    assert len(workspace.waiting) <= 32
    for alike in workspace.waiting.values():
        assert len(alike) <= 4


def test_workspaces_hold_no_more_than_their_packed_copies_and_one_more():
    """Five times the weights: packed for forward and backward, and a copy to compare with."""
    module = make("lstm", sizes=(128, 128))
    x, state = input_of(module, T=4, B=2), state_of(module)
    weights = sum(parameter.numel() * 4 for parameter in module.parameters())
    before = live()
    for _ in range(4):
        infer(module, x, state)
        gradients(module, x, state)
        infer(module, x, state)
        infer(module, x, state)
    kept = memory.statistics()["live"] - before
    assert weights < kept < 5 * weights
    assert live() == before


# ------------------------------------------------------------------------------------------------------ other ways


def ways_of_running():
    lstm = nn.LSTM(64, 96, num_layers=2, dropout=0.5)
    x = numbers(24, 16, 64)
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.arange(24, 8, -1), enforce_sorted=True)
    reset = torch.from_numpy(np.random.default_rng(0).random((24, 16)) < 0.1)
    single = nn.GRU(64, 96)
    return {
        "dropout": lambda: [lstm(x)[0]],
        "packed": lambda: [lstm(packed)[0].data],
        "resets": lambda: [fastrnn.torch.run_with_resets(single, x, None, reset)[0]],
        "batch first": lambda: [nn.LSTM(64, 96, batch_first=True)(x)[0]],
        "checkpoint": lambda: [torch.utils.checkpoint.checkpoint(lambda given: lstm(given)[0], x, use_reentrant=False)],
    }


@pytest.mark.parametrize("name", ["dropout", "packed", "resets", "batch first", "checkpoint"])
def test_every_way_of_running_frees_all(name):
    run = ways_of_running()[name]

    def steps():
        for backward in (False, True):
            outputs = run()
            if backward:
                sum(one.sum() for one in outputs).backward()
            del outputs
        gc.collect()  # torch.utils.checkpoint has cycles of its own
        return live()

    assert len({steps() for _ in range(4)}) == 1
