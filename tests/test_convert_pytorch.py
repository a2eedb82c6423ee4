"""PyTorch's own files are read without running what is in them, and hold what PyTorch loads."""

import collections
import pickle
import zipfile

import numpy as np
import pytest

from fastrnn import convert

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(11, 5)
        self.body = torch.nn.LSTM(5, 4, num_layers=2, bidirectional=True, proj_size=3)
        self.cell = torch.nn.GRUCell(6, 4)
        self.head = torch.nn.Linear(4, 2)


def saved(path, content, **options):
    torch.manual_seed(0)
    torch.save(content, path, **options)
    return path


def test_a_state_dict_is_read_as_pytorch_reads_it(tmp_path):
    net = Net()
    model = convert.read(saved(tmp_path / "m.pt", net.state_dict()))
    assert [(layer.kind, layer.name) for layer in model.layers] == [
        ("Embedding", "table"), ("LSTM", "body"), ("GRU", "cell"), ("Linear", "head"),
    ]  # fmt: skip
    assert model.layers[1].options == {"num_layers": 2, "bidirectional": True, "proj_size": 3}
    theirs = torch.load(tmp_path / "m.pt", weights_only=True)
    for row in model.rows():
        layer = next(one for one in model.layers if row.target.startswith(one.name))
        ours = layer.tensors[row.target.removeprefix(f"{layer.name}.")]
        np.testing.assert_array_equal(ours, theirs[row.source].numpy(), strict=True)


def test_safetensors_take_it_back_to_pytorch(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    net, other = Net(), Net()
    del net.cell, other.cell
    convert.convert(saved(tmp_path / "m.pt", net.state_dict()), tmp_path / "m.safetensors")
    other.load_state_dict(safetensors.load_file(tmp_path / "m.safetensors"))
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_views_parameters_and_shared_storages(tmp_path):
    base = torch.arange(40, dtype=torch.float32)
    tensors = {
        "a.weight": base[4:16].reshape(3, 4).T,
        "a.bias": base[::10],
        "b.weight": torch.nn.Parameter(base[1:13].reshape(4, 3)[:, ::2]),
        "b.bias": torch.nn.Parameter(torch.ones(4)),
    }
    model = convert.read(saved(tmp_path / "m.pth", tensors))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, tensors[name].detach().numpy())


def test_the_one_state_dict_of_a_checkpoint(tmp_path):
    net = torch.nn.LSTM(3, 4, dtype=torch.float64)
    net(torch.ones(2, 1, 3, dtype=torch.float64))[0].sum().backward()
    optimizer = torch.optim.Adam(net.parameters())
    optimizer.step()
    checkpoint = {"epoch": 3, "state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "loss": 0.5}
    model = convert.read(saved(tmp_path / "m.ckpt", checkpoint))
    assert model.notes == {"entry": "state_dict"}
    assert next(iter(model.build().values())).dtype == np.float64
    two = {"ema": net.state_dict(), "net": net.state_dict()}
    with pytest.raises(ValueError, match="has 2 entries that are state_dicts"):
        convert.read(saved(tmp_path / "m.ckpt", two))
    with pytest.raises(ValueError, match="holds a list; expected a state_dict"):
        convert.read(saved(tmp_path / "m.ckpt", [1, 2]))


def test_whatever_else_is_in_a_file_is_refused_by_name_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    net = Net()
    for content, words in (
        ({"a": Evil()}, "calls for __builtin__.exec, which could run code"),
        (net, "calls for test_convert_pytorch.Net"),
        ({"a": collections.Counter()}, "calls for collections.Counter"),
        ({"a": np.float64(3)}, "calls for numpy"),
        ({"a.weight": torch.ones(2, dtype=torch.bfloat16)}, "tensors of bfloat16, which NumPy has not; expected"),
        ({"a.weight": torch.ones(2, 2).to_sparse()}, "calls for torch._utils._rebuild_sparse_tensor"),
    ):
        with pytest.raises(ValueError, match=words):
            convert.read(saved(tmp_path / "m.pt", content))
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ValueError, match="a bare pickle, which could run code"):
        convert.read(saved(tmp_path / "old.pt", net.state_dict(), _use_new_zipfile_serialization=False))


def test_programs_of_torchscript_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps({}))
        archive.writestr("m/code/__torch__.py", "")
    with pytest.raises(ValueError, match="a TorchScript program, not weights alone"):
        convert.read(tmp_path / "m.pt")


class Pid:
    """What a pickle refers to outside of it."""

    def __init__(self, *identity):
        self.identity = identity


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.identity if isinstance(value, Pid) else None


class Tensor:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.arguments


def forged(path, value, data=b"\0" * 16):
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("m/data.pkl", "w") as file:
            Pickler(file, 2).dump(value)
        archive.writestr("m/data/0", data)
    return path


def test_forged_shapes_never_leave_their_storage(tmp_path):
    storage = Pid("storage", torch.FloatStorage, "0", "cpu", 4)
    for arguments in (
        (storage, 1, (4,), (1,)),
        (storage, 0, (5,), (1,)),
        (storage, 0, (2, 2), (3, 1)),
        (storage, 3, (2,), (-3,)),
        (storage, -1, (1,), (1,)),
        (storage, 0, (1 << 60, 1 << 60), (0, 0)),
        (storage, 0, (2,), (1, 1)),
        (storage, 0.0, (2,), (1,)),
        ("words", 0, (2,), (1,)),
    ):
        value = {"a.weight": Tensor(*arguments, False, collections.OrderedDict())}
        with pytest.raises(ValueError, match=r"a tensor of shape|makes a tensor of something else"):
            convert.read(forged(tmp_path / "m.pt", value))
    good = {"a.weight": Tensor(storage, 0, (2, 2), (2, 1), False, collections.OrderedDict())}
    assert convert.read(forged(tmp_path / "m.pt", good)).layers[0].tensors["weight"].shape == (2, 2)
    with pytest.raises(ValueError, match="storage 0 has 3 numbers; expected 4"):
        convert.read(forged(tmp_path / "m.pt", good, b"\0" * 12))
