"""The layers of a model are all of its weights, or the model is refused with what would be lost."""

import numpy as np
import pytest
from onnx_models import model, onnx

import fastrnn
from fastrnn.convert import Row
from fastrnn.convert.onnx import Runner, read

T, B, I, H = 3, 2, 4, 5  # noqa: E741


def floats(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


X, ROWS = floats(T, B, I), floats(B, I)
W, R, BIAS = floats(1, 3 * H, I), floats(1, 3 * H, H), floats(1, 6 * H)
GRU = {"W": W, "R": R, "B": BIAS}


def node(op, inputs, outputs=("y",), name="", **attributes):
    return onnx.helper.make_node(op, list(inputs), list(outputs), name=name, **attributes)


@pytest.fixture
def read_model(tmp_path):
    def write_and_read(nodes, constants, outputs=("y",), opset=17, **feeds):
        path = tmp_path / "model.onnx"
        onnx.save(model(nodes, feeds or {"x": X}, list(outputs), constants, opset), path)
        return read(path)

    return write_and_read


def rebuilt(layer, *sizes):
    again = getattr(fastrnn, layer.kind)(*sizes, **layer.options)
    again.load_state_dict(layer.tensors)
    return again


# ----------------------------------------------------------------------------------------------- linear


@pytest.mark.parametrize("trans_b", [0, 1])
def test_a_gemm_is_a_linear_layer_with_its_factors_in_the_weights(trans_b, read_model):
    weight, bias = floats(3, I) if trans_b else floats(I, 3), floats(1, 3)
    gemm = node("Gemm", ["x", "head.weight", "head.bias"], alpha=0.5, beta=2.0, transB=trans_b)
    constants = {"head.weight": weight, "head.bias": bias}
    (layer,) = read_model([gemm], constants, x=ROWS).layers
    assert (layer.kind, layer.name, layer.options) == ("Linear", "head", {})
    wanted = Runner(model([gemm], {"x": ROWS}, ["y"], constants)).run({"x": ROWS})["y"]
    np.testing.assert_allclose(rebuilt(layer, I, 3)(ROWS), wanted, rtol=0, atol=1e-6)


def test_a_gemm_without_bias_and_one_with_a_single_number(read_model):
    (layer,) = read_model([node("Gemm", ["x", "w"])], {"w": floats(I, 3)}, x=ROWS).layers
    assert layer.options == {"bias": False} and layer.name == "y"
    (layer,) = read_model([node("Gemm", ["x", "w", "b"])], {"w": floats(I, 3), "b": np.float32(2)}, x=ROWS).layers
    np.testing.assert_array_equal(layer.tensors["bias"], [2, 2, 2])


def test_what_no_linear_layer_does_is_refused(read_model):
    with pytest.raises(ValueError, match="ONNX: Gemm 'y': transA is 1; expected 0, for a Linear reads rows"):
        read_model([node("Gemm", ["x", "w"], transA=1)], {"w": floats(B, 3)}, x=ROWS)
    with pytest.raises(ValueError, match="ONNX: Gemm 'y': its input C is no constant of a number for each output"):
        read_model([node("Gemm", ["x", "w", "b"])], {"w": floats(I, 3), "b": floats(B, 3)}, x=ROWS)
    with pytest.raises(ValueError, match=r"no layer takes the tensor 'w' of shape \(7, 3\)"):
        read_model([node("MatMul", ["w", "x"])], {"w": floats(7, T)}, x=floats(T, 2))


def test_an_add_behind_a_product_is_its_bias_where_nothing_else_sees_the_product(read_model):
    product, add = node("MatMul", ["x", "w"], ["p"], "/a/fc/MatMul"), node("Add", ["b", "p"])
    constants = {"w": floats(I, 3), "b": floats(3)}
    result = read_model([product, add], constants)
    (layer,) = result.layers
    assert layer.name == "a.fc" and layer.options == {} and "between" not in result.notes
    assert list(result.rows()) == [Row("w", "a.fc.weight", (3, I)), Row("b", "a.fc.bias", (3,))]
    for nodes, outputs in (([product, add], ["y", "p"]), ([product, add, node("Tanh", ["p"], ["z"])], ["y", "z"])):
        with pytest.raises(ValueError, match=r"no layer takes the tensor 'b' of shape \(3,\)"):
            read_model(nodes, constants, outputs)


def test_an_embedding_is_a_table_that_indices_gather_from(read_model):
    ids = np.zeros((T, B), np.int64)
    result = read_model([node("Gather", ["words.weight", "ids"])], {"words.weight": floats(9, 2)}, ids=ids)
    assert [(layer.kind, layer.name) for layer in result.layers] == [("Embedding", "words")]
    with pytest.raises(ValueError, match="no layer takes the tensor 'table'"):
        read_model([node("Gather", ["table", "ids"], axis=1)], {"table": floats(9, 2)}, ids=ids)


# -------------------------------------------------------------------------------------------- recurrent


def test_gates_and_biases_are_in_pytorch_s_order(read_model):
    result = read_model([node("GRU", ["x", *GRU], name="/rnn/GRU", linear_before_reset=1)], GRU)
    (layer,) = result.layers
    z, r, n = np.split(W[0], 3)
    np.testing.assert_array_equal(layer.tensors["weight_ih_l0"], np.concatenate([r, z, n]))
    z, r, n = np.split(BIAS[0, 3 * H :], 3)
    np.testing.assert_array_equal(layer.tensors["bias_hh_l0"], np.concatenate([r, z, n]))
    assert [row.source for row in result.rows()] == ["W", "R", "B", "B"]
    assert next(iter(result.rows())).target == "rnn.weight_ih_l0"
    assert result.notes["opset"] == "17"


def test_layout_1_is_batch_first(read_model):
    (layer,) = read_model([node("GRU", ["x", "W", "R"], layout=1)], {"W": W, "R": R}).layers
    assert layer.options == {"batch_first": True, "bias": False, "reset_after": False}


def test_weights_made_of_constants_are_read_with_the_tensors_they_come_from(read_model):
    """As exporters write them that fold nothing: here W is two tensors, turned."""
    nodes = [
        node("Constant", [], ["axes"], value_ints=[0]),
        node("Concat", ["up", "down"], ["flat"], axis=0),
        node("Transpose", ["flat"], ["turned"]),
        node("Unsqueeze", ["turned", "axes"], ["W"]),
        node("GRU", ["x", "W", "R"]),
    ]
    constants = {"up": np.ascontiguousarray(W[0].T[:1]), "down": np.ascontiguousarray(W[0].T[1:]), "R": R}
    result = read_model(nodes, constants)
    (plain,) = read_model([node("GRU", ["x", "W", "R"])], {"W": W, "R": R}).layers
    np.testing.assert_array_equal(result.layers[0].tensors["weight_ih_l0"], plain.tensors["weight_ih_l0"])
    assert [row.source for row in result.rows()] == ["down up", "R"]


def test_names_are_the_nodes_or_one_of_their_own(read_model):
    nodes = [
        node("GRU", ["x", "W", "R"], ["a"]),
        node("GRU", ["x", "W", "R"], ["b"]),
        node("GRU", ["x", "W", "R"], ["c"], "decoder/step"),
        node("GRU", ["x", "W", "R"], ["d"], "decoder/GRU"),
    ]
    result = read_model(nodes, {"W": W, "R": R}, "abcd")
    assert [layer.name for layer in result.layers] == ["a", "b", "decoder.step", "decoder"]
    for one in nodes:
        one.name = "/same/GRU"
    result = read_model(nodes, {"W": W, "R": R}, "abcd")
    assert [layer.name for layer in result.layers] == ["same", "same_1", "same_2", "same_3"]


def test_float64_is_an_option_of_the_layer(read_model):
    wide = {name: array.astype(np.float64) for name, array in GRU.items()}
    (layer,) = read_model([node("GRU", ["x", *wide])], wide, x=X.astype(np.float64)).layers
    assert layer.options == {"dtype": "float64", "reset_after": False}


def test_zeros_as_initial_state_are_no_weights(read_model):
    inputs = ["x", "W", "R", "", "", "h"]
    constants = {"W": W, "R": R, "h": np.zeros((1, B, H), np.float32)}
    assert len(read_model([node("GRU", inputs)], constants).layers) == 1
    constants["h"] = constants["h"] + 1
    with pytest.raises(ValueError, match="ONNX: GRU 'y': its initial state 'h' is a constant other than 0"):
        read_model([node("GRU", inputs)], constants)


def test_what_no_layer_is_is_refused(read_model):
    with pytest.raises(ValueError, match="ONNX: GRU 'y': direction is reverse; expected forward or bidirectional"):
        read_model([node("GRU", ["x", "W", "R"], direction="reverse")], {"W": W, "R": R})
    with pytest.raises(ValueError, match="ONNX: GRU 'y': its weight 'W' is not in the file; expected a constant"):
        read_model([node("GRU", ["x", "W", "R"])], {"R": R}, x=X, W=W)
    both = {"W": floats(2, H, I), "R": floats(2, H, H)}
    rnn = node("RNN", ["x", "W", "R"], direction="bidirectional", activations=["Tanh", "Relu"])
    with pytest.raises(ValueError, match="ONNX: RNN 'y': its directions have different activations; expected the same"):
        read_model([rnn], both)


def test_a_tensor_that_no_layer_takes_is_refused(read_model):
    nodes = [node("GRU", ["x", "W", "R"], ["a"]), node("Mul", ["a", "scale"])]
    with pytest.raises(ValueError, match=r"model.onnx: no layer takes the tensor 'scale' of shape \(5,\)"):
        read_model(nodes, {"W": W, "R": R, "scale": floats(H)})
    assert read_model(nodes, {"W": W, "R": R, "scale": np.float32(2)}).notes["between"] == "Mul"
    nodes.insert(0, node("Constant", [], ["scale"], value=onnx.numpy_helper.from_array(floats(H))))
    with pytest.raises(ValueError, match=r"no layer takes the tensor 'scale' of shape \(5,\)"):
        read_model(nodes, {"W": W, "R": R})


def test_nodes_that_differ_are_layers_of_their_own(read_model):
    def stacked(**second):
        nodes = [
            node("GRU", ["x", "W0", "R"], ["Y0"], "/rnn/GRU", linear_before_reset=1),
            node("Squeeze", ["Y0", "one"], ["y0"]),
            node("GRU", ["y0", "W1", "R"], ["y"], second.pop("name", "/rnn/GRU_1"), **second),
        ]
        constants = {"W0": W, "R": R, "W1": floats(1, 3 * H, H), "one": np.array([1])}
        return [(layer.name, layer.options.get("num_layers", 1)) for layer in read_model(nodes, constants).layers]

    assert stacked(linear_before_reset=1) == [("rnn", 2)]
    assert stacked(linear_before_reset=0) == [("rnn", 1), ("rnn_1", 1)]
    assert stacked(linear_before_reset=1, name="/other/GRU") == [("rnn", 1), ("other", 1)]


@pytest.mark.parametrize("perm, batch_first", [([1, 0, 2], True), ([2, 1, 0], False)])
def test_a_layer_is_batch_first_where_x_is_turned_and_y_turned_back(perm, batch_first, read_model):
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("GRU", ["t", "W", "R"], ["Y"], linear_before_reset=1),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("Transpose", ["s"], perm=perm),
    ]
    (layer,) = read_model(nodes, {"W": W, "R": R, "one": np.array([1])}).layers
    assert layer.options == {"bias": False} | ({"batch_first": True} if batch_first else {})


@pytest.mark.parametrize("factor, merge", [(0.5, "ave"), (0.25, "sum")])
def test_directions_that_are_added_and_halved_are_averaged(factor, merge, read_model):
    nodes = [
        node("RNN", ["x", "W", "R"], ["Y"], direction="bidirectional"),
        node("Gather", ["Y", "zero"], ["f"], axis=1),
        node("Gather", ["Y", "one"], ["b"], axis=1),
        node("Add", ["f", "b"], ["s"]),
        node("Mul", ["s", "factor"]),
    ]
    constants = {"zero": np.array(0), "one": np.array(1), "factor": np.float32(factor)}
    (layer,) = read_model(nodes, constants | {"W": floats(2, H, I), "R": floats(2, H, H)}).layers
    assert layer.options == {"bias": False, "bidirectional": True, "merge": merge}
