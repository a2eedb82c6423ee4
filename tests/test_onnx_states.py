"""Initial states and lengths that a file fixes: zeros, however computed, are read, and everything else is refused."""

import warnings

import numpy as np
import pytest
from onnx_models import model, onnx

import fastrnn
from fastrnn.convert.onnx import read

T, B, I, H = 3, 2, 4, 5  # noqa: E741
X = np.ones((T, B, I), np.float32)
RNG = np.random.default_rng(1)
WEIGHTS = {name: RNG.standard_normal((1, 4 * H, n), dtype=np.float32) for name, n in (("W", I), ("R", H))}
INTEGERS = {"one": np.array([1]), "width": np.array([H])}


def node(op, inputs, outputs=("y",), name="", **attributes):
    return onnx.helper.make_node(op, list(inputs), list(outputs), name=name, **attributes)


def filled(number):
    return onnx.numpy_helper.from_array(np.array([number], np.float32))


# The shape (1, B, H) as exporters compute it, of x.
SHAPE = [
    node("Shape", ["x"], ["all"]),
    node("Gather", ["all", "one"], ["batch"]),
    node("Concat", ["one", "batch", "width"], ["shape"], axis=0),
]
STATES = {
    "filled": lambda number: [node("ConstantOfShape", ["shape"], ["h"], value=filled(number))],
    "expanded": lambda number: [
        node("Constant", [], ["number"], value=onnx.numpy_helper.from_array(np.full((1, 1, H), number, np.float32))),
        node("Expand", ["number", "shape"], ["h"]),
    ],
    "turned": lambda number: [
        node("ConstantOfShape", ["shape"], ["a"], value=filled(number)),
        node("Neg", ["a"], ["b"]),
        node("Transpose", ["b"], ["c"], perm=[0, 2, 1]),
        node("Transpose", ["c"], ["h"], perm=[0, 2, 1]),
    ],
    "joined": lambda number: [
        node("ConstantOfShape", ["shape"], ["a"], value=filled(0)),
        node("ConstantOfShape", ["shape"], ["b"], value=filled(number)),
        node("Add", ["a", "b"], ["sum"]),
        node("Concat", ["a", "sum"], ["both"], axis=0),
        node("Slice", ["both", "one", "two"], ["h"]),
    ],
}


def read_lstm(tmp_path, nodes, inputs, **constants):
    path = tmp_path / "model.onnx"
    lstm = node("LSTM", inputs, name="/rnn/LSTM")
    constants = WEIGHTS | INTEGERS | {"two": np.array([2])} | constants
    onnx.save(model([*nodes, lstm], {"x": X}, ["y"], constants), path)
    return read(path)


@pytest.mark.parametrize("state", STATES)
def test_zeros_however_computed_are_what_a_layer_begins_with(state, tmp_path):
    nodes = [*SHAPE, *STATES[state](0)]
    (layer,) = read_lstm(tmp_path, nodes, ["x", "W", "R", "", "", "h", "h"]).layers
    assert (layer.name, layer.options) == ("rnn", {"bias": False})


@pytest.mark.parametrize("state", STATES)
def test_a_state_computed_of_constants_that_is_not_zero_is_refused(state, tmp_path):
    nodes = [*SHAPE, *STATES[state](0.7)]
    for inputs in (["x", "W", "R", "", "", "h"], ["x", "W", "R", "", "", "", "h"]):
        with pytest.raises(ValueError, match=r"ONNX: LSTM '/rnn/LSTM': its initial state 'h' is .*; expected zeros"):
            read_lstm(tmp_path, nodes, inputs)


def test_a_state_that_is_made_of_shapes_is_refused(tmp_path):
    nodes = [*SHAPE, node("Cast", ["shape"], ["f"], to=1), node("Expand", ["f", "shape"], ["h"])]
    with pytest.raises(ValueError, match="initial state 'h' is made of constants and shapes, and not known to be 0"):
        read_lstm(tmp_path, nodes, ["x", "W", "R", "", "", "h"])


def test_lengths_in_the_file_are_refused(tmp_path):
    message = "ONNX: LSTM '/rnn/LSTM': its sequence_lens 'lens' are in the file; expected none, or lengths that"
    with pytest.raises(ValueError, match=message):
        read_lstm(tmp_path, [], ["x", "W", "R", "", "lens"], lens=np.array([1, 3], np.int32))
    value = onnx.numpy_helper.from_array(np.array([2], np.int32))
    nodes = [*SHAPE, node("ConstantOfShape", ["batch"], ["lens"], value=value)]
    with pytest.raises(ValueError, match=message):
        read_lstm(tmp_path, nodes, ["x", "W", "R", "", "lens"])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("dynamic", [None, {"x": {1: "B"}}])
def test_pytorch_s_own_default_is_read(kind, dynamic, tmp_path):
    """Without axes of any length its exporter writes the zeros of the batch that it saw, and expands them."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    net = getattr(torch.nn, kind)(I, H, num_layers=2, bidirectional=True).eval()
    path = str(tmp_path / "net.onnx")
    x = torch.ones(T, B, I)
    names = ["x"] if dynamic else None
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer exporter
        torch.onnx.export(net, (x,), path, dynamo=False, dynamic_axes=dynamic, input_names=names)
        (layer,) = read(path).layers
        again = getattr(fastrnn, kind)(I, H, **layer.options)
        again.load_state_dict(layer.tensors)
        np.testing.assert_allclose(again(X)[0], net(x)[0].numpy(), rtol=0, atol=1e-5)
