"""OpenVINO: the same ONNX model compiled for latency, one request used again and again."""

from __future__ import annotations

import importlib
from typing import Any

from fastrnn.bench.problem import Job, Problem

from . import onnx_model
from .base import Peer


class OpenVino(Peer):
    name = package = "openvino"
    trains = False

    def build(self, problem: Problem, threads: int) -> Job:
        openvino: Any = importlib.import_module("openvino")
        core = openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it
        }
        compiled = core.compile_model(core.read_model(onnx_model.build(problem)), "CPU", settings)
        request = compiled.create_infer_request()
        inputs, output = {"x": problem.x}, compiled.output("y")

        def run() -> Any:
            return request.infer(inputs, share_inputs=True, share_outputs=True)

        return Job(run, lambda value: {"y": value[output].copy()})
