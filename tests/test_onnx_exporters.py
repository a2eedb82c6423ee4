"""Models as PyTorch's exporter writes them give what PyTorch gives; their weights are read under its names."""

import warnings

import numpy as np
import pytest
from onnx_models import onnx

from fastrnn.convert.onnx import Runner, read

torch = pytest.importorskip("torch")

T, B, I, H, OUT = 6, 3, 5, 8, 4  # noqa: E741

CASES = {
    "lstm": ("LSTM", {}),
    "lstm-2-bidirectional": ("LSTM", {"num_layers": 2, "bidirectional": True}),
    "lstm-batch-first": ("LSTM", {"batch_first": True, "bidirectional": True}),
    "lstm-no-bias": ("LSTM", {"bias": False}),
    "gru-2-batch-first": ("GRU", {"num_layers": 2, "batch_first": True}),
    "gru-bidirectional": ("GRU", {"bidirectional": True}),
    "rnn-relu-2": ("RNN", {"nonlinearity": "relu", "num_layers": 2}),
    "rnn-bidirectional": ("RNN", {"bidirectional": True, "batch_first": True}),
}


class Net(torch.nn.Module):
    def __init__(self, kind, options):
        super().__init__()
        self.rnn = getattr(torch.nn, kind)(I, H, **options)
        self.fc = torch.nn.Linear(H * (2 if options.get("bidirectional") else 1), OUT)

    def forward(self, x):
        y, state = self.rnn(x)
        last = state[0] if isinstance(state, tuple) else state
        return torch.log_softmax(self.fc(torch.relu(y)), dim=-1), last


class Tagger(torch.nn.Module):
    """Words to tags: an embedding and lengths that differ, packed."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(11, I)
        self.rnn = torch.nn.LSTM(I, H, bidirectional=True)
        self.fc = torch.nn.Linear(2 * H, OUT)

    def forward(self, ids, lengths):
        packed = torch.nn.utils.rnn.pack_padded_sequence(self.words(ids), lengths, enforce_sorted=True)
        y, (h, _) = self.rnn(packed)
        return self.fc(torch.nn.utils.rnn.pad_packed_sequence(y)[0]), h


def exported(module, inputs, path, names, dynamic=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer exporter, and what it thinks of batches
        torch.onnx.export(
            module, inputs, str(path), dynamo=False, input_names=names, dynamic_axes=dynamic or {}, **options
        )
    onnx.checker.check_model(str(path))
    return path


def assert_close(got, wanted):
    for array, tensor in zip(got.values(), wanted, strict=True):
        np.testing.assert_allclose(array, tensor.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "name, opset",
    [
        *((name, 17) for name in CASES),
        *((name, opset) for name in ("lstm-batch-first", "rnn-relu-2") for opset in (9, 13)),
    ],
)
def test_exported_models_agree_with_torch_and_keep_their_names(name, opset, tmp_path):
    kind, options = CASES[name]
    torch.manual_seed(1)
    net = Net(kind, options).eval()
    batch, time = (0, 1) if options.get("batch_first") else (1, 0)
    x = torch.randn(B, T, I) if batch == 0 else torch.randn(T, B, I)
    dynamic = {"x": {batch: "B", time: "T"}}
    path = exported(net, (x,), tmp_path / "net.onnx", ["x"], dynamic, opset_version=opset)
    runner = Runner(path)
    with torch.no_grad():
        for given in (x, torch.randn(7, 2, I)):  # other lengths than those it was exported with
            assert_close(runner.run({"x": given.numpy()}), net(given))
    model = read(path)
    assert {layer.name: layer.options for layer in model.layers} == {"rnn": options, "fc": {}}
    assert_same_weights(model, net)


def assert_same_weights(model, net):
    state = net.state_dict()
    read_state = model.state_dict()
    assert set(read_state) == set(state)
    for key, tensor in state.items():
        np.testing.assert_array_equal(read_state[key], tensor.numpy())


def test_packed_sequences_run_as_in_torch(tmp_path):
    torch.manual_seed(2)
    net = Tagger().eval()
    ids, lengths = torch.randint(11, (T, B)), torch.tensor([6, 4, 1])
    path = exported(net, (ids, lengths), tmp_path / "tagger.onnx", ["ids", "lengths"], opset_version=17)
    with torch.no_grad():
        expected = net(ids, lengths)
    assert_close(Runner(path).run({"ids": ids.numpy(), "lengths": lengths.numpy()}), expected)
    model = read(path)
    assert [(layer.kind, layer.name) for layer in model.layers] == [
        ("Embedding", "words"), ("LSTM", "rnn"), ("Linear", "fc")
    ]  # fmt: skip
    assert_same_weights(model, net)


def test_an_initial_state_given_by_the_caller(tmp_path):
    torch.manual_seed(3)
    net = torch.nn.LSTM(I, H, num_layers=2).eval()
    x, h, c = torch.randn(T, B, I), torch.randn(2, B, H), torch.randn(2, B, H)
    path = exported(net, (x, (h, c)), tmp_path / "lstm.onnx", ["x", "h", "c"], opset_version=17)
    with torch.no_grad():
        y, (h_n, c_n) = net(x, (h, c))
    assert_close(Runner(path).run({"x": x.numpy(), "h": h.numpy(), "c": c.numpy()}), (y, h_n, c_n))
