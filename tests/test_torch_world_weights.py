"""Weights that change between calls without a word: every result is that of the weights as they are at the call.

What the bridge remembers of weights is compared by value, first by a sample of a few numbers. So each way of changing
is tried after one to four calls with the same weights, and each single number is changed alone.
"""

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parameters_to_vector, vector_to_parameters  # noqa: E402
from torch_twins import (  # noqa: E402
    FORMS,
    SHORT,
    assert_as_torch,
    change_one_number,
    gradients,
    infer,
    input_of,
    make,
    on_fastrnn,
    switched,  # noqa: F401
    weight_of,
)

pytestmark = pytest.mark.usefixtures("switched")
every_form = pytest.mark.parametrize("form", FORMS)
some_forms = pytest.mark.parametrize("form", SHORT)
every_use = pytest.mark.parametrize("what", [infer, gradients])


def repeated(count, what, *arguments):
    return [on_fastrnn(what, *arguments) for _ in range(count)][-1]


def assert_changes_are_seen(module, what, changes, repeats):
    """changes: functions of the module, called in turn, each after `repeats` calls of one set of weights"""
    x = input_of(module)
    for change in changes:
        before = repeated(repeats, what, module, x)
        change(module)
        after = assert_as_torch(what, module, x)
        assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


# --------------------------------------------------------------------------------------------- each single number


def one_number(name, place):
    def change(module):
        dict(module.named_parameters())[name].detach().numpy().reshape(-1)[place] += 0.5

    return change


@every_form
@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_every_single_number_matters_in_inference(form, repeats):
    module = make(form)
    places = [(name, i) for name, parameter in module.named_parameters() for i in range(parameter.numel())]
    x = input_of(module)
    for name, place in places[:: max(1, len(places) // 150)]:
        repeated(repeats, infer, module, x)
        one_number(name, place)(module)
        assert_as_torch(infer, module, x)


@some_forms
@pytest.mark.parametrize("repeats", [1, 2, 4])
def test_every_single_number_matters_in_training(form, repeats):
    module = make(form)
    x = input_of(module)
    for name, parameter in module.named_parameters():
        for place in {0, 1, parameter.numel() // 3, parameter.numel() - 1}:
            repeated(repeats, gradients, module, x)
            one_number(name, place)(module)
            assert_as_torch(gradients, module, x)


@some_forms
def test_the_last_bit_and_the_sign_of_zero_matter(form):
    """The bits are those of weights packed anew, also where no tolerance would show a difference."""
    module = make(form)
    x = input_of(module)
    weight = next(module.parameters())
    with torch.no_grad():
        weight[1] = 0.0
    for value in (-0.0, 1e-45, 0.0, 1.0, 1.0 + 2.0**-23):
        repeated(3, infer, module, x)
        weight.detach()[1] = value
        assert_as_torch(infer, module, x)


# ------------------------------------------------------------------------------------------------- ways of changing


def in_place_without_gradient(module):
    with torch.no_grad():
        weight = weight_of(module)
        weight += 0.25


def by_copy(module):
    with torch.no_grad():
        weight_of(module).copy_(weight_of(module) * 0.5 + 0.1)


def by_data(module):
    weight_of(module).data.add_(0.25)


def by_out(module):
    data = weight_of(module).data
    torch.add(data, 0.25, out=data)


def polyak(module):
    """As stable-baselines3 updates a target network."""
    other = make_like(module)
    for one, target in zip(other.parameters(), module.parameters(), strict=True):
        target.data.mul_(0.9)
        torch.add(target.data, one.data, alpha=0.1, out=target.data)


def average(module):
    other = make_like(module)
    with torch.no_grad():
        for one, target in zip(other.parameters(), module.parameters(), strict=True):
            target.lerp_(one, 0.1)


def by_foreach(module):
    with torch.no_grad():
        torch._foreach_mul_(list(module.parameters()), 0.9)


def by_numpy(module):
    weight_of(module).detach().numpy()[2, 1] += 0.5


def by_dlpack(module):
    torch.from_dlpack(weight_of(module).detach())[2, 1] += 0.5


def by_storage(module):
    weight = weight_of(module)
    weight.untyped_storage().copy_((weight.detach() * 0.5 + 0.1).untyped_storage())


def by_set(module):
    with torch.no_grad():
        weight_of(module).set_((weight_of(module) * 0.5).contiguous())


def by_new_data(module):
    for parameter in module.parameters():
        parameter.data = parameter.detach() * 0.5


def by_strided_data(module):
    weight = weight_of(module)
    weight.data = (weight.detach() * 0.5).t().contiguous().t()


def by_state_dict(module):
    module.load_state_dict({name: one * 0.5 for name, one in module.state_dict().items()})


def by_assignment(module):
    module.load_state_dict({name: one * 0.5 for name, one in module.state_dict().items()}, assign=True)


def by_swap(module):
    name = "weight_hh" if isinstance(module, nn.RNNCellBase) else "weight_hh_l0"
    setattr(module, name, nn.Parameter(weight_of(module).detach() * 0.5))


def by_init(module):
    nn.init.orthogonal_(weight_of(module))


def by_reset(module):
    module.reset_parameters()


def by_vector(module):
    vector_to_parameters(parameters_to_vector(module.parameters()).detach() * 0.5, module.parameters())


def make_like(module):
    other = copy.deepcopy(module)
    other.reset_parameters()
    return other


WAYS = [
    in_place_without_gradient,
    by_copy,
    by_data,
    change_one_number,
    by_out,
    polyak,
    average,
    by_foreach,
    by_numpy,
    by_dlpack,
    by_storage,
    by_set,
    by_new_data,
    by_strided_data,
    by_state_dict,
    by_assignment,
    by_swap,
    by_init,
    by_reset,
    by_vector,
]


@every_use
@some_forms
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_of_changing_is_seen(way, form, what):
    torch.manual_seed(3)
    for repeats in (1, 2, 3, 4):
        assert_changes_are_seen(make(form), what, [way] * 2, repeats)


@every_use
@every_form
def test_every_form_sees_ways_that_no_version_counts(form, what):
    for repeats in (1, 2, 3):
        assert_changes_are_seen(make(form), what, [change_one_number, by_numpy, by_out, by_swap], repeats)


# ------------------------------------------------------------------------------------------------------ optimisers


OPTIMIZERS = {
    f"{name} {way}".strip(): (name, options, {way: True} if way else {})
    for name, options in [
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("Adam", {"lr": 0.01}),
        ("AdamW", {"lr": 0.01}),
        ("Adagrad", {"lr": 0.1}),
        ("RMSprop", {"lr": 0.01}),
    ]
    for way in ("", "foreach", "fused")
    if (name, way) != ("RMSprop", "fused")
}


@every_use
@some_forms
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_of_every_optimizer_are_seen(optimizer, form, what):
    name, options, way = OPTIMIZERS[optimizer]
    module = make(form)
    try:
        stepping = getattr(torch.optim, name)(module.parameters(), **options, **way)
    except (TypeError, RuntimeError) as error:
        pytest.skip(f"this PyTorch: {error}")
    x = input_of(module)

    def step(module):
        found = on_fastrnn(gradients, module, x)[-len(list(module.parameters())) :]
        for parameter, gradient in zip(module.parameters(), found, strict=True):
            parameter.grad = gradient
        stepping.step()

    for repeats in (1, 2, 3):
        assert_changes_are_seen(module, what, [step] * 3, repeats)
