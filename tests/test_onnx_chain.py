"""A model is a chain, with activations, exactly where its graph is: then its layers alone give what the graph gives."""

import warnings

import numpy as np
import pytest
from onnx_models import model, onnx

import fastrnn
from fastrnn.convert import Layer, Model
from fastrnn.convert.onnx import Runner, read, write, writing

T, B, I, H = 4, 3, 5, 6  # noqa: E741
RNG = np.random.default_rng(2)
X = RNG.standard_normal((T, B, I), dtype=np.float32)
CONSTANTS = {
    **{name: RNG.standard_normal((1, 3 * H, n), dtype=np.float32) for name, n in (("W", I), ("R", H), ("W2", H))},
    **{name: RNG.standard_normal((2, 3 * H, n), dtype=np.float32) for name, n in (("Wb", I), ("Rb", H))},
    "M": RNG.standard_normal((H, H), dtype=np.float32),
    "two": np.array(2, np.float32),
    "half": np.array(0.5, np.float32),
    **{f"i{n}": np.array(n) for n in (0, 1)},
    **{"axes1": np.array([1]), "axes2": np.array([2]), "all": np.array([0, 0, -1])},
}
ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exponential": np.exp,
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(axis=-1, keepdims=True)),
}


def node(op, inputs, outputs, name="", **attributes):
    return onnx.helper.make_node(op, inputs.split(), outputs.split(), name=name, **attributes)


def gru(x="x", y="y", W="W", R="R", Y=None, **attributes):
    """A GRU node, and where Y is not what is asked for, a Squeeze behind it."""
    cell = node("GRU", f"{x} {W} {R}", f"{Y or f'Y_{y}'} h_{y}", linear_before_reset=1, **attributes)
    return [cell] if Y else [cell, node("Squeeze", f"Y_{y} axes1", y)]


def read_nodes(nodes, tmp_path, outputs=("y",), opset=17, feeds=None):
    path = tmp_path / "model.onnx"
    used = {name for one in nodes for name in one.input} | set(outputs)
    constants = {name: array for name, array in CONSTANTS.items() if name in used}
    onnx.save(model(nodes, feeds or {"x": X}, list(outputs), constants, opset), path)
    return path, read(path)


def run(chain, x):
    """What the layers alone and the activations of the notes give."""
    for name, layer in chain.build().items():
        if isinstance(layer, np.ndarray):
            x = layer[x]
        else:
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x
        x = ACTIVATIONS.get(chain.notes.get(f"{name}.activation"), lambda x: x)(x)
    return x


def assert_chain(path, chain, x=X):
    assert chain.chain
    wanted = next(iter(Runner(path).run({Runner(path).inputs[0].name: x}).values()))
    np.testing.assert_allclose(run(chain, x).ravel(), wanted.ravel(), rtol=0, atol=1e-5)


# ---------------------------------------------------------------------------------------------- chains


@pytest.mark.parametrize("opset", [9, 17])
@pytest.mark.parametrize("merge", [None, "concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_chain_written_here_is_read_as_one(opset, merge, batch_first, tmp_path):
    options = {"batch_first": batch_first} | ({"bidirectional": True, "merge": merge} if merge else {})
    table = RNG.standard_normal((9, I), dtype=np.float32)
    width = 2 * H if merge == "concat" else H
    layers = {
        "first": fastrnn.LSTM(I, H, num_layers=2, **options),
        "middle": fastrnn.Linear(width, 4),
        "second": fastrnn.GRU(4, 3, batch_first=batch_first),
        "head": fastrnn.Linear(3, 2, bias=False),
    }
    said = {
        "first": options | {"num_layers": 2},
        "middle": {},
        "second": {"batch_first": batch_first},
        "head": {"bias": False},
    }
    made = [
        Layer(type(one).__name__, name, dict(one.state_dict()), said[name]) for name, one in layers.items()
    ]
    notes = {"first.activation": "relu", "middle.activation": "sigmoid", "head.activation": "softmax"}
    whole = Model([Layer("Embedding", "words", {"weight": table}), *made], "test", notes, chain=True)
    path = tmp_path / "model.onnx"
    following = {name.partition(".")[0]: value for name, value in notes.items()}
    writing.save(writing.chain(whole.layers, opset, following=following), path)
    again = read(path)
    assert {name: value for name, value in again.notes.items() if name.endswith("activation")} == notes
    assert_chain(path, again, RNG.integers(9, size=(B, T)))
    for layer in again.layers:
        assert layer.options.get("batch_first", False) == (batch_first and layer.kind in ("LSTM", "GRU"))
    write(again, tmp_path / "again.onnx")
    assert {name: value for name, value in read(tmp_path / "again.onnx").notes.items() if name in notes} == notes


CHAINS = {
    "Y": gru(Y="y"),
    "layout 1": gru(Y="y", layout=1),
    "reshaped": [
        *gru(Y="Y", W="Wb", R="Rb", direction="bidirectional"),
        node("Transpose", "Y", "t", perm=[0, 2, 1, 3]),
        node("Reshape", "t all", "y"),
    ],
    "turned for layout 1": [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        *gru("t", Y="Y", layout=1),
        node("Squeeze", "Y axes2", "s"),
        node("Transpose", "s", "y", perm=[1, 0, 2]),
    ],
    "averaged": [
        *gru(Y="Y", W="Wb", R="Rb", direction="bidirectional"),
        node("Gather", "Y i1", "a", axis=1),
        node("Gather", "Y i0", "b", axis=1),
        node("Add", "a b", "s"),
        node("Mul", "half s", "y"),
    ],
    "dropout and identity": [*gru(y="a"), node("Dropout", "a", "b"), node("Identity", "b", "y")],
    "two layers": [*gru(y="a"), node("Tanh", "a", "b"), *gru("b", "y", "W2")],
    "tanh of Y": [*gru(Y="a"), node("Tanh", "a", "b"), node("Squeeze", "b axes1", "y")],
    "product": [*gru(y="a"), node("MatMul", "a M", "b"), node("Softmax", "b", "y", axis=2)],
    **{
        name: [*gru(y="a"), node(op, "a", "y")]
        for name, op in zip(
            ("elu", "exponential", "log_softmax", "softplus", "softsign"),
            ("Elu", "Exp", "LogSoftmax", "Softplus", "Softsign"),
            strict=True,
        )
    },
}


@pytest.mark.parametrize("name", CHAINS)
def test_what_stands_around_layers_leaves_them_a_chain(name, tmp_path):
    assert_chain(*read_nodes(CHAINS[name], tmp_path))


def test_a_node_of_both_directions_alone_is_a_chain(tmp_path):
    path, chain = read_nodes(gru(Y="y", W="Wb", R="Rb", direction="bidirectional"), tmp_path)
    assert chain.chain
    wanted = Runner(path).run({"x": X})["y"].transpose(0, 2, 1, 3).reshape(T, B, 2 * H)
    np.testing.assert_allclose(run(chain, X), wanted, rtol=0, atol=1e-5)


def test_final_states_are_outputs_of_a_chain(tmp_path):
    nodes = [*gru(y="a"), *gru("a", "y", "W2"), node("Concat", "h_a h_y", "h_n", axis=0)]
    for outputs in (("y", "h_n"), ("y", "h_a", "h_y"), ("h_n",)):
        assert read_nodes(nodes if "h_n" in outputs else nodes[:-1], tmp_path, outputs)[1].chain
    nodes[-1] = node("Concat", "h_a h_y", "h_n", axis=2)
    assert not read_nodes(nodes, tmp_path, ("y", "h_n"))[1].chain


BROKEN = {
    "doubled": [*gru(y="a"), node("Mul", "a two", "y")],
    "residual": [node("MatMul", "x M", "a"), node("Add", "a x", "y")],
    "an activation first": [node("Relu", "x", "a"), *gru("a")],
    "two activations": [*gru(y="a"), node("Relu", "a", "b"), node("Tanh", "b", "y")],
    "an unnamed activation": [*gru(y="a"), node("LeakyRelu", "a", "y")],
    "another alpha": [*gru(y="a"), node("Elu", "a", "y", alpha=0.5)],
    "softmax over time": [*gru(y="a"), node("Softmax", "a", "y", axis=0)],
    "the last step": [*gru(y="a"), node("Gather", "a i1", "y", axis=0)],
    "the final state goes on": [*gru(y="a"), node("MatMul", "h_a M", "y")],
    "rows become steps": [*gru(y="a"), node("Transpose", "a", "b", perm=[1, 0, 2]), *gru("b", "y", "W2")],
    "turned at the end": [*gru(y="a"), node("Transpose", "a", "y", perm=[1, 0, 2])],
    "side by side": [*gru(y="a"), *gru(y="b"), node("Add", "a b", "y")],
    "flattened": [*gru(y="a"), node("Reshape", "a all", "b"), node("Flatten", "b", "y")],
    "not turned before Reshape": [
        *gru(Y="Y", W="Wb", R="Rb", direction="bidirectional"), node("Reshape", "Y all", "y"),
    ],
    "one direction twice": [
        *gru(Y="Y", W="Wb", R="Rb", direction="bidirectional"),
        node("Gather", "Y i0", "a", axis=1),
        node("Gather", "Y i0", "b", axis=1),
        node("Add", "a b", "y"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_anything_else_is_no_chain(name, tmp_path):
    x = RNG.standard_normal((T, B, H), dtype=np.float32) if name == "residual" else X
    broken = read_nodes(BROKEN[name], tmp_path, feeds={"x": x})[1]
    assert not broken.chain
    for layer in broken.layers:
        assert layer.options.get("merge", "concat") == "concat"


def test_outputs_of_layers_inside_are_no_chain(tmp_path):
    nodes = [*gru(y="a"), node("Tanh", "a", "b"), *gru("b", "y", "W2")]
    for outputs in (("y", "a"), ("y", "b")):
        assert not read_nodes(nodes, tmp_path, outputs)[1].chain


def test_lengths_and_states_of_a_caller_are_no_chain_but_a_note(tmp_path):
    cell = node("GRU", "x W R", "y", linear_before_reset=1)
    h, lengths = np.zeros((1, B, H), np.float32), np.full(B, T, np.int32)
    for place, name, value in ((4, "lengths", lengths), (5, "initial_state", h)):
        del cell.input[3:]
        cell.input.extend([""] * (place - 3) + ["given"])
        result = read_nodes([cell], tmp_path, feeds={"x": X, "given": value})[1]
        assert not result.chain
        assert result.notes[f"y.{name}"].startswith("given")


def test_an_activation_that_not_all_see_is_not_noted(tmp_path):
    nodes = [*gru(y="a"), node("Tanh", "a", "b"), node("Mul", "a b", "y")]
    notes = read_nodes(nodes, tmp_path)[1].notes
    assert not any(name.endswith("activation") for name in notes)
    assert "Tanh" in notes["between"]
    branches = [*gru(y="a"), node("Tanh", "a", "b"), *gru(y="c"), node("Relu", "c", "d"), node("Mul", "d b", "y")]
    notes = read_nodes(branches, tmp_path)[1].notes
    assert [value for name, value in notes.items() if name.endswith("activation")] == ["tanh", "relu"]


# ----------------------------------------------------------------------------------------------- torch


@pytest.mark.parametrize("opset", [9, 17])
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bidirectional": True, "batch_first": True}], ids=str)
def test_pytorch_s_chain_with_activations_is_one(opset, dynamic, options, tmp_path):
    torch = pytest.importorskip("torch")

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words = torch.nn.Embedding(9, I)
            self.rnn = torch.nn.LSTM(I, H, num_layers=2, **options)
            self.fc = torch.nn.Linear(2 * H if options.get("bidirectional") else H, 4)

        def forward(self, ids):
            return torch.softmax(self.fc(torch.relu(self.rnn(self.words(ids))[0])), -1)

    torch.manual_seed(4)
    ids = torch.randint(9, (T, B))
    path = str(tmp_path / "net.onnx")
    names = {"input_names": ["ids"], "dynamic_axes": {"ids": {0: "a", 1: "b"}}} if dynamic else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer exporter
        torch.onnx.export(Tagger().eval(), (ids,), path, dynamo=False, opset_version=opset, **names)
    chain = read(path)
    assert {k: v for k, v in chain.notes.items() if "activation" in k} == {
        "rnn.activation": "relu", "fc.activation": "softmax"
    }  # fmt: skip
    assert chain.layers[1].options == options | {"num_layers": 2}
    assert_chain(path, chain, ids.numpy())
