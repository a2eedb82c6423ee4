"""JAX: the cells over `lax.scan`, compiled by XLA; the inputs are projected before the scan."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fastrnn.bench.problem import Job, Problem, Results

from .base import Peer


def _cells(jax: Any) -> dict[str, Any]:
    """By name: functions (a, b, state) -> (state, h) of a = W x + b and b = R h + b'; the state's first part is h."""
    split, sigmoid, tanh = jax.numpy.split, jax.nn.sigmoid, jax.numpy.tanh

    def lstm(a: Any, b: Any, state: Any) -> Any:
        i, f, g, o = split(a + b, 4, axis=-1)
        c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
        return (sigmoid(o) * tanh(c), c)

    def gru(a: Any, b: Any, state: Any) -> Any:
        (a_r, a_z, a_n), (b_r, b_z, b_n) = split(a, 3, axis=-1), split(b, 3, axis=-1)
        z = sigmoid(a_z + b_z)
        n = tanh(a_n + sigmoid(a_r + b_r) * b_n)
        return ((1 - z) * n + z * state[0],)

    def rnn(a: Any, b: Any, state: Any) -> Any:
        return (tanh(a + b),)

    def ugrnn(a: Any, b: Any, state: Any) -> Any:
        a_g, a_c = split(a + b, 2, axis=-1)
        g = sigmoid(a_g)
        return (g * state[0] + (1 - g) * tanh(a_c),)

    return {"lstm": lstm, "gru": gru, "rnn": rnn, "ugrnn": ugrnn}


class Jax(Peer):
    name = package = "jax"
    cells = ("lstm", "gru", "rnn", "ugrnn")

    def build(self, problem: Problem, threads: int) -> Job:
        jax: Any = importlib.import_module("jax")
        case = problem.case
        cell = _cells(jax)[case.cell]
        zeros = jax.numpy.zeros((case.batch, case.hidden))
        initial = (zeros, zeros) if case.cell == "lstm" else (zeros,)

        def forward(layers: Any, x: Any) -> Any:
            for weight_ih, weight_hh, bias_ih, bias_hh in layers:

                def step(state: Any, a: Any, R: Any = weight_hh, bias: Any = bias_hh) -> Any:
                    state = cell(a, state[0] @ R + bias, state)
                    return state, state[0]

                _, x = jax.lax.scan(step, initial, x @ weight_ih + bias_ih)
            return x

        # Matrices as (inputs, outputs), the layout JAX's own libraries use.
        layers = [
            tuple(jax.numpy.asarray(np.ascontiguousarray(array.T)) for array in problem.layer(i))
            for i in range(case.layers)
        ]
        x, dy = jax.numpy.asarray(problem.x), jax.numpy.asarray(problem.dy)
        if not case.training:
            infer = jax.jit(forward)
            return Job(lambda: infer(layers, x).block_until_ready(), lambda y: {"y": np.asarray(y)})

        def loss(layers: Any, x: Any, dy: Any) -> Any:
            y = forward(layers, x)
            return (y * dy).sum(), y

        differentiate = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
        return Job(lambda: jax.block_until_ready(differentiate(layers, x, dy)), _training_results)


def _training_results(value: Any) -> Results:
    (_, y), (dlayers, dx) = value
    grads = {
        f"d{name}_l{layer}": np.asarray(array).T
        for layer, arrays in enumerate(dlayers)
        for name, array in zip(
            ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), arrays, strict=True
        )
    }
    return {"y": np.asarray(y), "dx": np.asarray(dx), **grads}
