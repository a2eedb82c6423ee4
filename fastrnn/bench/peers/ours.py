"""fastrnn itself: a layer's call, a training step, and `stream.step`."""

from __future__ import annotations

from typing import Any

import fastrnn
from fastrnn.bench.cases import Case
from fastrnn.bench.problem import Job, Problem, Results
from fastrnn.cells import CELLS
from fastrnn.layers import Recurrent

from .base import Peer

KINDS: dict[str, type[Recurrent]] = {cell: getattr(fastrnn, row.name) for cell, row in CELLS.items()}


def make_layer(problem: Problem) -> Recurrent:
    """A layer with the problem's weights."""
    case = problem.case
    layer = KINDS[case.cell](case.inputs, case.hidden, case.layers, seed=0)
    layer.load_state_dict(problem.weights)
    return layer


class FastRnn(Peer):
    name = package = "fastrnn"
    cells = tuple(KINDS)

    def version(self) -> str:
        return fastrnn.__version__

    def build(self, problem: Problem, threads: int) -> Job:
        layer, x, dy = make_layer(problem), problem.x, problem.dy
        if not problem.case.training:
            return Job(lambda: layer(x, num_threads=threads), lambda value: {"y": value[0]})

        def step() -> Any:
            layer.zero_grad()
            y, _, tape = layer.forward(x, num_threads=threads)
            dx, _ = layer.backward(tape, dy, num_threads=threads)
            return y, dx

        def results(value: Any) -> Results:
            # Copies: `backward` works in the memory of the tape, and later steps add to the same gradients.
            grads = {f"d{name}": grad.copy() for name, grad in layer.grads.items()}
            return {"y": value[0].copy(), "dx": value[1].copy(), **grads}

        return Job(step, results)


class FastRnnStream(FastRnn):
    """One step a call: what the layer's call does at T = 1, but the stream keeps the state."""

    name = "stream"

    def supports(self, case: Case) -> bool:
        return case.time == 1 and not case.training

    def build(self, problem: Problem, threads: int) -> Job:
        stream = make_layer(problem).stream(problem.case.batch, num_threads=threads)
        x = problem.x[0]
        first = stream.step(x)[None].copy()  # from the zero state, as the others start

        return Job(lambda: stream.step(x), lambda _: {"y": first})
