"""Which calls PyTorch's own operators get because they do them faster, and that their results are the same."""

import pytest

torch = pytest.importorskip("torch")
here = pytest.importorskip("fastrnn.torch")
calls = pytest.importorskip("fastrnn.torch.calls")


@pytest.fixture(autouse=True)
def by_speed(all_that_can_run_here_does):
    calls.set_by_speed(True)


def ways(module, *arguments, gradient=False):
    here.reset_report()
    with here.enabled(), torch.set_grad_enabled(gradient):
        module(*arguments)
    (counts,) = here.report().values()
    return counts


@pytest.mark.parametrize("kind", [torch.nn.GRUCell, torch.nn.LSTMCell, torch.nn.RNNCell])
def test_a_cell_with_one_row_is_torch_s_and_with_many_ours(kind):
    assert ways(kind(64, 64), torch.randn(1, 64)) == {"torch: few rows": 1}
    assert ways(kind(64, 64), torch.randn(100, 64)) == {"fastrnn": 1}


def test_a_gru_of_one_step_is_ours_while_its_weights_are_few():
    assert ways(torch.nn.GRU(32, 32), torch.randn(1, 1, 32)) == {"fastrnn": 1}
    assert ways(torch.nn.GRU(256, 256), torch.randn(1, 1, 256)) == {"torch: few rows": 1}
    assert ways(torch.nn.GRU(256, 256), torch.randn(4, 1, 256)) == {"fastrnn": 1}
    assert ways(torch.nn.GRU(256, 256), torch.randn(2, 1, 256), gradient=True) == {"fastrnn": 1}


@pytest.mark.parametrize("gradient", [False, True])
def test_every_lstm_is_ours(gradient):
    assert ways(torch.nn.LSTM(512, 512), torch.randn(1, 1, 512), gradient=gradient) == {"fastrnn": 1}
