"""The NumPy twin, in float32."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fastrnn.bench.problem import Job, Problem, Results

from .base import Peer

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class NumPy(Peer):
    name = package = "numpy"
    cells = ("lstm", "gru", "rnn", "ugrnn")

    def build(self, problem: Problem, threads: int) -> Job:
        case = problem.case
        stack: Any = importlib.import_module("fastrnn.reference.stack")
        cell: Any = importlib.import_module(f"fastrnn.reference.{case.cell}")
        layers = [problem.layer(layer) for layer in range(case.layers)]
        zeros: Any = np.zeros((case.layers, case.batch, case.hidden), np.float32)
        state = (zeros, zeros) if len(cell.STATES) == 2 else zeros

        def forward() -> Any:
            return stack.forward(cell, problem.x, state, layers)

        if not case.training:
            return Job(forward, lambda value: {"y": value[0]})

        def step() -> Any:
            y, _, tape = forward()
            dx, _, dlayers = stack.backward(tape, problem.dy, state)
            return y, dx, dlayers

        def results(value: Any) -> Results:
            y, dx, dlayers = value
            grads = {
                f"d{name}_l{layer}": array
                for layer, arrays in enumerate(dlayers)
                for name, array in zip(NAMES, arrays, strict=True)
            }
            return {"y": y, "dx": dx, **grads}

        return Job(step, results)
