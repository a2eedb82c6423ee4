"""A tape that asks for it serves for several backward runs, each with the bits of the first."""

import numpy as np
import pytest
from compiled_problems import Problem, layer_of

PROBLEMS = {
    "lstm": Problem("lstm", widths=(20, 20), time=7),
    "gru_before": Problem("gru_before", widths=(5,), merge="mul"),
    "lstmp": Problem("lstmp", widths=(9, 9), merge="concat"),
    "gru": Problem("gru", widths=(18,), lengths=np.array([5, 2, 0, 3])),
}


@pytest.mark.parametrize("checkpoint", [None, 2])
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_backward_run_gives_the_same(name, checkpoint):
    problem = PROBLEMS[name]
    layer = layer_of(problem, "float32")
    x, dy = (problem.arrays["x"].astype("f"), problem.upstream["y"].astype("f"))
    _, _, tape = layer.forward(x, lengths=problem.lengths, checkpoint=checkpoint, reusable=True)
    runs = []
    for _ in range(3):
        layer.zero_grad()
        dx, dstate = layer.backward(tape, dy)
        runs.append([dx, *(dstate if isinstance(dstate, tuple) else [dstate]), layer.flat_grads.copy()])
    _, _, once = layer.forward(x, lengths=problem.lengths)
    layer.zero_grad()
    dx, dstate = layer.backward(once, dy)
    runs.append([dx, *(dstate if isinstance(dstate, tuple) else [dstate]), layer.flat_grads.copy()])
    for run in runs[1:]:
        for first, other in zip(runs[0], run, strict=True):
            np.testing.assert_array_equal(first, other)


def test_a_reusable_tape_is_refused_once_the_weights_change():
    layer = layer_of(PROBLEMS["lstm"], "float32")
    x = PROBLEMS["lstm"].arrays["x"].astype("f")
    y, _, tape = layer.forward(x, reusable=True)
    with layer.editing() as params:
        params["weight_ih_l0"][0] = 1
    with pytest.raises(ValueError, match="the weights changed after this tape was made"):
        layer.backward(tape, y)
