"""Errors name the node or the tensor, and what opsets and empty inputs mean is what ONNX says."""

import numpy as np
import pytest
from onnx_models import model, onnx, random_case, session

from fastrnn import convert
from fastrnn.convert.onnx import Runner, read

X = np.arange(4, dtype=np.float32).reshape(2, 2)


def node(op, inputs, outputs=("y",), name="here", **attributes):
    return onnx.helper.make_node(op, list(inputs), list(outputs), name=name, **attributes)


CONSTANT_NODES = [
    (node("Gather", ["c", "i"], ["g"]), np.array(9), "ONNX: Gather 'here': index 9 is out of bounds"),
    (node("Reshape", ["c", "i"], ["g"]), np.array([7]), "ONNX: Reshape 'here': cannot reshape array of size 4"),
    (node("Concat", ["c", "c"], ["g"]), np.array(0), "ONNX: Concat 'here': the attribute 'axis' is missing"),
    (node("Transpose", ["c"], ["g"], perm=[0, 0]), np.array(0), "ONNX: Transpose 'here': "),
]


@pytest.mark.parametrize("broken, index, message", CONSTANT_NODES, ids=[row[0].op_type for row in CONSTANT_NODES])
def test_a_node_of_constants_that_cannot_be_computed_is_named_when_it_is_loaded(broken, index, message, tmp_path):
    graph = model([broken, node("Add", ["x", "g"], name="add")], {"x": X}, ["y"], {"c": X, "i": index})
    path = tmp_path / "model.onnx"
    onnx.save(graph, path)
    for load in (Runner, read, convert.read):
        with pytest.raises(ValueError, match=message):
            load(path)


def test_errors_while_running_begin_with_the_node():
    runner = Runner(model([node("Gather", ["c", "i"])], {"i": np.array([0])}, ["y"], {"c": X}))
    with pytest.raises(ValueError, match=r"^ONNX: Gather 'here': index 5 is out of bounds"):
        runner.run({"i": np.array([5])})
    runner = Runner(model([node("Gather", ["x", "i"])], {"x": X, "i": np.array([0.0])}, ["y"]))
    with pytest.raises(TypeError, match=r"^ONNX: Gather 'here': "):
        runner.run({"x": X, "i": np.array([0.0])})


def test_a_tensor_whose_numbers_are_missing_is_named():
    graph = model([node("Add", ["x", "c"])], {"x": X}, ["y"], {"c": X})
    graph.graph.initializer[0].raw_data = b"1234"
    with pytest.raises(ValueError, match=r"ONNX: tensor 'c': its numbers are not those of shape \(2, 2\)"):
        Runner(graph)
    value = onnx.numpy_helper.from_array(X)
    value.raw_data = b"1234"
    nodes = [node("Constant", [], ["c"], "made", value=value), node("Add", ["x", "c"])]
    with pytest.raises(ValueError, match="ONNX: Constant 'made': value: its numbers are not those of shape"):
        Runner(model(nodes, {"x": X}, ["y"]))


def test_tensors_in_a_file_that_is_missing(tmp_path):
    graph = model([node("Add", ["x", "w"])], {"x": X}, ["y"], {"w": X})
    path = tmp_path / "add.onnx"
    onnx.save(graph, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    np.testing.assert_array_equal(Runner(path).run({"x": X})["y"], 2 * X)
    (tmp_path / "weights.bin").unlink()
    for load in (Runner, read):
        with pytest.raises(ValueError, match=r"add\.onnx: the model keeps tensors in other files, .*weights\.bin"):
            load(path)
    with pytest.raises(ValueError, match="ONNX: tensor 'w': its numbers are in another file; expected the model's"):
        Runner(path.read_bytes())


def test_two_opsets_are_refused_unless_they_are_one():
    graph = model([node("Relu", ["x"])], {"x": X}, ["y"], opset=17)
    graph.opset_import.append(onnx.helper.make_opsetid("ai.onnx", 17))
    Runner(graph)
    for domain in ("", "ai.onnx"):
        graph.opset_import[1].CopyFrom(onnx.helper.make_opsetid(domain, 9))
        with pytest.raises(ValueError, match="the model is of the opsets 9 and 17; expected one"):
            Runner(graph)


def test_layout_came_with_opset_14():
    case = random_case(1, 17, layout=1)
    case.opset = 14
    Runner(case.model())
    case.opset = 13
    with pytest.raises(ValueError, match="ONNX: GRU 'node' has the attribute layout in opset 13; expected opset 14"):
        Runner(case.model())


@pytest.mark.parametrize("seed", range(9))
def test_without_steps_y_is_empty_and_final_states_are_zeros(seed):
    """As in ONNX Runtime with lengths of 0; without lengths it gives such shapes, and whatever its memory holds."""
    case = random_case(seed, 17)
    batch = case.arrays["X"].shape[1]
    case.arrays["X"] = case.arrays["X"][:0]
    if "lens" in case.arrays:
        case.arrays["lens"] = np.zeros(batch, np.int32)
    graph = case.model()
    expected = session(graph).run(None, case.feeds())
    for got, wanted in zip(Runner(graph).run(case.feeds()).values(), expected, strict=True):
        np.testing.assert_array_equal(got, wanted if "lens" in case.arrays else np.zeros_like(wanted), strict=True)
