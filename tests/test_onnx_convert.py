"""ONNX among the other formats: what `fastrnn convert` asks of it."""

import numpy as np
import pytest

pytest.importorskip("onnx")

import fastrnn
from fastrnn import convert
from fastrnn.convert.layer import Layer
from fastrnn.convert.onnx import Runner


def chain_of(gru, linear, activation):
    layers = [
        Layer("GRU", "body", dict(gru.state_dict())),
        Layer("Linear", "head", dict(linear.state_dict())),
    ]
    return convert.Model(layers, "test", {"head.activation": activation}, chain=True)


EXPECTED = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "exponential": np.exp,
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(axis=-1, keepdims=True)),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("activation", EXPECTED)
def test_the_activation_behind_a_layer_is_written(tmp_path, activation):
    gru, linear = fastrnn.GRU(3, 5, seed=1), fastrnn.Linear(5, 4, seed=2)
    path = tmp_path / "model.onnx"
    convert.write(chain_of(gru, linear, activation), path)
    again = convert.read(path)
    assert again.chain
    assert again.notes["head.activation"] == activation
    x = np.random.default_rng(3).standard_normal((6, 2, 3), dtype=np.float32)
    y = Runner(path).run({"x": x})["y"]
    np.testing.assert_allclose(y, EXPECTED[activation](linear(gru(x)[0])), atol=2e-6)


def test_an_activation_that_onnx_has_not_is_refused_by_name(tmp_path):
    model = chain_of(fastrnn.GRU(3, 5, seed=1), fastrnn.Linear(5, 4, seed=2), "swish")
    with pytest.raises(ValueError, match="head: activation 'swish' in ONNX; expected one of elu, relu"):
        convert.write(model, tmp_path / "model.onnx")


def test_a_file_made_here_is_known(tmp_path):
    import onnx

    path = tmp_path / "model.onnx"
    fastrnn.LSTM(3, 4, seed=0).to_onnx(path)
    assert convert.written_here(path)
    model = onnx.load(str(path))
    model.producer_name = "somebody"
    onnx.save(model, str(path))
    assert not convert.written_here(path)
