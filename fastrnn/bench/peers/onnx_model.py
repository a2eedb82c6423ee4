"""A stack of layers as an ONNX model: what ONNX Runtime and OpenVINO run."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fastrnn.bench.problem import FloatArray, Problem
from fastrnn.cells import CELLS

OPSET = 17

OPTIONS: dict[str, dict[str, Any]] = {"lstm": {}, "gru": {"linear_before_reset": 1}, "rnn": {}}


def build(problem: Problem) -> bytes:
    """The serialised model: input x (T, B, I), output y (T, B, H), weights inside."""
    onnx: Any = importlib.import_module("onnx")
    helper, case = onnx.helper, problem.case
    axis = onnx.numpy_helper.from_array(np.array([1], np.int64), "axis")
    nodes, tensors, value = [], [axis], "x"
    for layer in range(case.layers):
        # ONNX has an axis of directions, in the weights and in the output.
        weight_ih, weight_hh, bias_ih, bias_hh = (
            _reordered(array, case.cell) for array in problem.layer(layer)
        )
        arrays = {"W": weight_ih, "R": weight_hh, "B": np.concatenate([bias_ih, bias_hh])}
        names = [f"{name}{layer}" for name in arrays]
        tensors += [
            onnx.numpy_helper.from_array(array[None], name)
            for name, array in zip(names, arrays.values(), strict=True)
        ]
        output = "y" if layer == case.layers - 1 else f"y{layer}"
        nodes += [
            helper.make_node(
                case.cell.upper(),
                [value, *names],
                [f"directions{layer}"],
                hidden_size=case.hidden,
                **OPTIONS[case.cell],
            ),
            helper.make_node("Squeeze", [f"directions{layer}", "axis"], [output]),
        ]
        value = output
    real = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        str(case),
        [helper.make_tensor_value_info("x", real, problem.x.shape)],
        [helper.make_tensor_value_info("y", real, problem.dy.shape)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised


def _reordered(array: FloatArray, cell: str) -> FloatArray:
    order = CELLS[cell].onnx_order()
    gates = np.split(array, len(order))
    return np.concatenate([gates[i] for i in order])
