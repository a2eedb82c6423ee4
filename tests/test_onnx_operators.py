"""Every operator gives what ONNX Runtime and ONNX's own evaluator give, in every opset that changed its rules."""

import warnings
from typing import NamedTuple

import numpy as np
import pytest
from onnx_models import model, onnx, session

from fastrnn.convert.onnx import Runner
from fastrnn.convert.onnx.operators import OPERATORS


class Row(NamedTuple):
    op: str
    opset: int
    inputs: tuple  # arrays; a tuple of one is a constant of the model, None is left out
    attributes: dict = {}  # noqa: RUF012  (never changed)
    outputs: int = 1
    referees: str = "ort onnx"


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def integers(*values, dtype=np.int64):
    return np.array(values, dtype)


def fixed(*values, dtype=np.int64):
    return (integers(*values, dtype=dtype),)


X = floats(2, 3, 4)
ONE = floats(2, 1, 4)
NEGATIVE = integers(-7, 7, -6, 6, 0)

ROWS = [
    *(Row(op, opset, (X,)) for op in ("Relu", "Sigmoid", "Tanh") for opset in (7, 13, 25)),
    *(Row(op, 13, (X,)) for op in ("Abs", "Exp", "Neg", "Softplus", "Softsign", "Identity", "Shape", "Transpose")),
    *(Row(op, 13, (np.abs(X),)) for op in ("Log", "Sqrt")),
    Row("Sigmoid", 13, (integers(-200, -90, 0, 90, 200).astype(np.float32),)),
    *(Row(op, opset, (X, ONE)) for op in ("Add", "Sub", "Mul", "Div") for opset in (7, 13, 14)),
    *(Row(op, 14, (X, floats(4, seed=1))) for op in ("Add", "Sub", "Mul", "Div")),
    Row("Div", 14, (NEGATIVE, integers(2, -2, 3, -3, 5)), referees="ort"),  # towards zero
    Row("Equal", 13, (NEGATIVE, integers(-7, 0, -6, 1, 0))),
    Row("Relu", 14, (integers(-1, 0, 2, dtype=np.int32),)),
    *(Row("LeakyRelu", 16, (X,), attributes) for attributes in ({}, {"alpha": 0.3})),
    *(Row("Elu", 7, (X,), attributes) for attributes in ({}, {"alpha": 0.3})),
    *(Row("Selu", 7, (X,), attributes) for attributes in ({}, {"alpha": 1.2, "gamma": 0.8})),
    *(Row("HardSigmoid", 7, (X,), attributes) for attributes in ({}, {"alpha": 0.7, "beta": 0.1})),
    Row("Clip", 7, (X,), {"min": -0.5, "max": 0.25}),
    Row("Clip", 10, (X,), {"max": 0.25}),
    Row("Clip", 11, (X, fixed(-0.5, dtype=np.float32)[0].reshape(()))),
    Row("Clip", 13, (X, None, np.float32(0.25))),
    # products
    *(Row("MatMul", opset, (X, floats(4, 5))) for opset in (7, 9, 13)),
    Row("MatMul", 13, (X, floats(2, 4, 2))),
    Row("MatMul", 13, (floats(4), floats(4, 3))),
    Row("Gemm", 7, (floats(2, 3), floats(3, 4), floats(4))),
    Row("Gemm", 9, (floats(3, 2), floats(4, 3), floats(2, 4)), {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
    Row("Gemm", 11, (floats(2, 3), floats(3, 4))),
    Row("Gemm", 13, (floats(2, 3), floats(4, 3), floats(1, 4)), {"transB": 1}),
    # from 13 on one axis is normalised; before, all from `axis` on
    *(Row(op, opset, (X,), referees="ort") for op in ("Softmax", "LogSoftmax") for opset in (7, 11, 12)),
    *(Row(op, 11, (X,), {"axis": axis}, referees="ort") for op in ("Softmax", "LogSoftmax") for axis in (0, 2, -2)),
    *(Row(op, 13, (X,)) for op in ("Softmax", "LogSoftmax")),
    *(Row(op, 13, (X,), {"axis": axis}) for op in ("Softmax", "LogSoftmax") for axis in (0, 1, -3)),
    Row("Softmax", 13, (1000 * X,)),
    # axes: an attribute before 13, an input from then on
    *(Row("Squeeze", opset, (ONE,), {"axes": [1]}) for opset in (7, 11, 12)),
    Row("Squeeze", 11, (ONE,), {"axes": [-2]}),
    *(Row("Squeeze", opset, (ONE,)) for opset in (7, 13)),
    *(Row("Squeeze", opset, (ONE, fixed(-2))) for opset in (13, 21, 25)),
    *(Row("Unsqueeze", opset, (X,), {"axes": [0, 2]}) for opset in (7, 11)),
    Row("Unsqueeze", 11, (X,), {"axes": [-1]}),
    *(Row("Unsqueeze", opset, (X, fixed(0, -1))) for opset in (13, 21, 25)),
    Row("Unsqueeze", 13, (X, integers(1))),
    # turning and reshaping
    *(Row("Transpose", opset, (X,), {"perm": [2, 0, 1]}) for opset in (7, 13, 25)),
    *(Row("Reshape", opset, (X, fixed(0, -1))) for opset in (7, 13, 14, 25)),
    Row("Reshape", 13, (X, integers(4, 2, 3))),
    Row("Reshape", 14, (floats(0, 3), fixed(3, 0)), {"allowzero": 1}),
    Row("Reshape", 14, (floats(2, 3), fixed(0, 3)), {"allowzero": 0}),
    *(Row("Flatten", 13, (X,), {"axis": axis}) for axis in (0, 1, 2, 3, -1)),
    *(Row("Flatten", opset, (X,)) for opset in (7, 9, 25)),
    *(Row("Expand", opset, (ONE, fixed(2, 3, 1))) for opset in (8, 13)),
    Row("Expand", 13, (floats(3, 1), fixed(2, 1, 4))),
    # cutting and joining
    *(Row("Concat", opset, (X, ONE), {"axis": 1}) for opset in (7, 13)),
    Row("Concat", 11, (X, ONE, ONE), {"axis": -2}),
    Row("Slice", 9, (X,), {"starts": [1, -3], "ends": [1000, -1], "axes": [0, 2]}),
    Row("Slice", 9, (X,), {"starts": [0, 1], "ends": [1, 3]}),
    Row("Slice", 10, (X, fixed(1, 0), fixed(3, 2**40), fixed(1, 2))),
    Row("Slice", 11, (X, fixed(-1), fixed(-(2**40)), fixed(-1), fixed(-1))),
    Row("Slice", 13, (X, integers(0, 3), integers(2, 0), integers(0, 2), integers(1, -2))),
    Row("Slice", 13, (X, fixed(0, dtype=np.int32), fixed(5, dtype=np.int32), None, fixed(2, dtype=np.int32))),
    Row("Split", 7, (X,), {"axis": 2}, 2),
    Row("Split", 12, (X,), {"axis": -2, "split": [1, 2]}, 2),
    Row("Split", 13, (X, fixed(3, 1)), {"axis": 2}, 2),
    Row("Split", 13, (X,), {"axis": 0}, 2),
    Row("Split", 18, (X,), {"axis": 1, "num_outputs": 2}, 2),  # the last part is smaller
    Row("Split", 18, (X, fixed(1, 0, 2)), {"axis": 1}, 3),
    *(Row("Gather", opset, (X, integers(1, 0, 1)), {"axis": 1}) for opset in (7, 11, 13)),
    Row("Gather", 13, (X, np.array(-1)), {"axis": 2}),
    Row("Gather", 11, (floats(5, 2), np.array([[4, -5], [0, 1]]))),
    Row("Where", 9, (X > 0, X, ONE)),
    Row("Where", 16, (np.array([True, False, True, True]), X, np.float32(0))),
    # making
    Row("Constant", 9, (), {"value": X}),
    *(Row("Constant", 12, (), {name: value}) for name, value in {
        "value_float": 1.5, "value_int": 3, "value_floats": [1.5, 2.5], "value_ints": [1, 2]}.items()),
    Row("Constant", 25, (), {"value": integers(1, 2)}),
    *(Row("ConstantOfShape", opset, (integers(2, 3),)) for opset in (9, 25)),
    Row("ConstantOfShape", 9, (integers(2),), {"value": integers(7, dtype=np.int32)}),
    *(Row("Shape", 15, (X,), attributes) for attributes in ({}, {"start": 1}, {"start": -1}, {"start": 0, "end": -1})),
    *(Row("Cast", 13, (2 * X,), {"to": number}) for number in (1, 6, 7, 9, 10, 11)),
    *(Row("Cast", opset, (NEGATIVE,), {"to": 1}) for opset in (7, 9, 19, 25)),
    # without training it gives x, and a mask of ones if that is asked for
    Row("Dropout", 7, (X,), {"ratio": 0.5}),
    Row("Dropout", 10, (X,), {"ratio": 0.5}, 2, referees="onnx"),
    *(Row("Dropout", opset, (X, np.float32(0.5), np.array(False)), {}, 2) for opset in (12, 13, 22)),
    Row("Dropout", 13, (X, (np.array(0.5, np.float32),)), {"seed": 1}),
]  # fmt: skip


def built(row):
    names = ["" if value is None else f"i{place}" for place, value in enumerate(row.inputs)]
    given = dict(zip(names, row.inputs, strict=True))
    feeds = {name: np.asarray(array) for name, array in given.items() if name and not isinstance(array, tuple)}
    constants = {name: array[0] for name, array in given.items() if isinstance(array, tuple)}
    attributes = {
        name: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in row.attributes.items()
    }
    outputs = [f"o{place}" for place in range(row.outputs)]
    node = onnx.helper.make_node(row.op, names, outputs, name="node", **attributes)
    return model([node], feeds, outputs, constants, row.opset), feeds


def name_of(row):
    return f"{row.op}-{row.opset}"


@pytest.mark.parametrize("row", [row for row in ROWS if "ort" in row.referees], ids=name_of)
def test_operators_agree_with_onnx_runtime(row):
    graph, feeds = built(row)
    assert_same(Runner(graph).run(feeds), session(graph).run(None, feeds))


@pytest.mark.parametrize("row", [row for row in ROWS if "onnx" in row.referees], ids=name_of)
def test_operators_agree_with_onnx(row):
    reference = pytest.importorskip("onnx.reference")
    graph, feeds = built(row)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = reference.ReferenceEvaluator(graph).run(None, feeds)
    assert_same(Runner(graph).run(feeds), expected)


def assert_same(got, expected):
    for array, wanted in zip(got.values(), expected, strict=True):
        assert array.dtype == wanted.dtype and array.shape == wanted.shape
        np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6)


def test_every_operator_has_a_row():
    assert set(OPERATORS) == {row.op for row in ROWS} | {"RNN", "GRU", "LSTM"}
