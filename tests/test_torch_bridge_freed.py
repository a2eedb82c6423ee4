"""Tensors that are not what they were in the forward run: assigned through `.data`, freed, of another size or dtype."""

import pytest

torch = pytest.importorskip("torch")
here = pytest.importorskip("fastrnn.torch")

SIZE = 700_000  # numbers: memory that goes back to the system when it is freed


def test_x_that_got_other_memory_is_read_there():
    layer = here.GRU(SIZE // 100, 4)
    x, other = torch.randn(10, 10, SIZE // 100), torch.randn(10, 10, SIZE // 100)
    y, _ = layer(x)
    x.data = other
    del other
    y.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


@pytest.mark.parametrize("what", ["x", "weight"])
def test_freed_memory_is_torch_s_error_forward(what):
    layer, x = here.GRU(8, 8), torch.randn(20, 4, 8)
    (x if what == "x" else layer.weight_hh_l0).untyped_storage().resize_(0)
    with pytest.raises(RuntimeError):
        layer(x)
    assert here.report()["gru"]["torch: freed memory"] >= 1


@pytest.mark.parametrize("what", ["x", "weight"])
def test_freed_memory_is_torch_s_error_backward(what):
    layer, x = here.GRU(8, 8), torch.randn(20, 4, 8)
    y, _ = layer(x)
    (x if what == "x" else layer.weight_hh_l0).untyped_storage().resize_(0)
    with pytest.raises(RuntimeError):
        y.sum().backward()


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    "name, value",
    [
        ("weight_ih_l1", torch.zeros(1, 1)),
        ("weight_hh_l0", torch.zeros(24, 8).double()),
        ("weight_ih_l0", torch.empty(0)),
    ],
)
def test_weights_of_another_form_are_torch_s_error(name, value, frozen):
    layer, x = here.GRU(8, 8, 2), torch.randn(5, 3, 8, requires_grad=True)
    layer.requires_grad_(not frozen)
    y, _ = layer(x)
    getattr(layer, name).data = value
    with pytest.raises(RuntimeError):
        y.sum().backward()


def test_a_bias_that_torch_would_repeat_is_read_as_torch_reads_it():
    layer, x = here.GRU(8, 8, 2).requires_grad_(False), torch.randn(5, 3, 8, requires_grad=True)
    plain, same = torch.nn.GRU(8, 8, 2).requires_grad_(False), x.detach().clone().requires_grad_()
    layer.bias_hh_l1.data.zero_()
    plain.load_state_dict(layer.state_dict())
    y, _ = layer(x)
    layer.bias_hh_l1.data = torch.zeros(1)
    y.sum().backward()
    plain(same)[0].sum().backward()
    torch.testing.assert_close(x.grad, same.grad)


def test_an_undefined_backward_run_does_no_harm_to_later_ones():
    """Weights that were swapped through `.data` between forward and backward, and back again."""
    torch.manual_seed(0)
    layer, plain, x = here.GRU(8, 16), torch.nn.GRU(8, 16), torch.randn(6, 3, 8)
    plain.load_state_dict(layer.state_dict())

    def gradient(module):
        module.zero_grad()
        module(x)[0].sum().backward()
        return module.weight_hh_l0.grad.clone()

    for _ in range(3):
        y, _ = layer(x)
    layer.weight_hh_l0.data *= 3
    y.sum().backward()
    layer.weight_hh_l0.data /= 3
    for _ in range(3):
        torch.testing.assert_close(gradient(layer), gradient(plain))


def test_released_memory_is_found_again():
    layer, x = here.LSTM(8, 16), torch.randn(6, 3, 8)
    before = layer(x)[0].detach()
    here.release_memory()
    torch.testing.assert_close(layer(x)[0].detach(), before, rtol=0, atol=0)


def test_an_lstm_takes_a_pair_of_states_alone():
    with here.enabled(), pytest.raises(TypeError):
        torch._VF.lstm(
            torch.randn(5, 3, 4), torch.zeros(2, 1, 3, 4), list(torch.nn.LSTM(4, 4).parameters()),
            True, 1, 0.0, False, False, False,
        )
