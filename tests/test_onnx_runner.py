"""A model runs as it is or is refused, by name, before anything of it runs; inputs are what the model says."""

import numpy as np
import pytest
from onnx_models import model, onnx

from fastrnn.convert.onnx import Runner

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def node(op, inputs=("x",), outputs=("y",), **attributes):
    return onnx.helper.make_node(op, list(inputs), list(outputs), name=op.lower(), **attributes)


def relu(opset=13, **feeds):
    return model([node("Relu")], feeds or {"x": X}, ["y"], opset=opset)


# ---------------------------------------------------------------------------------------------- loading


def test_paths_bytes_and_protos_are_models(tmp_path):
    graph = relu()
    path = tmp_path / "relu.onnx"
    onnx.save(graph, path)
    for given in (graph, graph.SerializeToString(), path, str(path)):
        runner = Runner(given)
        assert runner.inputs == (("x", np.float32, (2, 3)),) and runner.outputs == ("y",)
        np.testing.assert_array_equal(runner.run({"x": -X})["y"], 0 * X)


def test_weights_in_a_file_of_their_own_are_read(tmp_path):
    graph = model([node("Add", ["x", "w"])], {"x": X}, ["y"], {"w": X})
    path = tmp_path / "add.onnx"
    onnx.save(graph, path, save_as_external_data=True, location="weights", size_threshold=0)
    np.testing.assert_array_equal(Runner(path).run({"x": X})["y"], 2 * X)


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "text.onnx"
    for content in (b"no protobuf at all", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"text.onnx: this is no ONNX model.*; expected a ModelProto"):
            Runner(path)
    with pytest.raises(FileNotFoundError):
        Runner(tmp_path / "missing.onnx")
    with pytest.raises(TypeError, match="the model is of type int; expected a path, bytes or a ModelProto"):
        Runner(3)


def test_every_unknown_operator_is_named():
    nodes = [node("Relu"), node("Conv", ["y"], ["z"]), node("Foo", ["z"], ["a"], domain="com.acme"), node("If")]
    message = "ONNX: the model has the operators Conv, If, com.acme.Foo; expected of Abs, Add, "
    with pytest.raises(ValueError, match=message):
        Runner(model(nodes, {"x": X}, ["a"]))


@pytest.mark.parametrize("opset", [6, 26])
def test_other_opsets_are_refused(opset):
    graph = relu()
    graph.opset_import[0].version = opset
    with pytest.raises(ValueError, match=f"the model is of opset {opset}; expected 7 to 25"):
        Runner(graph)


def test_the_own_domain_has_two_names():
    graph = relu()
    graph.opset_import[0].domain = graph.graph.node[0].domain = "ai.onnx"
    np.testing.assert_array_equal(Runner(graph).run({"x": X})["y"], X)


REFUSED = [
    ([node("Expand", ["x", "n"])], 7, "ONNX: Expand 'expand' in opset 7; expected opset 8 or later"),
    ([node("Relu", alpha=1.0)], 13, "ONNX: Relu 'relu' has the attribute alpha; expected of its attributes: none"),
    ([node("Tanh", ["x", "x"])], 13, "ONNX: Tanh 'tanh' has 2 inputs; expected the number of its operator"),
    ([node("Relu", ["z"])], 13, "ONNX: Relu 'relu': nothing makes its input 'z'; expected nodes in order"),
    ([node("Relu", outputs=["z"])], 13, "ONNX: nothing makes the output 'y'; expected a node that does"),
    ([node("Constant", [], value_string="a")], 13, "has the attribute value_string; expected of its attributes: v"),
    ([node("Constant", [])], 13, "ONNX: Constant 'constant' has 0 values; expected one"),
    ([node("Cast", ["n"], to=10**6)], 13, "ONNX: Cast 'cast': its elements are 1000000; expected numbers"),
    ([node("Cast", ["n"], to=16)], 13, "ONNX: Cast 'cast': its elements are BFLOAT16; expected numbers"),
]


@pytest.mark.parametrize("nodes, opset, message", REFUSED, ids=[row[2][6:40] for row in REFUSED])
def test_what_cannot_run_is_refused_when_it_is_loaded(nodes, opset, message):
    with pytest.raises(ValueError, match=message):
        Runner(model(nodes, {"x": X}, ["y"], {"n": np.array([1, 2])}, opset))


FAILING = [
    (node("Squeeze", axes=[0]), {"x": X[:1]}, 13, "axes is an attribute in opset 13; expected an input"),
    (node("Squeeze", ["x", "n"]), {"x": X[:1], "n": np.array([0])}, 12, "axes is an input in opset 12; expected an at"),
    (node("Unsqueeze"), {"x": X}, 13, "has no axes; expected some"),
    (node("Slice"), {"x": X}, 9, "has no starts or no ends; expected both"),
    (node("Split", outputs=["y", "z"], axis=1), {"x": X}, 13, "axis 1 has length 3; expected a multiple of 2 outputs"),
    (node("Split", outputs=["y", "z"], axis=1, split=[1, 1]), {"x": X}, 12, r"are \[1, 1\]; expected 2 that add up"),
    (node("Gemm", ["x", "n"]), {"x": X, "n": X.T}, 9, "has no input C in opset 9; expected one before opset 11"),
    (node("Add", ["x", "n"]), {"x": X, "n": X.astype(float)}, 13, "its inputs are float32 and float64; expected one d"),
    (node("Softmax", axis=2), {"x": X}, 11, "axis is 2; expected one of the 2 axes of its input"),
    (node("Flatten", axis=3), {"x": X}, 13, "axis is 3; expected one of the 2 axes of its input"),
    (node("Reshape", ["x", "n"]), {"x": X, "n": np.array([2, 3, 0])}, 13, "x has 2 axes; expected 0 only for an axis"),
    (node("Dropout", ["x", "r", "t"]), {"x": X, "r": np.float32(0), "t": np.array(True)}, 13, "training_mode is true"),
    (node("Relu", outputs=["y", "z"]), {"x": X}, 13, "has 2 outputs; expected at most 1"),
]  # fmt: skip


@pytest.mark.parametrize("broken, feeds, opset, message", FAILING, ids=[row[3][:30] for row in FAILING])
def test_what_cannot_run_names_its_node(broken, feeds, opset, message):
    feeds = {name: np.asarray(array) for name, array in feeds.items()}
    runner = Runner(model([broken], feeds, ["y"], opset=opset))
    with pytest.raises(ValueError, match=f"ONNX: {broken.op_type} '{broken.name}'.*{message}"):
        runner.run(feeds)


def test_numpy_s_own_errors_name_the_node():
    runner = Runner(model([node("MatMul", ["x", "x"])], {"x": X}, ["y"]))
    with pytest.raises(ValueError, match=r"ONNX: MatMul 'matmul': ."):
        runner.run({"x": X})


def test_kinds_of_tensors_that_numpy_does_not_have_are_refused():
    graph = relu()
    graph.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING
    with pytest.raises(ValueError, match="input 'x': its elements are STRING; expected numbers that NumPy has"):
        Runner(graph)
    graph.graph.input[0].type.CopyFrom(onnx.helper.make_sequence_type_proto(onnx.TypeProto()))
    with pytest.raises(ValueError, match="input 'x' is no tensor; expected one"):
        Runner(graph)
    graph = relu()
    graph.graph.sparse_initializer.append(onnx.SparseTensorProto())
    with pytest.raises(ValueError, match="the model has sparse initialisers; expected dense ones"):
        Runner(graph)


# ---------------------------------------------------------------------------------------------- running


def test_inputs_are_what_the_model_says():
    runner = Runner(relu())
    with pytest.raises(ValueError, match=r"Runner.run: input 'x' is missing; expected an array for it"):
        runner.run({})
    with pytest.raises(ValueError, match=r"Runner.run: the model has no input 'z'; expected 'x'"):
        runner.run({"x": X, "z": X})
    with pytest.raises(TypeError, match=r"Runner.run: input 'x' has dtype float64; expected float32"):
        runner.run({"x": X.astype(np.float64)})
    for wrong in (X[:1], X[0]):
        with pytest.raises(ValueError, match=r"Runner.run: input 'x' has shape .*; expected \(2, 3\)"):
            runner.run({"x": wrong})


def test_axes_with_names_take_any_length():
    graph = relu()
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "T"
    runner = Runner(graph)
    assert runner.inputs[0].shape == (None, 3)
    assert runner.run({"x": np.concatenate([X, X])})["y"].shape == (4, 3)
    with pytest.raises(ValueError, match=r"expected \(any, 3\)"):
        runner.run({"x": X.T})
    graph.graph.input[0].type.tensor_type.ClearField("shape")
    assert Runner(graph).run({"x": X[0]})["y"].shape == (3,)


def test_a_constant_that_is_listed_as_input_is_none():
    graph = model([node("Add", ["x", "w"])], {"x": X, "w": X}, ["y"], {"w": X})
    runner = Runner(graph)
    assert [value.name for value in runner.inputs] == ["x"]
    np.testing.assert_array_equal(runner.run({"x": X})["y"], 2 * X)


def test_runs_do_not_disturb_each_other_or_the_inputs():
    nodes = [node("Identity", ["x"], ["same"]), node("Add", ["same", "w"]), node("Identity", ["w"], ["weight"])]
    runner = Runner(model(nodes, {"x": X}, ["y", "same", "weight"], {"w": X}))
    given = X.copy()
    first = runner.run({"x": given})
    second = runner.run({"x": given + 1})
    np.testing.assert_array_equal(given, X)
    np.testing.assert_array_equal(first["y"] + 1, second["y"])


def test_no_warning_comes_of_infinities():
    runner = Runner(model([node("Log", ["x"], ["l"]), node("Div", ["l", "x"])], {"x": X}, ["y"]))
    assert np.isneginf(runner.run({"x": 0 * X})["y"]).all()
