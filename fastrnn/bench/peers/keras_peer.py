"""Keras on TensorFlow: its layers in a `tf.function`, by XLA or not, whichever is faster; (B, T, I) as it has them."""

from __future__ import annotations

import importlib
import importlib.metadata
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fastrnn.bench.problem import FloatArray, Job, Problem, Results
from fastrnn.cells import CELLS

from .base import Peer

# Our gates in the order of Keras's blocks of columns: i f c o and z r h there.
ORDERS = {"lstm": ("i", "f", "g", "o"), "gru": ("z", "r", "n"), "rnn": ("h",)}
KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}
TRIALS = 3

TENSORFLOW = ("tensorflow", "tensorflow-cpu")  # two wheels of one package


class Keras(Peer):
    name = package = "keras"
    remark = "Keras on TensorFlow, with XLA or without, whichever is faster"

    def version(self) -> str | None:
        """Keras's; None if TensorFlow is not installed under it."""
        return super().version() if any(map(_installed, TENSORFLOW)) else None

    def build(self, problem: Problem, threads: int) -> Job:
        tensorflow, keras = _libraries(threads)
        case = problem.case
        kind = getattr(keras.layers, KINDS[case.cell])
        model = keras.Sequential(
            [keras.Input(batch_shape=(case.batch, case.time, case.inputs))]
            + [kind(case.hidden, return_sequences=True) for _ in range(case.layers)]
        )
        for number, layer in enumerate(model.layers):
            layer.set_weights(to_keras(problem.layer(number), case.cell))
        x, dy = (tensorflow.constant(array.swapaxes(0, 1)) for array in (problem.x, problem.dy))
        if not case.training:

            def forward(x: Any) -> Any:
                return model(x, training=False)

            infer = _fastest(tensorflow, forward, x)
            return Job(lambda: infer(x), lambda y: {"y": _time_first(y)})
        parameters = [weight for layer in model.layers for weight in layer.trainable_variables]

        def step(x: Any, dy: Any) -> Any:
            with tensorflow.GradientTape() as tape:
                tape.watch(x)
                y = model(x, training=True)
            return y, tape.gradient(y, [x, *[p.value for p in parameters]], dy)

        train = _fastest(tensorflow, step, x, dy)

        def results(value: Any) -> Results:
            y, (dx, *gradients) = value
            found = {"y": _time_first(y), "dx": _time_first(dx)}
            for number in range(case.layers):
                arrays = [np.asarray(g) for g in gradients[3 * number : 3 * number + 3]]
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                for name, array in zip(names, from_keras(arrays, case.cell), strict=True):
                    found[f"d{name}_l{number}"] = array
            return found

        return Job(lambda: train(x, dy), results)


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _libraries(threads: int) -> tuple[Any, Any]:
    """TensorFlow and Keras, on so many threads; they cannot be changed later in a process."""
    tensorflow: Any = importlib.import_module("tensorflow")
    keras: Any = importlib.import_module("keras")
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(f"Keras runs on {keras.backend.backend()}; expected tensorflow (KERAS_BACKEND)")
    threading = tensorflow.config.threading
    if threading.get_intra_op_parallelism_threads() != threads:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(1)
    return tensorflow, keras


def _fastest(tensorflow: Any, function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """The function as a graph, compiled by XLA or not: the one with the fastest call of a few."""

    def seconds(run: Callable[..., Any]) -> float:
        times = []
        for _ in range(1 + TRIALS):  # the first one compiles
            start = time.perf_counter()
            run(*arguments)
            times.append(time.perf_counter() - start)
        return min(times)

    graphs: list[Callable[..., Any]] = [tensorflow.function(function, jit_compile=xla) for xla in (True, False)]
    return min(graphs, key=seconds)


def _time_first(array: Any) -> FloatArray:
    return np.asarray(array).swapaxes(0, 1)


def to_keras(arrays: tuple[FloatArray, ...], cell: str) -> list[FloatArray]:
    """kernel (I, G*H), recurrent_kernel (H, G*H), bias: b + b' (G*H,), or both (2, G*H) for the GRU."""
    order = [CELLS[cell].gates.index(gate) for gate in ORDERS[cell]]
    weight_ih, weight_hh, bias_ih, bias_hh = (_reordered(array, order) for array in arrays)
    bias = np.stack([bias_ih, bias_hh]) if cell == "gru" else bias_ih + bias_hh
    return [weight_ih.T, weight_hh.T, bias]


def from_keras(arrays: list[FloatArray], cell: str) -> list[FloatArray]:
    """The gradients of our four arrays from those of its three; of a sum b + b' both have the same."""
    kernel, recurrent_kernel, bias = arrays
    biases = list(bias) if cell == "gru" else [bias, bias]
    order = [ORDERS[cell].index(gate) for gate in CELLS[cell].gates]
    return [_reordered(array, order) for array in (kernel.T, recurrent_kernel.T, *biases)]


def _reordered(array: FloatArray, order: list[int]) -> FloatArray:
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[place] for place in order])
