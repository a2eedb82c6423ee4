"""inference_mode and no_grad: tensors that are made inside and used outside, and the other way about."""

import contextlib

import pytest

torch = pytest.importorskip("torch")

from torch_twins import (  # noqa: E402
    FORMS,
    SHORT,
    assert_as_torch,
    assert_close,
    assert_same_bits,
    change_one_number,
    flat,
    gradients,
    infer,
    input_of,
    make,
    on_fastrnn,
    state_of,
    switched,  # noqa: F401
    weight_of,
)

pytestmark = pytest.mark.usefixtures("switched")
every_form = pytest.mark.parametrize("form", FORMS)
some_forms = pytest.mark.parametrize("form", SHORT)


def infer_in_inference_mode(module, x, state=None):
    with torch.inference_mode():
        return flat(module(x, state_of(module) if state is None else state))


@every_form
def test_inference_mode_gives_the_bits_of_no_grad(form):
    module = make(form)
    x = input_of(module)
    for _ in range(4):
        change_one_number(module)
        inside = assert_as_torch(infer_in_inference_mode, module, x)
        assert all(one.is_inference() for one in inside)
        assert_same_bits(inside, on_fastrnn(infer, module, x))


@every_form
def test_a_module_that_is_made_in_inference_mode_runs_in_all_modes(form):
    """Its parameters have no version; they may change all the same."""
    with torch.inference_mode():
        module, x = make(form), input_of(make(form)).clone()
        assert weight_of(module).is_inference() and x.is_inference()
    for repeats in (1, 2, 3):
        for what in (infer_in_inference_mode, infer):
            for _ in range(repeats):
                before = on_fastrnn(what, module, x)
            with torch.inference_mode():
                change_one_number(module)
            after = assert_as_torch(what, module, x)
            assert not torch.equal(before[0], after[0])


@some_forms
def test_results_of_inference_mode_are_refused_for_backward_as_by_torch(form):
    module = make(form)
    with torch.inference_mode():
        x = input_of(module).clone()
    for way in (on_fastrnn, lambda what, *given: what(*given)):
        with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
            way(gradients_of_parameters, module, x)
    inside = on_fastrnn(infer_in_inference_mode, module, x)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
        inside[0].add_(1)


def gradients_of_parameters(module, x):
    outputs = flat(module(x, state_of(module)))
    return list(torch.autograd.grad(outputs[0].sum(), list(module.parameters())))


@some_forms
def test_an_input_of_inference_mode_serves_where_no_gradient_is_wanted(form):
    module = make(form).requires_grad_(False)
    with torch.inference_mode():
        x = input_of(module).clone()
    outputs = assert_as_torch(lambda module, x: flat(module(x, state_of(module))), module, x)
    assert not any(one.requires_grad for one in outputs)


@every_form
def test_modes_may_change_from_call_to_call(form):
    module = make(form)
    x = input_of(module)
    for what in (infer, gradients, infer_in_inference_mode, gradients, gradients, infer_in_inference_mode, infer):
        assert_as_torch(what, module, x)
        change_one_number(module)


@pytest.mark.parametrize("outer", [torch.no_grad, torch.inference_mode, contextlib.nullcontext])
def test_gradients_inside_other_modes(outer):
    """enable_grad inside no_grad gives gradients; inside inference_mode gradients need inference_mode(False)."""
    module = make("lstm")
    x = input_of(module)
    expected = gradients(module, x)

    def inside():
        with outer(), torch.inference_mode(False), torch.enable_grad():
            return gradients(module, x)

    assert_close(on_fastrnn(inside), expected)


def test_a_tape_is_made_only_where_a_gradient_is_wanted():
    module = make("gru both ways")
    x = input_of(module)
    y = on_fastrnn(module, x)[0]
    assert y.requires_grad and not y.is_leaf
    module.requires_grad_(False)
    assert not on_fastrnn(module, x)[0].requires_grad
    assert on_fastrnn(module, x.clone().requires_grad_())[0].requires_grad
    weight_of(module).requires_grad_(True)
    y = on_fastrnn(module, x)[0]
    (found,) = torch.autograd.grad(y.sum(), weight_of(module))
    (expected,) = torch.autograd.grad(module(x)[0].sum(), weight_of(module))
    assert_close([found], [expected])


@some_forms
def test_a_frozen_module_passes_gradients_on_and_sees_changes(form):
    module = make(form).requires_grad_(False)
    x = input_of(module)

    def through(module, x):
        x = x.clone().requires_grad_()
        return [*torch.autograd.grad(flat(module(x, state_of(module)))[0].sum(), x)]

    for repeats in (1, 2, 3):
        for _ in range(repeats):
            before = on_fastrnn(through, module, x)
        change_one_number(module)
        after = assert_as_torch(through, module, x)
        assert not torch.equal(before[0], after[0])
