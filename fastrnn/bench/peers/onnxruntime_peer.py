"""ONNX Runtime: a session's `run` with a dict of inputs."""

from __future__ import annotations

import importlib
from typing import Any

from fastrnn.bench.problem import Job, Problem

from . import onnx_model
from .base import Peer


class OnnxRuntime(Peer):
    name = "ort"
    package = "onnxruntime"
    trains = False

    def build(self, problem: Problem, threads: int) -> Job:
        onnxruntime: Any = importlib.import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            onnx_model.build(problem), options, providers=["CPUExecutionProvider"]
        )
        feeds = {"x": problem.x}
        return Job(lambda: session.run(None, feeds), lambda value: {"y": value[0]})
