"""fastrnn.onnx_backend passes ONNX's own recurrent node tests, and is a backend as ONNX defines one."""

import importlib
import unittest
from functools import cache

import numpy as np
import pytest
from onnx_models import model, onnx

import fastrnn.onnx_backend as backend

PEEPHOLES = "test_lstm_with_peepholes"  # refused by name


@cache
def cases():
    """The node tests of RNN, GRU and LSTM in the package onnx, by name: modules that enter them when imported."""
    node = importlib.import_module("onnx.backend.test.case.node")
    for name in ("rnn", "gru", "lstm"):
        importlib.import_module(f"onnx.backend.test.case.node.{name}")
    operators = ("RNN", "GRU", "LSTM")
    return {case.name: case for case in node._NodeTestCases if case.model.graph.node[0].op_type in operators}


def test_the_package_has_the_recurrent_cases():
    assert len(cases()) >= 12 and PEEPHOLES in cases()  # 18 of onnx 1.23, older ones have fewer


def test_every_recurrent_case_of_onnx_agrees():
    for name, case in cases().items():
        if name == PEEPHOLES:
            continue
        prepared = backend.prepare(case.model)
        for inputs, expected in case.data_sets:
            outputs = prepared.run(inputs)
            assert len(outputs) == len(expected), name
            for got, want in zip(outputs, expected, strict=True):
                assert got.dtype == want.dtype and got.shape == want.shape, name
                np.testing.assert_allclose(got, want, rtol=case.rtol, atol=case.atol, err_msg=name)


def test_the_case_with_peepholes_is_refused_by_name():
    with pytest.raises(ValueError, match=r"ONNX: LSTM .* has peepholes \(input P\); expected none"):
        backend.prepare(cases()[PEEPHOLES].model)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_onnx_s_own_runner_passes_the_recurrent_cases():
    """`onnx.backend.test.BackendTest`, which knows nothing of this package but its module."""
    from onnx.backend.test import BackendTest

    tests = BackendTest(backend, __name__)
    for name in cases():
        tests.include(f"^{name}_cpu$")
    tests.exclude(PEEPHOLES)
    result = unittest.TestResult()
    tests.test_suite.run(result)
    assert not result.errors and not result.failures
    assert result.testsRun - len(result.skipped) == len(cases()) - 1


def test_a_node_alone_runs():
    x = np.array([[1, -2]], np.float32)
    relu = onnx.helper.make_node("Relu", ["x"], ["y"])
    (y,) = backend.run_node(relu, [x])
    np.testing.assert_array_equal(y, [[1, 0]])
    np.testing.assert_array_equal(backend.run_node(relu, {"x": x}).y, y)
    np.testing.assert_array_equal(backend.run_node(relu, x)[0], y)
    squeeze = onnx.helper.make_node("Squeeze", ["x"], ["y"], axes=[0])
    np.testing.assert_array_equal(backend.run_node(squeeze, [x], opset_version=11)[0], [1, -2])
    with pytest.raises(ValueError, match="axes is an attribute in opset 25; expected an input"):
        backend.run_node(squeeze, [x])


def test_outputs_have_an_order_and_names():
    split = onnx.helper.make_node("Split", ["x"], ["a", "b"], axis=1)
    zeros = np.zeros((1, 2), np.float32)
    graph = model([split], {"x": zeros}, {"a": zeros[:, :1], "b": zeros[:, :1]}, opset=12)
    outputs = backend.run_model(graph, [np.array([[3, 4]], np.float32)])
    assert outputs[0] == outputs.a == outputs["a"] == 3
    assert outputs[1] == outputs.b == 4


def test_the_cpu_is_the_only_device():
    graph = cases()["test_gru_defaults"].model
    assert backend.supports_device("CPU") and backend.supports_device("CPU:0")
    assert not backend.supports_device("CUDA") and not backend.supports_device("CUDA:1")
    with pytest.raises(ValueError, match="prepare: device is 'CUDA'; expected 'CPU'"):
        backend.prepare(graph, "CUDA")
    with pytest.raises(ValueError, match="run_node: device is 'CUDA'; expected 'CPU'"):
        backend.run_node(graph.graph.node[0], [], "CUDA")


def test_what_is_compatible_is_said_beforehand():
    assert backend.is_compatible(cases()["test_gru_defaults"].model)
    assert not backend.is_compatible(cases()[PEEPHOLES].model)


def test_wrong_inputs_and_options_are_refused():
    graph = cases()["test_gru_defaults"].model
    prepared = backend.prepare(graph)
    with pytest.raises(ValueError, match="run: 1 inputs are given; expected 3: "):
        prepared.run([np.zeros(1)])
    with pytest.raises(ValueError, match="run_node: 0 inputs are given; expected 3: "):
        backend.run_node(graph.graph.node[0], [])
    with pytest.raises(ValueError, match="run_node: opset_version is 6; expected 7 to 25"):
        backend.run_node(graph.graph.node[0], [], opset_version=6)
    for call in (prepared.run, lambda _, **options: backend.prepare(graph, **options)):
        with pytest.raises(TypeError, match="option 'fast' is unknown; expected none"):
            call([], fast=True)
    broken = onnx.ModelProto.FromString(graph.SerializeToString())
    broken.graph.node[0].input.pop()
    with pytest.raises(onnx.checker.ValidationError):
        backend.prepare(broken)
